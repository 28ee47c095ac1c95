//! Who may come in.

use crate::telemetry::{Event, Metrics};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap};
use hyper::{StatusCode, Uri};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long a yes is remembered: so long may a token be used after it was revoked.
const YES_FOR: Duration = Duration::from_secs(60);
/// How long a no is remembered: so long does a new right take to be seen.
const NO_FOR: Duration = Duration::from_secs(10);
/// Most answers that are remembered; a Prometheus needs one.
const MOST_REMEMBERED: usize = 256;
/// Longest token that is sent on; the API server's own have about 1 KiB.
const LONGEST_TOKEN: usize = 8 << 10;
/// Longest path that is asked about.
const LONGEST_PATH: usize = 256;
/// Reviews that may come at once, and how many a second come after: strangers with made-up tokens must not make us a
/// burden to the API server.
const REVIEWS_AT_ONCE: f64 = 10.0;
const REVIEWS_A_SECOND: f64 = 2.0;
/// How long the API server may take to review.
const REVIEW_WITHIN: Duration = Duration::from_secs(10);

/// Why somebody may not come in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// On loopback, asked for by a name that is not loopback.
    #[error("this address answers to localhost, 127.0.0.1 and [::1] only")]
    Host,
    /// No bearer token.
    #[error("a bearer token is wanted: Authorization: Bearer TOKEN")]
    NoToken,
    /// The API server does not know the token.
    #[error("the API server does not know this token")]
    Unknown,
    /// Its holder may not.
    #[error("{user} may not get {path}; a ClusterRole with nonResourceURLs: [\"{path}\"], verbs: [\"get\"] allows it")]
    Forbidden {
        /// The holder.
        user: String,
        /// The path.
        path: String,
    },
    /// Too many tokens that have not been seen before.
    #[error("too many unknown tokens at once; try again")]
    Busy,
    /// The API server gave no answer, so nobody is let in.
    #[error("the API server cannot be asked about this token; the log says why")]
    Unanswered,
}

impl Refusal {
    /// As HTTP says it.
    pub const fn status(&self) -> StatusCode {
        match self {
            Refusal::Host => StatusCode::MISDIRECTED_REQUEST,
            Refusal::NoToken | Refusal::Unknown => StatusCode::UNAUTHORIZED,
            Refusal::Forbidden { .. } => StatusCode::FORBIDDEN,
            Refusal::Busy => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Unanswered => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// The door of an address.
#[derive(Debug)]
pub enum Door {
    /// Loopback: whoever is on this machine.
    Loopback,
    /// Anything else: whom the API server knows and allows.
    Reviewed(Box<Reviewer>),
}

impl Door {
    /// The door that an address needs.
    pub fn of(address: SocketAddr, client: Client, metrics: Arc<Metrics>) -> Door {
        if address.ip().to_canonical().is_loopback() {
            Door::Loopback
        } else {
            Door::Reviewed(Box::new(Reviewer::new(client, metrics)))
        }
    }

    /// Whether a request may come in. `open` pages are for everybody who reaches the address.
    ///
    /// # Errors
    /// Why not.
    pub async fn admit(&self, uri: &Uri, headers: &HeaderMap, open: bool) -> Result<(), Refusal> {
        match self {
            Door::Loopback => {
                let named = uri.authority().map(|a| a.host());
                let mut hosts = headers.get_all(HOST).iter().map(|h| h.to_str().unwrap_or_default());
                let only = hosts.next().filter(|_| hosts.next().is_none()).ok_or(Refusal::Host)?;
                let right = is_loopback(only) && named.is_none_or(is_loopback);
                if right { Ok(()) } else { Err(Refusal::Host) }
            }
            Door::Reviewed(_) if open => Ok(()),
            Door::Reviewed(reviewer) => {
                let token = bearer(headers).ok_or(Refusal::NoToken)?;
                reviewer.admit(token, uri.path()).await
            }
        }
    }
}

/// Whether a `Host`, with or without a port, is this machine to itself.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
}

/// The bearer token; `None` when there is none, more than one, or one that no API server gives.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    let fits = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= LONGEST_TOKEN;
    fits.then_some(token)
}

/// Asks the API server, and remembers for a while.
#[derive(Debug)]
pub struct Reviewer {
    client: ClientOf,
    metrics: Arc<Metrics>,
    memory: Mutex<Memory>,
}

/// A client that does not print itself.
struct ClientOf(Client);

impl std::fmt::Debug for ClientOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

#[derive(Debug)]
struct Memory {
    /// By token and path. Keys are hashed with a key of this process, so their comparison tells a stranger nothing.
    answers: HashMap<(String, String), (Result<(), Refusal>, Instant)>,
    /// Reviews that may be made now, and since when that number holds.
    allowance: f64,
    since: Instant,
}

impl Reviewer {
    fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        let memory = Memory { answers: HashMap::new(), allowance: REVIEWS_AT_ONCE, since: Instant::now() };
        Reviewer { client: ClientOf(client), metrics, memory: Mutex::new(memory) }
    }

