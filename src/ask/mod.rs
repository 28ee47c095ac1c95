//! One health check, asked once, as the kubelet asks it, and watched to its end.
//!
//! **Takes** a [`Target`]: an HTTP or HTTPS URL, a TCP port, a gRPC health service, or a command; and a patience. **Gives**
//! [`Asked`]: how long it took and what came of it, a typed reason where that was not healthy. **Never** outlives its
//! patience, uses a connection twice, follows a redirect, sends more than the protocol needs, or keeps what was answered.
//!
//! What is healthy is the kubelet's rule (`kubernetes/kubernetes:pkg/probe`, v1.36): an HTTP status of 200 to 399, a
//! connection that is accepted, `SERVING`, exit code 0. A body is read to its end or to 10 KiB within the patience, since
//! the kubelet's timeout covers it too. Certificates are **not** verified, as the kubelet does not: nothing secret is
//! sent, and nothing of the answer is believed but its time and status. Two differences: the kubelet follows redirects
//! to the same host, here a 3xx is the answer; and it closes with `SO_LINGER` of one second, which would block the one
//! thread that we have.

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
    let stream = match target.place() {
        Some(place) => TcpStream::connect(&place.addresses[..]).await,
        None => return Reply::Refused("no address".to_owned()),
    };
    let stream = match stream {
        Ok(stream) => stream,
        Err(why) => {
            *reached = matches!(why.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset);
            return Reply::Refused(why.to_string());
        }
    };
    *reached = true;
    // Small requests go out at once; where it cannot be set they go out a little later.
    stream.set_nodelay(true).unwrap_or_default();
    match target {
        Target::Http { tls: false, place, path } => http::ask(stream, &place.authority, path).await,
        Target::Http { tls: true, place, path } => match tls::wrap(stream, place).await {
            Ok(stream) => http::ask(stream, &place.authority, path).await,
            Err(why) => Reply::Broken(why.to_string()),
        },
        Target::Grpc { place, service } => grpc::ask(stream, &place.authority, service).await,
        Target::Tcp { .. } | Target::Exec { .. } => Reply::Healthy,
    }
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
