//! Follows the brake: the annotation on the daemon's Lease, by a watch of that one object.

use crate::annotations::Pause;
use crate::cluster::Cause;
use crate::store::pause::{LEASE, of, read};
use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

/// How long the Lease may be out of sight before everything counts as paused. A watch that is renewed breaks for less.
const OUT_OF_SIGHT: Duration = Duration::from_secs(60);

/// How long one read of it may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Follows the Lease for ever. The receiver begins with "everywhere": what was not read yet counts as paused.
pub(super) async fn follow(client: Client, namespace: String, word: watch::Sender<Pause>) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), &namespace);
    let config = Config::default().fields(&format!("metadata.name={LEASE}"));
    let mut events = watcher(leases, config).default_backoff().boxed();
    let mut listed = Pause::NOWHERE;
    let mut blind_since: Option<Instant> = Some(Instant::now());
    let mut told = false;
    loop {
        let deadline = blind_since.map_or_else(|| Instant::now() + OUT_OF_SIGHT, |t| t + OUT_OF_SIGHT);
        tokio::select! {
            event = events.next() => {
                let Some(event) = event else { return };
                match event {
                    Ok(Event::Init) => listed = Pause::NOWHERE,
                    Ok(Event::InitApply(lease)) => listed = of(&lease),
                    Ok(Event::InitDone) => {
                        (blind_since, told) = (None, false);
                        say(&word, listed.clone());
                    }
                    Ok(Event::Apply(lease)) => {
                        (blind_since, told) = (None, false);
                        say(&word, of(&lease));
                    }
                    // Nobody has paused anything without it: `pause` makes it.
                    Ok(Event::Delete(_)) => say(&word, Pause::NOWHERE),
                    Err(e) => {
                        // Once for each time that it is out of sight: a server that is away is asked again and again.
                        if !std::mem::replace(&mut told, true) {
                            let why = Cause::of(&e).text;
                            tracing::warn!(why, "the brake (Lease {namespace}/{LEASE}) cannot be watched: no write until it is");
                        }
                        blind_since.get_or_insert_with(Instant::now);
                    }
                }
            }
            () = sleep_until(deadline), if blind_since.is_some() => {
                // A watch that was resumed says nothing until the Lease changes: ask.
                blind_since = match timeout(ANSWER_WITHIN, read(&client, &namespace)).await {
                    Ok(Ok(pause)) => {
                        say(&word, pause);
                        None
                    }
                    Ok(Err(_)) | Err(_) => {
                        say(&word, Pause::Unreadable("the Lease cannot be read".into()));
                        Some(Instant::now())
                    }
                };
            }
        }
    }
}

fn say(word: &watch::Sender<Pause>, pause: Pause) {
    word.send_if_modified(|old| {
        let news = *old != pause;
        *old = pause;
        news
    });
}
