//! Reads kubelets' `/metrics/probes` directly: only nodes that hold pods of ours, each believed only about its own pods.
//!
//! The address and the port come from the node's status. The certificate is verified against a configured CA. The bearer
//! token is a short-lived one of an account that may read `nodes/metrics` and nothing else, because every kubelet sees
//! it: asked for by TokenRequest, renewed at 80 % of its life. The API server's proxy to nodes is never used: the right to
//! it would be the right to run anything anywhere.
//!
//! Every node has its own moment within the interval, by a hash of its name, so that the pages do not come all at once
//! and each node's come evenly. A page is parsed while it arrives and never held.
//!
//! Now and then, where that is wanted, a node's turn also reads its `/metrics/cadvisor`, for how often containers were
//! throttled. That page is large and the kubelet works for it; a node of which it cannot be read is read on as before, and
//! nothing is known of its throttling.
//!
//! Facts: `kubernetes/kubernetes:pkg/kubelet/server/auth.go` for the rights; kubelets keep what a review said for two
//! minutes (who) and five (may he), so a right that was just given may take that long.

use super::exposition::{PAGE_LIMIT, PageError};
use super::{Closed, Notice, Shared};
use super::{cadvisor, page};
use crate::ask;
use crate::cluster::{Call, Cause, Failure, Patience};
use crate::observation::Fact;
use crate::units::Name;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION};
use hyper::{Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Client;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

/// The account whose token kubelets see.
const ACCOUNT: &str = "probe-tuner-scrape";

/// How long a token is asked for. The API server's least is ten minutes; a renewal costs one request.
const TOKEN_LIFE: Duration = Duration::from_secs(1800);

/// How long a refused TokenRequest is remembered: else every node would ask again in every interval.
const TOKEN_PAUSE: Duration = Duration::from_secs(60);

/// The page of checks, and the one of containers' usage.
const PROBES: &str = "/metrics/probes";
const CADVISOR: &str = "/metrics/cadvisor";

/// How long the set of nodes is taken for known.
const LOOK: Duration = Duration::from_secs(1);

/// Whom a kubelet's certificate must be signed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// These authorities, each in DER.
    Roots(Vec<Vec<u8>>),
    /// Anybody: only where the owner says so in as many words. Whoever stands in between then sees the token.
    Anybody,
}

impl Trust {
    /// The authorities of a PEM file.
    ///
    /// # Errors
    /// [`ScrapeError::Authority`] when there is none in it, or one cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Trust, ScrapeError> {
        let roots: Result<Vec<Vec<u8>>, _> =
            CertificateDer::pem_slice_iter(pem).map(|c| c.map(|c| c.to_vec())).collect();
        match roots {
            Ok(roots) if roots.is_empty() => Err(ScrapeError::Authority("no certificate in the file".to_owned())),
            Ok(roots) => Ok(Trust::Roots(roots)),
            Err(error) => Err(ScrapeError::Authority(error.to_string())),
        }
    }
}

/// How kubelets are read.
#[derive(Clone, Debug)]
pub struct Scraping {
    /// How often each node is read; 15 s unless configured. More often than a probe's period tells nothing new.
    pub interval: Duration,
    /// How long one node may take.
    pub timeout: Duration,
    /// How many nodes are read at once.
    pub concurrency: usize,
    /// The longest page, in bytes.
    pub page_limit: usize,
    /// How often each node's cAdvisor page is read beside it; `None`: never, as unless configured.
    pub throttling: Option<Duration>,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// Whether nodes are spread over the interval; not for a single pass.
    pub spread: bool,
}

impl Scraping {
    /// Every 15 s, each within 10 s, eight at once, pages up to [`PAGE_LIMIT`], spread.
    pub fn new(trust: Trust) -> Self {
        Scraping {
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
            concurrency: 8,
            page_limit: PAGE_LIMIT,
            throttling: None,
            trust,
            spread: true,
        }
    }
}

