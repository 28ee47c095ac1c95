//! One question to the server and its answer: bounded in time, size and number, over verified TLS.

use super::answer::{Answer, Unreadable, cut, parse, parse_values};
use super::history::Budget;
use crate::cluster::Cause;
use crate::units::Timestamp;
use form_urlencoded::Serializer;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Tries of one question that a busy server gets, the first included.
const TRIES: u32 = 4;

/// The wait after a 429 or 503 that names no time, doubled each time; and the longest that a server may ask for.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The longest token that is read from a file, in bytes.
const LONGEST_TOKEN: usize = 64 << 10;

/// Whom the server's certificate must be signed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The system's authorities (or those that `SSL_CERT_FILE` names).
    System,
    /// Those of this PEM file.
    File(PathBuf),
}

/// Where the server is and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// `http` or `https`, with the path prefix if there is one: what stands before `/api/v1`.
    pub url: String,
    /// A file that holds a bearer token; read anew for each question, since tokens are renewed.
    pub token_file: Option<PathBuf>,
    /// Whose certificates are believed.
    pub trust: Trust,
}

/// What was spent, and what the server said meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Spent {
    /// Questions, repeated ones included.
    pub queries: u32,
    /// Those that had to be repeated because the server was busy.
    pub again: u32,
    /// Samples that came.
    pub samples: u64,
    /// Bytes of answers.
    pub bytes: u64,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error(
        "{url:?}: {why}\nhint: write the address that serves /api/v1, as \"http://prometheus.monitoring.svc:9090\" or \"https://mimir.example/prometheus\""
    )]
    Url {
        /// As given.
        url: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The authority cannot be read.
    #[error("{path}: {why}\nhint: ca-file wants a PEM file with at least one certificate")]
    Authority {
        /// The file, or "the system's authorities".
        path: String,
        /// Why.
        why: String,
    },
    /// The token cannot be read.
    #[error("{path}: {why}\nhint: token-file wants a file that holds a bearer token and nothing else")]
    Token {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// Nobody answers there.
    #[error(
        "{0}\nhint: is the address right, and can it be reached from here? `kubectl port-forward -n monitoring svc/prometheus 9090` brings one near"
    )]
    Connect(String),
    /// The certificate is not believed.
    #[error("{0}\nhint: name the authority that signed the server's certificate with ca-file")]
    Certificate(String),
    /// No whole answer in time.
    #[error("no answer within {0:?}\nhint: the server may be loading too much at once: ask for a shorter history")]
    TimedOut(Duration),
    /// 401.
    #[error("401: the server wants to know who asks\nhint: give a bearer token with token-file")]
    Unauthorized,
    /// 403.
    #[error(
        "403: whoever holds this token may not query\nhint: the token of token-file needs the right to query metrics of the namespace"
    )]
    Forbidden,
    /// 404 or 405.
    #[error(
        "{0}: no query API at this address\nhint: the address is what stands before /api/v1; Mimir and Thanos behind a proxy have a path prefix, as \"/prometheus\""
    )]
    NotThere(u16),
    /// A redirect, mostly to a page to sign in.
    #[error(
        "{code}: redirected to {to:?}, which is not followed: a token is for one server\nhint: give the address behind the sign-in, with token-file"
    )]
    Redirected {
        /// The status.
        code: u16,
        /// Where to.
        to: String,
    },
    /// Busy to the end of our patience.
    #[error("{code}: the server is busy, {tries} times in a row\nhint: try again later, or ask for a shorter history")]
    Busy {
        /// The status.
        code: u16,
        /// How often it was asked.
        tries: u32,
    },
    /// Another status.
    #[error("{code}: {words}")]
    Status {
        /// The status.
        code: u16,
        /// The first words of its body.
        words: String,
    },
    /// The server understood and refused.
    #[error("{kind}: {message}")]
    Refused {
        /// `errorType`.
        kind: String,
        /// In its words.
        message: String,
    },
    /// Longer than the budget allows for one answer.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// The connection broke within the answer.
    #[error("the answer broke off: {0}")]
    Broken(String),
    /// What came is no answer of this API.
    #[error("{0}\nhint: is this the address of a Prometheus, and not of Grafana or of a page to sign in?")]
    NoAnswer(String),
    /// The budget of questions is spent.
    #[error("the budget of {0} queries is used up")]
    Spent(u32),
}

