//! A command, ended with all that it started.
//!
//! It runs in a process group of its own, its input and output nowhere. Its end is awaited on a thread of the runtime's
//! pool: the runtime that we have watches no children.

use super::Reply;
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// The group of a running command: killed when this goes. Emptied when the command has ended by itself: its number may
/// then soon be another's.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Nobody is left in it: then there is nothing to end.
            kill_process_group(group, Signal::KILL).unwrap_or_default();
        }
    }
}

/// Runs it by `sh -c`, at most this long.
pub(super) async fn ask(command: &str, patience: Duration) -> Reply {
    let spawned = Command::new("sh")
        .args(["-c", command])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(why) => return Reply::Broken(format!("cannot be started: {why}")),
    };
    let mut group = Group(i32::try_from(child.id()).ok().and_then(Pid::from_raw));
    let ended = timeout(patience, spawn_blocking(move || child.wait())).await;
    if ended.is_ok() {
        group.0 = None;
    }
    match ended {
        Ok(Ok(Ok(status))) if status.success() => Reply::Healthy,
        Ok(Ok(Ok(status))) => Reply::Exit(status.code().filter(|_| status.signal().is_none())),
        Ok(Ok(Err(why))) => Reply::Broken(why.to_string()),
        Ok(Err(_)) => Reply::Broken("nobody could wait for it".to_owned()),
        Err(_) => Reply::Silent,
    }
}
