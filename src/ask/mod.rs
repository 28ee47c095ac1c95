//! One health check, asked once, as the kubelet asks it, and watched to its end.
//!
//! **Takes** a [`Target`]: an HTTP or HTTPS URL, a TCP port, a gRPC health service, or a command; and a patience. **Gives**
//! [`Asked`]: how long it took and what came of it, a typed reason where that was not healthy. **Never** outlives its
//! patience, uses a connection twice, asks another host, sends more than the protocol needs, or keeps what was answered.
//!
//! What is healthy is the kubelet's rule (`kubernetes/kubernetes:pkg/probe`, v1.36): an HTTP status of 200 to 399, a
//! connection that is accepted, `SERVING`, exit code 0. A body is read to its end or to 10 KiB within the patience, since
//! the kubelet's timeout covers it too. Certificates are **not** verified, as the kubelet does not: nothing secret is
//! sent, and nothing of the answer is believed but its time and status. A redirect to the same host is followed where the
//! target says so, as the kubelet does; one to another host is the answer. One difference: the kubelet closes with
//! `SO_LINGER` of one second, which would block the one thread that we have.

mod command;
mod grpc;
mod http;
mod target;
mod tls;

pub use grpc::{request as grpc_request, status as grpc_status};
pub use target::{Place, Target, TargetError};
pub use tls::{Unverified, unverified};

use crate::probe::Answer;
use crate::units::Span;
use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Most bytes of a body that are read; more is no failure. The kubelet's number.
pub const BODY_LIMIT: usize = 10 << 10;

/// Most requests of one check: the first, and those to which it was redirected. The kubelet's number.
const MOST_REQUESTS: usize = 10;

/// Who asks, in HTTP and gRPC.
const USER_AGENT: &str = concat!("probe-tuner/", env!("CARGO_PKG_VERSION"));

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Healthy.
    Healthy,
    /// No connection: refused, unreachable, reset.
    Refused(String),
    /// The connection broke before the whole answer, or what came is no answer in this protocol.
    Broken(String),
    /// An HTTP status that is not healthy.
    Status(u16),
    /// The gRPC service does not serve: its `ServingStatus`, `None` where the call failed with a gRPC status.
    NotServing(Option<u64>),
    /// The command ended with another code than 0; `None`: by a signal.
    Exit(Option<i32>),
    /// No whole answer within the patience.
    Silent,
}

/// A check that was watched to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// From its start to its end; the whole patience for [`Reply::Silent`].
    pub took: Span,
    /// How it ended.
    pub reply: Reply,
    /// Somebody was there: it accepted or refused a connection. A command is always there.
    pub reached: bool,
}

impl Asked {
    /// The answer as a prober sees it.
    pub fn answer(&self) -> Answer {
        match self.reply {
            Reply::Healthy => Answer::Healthy(self.took),
            Reply::Silent => Answer::Never,
            _ => Answer::Unhealthy(self.took),
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Healthy => write!(f, "healthy"),
            Reply::Refused(why) => write!(f, "no connection: {why}"),
            Reply::Broken(why) => write!(f, "no whole answer: {why}"),
            Reply::Status(status) => write!(f, "status {status}"),
            Reply::NotServing(Some(2)) => write!(f, "NOT_SERVING"),
            Reply::NotServing(Some(status)) => write!(f, "serving status {status}, wanted 1 (SERVING)"),
            Reply::NotServing(None) => write!(f, "the gRPC call failed"),
            Reply::Exit(Some(code)) => write!(f, "exit code {code}"),
            Reply::Exit(None) => write!(f, "ended by a signal"),
            Reply::Silent => write!(f, "no answer"),
        }
    }
}

/// Asks once. Dropping the future ends the check: its connection is closed, its command killed with all that it started.
pub async fn ask(target: &Target, patience: Duration) -> Asked {
    let begun = Instant::now();
    let mut reached = matches!(target, Target::Exec { .. });
    let reply = match target {
        Target::Exec { command } => command::ask(command, patience).await,
        _ => timeout(patience, connect(target, &mut reached)).await.unwrap_or(Reply::Silent),
    };
    let took = if reply == Reply::Silent { patience } else { begun.elapsed().min(patience) };
    Asked { took: Span::from_nanos(i64::try_from(took.as_nanos()).unwrap_or(i64::MAX)), reply, reached }
}

async fn connect(target: &Target, reached: &mut bool) -> Reply {
    let asked = match target {
        Target::Http { tls, place, path, follow } => page(*tls, place, path, *follow, reached).await,
        Target::Grpc { place, service } => match open(place, reached).await {
            Ok(stream) => Ok(grpc::ask(stream, &place.authority, service).await),
            Err(reply) => Err(reply),
        },
        Target::Tcp { place } => open(place, reached).await.map(|_| Reply::Healthy),
        Target::Exec { .. } => Ok(Reply::Healthy),
    };
    asked.unwrap_or_else(|reply| reply)
}

/// A connection of its own.
async fn open(place: &Place, reached: &mut bool) -> Result<TcpStream, Reply> {
    let stream = TcpStream::connect(&place.addresses[..]).await.map_err(|why| {
        *reached = matches!(why.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset);
        Reply::Refused(why.to_string())
    })?;
    *reached = true;
    // Small requests go out at once; where it cannot be set they go out a little later.
    stream.set_nodelay(true).unwrap_or_default();
    Ok(stream)
}

/// A page, and the page that it points to, as long as the host stays the same.
async fn page(tls: bool, place: &Place, path: &str, follow: bool, reached: &mut bool) -> Result<Reply, Reply> {
    let mut at = (tls, place.clone(), path.to_owned());
    for _ in 0..MOST_REQUESTS {
        let (tls, place, path) = &at;
        let stream = open(place, reached).await?;
        let (status, location) = if *tls {
            let stream = tls::wrap(stream, place).await.map_err(|why| Reply::Broken(why.to_string()))?;
            http::ask(stream, &place.authority, path).await?
        } else {
            http::ask(stream, &place.authority, path).await?
        };
        let elsewhere =
            location.filter(|l| follow && !l.is_empty() && matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308));
        let next = match elsewhere {
            Some(location) => target::redirected(&at, &location)
                .map_err(|wanted| Reply::Broken(format!("redirected to {location:?}: {wanted}")))?,
            None => None,
        };
        match next {
            Some(next) => at = next,
            None if (200..400).contains(&status.as_u16()) => return Ok(Reply::Healthy),
            None => return Ok(Reply::Status(status.as_u16())),
        }
    }
    Err(Reply::Broken(format!("{MOST_REQUESTS} redirects, one after the other")))
}

/// Does `work` on a connection that is driven beside it, in the same task: with the one the other ends.
async fn beside<T>(connection: impl Future, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        _ = connection => {}
    }
    work.await
}

/// An error with its causes, in one line.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}
