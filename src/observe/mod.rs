//! From the world to facts: watches, kubelets, metrics and events become [`Observation`]s.
//!
//! **Takes** the API server's watches, the kubelets' pages, `metrics.k8s.io`, the word of the Lease, and the answers of
//! endpoints whose owners allow us to ask. **Gives** facts,
//! one bounded stream of them, and [`Notice`]s of what went wrong for telemetry and for owners. **Never** writes to the
//! cluster (but for the scraper's own short-lived token), decides anything, keeps an object, or takes what it could not
//! read for a zero.
//!
//! How it hangs together: watch streams, which turn each object into a small record at once, send news through one
//! bounded channel to one task, the only writer of the `Index`; what that makes of it goes out as facts. The scraper and
//! the usage reader look names up in the same index and send their own facts. All channels push back: when the engine is
//! slow the watches are read slower, and no fact is dropped. Notices are dropped when nobody takes them, and counted.

pub mod cadvisor;
pub mod event;
pub mod exposition;
mod index;
pub mod page;
pub mod quantity;
mod scrape;
mod shadow;
mod usage;
mod watch;

pub use index::Scope;
pub use scrape::{ScrapeError, Scraping, Trust};
pub use shadow::{Rule, Shadowed, Shadowing};

use crate::annotations::{Defaults, Pause};
use crate::observation::{Fact, Observation};
use crate::units::{Name, Timestamp};
use crate::workload::Address;
use index::{Index, Made};
use kube::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch as signal};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use watch::Update;

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// News that wait for the index: enough for a page of a list, few enough to be no memory.
const NEWS_WAITING: usize = 256;

/// How often it is looked whether a window has opened or closed.
const TICK: Duration = Duration::from_secs(5);

/// What observing is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The daemon's own namespace: never watched, and where the scraper's account lives.
    pub namespace: Name,
    /// Which namespaces are looked at.
    pub scope: Scope,
    /// Namespaces that are never looked at, beside our own.
    pub excluded: BTreeSet<Name>,
    /// What holds where owners say nothing.
    pub defaults: Defaults,
    /// The word of the Lease, as `store::pause` follows it.
    pub paused: signal::Receiver<Pause>,
    /// How kubelets are read; `None`: not at all.
    pub scraping: Option<Scraping>,
    /// How often `metrics.k8s.io` is read; `None`: not at all.
    pub usage_every: Option<Duration>,
    /// How endpoints are asked whose owners allow it; `None`: not at all.
    pub shadowing: Option<Shadowing>,
}

/// An object that a notice is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// `Namespace`, `Deployment`, …
    pub kind: &'static str,
    /// `None` for a Namespace.
    pub namespace: Option<Name>,
    /// Its name.
    pub name: Name,
    /// Its uid, for the Event about it.
    pub uid: Name,
}

/// Something that an operator or an owner should hear of. None of it changes what the engine knows.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// An annotation that cannot be read or has no effect: once for each change of it. An Event on the object.
    Annotation {
        /// The object.
        subject: Subject,
        /// In words, with an example of a right value.
        message: String,
    },
    /// A kubelet was read, or was not.
    Scraped {
        /// The node.
        node: Name,
        /// How long it took.
        took: Duration,
        /// Bytes of its page that arrived.
        bytes: u64,
        /// Samples of our pods and what was left out, or the error's `kind()` and words.
        result: Result<(usize, page::Skipped), (&'static str, String)>,
    },
    /// A kubelet's cAdvisor page was read, or was not: how often containers were throttled.
    Throttling {
        /// The node.
        node: Name,
        /// How long it took.
        took: Duration,
        /// Bytes of the page that arrived.
        bytes: u64,
        /// Containers of our pods with a CPU limit and what was left out, or the error's `kind()` and words.
        result: Result<(usize, cadvisor::Skipped), (&'static str, String)>,
    },
    /// A watch broke; it begins anew with a growing pause.
    WatchBroken {
        /// The resource.
        resource: &'static str,
        /// Why.
        why: String,
        /// The API server refused it: until somebody grants it, asking again is of no use.
        refused: bool,
    },
    /// `metrics.k8s.io` does not answer: told once, until it answers again.
    UsageMissing {
        /// A word for metrics.
        kind: &'static str,
        /// Why, with a hint.
        why: String,
    },
    /// It answers again.
    UsageBack,
    /// A pod had its turn to be asked by a shadow check.
    Shadowed(Shadowed),
    /// Shadow checks reach no pod: told once, until they do.
    PodsUnreached {
        /// One of them, and what it met.
        example: String,
    },
    /// They do again.
    PodsReached,
}

/// How far the first look has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Progress {
    /// The first lists of all watched namespaces are complete.
    pub full: bool,
    /// After that, every node with pods of ours was read or tried once (or is not to be read).
    pub scraped: bool,
    /// After that, usage was read or tried once (or is not to be read).
    pub used: bool,
}

