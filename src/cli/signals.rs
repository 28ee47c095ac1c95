//! The signals by which a person ends a command that runs until then.

use super::{Failure, Problem};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Done at the first SIGTERM or SIGINT. From the call on, neither ends the process by itself.
///
/// # Errors
/// When the system lets nobody wait for signals.
pub(super) fn stop() -> Result<impl Future<Output = ()>, Failure> {
    let (mut term, mut int) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

fn on(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|e| Failure::ours(Problem::new("cannot wait for signals").because(&e)))
}