    async fn admit(&self, token: &str, path: &str) -> Result<(), Refusal> {
        if path.len() > LONGEST_PATH {
            return Err(Refusal::Forbidden { user: "nobody".into(), path: "so long a path".into() });
        }
        let key = (token.to_owned(), path.to_owned());
        {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(answer) = memory.recall(&key, Instant::now()) {
                return answer;
            }
            if !memory.spend(Instant::now()) {
                return Err(Refusal::Busy);
            }
        }
        let answer = match timeout(REVIEW_WITHIN, self.review(token, path)).await {
            Ok(Ok(answer)) => answer,
            // An answer that did not come is not remembered: the next request asks again.
            Ok(Err(error)) => {
                tracing::warn!(%error, path, "a token could not be reviewed: its holder is not let in");
                return Err(Refusal::Unanswered);
            }
            Err(_) => {
                tracing::warn!(path, "no review of a token within {REVIEW_WITHIN:?}: its holder is not let in");
                return Err(Refusal::Unanswered);
            }
        };
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).remember(key, answer.clone(), Instant::now());
        answer
    }

    /// TokenReview, then SubjectAccessReview of its holder.
    async fn review(&self, token: &str, path: &str) -> Result<Result<(), Refusal>, kube::Error> {
        let spec = TokenReviewSpec { token: Some(token.to_owned()), ..Default::default() };
        let review = TokenReview { spec, ..Default::default() };
        let status = self.create(&review).await?.status.unwrap_or_default();
        let user = match status.user {
            Some(user) if status.authenticated == Some(true) => user,
            _ => return Ok(Err(Refusal::Unknown)),
        };
        let UserInfo { extra, groups, uid, username } = user;
        let spec = SubjectAccessReviewSpec {
            extra,
            groups,
            uid,
            user: username.clone(),
            non_resource_attributes: Some(NonResourceAttributes {
                path: Some(path.to_owned()),
                verb: Some("get".to_owned()),
            }),
            ..Default::default()
        };
        let review = SubjectAccessReview { spec, ..Default::default() };
        let status = self.create(&review).await?.status.unwrap_or_default();
        Ok(if status.allowed && status.denied != Some(true) {
            Ok(())
        } else {
            Err(Refusal::Forbidden { user: username.unwrap_or_default(), path: path.to_owned() })
        })
    }

    async fn create<K>(&self, review: &K) -> Result<K, kube::Error>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        let answer = Api::all(self.client.0.clone()).create(&PostParams::default(), review).await;
        let code = match &answer {
            Ok(_) => Some(201),
            Err(kube::Error::Api(status)) => Some(status.code),
            Err(_) => None,
        };
        self.metrics.emit(&Event::Requested { verb: "create", code });
        answer
    }
}

impl Memory {
    fn recall(&self, key: &(String, String), now: Instant) -> Option<Result<(), Refusal>> {
        let (answer, until) = self.answers.get(key)?;
        (now < *until).then(|| answer.clone())
    }

    fn remember(&mut self, key: (String, String), answer: Result<(), Refusal>, now: Instant) {
        self.answers.retain(|_, (_, until)| now < *until);
        if self.answers.len() >= MOST_REMEMBERED {
            // Rather forget a stranger than a friend; and among equals the one who would be forgotten first anyway.
            let first = self.answers.iter().min_by_key(|(_, (answer, until))| (answer.is_ok(), *until));
            if let Some(first) = first.map(|(key, _)| key.clone()) {
                self.answers.remove(&first);
            }
        }
        let until = now + if answer.is_ok() { YES_FOR } else { NO_FOR };
        self.answers.insert(key, (answer, until));
    }

    /// Takes one review out of the allowance, if there is one.
    fn spend(&mut self, now: Instant) -> bool {
        let grown = now.saturating_duration_since(self.since).as_secs_f64() * REVIEWS_A_SECOND;
        self.allowance = (self.allowance + grown).min(REVIEWS_AT_ONCE);
        self.since = now;
        let may = self.allowance >= 1.0;
        if may {
            self.allowance -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in ["localhost", "LOCALHOST:9753", "127.0.0.1", "127.0.0.1:9753", "127.9.9.9:1", "[::1]", "[::1]:9753"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            ":9753",
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com:9753",
            "0.0.0.0:9753",
            "[::]:9753",
            "10.0.0.1:9753",
            "localhost:evil",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    fn memory(now: Instant) -> Memory {
        Memory { answers: HashMap::new(), allowance: REVIEWS_AT_ONCE, since: now }
    }

    #[test]
    fn a_yes_is_remembered_for_a_minute_and_a_no_for_ten_seconds() {
        let now = Instant::now();
        let mut m = memory(now);
        let key = |t: &str| (t.to_owned(), "/metrics".to_owned());
        m.remember(key("friend"), Ok(()), now);
        m.remember(key("stranger"), Err(Refusal::Unknown), now);
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(m.recall(&key("friend"), after(59)), Some(Ok(())));
        assert_eq!(m.recall(&key("friend"), after(60)), None);
        assert_eq!(m.recall(&key("stranger"), after(9)), Some(Err(Refusal::Unknown)));
        assert_eq!(m.recall(&key("stranger"), after(10)), None);
        assert_eq!(m.recall(&("friend".into(), "/other".into()), now), None);
    }

    #[test]
    fn strangers_never_push_a_friend_out_of_memory() {
        let now = Instant::now();
        let mut m = memory(now);
        m.remember(("friend".into(), "/metrics".into()), Ok(()), now);
        for i in 0..10 * MOST_REMEMBERED {
            m.remember((i.to_string(), "/metrics".into()), Err(Refusal::Unknown), now);
        }
        assert_eq!(m.answers.len(), MOST_REMEMBERED);
        assert_eq!(m.recall(&("friend".into(), "/metrics".into()), now), Some(Ok(())));
    }

    #[test]
    fn reviews_are_few_and_come_back_with_time() {
        let now = Instant::now();
        let mut m = memory(now);
        assert_eq!((0..50).filter(|_| m.spend(now)).count(), 10);
        assert_eq!((0..50).filter(|_| m.spend(now + Duration::from_secs(3))).count(), 6);
        assert_eq!((0..50).filter(|_| m.spend(now + Duration::from_secs(3600))).count(), 10);
    }
}