impl Error {
    /// A word for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Error::Url { .. } => "url",
            Error::Authority { .. } => "authority",
            Error::Token { .. } => "token",
            Error::Connect(_) => "connect",
            Error::Certificate(_) => "certificate",
            Error::TimedOut(_) => "timeout",
            Error::Unauthorized => "unauthorized",
            Error::Forbidden => "forbidden",
            Error::NotThere(_) => "not_found",
            Error::Redirected { .. } => "redirected",
            Error::Busy { .. } => "busy",
            Error::Status { .. } => "status",
            Error::Refused { .. } => "refused",
            Error::TooLong(_) => "too_long",
            Error::Broken(_) => "broken",
            Error::NoAnswer(_) => "no_answer",
            Error::Spent(_) => "budget",
        }
    }

    /// Whether half as much might be answered.
    pub(super) fn asks_for_less(&self) -> bool {
        match self {
            Error::TooLong(_) | Error::TimedOut(_) => true,
            Error::Refused { kind, .. } => kind == "execution" || kind == "timeout" || kind == "canceled",
            // What Mimir and proxies answer where a limit of theirs is passed.
            Error::Status { code, .. } => matches!(code, 413 | 422 | 504),
            _ => false,
        }
    }
}

/// A server that can be asked. Nothing has been asked of it yet.
#[derive(Debug)]
pub struct Server {
    base: String,
    token_file: Option<PathBuf>,
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Server {
    /// A server at this address.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Authority`]: what can be seen to be wrong before anybody is asked.
    pub fn new(access: &Access) -> Result<Server, Error> {
        let base = base(&access.url, access.token_file.is_some())?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_WITHIN));
        let tls = if base.starts_with("https:") { tls(&access.trust)? } else { config(RootCertStore::empty())? };
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let http = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(tls.wrap_connector(tcp));
        Ok(Server { base, token_file: access.token_file.clone(), http })
    }

    /// The answer to an instant query at `at`.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) async fn query(
        &self,
        query: &str,
        at: Timestamp,
        budget: &Budget,
        spent: &mut Spent,
    ) -> Result<Answer, Error> {
        let limit = format!("{}s", budget.timeout.as_secs().max(1));
        let form = [("query", query), ("time", &seconds(at)), ("timeout", &limit)];
        let body = self.ask(Method::POST, "/api/v1/query", &form, budget, spent).await?;
        let answer = parse(&body).map_err(unreadable)?;
        spent.samples += answer.series.iter().map(|s| s.samples.len() as u64).sum::<u64>() + answer.malformed;
        Ok(answer)
    }

    /// The values that a label has among the series that `matcher` names, between two moments.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) async fn values(
        &self,
        label: &str,
        matcher: &str,
        (from, until): (Timestamp, Timestamp),
        budget: &Budget,
        spent: &mut Spent,
    ) -> Result<Vec<String>, Error> {
        let form = [("match[]", matcher), ("start", &seconds(from)), ("end", &seconds(until)), ("limit", "1000")];
        let path = format!("/api/v1/label/{label}/values");
        let body = self.ask(Method::GET, &path, &form, budget, spent).await?;
        parse_values(&body).map_err(unreadable)
    }

    /// Asks, and again while the server says that it is busy.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        form: &[(&str, &str)],
        budget: &Budget,
        spent: &mut Spent,
    ) -> Result<Bytes, Error> {
        let form: String = Serializer::new(String::new()).extend_pairs(form).finish();
        let mut pause = PAUSE;
        for tries in 1.. {
            if spent.queries >= budget.queries {
                return Err(Error::Spent(budget.queries));
            }
            spent.queries += 1;
            let (code, wait) = match self.once(&method, path, &form, budget, spent).await? {
                Said::Answer(body) => return Ok(body),
                Said::Busy(code, wait) => (code, wait),
            };
            if tries >= TRIES {
                return Err(Error::Busy { code, tries });
            }
            spent.again += 1;
            sleep(wait.unwrap_or(pause).clamp(PAUSE, LONGEST_PAUSE)).await;
            pause *= 2;
        }
        Err(Error::Spent(budget.queries))
    }

    async fn once(
        &self,
        method: &Method,
        path: &str,
        form: &str,
        budget: &Budget,
        spent: &mut Spent,
    ) -> Result<Said, Error> {
        // A little longer than the server was told: its own words are better than our silence.
        let deadline = Instant::now() + budget.timeout + Duration::from_secs(2);
        let (uri, body) = match *method {
            Method::POST => (format!("{}{path}", self.base), form.to_owned()),
            _ => (format!("{}{path}?{form}", self.base), String::new()),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(&uri)
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("probe-tuner/", env!("CARGO_PKG_VERSION")));
        if *method == Method::POST {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if let Some(path) = &self.token_file {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token(path)?));
        }
        let request = request.body(Full::from(body)).map_err(|e| Error::NoAnswer(e.to_string()))?;
        let answer = timeout_at(deadline, self.http.request(request)).await;
        let (head, body) =
            answer.map_err(|_| Error::TimedOut(budget.timeout))?.map_err(|e| unreached(&e))?.into_parts();
        let body = timeout_at(deadline, Limited::new(body, budget.answer_bytes).collect()).await;
        let body = match body.map_err(|_| Error::TimedOut(budget.timeout))? {
            Ok(body) => body.to_bytes(),
            Err(e) if e.is::<LengthLimitError>() => return Err(Error::TooLong(budget.answer_bytes)),
            Err(e) => return Err(Error::Broken(e.to_string())),
        };
        spent.bytes += body.len() as u64;
        let code = head.status.as_u16();
        if head.status.is_success() {
            return Ok(Said::Answer(body));
        }
        if head.status.is_redirection() {
            let to = head.headers.get(LOCATION).map_or(String::new(), |v| cut(&String::from_utf8_lossy(v.as_bytes())));
            return Err(Error::Redirected { code, to });
        }
        let refused = match parse(&body) {
            Err(Unreadable::Refused { kind, message }) => Some(Error::Refused { kind, message }),
            _ => None,
        };
        Err(match head.status {
            StatusCode::UNAUTHORIZED => Error::Unauthorized,
            StatusCode::FORBIDDEN => Error::Forbidden,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => match refused {
                // A query that ran into its own limit would only do so again.
                Some(error) if error.asks_for_less() => error,
                _ => {
                    let after = head.headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse().ok());
                    return Ok(Said::Busy(code, after.map(Duration::from_secs)));
                }
            },
            _ => match refused {
                Some(error) => error,
                None if matches!(code, 404 | 405) => Error::NotThere(code),
                None => Error::Status { code, words: cut(String::from_utf8_lossy(&body).trim()) },
            },
        })
    }
}

