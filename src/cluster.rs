//! One request to the API server and its answer.
//!
//! **Takes** a client and a [`Call`]. **Gives** the answer's JSON, or why there is none: refused (with the server's own
//! causes), timed out, or not understood. **Never** repeats a request on its own but for one case, a 429: the server
//! says that it has not begun, and when to come again. Never waits without a bound.
//!
//! kube's own retries would repeat a patch after a 504, of which nobody knows whether it was done: give this room a
//! client whose `Config::default_retry` is off.

use http_body_util::{BodyExt, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use hyper::{Method, Request, StatusCode};
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// Why nothing was reached: the error and what led to it, each once, and whether a certificate was not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// In words.
    pub text: String,
    /// Some certificate in the chain was not believed.
    pub certificate: bool,
}

impl Cause {
    /// Of an error and all its sources.
    pub fn of(error: &(dyn std::error::Error + 'static)) -> Cause {
        let mut cause = Cause { text: error.to_string(), certificate: is_certificate(error) };
        let mut source = error.source();
        while let Some(error) = source {
            cause.certificate |= is_certificate(error);
            let words = error.to_string();
            if !cause.text.contains(&words) {
                cause.text = format!("{}: {words}", cause.text);
            }
            source = error.source();
        }
        cause
    }
}

/// Whether it is, or wraps, a certificate that is not believed. An `io::Error` passes over what it wraps when it is asked
/// for its source, and here one wraps another.
fn is_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_)))
        || wrapped.is_some_and(|inner| is_certificate(inner))
}

/// The name under which the API server notes down what we write.
pub const FIELD_MANAGER: &str = "probe-tuner";

/// The longest answer that is read: an object is at most 1.5 MiB in etcd, a page of 500 small ones less than this.
const LONGEST_ANSWER: usize = 16 << 20;

/// Least wait between two tries after a 429 that names no time.
const PAUSE: Duration = Duration::from_secs(1);

/// How long one call may take: `answer` for each try, `patience` for all waiting that a 429 asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The longest wait for one answer.
    pub answer: Duration,
    /// The longest wait, in all, that a server may ask for by 429.
    pub patience: Duration,
}

impl Default for Patience {
    /// Ten seconds for an answer (the API server gives webhooks as much), thirty for its Retry-After.
    fn default() -> Self {
        Patience { answer: Duration::from_secs(10), patience: Duration::from_secs(30) }
    }
}

/// A request: what is written goes under [`FIELD_MANAGER`].
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    method: Method,
    path: String,
    content: Option<&'static str>,
    body: Vec<u8>,
}

impl Call {
    /// Reads what stands at `path` (with its query).
    pub fn get(path: impl Into<String>) -> Call {
        Call { method: Method::GET, path: path.into(), content: None, body: Vec::new() }
    }

    /// Creates an object in the collection at `path`.
    pub fn create(path: &str, object: &impl Serialize) -> Call {
        Call::write(Method::POST, path, "application/json", object)
    }

    /// A JSON patch (RFC 6902).
    pub fn json_patch(path: &str, operations: &impl Serialize) -> Call {
        Call::write(Method::PATCH, path, "application/json-patch+json", operations)
    }

    /// A JSON merge patch (RFC 7386).
    pub fn merge_patch(path: &str, patch: &impl Serialize) -> Call {
        Call::write(Method::PATCH, path, "application/merge-patch+json", patch)
    }

    /// A server-side apply, never forced.
    pub fn apply(path: &str, object: &impl Serialize) -> Call {
        Call::write(Method::PATCH, path, "application/apply-patch+yaml", object)
    }

    /// The same request, tried by the server to its end and then thrown away.
    #[must_use]
    pub fn dry(mut self) -> Call {
        self.path.push_str("&dryRun=All");
        self
    }

    fn write(method: Method, path: &str, content: &'static str, body: &impl Serialize) -> Call {
        let body = serde_json::to_vec(body).expect("our own types are JSON");
        Call { method, path: format!("{path}?fieldManager={FIELD_MANAGER}"), content: Some(content), body }
    }