/// Why observing ended, which it never does by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of its tasks is dead.
    #[error(
        "the task that observes {what} ended: {why}\nhint: this is a bug of probe-tuner; the process ends so that it is started anew"
    )]
    TaskEnded {
        /// Which.
        what: String,
        /// As the runtime tells it.
        why: String,
    },
    /// The kubelets' certificates cannot be checked as configured.
    #[error(transparent)]
    Scrape(#[from] ScrapeError),
}

/// Observing under way.
#[derive(Debug)]
pub struct Observer {
    /// Ends only with an error, or when the facts' receiver is gone. Await it: a dead task must end the process.
    /// Aborting it stops all that belongs to it.
    pub task: JoinHandle<Result<(), Error>>,
    /// How far the first look has come.
    pub progress: signal::Receiver<Progress>,
    shared: Shared,
}

impl Observer {
    /// Deployments that are known, to try the fence on where our own does not exist: at most `most`.
    pub fn deployments(&self, most: usize) -> Vec<Address> {
        self.shared.index().deployments(most)
    }

    /// What was dropped since the start: notices that nobody took, and Events beyond the bound of a namespace.
    pub fn dropped(&self) -> (u64, u64) {
        (self.shared.notices_dropped.load(Ordering::Relaxed), self.shared.index().events_dropped())
    }

    /// Waits until the whole first look has been had: lists, kubelets, usage. For one pass; give it a bound.
    pub async fn first_look(&self) {
        let mut progress = self.progress.clone();
        // An error means that the task has ended, which its handle tells.
        let ended = progress.wait_for(|p| p.full && p.scraped && p.used).await.is_err();
        if ended {
            std::future::pending::<()>().await;
        }
    }
}

/// Begins to observe. Facts go to `facts` with the clock's time at their arrival, notices to `notices`.
pub fn start(
    client: Client,
    settings: Settings,
    clock: Clock,
    facts: mpsc::Sender<Observation>,
    notices: mpsc::Sender<Notice>,
) -> Observer {
    let (progress, seen) = signal::channel(Progress::default());
    let mut excluded = settings.excluded.clone();
    excluded.insert(settings.namespace.clone());
    let shared = Shared {
        index: Arc::new(Mutex::new(Index::new(settings.defaults.clone(), settings.scope.clone(), excluded))),
        clock,
        facts,
        notices,
        notices_dropped: Arc::default(),
        progress: Arc::new(progress),
    };
    let task = tokio::spawn(run(client, settings, shared.clone()));
    Observer { task, progress: seen, shared }
}

/// What the tasks have in common.
#[derive(Clone)]
struct Shared {
    index: Arc<Mutex<Index>>,
    clock: Clock,
    facts: mpsc::Sender<Observation>,
    notices: mpsc::Sender<Notice>,
    notices_dropped: Arc<AtomicU64>,
    progress: Arc<signal::Sender<Progress>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// The receiver of facts is gone: time to end.
struct Closed;

impl Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Waits while the engine has no room.
    async fn tell(&self, at: Timestamp, facts: Vec<Fact>) -> Result<(), Closed> {
        for fact in facts {
            self.facts.send(Observation { at, fact }).await.map_err(|_| Closed)?;
        }
        Ok(())
    }

    /// A part of the first look has been had.
    fn reached(&self, part: fn(&mut Progress) -> &mut bool) {
        self.progress.send_if_modified(|p| !std::mem::replace(part(p), true));
    }