/// Why a node could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScrapeError {
    /// The configured authority cannot be read.
    #[error(
        "the authority of the kubelets' certificates cannot be read: {0}\nhint: observe.kubelet-ca-file wants a PEM file with at least one certificate"
    )]
    Authority(String),
    /// Its status names no address or port.
    #[error("the node's status names no InternalIP, or no port of its kubelet")]
    NoAddress,
    /// There is no token to show.
    #[error("no token for the kubelets: {0}")]
    Token(String),
    /// Nobody answers there.
    #[error("{0}\nhint: pods must reach their nodes at the kubelet's port; see network policies and firewalls")]
    Connect(String),
    /// The certificate is not believed.
    #[error(
        "{0}\nhint: kubelets sign their own certificates unless serverTLSBootstrap is on; name their authority in observe.kubelet-ca-file"
    )]
    Certificate(String),
    /// No whole answer in time.
    #[error("no whole page within {0:?}")]
    TimedOut(Duration),
    /// 401.
    #[error("401: the kubelet does not know the token\nhint: the kubelet needs authentication.webhook.enabled: true")]
    Unauthorized,
    /// 403.
    #[error(
        "403: the kubelet does not let the token read\nhint: ServiceAccount {ACCOUNT} needs get on nodes/metrics (ClusterRole {ACCOUNT} and its binding)"
    )]
    Forbidden,
    /// Another status.
    #[error("{0}: this kubelet has no {1} to show")]
    Status(u16, &'static str),
    /// The connection broke within the page.
    #[error("the page broke off: {0}")]
    Broken(String),
    /// The page was refused.
    #[error(transparent)]
    Page(#[from] PageError),
}

impl ScrapeError {
    /// A word for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            ScrapeError::Authority(_) => "authority",
            ScrapeError::NoAddress => "no_address",
            ScrapeError::Token(_) => "token",
            ScrapeError::Connect(_) => "connect",
            ScrapeError::Certificate(_) => "certificate",
            ScrapeError::TimedOut(_) => "timeout",
            ScrapeError::Unauthorized => "unauthorized",
            ScrapeError::Forbidden => "forbidden",
            ScrapeError::Status(404, _) => "not_found",
            ScrapeError::Status(..) => "status",
            ScrapeError::Broken(_) => "broken",
            ScrapeError::Page(error) => error.kind(),
        }
    }
}

/// The one that reads kubelets.
pub(super) struct Scraper {
    settings: Scraping,
    http: HttpClient<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    tokens: Tokens,
    shared: Shared,
}

