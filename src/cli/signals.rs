//! The signals by which a person ends a command that runs until then.

use super::{Failure, Problem};
use std::future::pending;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Done at the first SIGTERM, SIGINT, or SIGHUP of a terminal that closes. From the call on, none of them ends the process
/// by itself.
///
/// # Errors
/// When the system lets nobody wait for signals.
pub(super) fn stop() -> Result<impl Future<Output = ()>, Failure> {
    let (mut term, mut int) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    // Who starts us by `nohup` wants us to outlive the terminal.
    let mut hangup = if ignored(SignalKind::hangup()) { None } else { Some(on(SignalKind::hangup())?) };
    let hung_up = async move {
        match &mut hangup {
            Some(hangup) => hangup.recv().await,
            None => pending().await,
        }
    };
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            _ = hung_up => {}
        }
    })
}

/// Whether whoever started us wants a signal to be ignored; no, where the kernel does not tell.
fn ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}

fn on(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|e| Failure::ours(Problem::new("cannot wait for signals").because(&e)))
}