    fn note(&self, notice: Notice) {
        if self.notices.try_send(notice).is_err() {
            self.notices_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn run(client: Client, settings: Settings, shared: Shared) -> Result<(), Error> {
    let (sender, mut updates) = mpsc::channel(NEWS_WAITING);
    let mut tasks = Tasks { set: JoinSet::new(), names: BTreeMap::new(), inside: BTreeMap::new(), epoch: 0 };
    tasks.spawn("namespaces".to_owned(), watch::pump(watch::namespaces(&client), sender.clone()));
    tasks.spawn("nodes".to_owned(), watch::pump(watch::nodes(&client), sender.clone()));
    if let Some(scraping) = settings.scraping.clone() {
        let scraper = scrape::Scraper::new(client.clone(), settings.namespace.clone(), scraping, shared.clone())?;
        tasks.spawn("kubelets".to_owned(), scraper.run());
    } else {
        shared.reached(|p| &mut p.scraped);
    }
    if let Some(every) = settings.usage_every {
        tasks.spawn("usage".to_owned(), usage::run(client.clone(), every, shared.clone()));
    } else {
        shared.reached(|p| &mut p.used);
    }
    if let Some(shadowing) = settings.shadowing {
        tasks.spawn("shadow checks".to_owned(), shadow::run(shadowing, shared.clone()));
    }
    let mut paused = settings.paused.clone();
    let first = paused.borrow_and_update().clone();
    shared.index().pause(first, shared.now());
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut spaces_listed = false;
    loop {
        let (now, made) = tokio::select! {
            Some(update) = updates.recv() => {
                let now = shared.now();
                if let Update::Broken { resource, why, refused } = update {
                    shared.note(Notice::WatchBroken { resource, why, refused });
                    continue;
                }
                spaces_listed |= matches!(update, Update::Spaces(index::List::Done));
                let made = tasks.take(&mut shared.index(), update, now);
                (now, made)
            }
            Some(ended) = tasks.set.join_next_with_id() => {
                tasks.ended(ended)?;
                continue;
            }
            Ok(()) = paused.changed() => {
                let (now, word) = (shared.now(), paused.borrow_and_update().clone());
                (now, Made { facts: shared.index().pause(word, now), notices: Vec::new() })
            }
            _ = tick.tick() => {
                let now = shared.now();
                (now, Made { facts: shared.index().tick(now), notices: Vec::new() })
            }
        };
        tasks.follow(&client, &settings, shared.index().watched(), &sender);
        made.notices.into_iter().for_each(|notice| shared.note(notice));
        if shared.tell(now, made.facts).await.is_err() {
            return Ok(());
        }
        if spaces_listed && !shared.progress.borrow().full && shared.index().full() {
            shared.reached(|p| &mut p.full);
        }
    }
}

/// The tasks under way, each to be noticed when it dies.
struct Tasks {
    set: JoinSet<()>,
    names: BTreeMap<tokio::task::Id, String>,
    /// The watches inside each namespace.
    inside: BTreeMap<Name, (u64, AbortHandle)>,
    epoch: u64,
}

impl Tasks {
    fn spawn(&mut self, what: String, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let handle = self.set.spawn(task);
        self.names.insert(handle.id(), what);
        handle
    }

    /// Starts and stops the watches inside namespaces, so that they are those of `watched`.
    fn follow(&mut self, client: &Client, settings: &Settings, watched: BTreeSet<Name>, sender: &mpsc::Sender<Update>) {
        self.inside.retain(|name, (_, handle)| {
            let stays = watched.contains(name);
            if !stays {
                handle.abort();
            }
            stays
        });
        for name in watched {
            if !self.inside.contains_key(&name) {
                self.epoch += 1;
                let stream = watch::inside(client, &name, self.epoch, &settings.defaults);
                let handle = self.spawn(format!("namespace {name}"), watch::pump(stream, sender.clone()));
                self.inside.insert(name, (self.epoch, handle));
            }
        }
    }

    fn take(&self, index: &mut Index, update: Update, now: Timestamp) -> Made {
        match update {
            Update::Spaces(index::List::Begin) => index.spaces_begin(),
            Update::Spaces(index::List::Done) => return index.spaces_done(),
            Update::SpaceIs { name, uid, annotations } => {
                return index.space_is(&name, uid.as_deref(), &annotations, now);
            }
            Update::SpaceGone(name) => return index.space_gone(&name),
            Update::NodeIs(name, node) => index.node_is(name, node),
            Update::NodesAre(names) => index.nodes_are(&names),
            Update::NodeGone(name) => index.node_gone(&name),
            // News of watches that were stopped meanwhile are of another time.
            Update::Inside { name, epoch, news } if self.inside.get(&name).is_some_and(|(e, _)| *e == epoch) => {
                return index.news(&name, news, now);
            }
            Update::Inside { .. } | Update::Broken { .. } => {}
        }
        Made::default()
    }

    /// A task is over: as it should be only when it was stopped by us.
    fn ended(&mut self, ended: Result<(tokio::task::Id, ()), tokio::task::JoinError>) -> Result<(), Error> {
        let (id, why) = match ended {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(error)),
        };
        let what = self.names.remove(&id).unwrap_or_default();
        match why {
            Some(error) if error.is_cancelled() => Ok(()),
            Some(error) => Err(Error::TaskEnded { what, why: error.to_string() }),
            None => Err(Error::TaskEnded { what, why: "it returned".to_owned() }),
        }
    }
}