impl Scraper {
    pub(super) fn new(
        client: Client,
        namespace: Name,
        settings: Scraping,
        shared: Shared,
    ) -> Result<Self, ScrapeError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(settings.timeout));
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls(&settings.trust)?).https_only().enable_http1();
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            // A handshake costs more than a page: connections outlive the interval.
            .pool_idle_timeout(settings.interval * 3)
            .pool_max_idle_per_host(1)
            .build(tls.wrap_connector(tcp));
        Ok(Scraper { settings, http, tokens: Tokens { client, namespace, state: Mutex::new(Token::None) }, shared })
    }

    /// Reads each node at its own moment of every interval, for ever.
    pub(super) async fn run(self) {
        let mut progress = self.shared.progress.subscribe();
        if progress.wait_for(|p| p.full).await.is_err() {
            return;
        }
        let begin = Instant::now();
        let mut due: BTreeMap<Name, Instant> = BTreeMap::new();
        let mut running = FuturesUnordered::new();
        let mut busy: BTreeMap<Name, bool> = BTreeMap::new();
        // When each node's other page is due, and how many turns are at one: a few slots at most, the others are for checks.
        let mut throttling: BTreeMap<Name, Instant> = BTreeMap::new();
        let (mut at_other, most_other) = (0, (self.settings.concurrency / 4).max(1));
        loop {
            let now = Instant::now();
            let targets = self.shared.index().targets();
            due.retain(|node, _| targets.contains_key(node));
            busy.retain(|node, running| *running || targets.contains_key(node));
            throttling.retain(|node, _| targets.contains_key(node));
            for (node, kubelet) in &targets {
                let at = *due.entry(node.clone()).or_insert_with(|| begin + self.offset(node, self.settings.interval));
                let idle = !busy.get(node).copied().unwrap_or(false);
                if at <= now && idle && running.len() < self.settings.concurrency {
                    due.insert(node.clone(), self.next(at, now));
                    busy.insert(node.clone(), true);
                    let also = self.settings.throttling.is_some_and(|every| {
                        let due = throttling.entry(node.clone()).or_insert_with(|| now + self.offset(node, every));
                        let also = *due <= now && at_other < most_other;
                        if also {
                            (*due, at_other) = (now + every, at_other + 1);
                        }
                        also
                    });
                    running.push(self.one(node.clone(), kubelet.clone(), also));
                }
            }
            let tried = targets.keys().all(|node| busy.get(node) == Some(&false));
            if tried {
                self.shared.reached(|p| &mut p.scraped);
            }
            let next =
                due.values().min().copied().unwrap_or(now + LOOK).clamp(now + Duration::from_millis(10), now + LOOK);
            tokio::select! {
                Some((node, also, told)) = running.next() => {
                    busy.insert(node, false);
                    at_other -= usize::from(also);
                    if matches!(told, Err(Closed)) {
                        return;
                    }
                }
                () = sleep_until(next) => {}
            }
        }
    }

    /// When this node's turn comes within a time. A node that appears later waits for its turn, too.
    fn offset(&self, node: &str, within: Duration) -> Duration {
        if !self.settings.spread {
            return Duration::ZERO;
        }
        let hash =
            node.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
        // The upper half of FNV is the better mixed one.
        let share = u32::try_from(hash >> 32).unwrap_or(0);
        within.mul_f64(f64::from(share) / f64::from(u32::MAX))
    }

    /// The next turn on the node's own grid; what lies behind is skipped.
    fn next(&self, at: Instant, now: Instant) -> Instant {
        let interval = self.settings.interval;
        let behind = now.saturating_duration_since(at);
        let rounds = u32::try_from(behind.as_nanos() / interval.as_nanos().max(1)).unwrap_or(u32::MAX);
        at + interval * rounds.saturating_add(1)
    }

    /// Reads a node's page of checks, and with `throttling` its other page after it.
    async fn one(
        &self,
        node: Name,
        kubelet: Option<(Name, u16)>,
        throttling: bool,
    ) -> (Name, bool, Result<(), Closed>) {
        let told = self.checks(&node, kubelet.as_ref()).await;
        let told = match told {
            Ok(true) if throttling => self.throttling(&node, kubelet.as_ref()).await,
            other => other.map(|_| ()),
        };
        (node, throttling, told)
    }

    /// Reads the page of checks; says whether it could be read.
    async fn checks(&self, node: &Name, kubelet: Option<&(Name, u16)>) -> Result<bool, Closed> {
        let lookup = |namespace: &str, pod: &str| self.shared.index().pod_on(node, namespace, pod);
        let mut page = page::Parser::new(lookup, self.settings.page_limit);
        let (took, bytes, read) = self.read(kubelet, PROBES, |data| page.feed(data)).await;
        let (facts, result) = match read.and_then(|()| Ok(page.finish()?)) {
            Ok(page) => {
                let result = Ok((page.samples.len(), page.skipped));
                (page.samples.into_iter().map(Fact::Sample).collect(), result)
            }
            Err(error) => (vec![Fact::ScrapeMissed(node.clone())], Err((error.kind(), error.to_string()))),
        };
        let read = result.is_ok();
        self.shared.note(Notice::Scraped { node: node.clone(), took, bytes, result });
        self.shared.tell(self.shared.now(), facts).await?;
        Ok(read)
    }

    /// Reads how often containers were throttled. What cannot be read is unknown, and no check is missed for it.
    async fn throttling(&self, node: &Name, kubelet: Option<&(Name, u16)>) -> Result<(), Closed> {
        let lookup = |namespace: &str, pod: &str| self.shared.index().pod_on(node, namespace, pod);
        let mut page = cadvisor::Parser::new(lookup, self.settings.page_limit);
        let (took, bytes, read) = self.read(kubelet, CADVISOR, |data| page.feed(data)).await;
        let (facts, result) = match read.and_then(|()| Ok(page.finish()?)) {
            Ok(page) => {
                let result = Ok((page.throttling.len(), page.skipped));
                (page.throttling.into_iter().map(Fact::Throttling).collect(), result)
            }
            Err(error) => (Vec::new(), Err((error.kind(), error.to_string()))),
        };
        self.shared.note(Notice::Throttling { node: node.clone(), took, bytes, result });
        self.shared.tell(self.shared.now(), facts).await
    }

    /// Asks for a page and feeds it as it comes; gives how long that took, how much came, and whether all of it did.
    async fn read(
        &self,
        kubelet: Option<&(Name, u16)>,
        path: &'static str,
        feed: impl FnMut(&[u8]) -> Result<(), PageError>,
    ) -> (Duration, u64, Result<(), ScrapeError>) {
        let begun = Instant::now();
        let mut bytes = 0;
        let read = timeout(self.settings.timeout, self.fetch(kubelet, path, &mut bytes, feed)).await;
        (begun.elapsed(), bytes, read.unwrap_or(Err(ScrapeError::TimedOut(self.settings.timeout))))
    }

    async fn fetch(
        &self,
        kubelet: Option<&(Name, u16)>,
        path: &'static str,
        bytes: &mut u64,
        mut feed: impl FnMut(&[u8]) -> Result<(), PageError>,
    ) -> Result<(), ScrapeError> {
        let (address, port) = kubelet.ok_or(ScrapeError::NoAddress)?;
        let token = self.tokens.get().await?;
        let host = if address.contains(':') { format!("[{address}]") } else { address.to_string() };
        let request = Request::get(format!("https://{host}:{port}{path}"))
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(ACCEPT, "text/plain;version=0.0.4")
            .body(Empty::new())
            .map_err(|e| ScrapeError::Connect(format!("{address}:{port} is no address: {e}")))?;
        let response = self.http.request(request).await.map_err(|e| connect_error(&e))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => {
                self.tokens.forget().await;
                return Err(ScrapeError::Unauthorized);
            }
            StatusCode::FORBIDDEN => return Err(ScrapeError::Forbidden),
            other => return Err(ScrapeError::Status(other.as_u16(), path)),
        }
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| ScrapeError::Broken(e.to_string()))?;
            if let Ok(data) = frame.into_data() {
                *bytes += data.len() as u64;
                feed(&data)?;
            }
        }
        Ok(())
    }
}