    /// Sends it and reads the answer.
    ///
    /// # Errors
    /// [`Failure`]; of its kinds only `TimedOut` and `Broken` leave open whether a write was done, and `Refused` with a
    /// code of 500 or more.
    pub async fn send(&self, client: &Client, limits: Patience) -> Result<Value, Failure> {
        let give_up = Instant::now() + limits.patience;
        loop {
            let failure = match self.once(client, limits.answer).await {
                Err(failure @ Failure::Refused(Refusal { code: 429, .. })) => failure,
                other => return other,
            };
            let Failure::Refused(refusal) = &failure else { return Err(failure) };
            let wait = refusal.retry_after.unwrap_or(PAUSE).max(PAUSE);
            if Instant::now() + wait > give_up {
                return Err(failure);
            }
            sleep(wait).await;
        }
    }

    async fn once(&self, client: &Client, within: Duration) -> Result<Value, Failure> {
        let deadline = Instant::now() + within;
        let mut request = Request::builder().method(&self.method).uri(&self.path).header(ACCEPT, "application/json");
        if let Some(content) = self.content {
            request = request.header(CONTENT_TYPE, content);
        }
        let request = request.body(Body::from(self.body.clone())).map_err(|e| Failure::Broken(e.to_string()))?;
        let answer = timeout_at(deadline, client.send(request)).await.map_err(|_| Failure::TimedOut(within))?;
        let (head, body) = answer.map_err(|e| Failure::Broken(chain(&e)))?.into_parts();
        let body = timeout_at(deadline, Limited::new(body, LONGEST_ANSWER).collect()).await;
        let body =
            body.map_err(|_| Failure::TimedOut(within))?.map_err(|e| Failure::Broken(chain(e.as_ref())))?.to_bytes();
        if head.status.is_success() {
            return serde_json::from_slice(&body).map_err(|e| Failure::Broken(format!("the answer is no JSON: {e}")));
        }
        let after = head.headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        Err(Failure::Refused(Refusal::read(head.status, &body, after)))
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server said no.
    #[error("{0}")]
    Refused(Refusal),
    /// No answer within this time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The connection broke, or what came is not what the API speaks.
    #[error("{0}")]
    Broken(String),
}

impl Failure {
    /// A word for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Failure::TimedOut(_) => "timeout",
            Failure::Broken(_) => "transport",
            Failure::Refused(refusal) => match refusal.code {
                401 => "unauthorized",
                403 => "forbidden",
                404 => "not_found",
                409 => "conflict",
                422 => "invalid",
                429 => "too_many_requests",
                503 => "unavailable",
                500.. => "server_error",
                _ => "client_error",
            },
        }
    }

    /// The status code, if there was an answer.
    pub fn code(&self) -> Option<u16> {
        match self {
            Failure::Refused(refusal) => Some(refusal.code),
            _ => None,
        }
    }
}

/// The server's no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// HTTP status code.
    pub code: u16,
    /// Its words.
    pub message: String,
    /// `details.causes[].message`: admission policies and validation name the rule here, RBAC and a failed `test` of a
    /// JSON patch name none.
    pub causes: Vec<String>,
    /// When to come again.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    fn read(code: StatusCode, body: &[u8], header: Option<Duration>) -> Refusal {
        let status = serde_json::from_slice::<Status>(body).unwrap_or_else(|_| {
            // Priority and fairness, proxies and missing paths answer in plain text.
            let text = String::from_utf8_lossy(&body[..body.len().min(512)]);
            Status::failure(text.trim(), "")
        });
        let (causes, seconds) = status.details.map_or((Vec::new(), 0), |d| (d.causes, d.retry_after_seconds));
        let asked = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
        Refusal {
            code: code.as_u16(),
            message: status.message,
            causes: causes.into_iter().map(|c| c.message).collect(),
            retry_after: header.or(asked),
        }
    }
}

/// An error and what caused it, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}
