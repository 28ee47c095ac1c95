//! A command, ended with all that it started.
//!
//! It runs in a process group of its own, its input and output nowhere. Its end is awaited on a thread of the runtime's
//! pool: the runtime that we have watches no children. What it leaves behind when it ends by itself is ended too: a
//! container's runtime leaves that to the end of the container, and here is none.

use super::Reply;
use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// The process group of a command. Emptied when the command has been waited for: its number may then soon be another's.
struct Group(Mutex<Option<Pid>>);

impl Group {
    /// Kills whoever is in it.
    fn end(&self) {
        let group = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        end(*group);
    }

    /// Waits for the command, and kills what it leaves behind.
    fn wait(&self, command: &mut Child) -> io::Result<ExitStatus> {
        // It has ended, but keeps its number until it is waited for.
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        retry_on_intr(|| waitid(WaitId::Pid(Pid::from_child(command)), ended))?;
        let mut group = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        end(group.take());
        command.wait()
    }
}

fn end(group: Option<Pid>) {
    if let Some(group) = group {
        // Nobody is left in it: then there is nothing to end.
        kill_process_group(group, Signal::KILL).unwrap_or_default();
    }
}

/// Ends the group when nobody waits for the command any more.
struct Watched(Arc<Group>);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.end();
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
    let group = Arc::new(Group(Mutex::new(Some(Pid::from_child(&child)))));
    let _watched = Watched(group.clone());
    match timeout(patience, spawn_blocking(move || group.wait(&mut child))).await {
        Ok(Ok(Ok(status))) if status.success() => Reply::Healthy,
        Ok(Ok(Ok(status))) => Reply::Exit(status.code().filter(|_| status.signal().is_none())),
        Ok(Ok(Err(why))) => Reply::Broken(why.to_string()),
        Ok(Err(_)) => Reply::Broken("nobody could wait for it".to_owned()),
        Err(_) => Reply::Silent,
    }
}