/// What came of one try.
enum Said {
    Answer(Bytes),
    Busy(u16, Option<Duration>),
}

fn unreadable(why: Unreadable) -> Error {
    match why {
        Unreadable::Refused { kind, message } => Error::Refused { kind, message },
        other => Error::NoAnswer(other.to_string()),
    }
}

/// A moment as the API takes it: seconds with three digits of a fraction.
fn seconds(at: Timestamp) -> String {
    let millis = at.nanos().div_euclid(1_000_000);
    format!("{}.{:03}", millis.div_euclid(1_000), millis.rem_euclid(1_000))
}

/// The address without what follows its prefix.
fn base(url: &str, token: bool) -> Result<String, Error> {
    let wrong = |why| Error::Url { url: cut(url), why };
    let uri: Uri = url.trim().parse().map_err(|_| wrong("this is no address"))?;
    let scheme = uri.scheme_str().unwrap_or_default();
    if !matches!(scheme, "http" | "https") {
        return Err(wrong("an address begins with http:// or https://"));
    }
    let authority = uri.authority().ok_or_else(|| wrong("no host in it"))?;
    if authority.as_str().contains('@') {
        return Err(Error::Url {
            url: format!("{scheme}://…@{}", authority.host()),
            why: "credentials are not taken from an address: put a token into token-file",
        });
    }
    if uri.query().is_some() || url.contains('#') {
        return Err(wrong("a query does not belong to it"));
    }
    let nearby = matches!(authority.host(), "localhost" | "127.0.0.1" | "[::1]");
    if token && scheme == "http" && !nearby {
        return Err(wrong("a token is not sent over plain http: whoever stands between would have it"));
    }
    let path = uri.path().trim_end_matches('/');
    let path = path.strip_suffix("/api/v1").unwrap_or(path).trim_end_matches('/');
    Ok(format!("{scheme}://{authority}{path}"))
}