/// The token that kubelets see; asked for by one at a time.
struct Tokens {
    client: Client,
    namespace: Name,
    state: Mutex<Token>,
}

enum Token {
    None,
    Held { token: Arc<str>, until: Instant },
    Refused { why: String, until: Instant },
}

impl Tokens {
    async fn get(&self) -> Result<Arc<str>, ScrapeError> {
        let mut state = self.state.lock().await;
        let now = Instant::now();
        match &*state {
            Token::Held { token, until } if now < *until => return Ok(token.clone()),
            Token::Refused { why, until } if now < *until => return Err(ScrapeError::Token(why.clone())),
            _ => {}
        }
        let path = format!("/api/v1/namespaces/{}/serviceaccounts/{ACCOUNT}/token", self.namespace);
        let spec = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_LIFE.as_secs()}});
        let answer = Call::create(&path, &spec).send(&self.client, Patience::default()).await;
        let told = answer.as_ref().ok().and_then(|a| a.pointer("/status/token")?.as_str());
        if let Some(token) = told {
            let token: Arc<str> = token.into();
            // A server may give less than was asked for; what it says of the end is in its own clock, so only its
            // answer to the length is taken.
            let life = answer.as_ref().ok().and_then(|a| a.pointer("/spec/expirationSeconds")?.as_u64());
            let life = life.map_or(TOKEN_LIFE, Duration::from_secs).min(TOKEN_LIFE);
            *state = Token::Held { token: token.clone(), until: now + life * 4 / 5 };
            return Ok(token);
        }
        let why = answer.err().map_or("the answer holds no token".to_owned(), |failure| self.why(&failure));
        *state = Token::Refused { why: why.clone(), until: now + TOKEN_PAUSE };
        Err(ScrapeError::Token(why))
    }

    /// A kubelet did not know it: perhaps the account was made anew.
    async fn forget(&self) {
        *self.state.lock().await = Token::None;
    }

    fn why(&self, failure: &Failure) -> String {
        let namespace = &self.namespace;
        match failure.code() {
            Some(403) => format!(
                "{failure}\nhint: a Role in namespace {namespace} must allow create on serviceaccounts/token of {ACCOUNT}"
            ),
            Some(404) => {
                format!("{failure}\nhint: create ServiceAccount {ACCOUNT} in namespace {namespace} (deploy/manifests)")
            }
            _ => failure.to_string(),
        }
    }
}

fn connect_error(error: &hyper_util::client::legacy::Error) -> ScrapeError {
    let Cause { text, certificate } = Cause::of(error);
    if certificate { ScrapeError::Certificate(text) } else { ScrapeError::Connect(text) }
}

fn tls(trust: &Trust) -> Result<ClientConfig, ScrapeError> {
    match trust {
        Trust::Roots(roots) => {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|e| ScrapeError::Authority(e.to_string()))?;
            let mut store = RootCertStore::empty();
            for root in roots {
                store.add(CertificateDer::from(root.clone())).map_err(|e| ScrapeError::Authority(e.to_string()))?;
            }
            Ok(builder.with_root_certificates(store).with_no_client_auth())
        }
        Trust::Anybody => ask::unverified().map_err(|e| ScrapeError::Authority(e.to_string())),
    }
}
