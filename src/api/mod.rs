//! The daemon's HTTP: `/metrics`, `/healthz`, `/readyz`.
//!
//! **Takes** GET requests. **Gives** pages: the metrics, whether the process is alive, whether it is ready. **Never**
//! changes anything, waits for the API server before saying that it is alive, or shows the metrics to a stranger: on
//! loopback a `Host` that is not loopback is refused (a web page elsewhere could else read what the browser's user
//! can), and on any other address a bearer token is asked for which the API server knows and whose holder may `get` that
//! path.
//!
//! Everything is bounded: connections, header bytes, the time of a connection (one request each), reviews a second,
//! remembered reviews.

mod door;
mod health;

pub use door::{Door, Refusal, Reviewer};
pub use health::{Pulse, Readiness};

use crate::telemetry::{Event, Lost, Metrics};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Connections at the same time; one more is closed at once and counted. A Prometheus and a kubelet need three.
pub const MOST_CONNECTIONS: usize = 64;
/// Bytes of a request's head.
const MOST_HEAD: usize = 16 << 10;
/// Fields of a request's head.
const MOST_FIELDS: usize = 64;
/// How long a request's head may take to come.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection may last, the two reviews of its token included.
const CONNECTION_WITHIN: Duration = Duration::from_secs(30);
/// How long answers under way may take after the order to stop.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// The server could not listen.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address is not ours, or somebody else listens there.
    #[error("cannot listen on {address} (http.listen)")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// What is shown.
#[derive(Debug)]
pub struct Pages {
    /// `/metrics`.
    pub metrics: Arc<Metrics>,
    /// `/healthz`.
    pub pulse: Pulse,
    /// `/readyz`.
    pub readiness: Arc<Readiness>,
}

/// Takes the address.
///
/// # Errors
/// When it cannot be had.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ApiError> {
    TcpListener::bind(address).await.map_err(|source| ApiError::Listen { address, source })
}

/// Serves until `stop` is done; then takes no more connections and gives those under way five seconds.
pub async fn serve(listener: TcpListener, door: Door, pages: Pages, stop: impl Future<Output = ()>) {
    let shared = Arc::new((door, pages));
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) if connections.len() < MOST_CONNECTIONS => {
                let shared = shared.clone();
                connections.spawn(async move { connection(stream, &shared).await });
            }
            Ok(_) => shared.1.metrics.emit(&Event::Dropped { what: Lost::Connection, count: 1 }),
            Err(_) => {
                // The peer has gone already, or the process has no file descriptors left: both pass.
                shared.1.metrics.emit(&Event::Dropped { what: Lost::Connection, count: 1 });
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let rest = async { while connections.join_next().await.is_some() {} };
    // What is still there after that is cut off with the set.
    timeout(STOP_WITHIN, rest).await.unwrap_or_default();
}

async fn connection(stream: TcpStream, (door, pages): &(Door, Pages)) {
    let service = service_fn(|request| async move { Ok::<_, Infallible>(answer(&request, door, pages).await) });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(MOST_HEAD)
        .max_headers(MOST_FIELDS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that breaks or lasts too long is its peer's business; there is nothing to be kept of it.
    drop(timeout(CONNECTION_WITHIN, served).await);
}

async fn answer(request: &Request<Incoming>, door: &Door, pages: &Pages) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let open = matches!(path, "/healthz" | "/readyz");
    if let Err(refusal) = door.admit(request.uri(), request.headers(), open).await {
        return refuse(&refusal);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n".into());
        response.headers_mut().insert(ALLOW, "GET, HEAD".parse().expect("plain text"));
        return response;
    }
    match path {
        "/healthz" => said(pages.pulse.alive()),
        "/readyz" => said(pages.readiness.ready()),
        "/metrics" => {
            let accept = request.headers().get(ACCEPT).and_then(|a| a.to_str().ok()).unwrap_or_default();
            let (page, kind) = pages.metrics.page(accept.contains("application/openmetrics-text"));
            respond(StatusCode::OK, kind, page)
        }
        _ => text(StatusCode::NOT_FOUND, "not found; there are /metrics, /healthz and /readyz\n".into()),
    }
}

fn said(state: Result<(), String>) -> Response<Full<Bytes>> {
    match state {
        Ok(()) => text(StatusCode::OK, "ok\n".into()),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

fn refuse(refusal: &Refusal) -> Response<Full<Bytes>> {
    let mut response = text(refusal.status(), format!("{refusal}\n"));
    match refusal {
        Refusal::NoToken | Refusal::Unknown => {
            response.headers_mut().insert(WWW_AUTHENTICATE, "Bearer".parse().expect("plain text"));
        }
        Refusal::Busy => {
            response.headers_mut().insert(RETRY_AFTER, "1".parse().expect("plain text"));
        }
        Refusal::Host | Refusal::Forbidden { .. } | Refusal::Unanswered => {}
    }
    response
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", body)
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    for (name, value) in [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")] {
        response.headers_mut().insert(name, value.parse().expect("plain text"));
    }
    response
}