fn token(path: &Path) -> Result<String, Error> {
    let failed = |why: String| Error::Token { path: path.display().to_string(), why };
    let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
    let token = text.trim();
    if token.is_empty() || token.len() > LONGEST_TOKEN || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(failed("no bearer token in it".to_owned()));
    }
    Ok(token.to_owned())
}

fn tls(trust: &Trust) -> Result<ClientConfig, Error> {
    let mut store = RootCertStore::empty();
    let place = match trust {
        Trust::System => {
            // Some of a system's authorities may be unreadable to us; those that are left decide.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            "the system's authorities".to_owned()
        }
        Trust::File(path) => {
            let place = path.display().to_string();
            let failed = |why: String| Error::Authority { path: place.clone(), why };
            let pem = std::fs::read(path).map_err(|e| failed(e.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|e| failed(e.to_string()))?;
                store.add(certificate).map_err(|e| failed(e.to_string()))?;
            }
            place
        }
    };
    if store.is_empty() {
        return Err(Error::Authority { path: place, why: "no certificate found".to_owned() });
    }
    config(store)
}

fn config(store: RootCertStore) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::Authority { path: "TLS".to_owned(), why: e.to_string() })?;
    Ok(builder.with_root_certificates(store).with_no_client_auth())
}

fn unreached(error: &hyper_util::client::legacy::Error) -> Error {
    let Cause { text, certificate } = Cause::of(error);
    if certificate { Error::Certificate(text) } else { Error::Connect(text) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_address_is_taken_with_its_prefix_and_without_what_follows() {
        for (url, wanted) in [
            ("http://localhost:9090", "http://localhost:9090"),
            ("http://localhost:9090/", "http://localhost:9090"),
            ("https://mimir.example/prometheus/", "https://mimir.example/prometheus"),
            (" https://mimir.example/prometheus/api/v1 ", "https://mimir.example/prometheus"),
        ] {
            assert_eq!(base(url, false).unwrap(), wanted);
        }
    }

    #[test]
    fn a_wrong_address_is_named_and_never_with_its_password() {
        for (url, words) in [
            ("", "this is no address"),
            ("localhost:9090", "begins with http:// or https://"),
            ("ftp://a", "begins with http:// or https://"),
            ("http://a/?q=1", "a query does not belong to it"),
        ] {
            let message = base(url, false).unwrap_err().to_string();
            assert!(message.contains(words) && message.contains("hint: "), "{url}: {message}");
        }
        let message = base("https://me:secret@a", false).unwrap_err().to_string();
        assert!(message.contains("credentials") && !message.contains("secret"), "{message}");
    }

    #[test]
    fn a_token_goes_over_tls_or_stays_on_this_machine() {
        assert!(base("http://prometheus.monitoring.svc:9090", true).is_err());
        for url in ["https://prometheus.monitoring.svc:9090", "http://127.0.0.1:9090", "http://[::1]:9090"] {
            assert!(base(url, true).is_ok(), "{url}");
        }
    }

    #[test]
    fn moments_are_written_to_the_millisecond() {
        assert_eq!(seconds(Timestamp::from_nanos(1_700_000_000_007_999_999)), "1700000000.007");
    }
}
