//! The one who patches: reads afresh, asks whether it may, tries dry, tries the fence, patches, lets go.

use super::fence::{self, Fence};
use super::patch::{self, contested};
use crate::annotations::{Annotations, Defaults, Rules, message};
use crate::change::{Change, Intent, Outcome};
use crate::cluster::{Call, Failure, Patience};
use crate::objects;
use crate::policy::Mode;
use crate::reason::Reason;
use crate::units::{Name, Timestamp};
use crate::workload::{Address, Unpatchable, Workload, WorkloadKind};
use kube::Client;
use serde_json::Value;

/// How often the second patch is tried at once: each failure means that somebody wrote in between.
const LET_GO_TRIES: u32 = 3;

/// The longest text of a refusal that is kept, in characters.
const LONGEST_WORDS: usize = 512;

/// What the actor is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The daemon's own Deployment, on which the fence is tried: namespace and name.
    pub own: (Name, Name),
    /// What holds where owners say nothing; the same as `observe` has.
    pub defaults: Defaults,
    /// How long one request may take.
    pub limits: Patience,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The outcome, as the engine learns it.
    pub outcome: Outcome,
    /// Our entry is still in `managedFields`: call [`Actor::let_go`] again later, as often as it takes. Only ever after
    /// `Applied` or `Unknown`.
    pub clinging: bool,
}

/// Patches workloads, one call at a time. Cheap to clone.
#[derive(Clone)]
pub struct Actor {
    client: Client,
    settings: Settings,
}

/// A path of the API to one Deployment.
fn path(namespace: &str, name: &str) -> String {
    format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
}

impl Actor {
    /// An actor that speaks through `client`, which must not retry by itself.
    pub fn new(client: Client, settings: Settings) -> Self {
        Actor { client, settings }
    }

    /// Brings `change` into the cluster, or tells why not. `now` is for windows and freezes; `paused` is the freshest word
    /// of the Lease.
    ///
    /// Safe to call again with the same change: what was done already is found contested by its own numbers.
    pub async fn apply(&self, change: &Change, now: Timestamp, paused: bool) -> Done {
        let outcome = match self.prepare(change, now, paused).await {
            Ok(ready) => self.patch(&ready).await,
            Err(outcome) => return Done { outcome, clinging: false },
        };
        match outcome {
            Ok(object) => {
                let generation = object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
                let clinging = self.let_go_of(&change.address, Some(object)).await.is_err();
                Done { outcome: Outcome::Applied { generation }, clinging }
            }
            Err(outcome) => Done { clinging: matches!(outcome, Outcome::Unknown { .. }), outcome },
        }
    }

    /// All that `apply` asks before it writes, the dry run and the fence included, and what the server made of it: the
    /// object as it would be. For `apply --dry-run`.
    ///
    /// # Errors
    /// The outcome that `apply` would have had.
    pub async fn rehearse(&self, change: &Change, now: Timestamp, paused: bool) -> Result<Value, Outcome> {
        Ok(self.prepare(change, now, paused).await?.rehearsed)
    }

    /// Takes our entry out of the workload's `managedFields`. Does nothing where there is none, or no workload.
    ///
    /// # Errors
    /// The last failure; to be called again later.
    pub async fn let_go(&self, address: &Address) -> Result<(), Failure> {
        self.let_go_of(address, None).await
    }

    /// Tries whether the fence refuses what it must: on the daemon's own Deployment, and where that does not exist on
    /// the first of `others` that does.
    ///
    /// Anything but [`Fence::Holds`] forbids every write.
    pub async fn try_fence(&self, others: &[Address]) -> Fence {
        let own = path(&self.settings.own.0, &self.settings.own.1);
        let others = others.iter().filter(|a| a.kind == WorkloadKind::Deployment).map(|a| path(&a.namespace, &a.name));
        for path in std::iter::once(own).chain(others) {
            match fence::try_on(&self.client, self.settings.limits, &path, &Value::Null).await {
                Fence::Absent => {}
                told => return told,
            }
        }
        Fence::Absent
    }

    /// What became of a patch whose answer was lost, by reading the workload; `None` while it cannot be read.
    pub async fn find_out(&self, change: &Change) -> Option<Outcome> {
        let path = path(&change.address.namespace, &change.address.name);
        let object = match Call::get(&path).send(&self.client, self.settings.limits).await {
            Ok(object) => object,
            Err(failure) if failure.code() == Some(404) => return Some(Outcome::Gone),
            Err(_) => return None,
        };
        let nobody = Rules::read(&self.settings.defaults, &Annotations::new(), &Annotations::new());
        let typed = serde_json::from_value(object).ok()?;
        let workload = objects::deployment(&typed, nobody.at(Timestamp::EPOCH, true))?;
        if workload.uid != change.workload {
            return Some(Outcome::Gone);
        }
        let stands = change.steps.iter().all(|s| workload.probe(&s.probe).is_some_and(|p| p.settings == s.to));
        Some(if stands {
            Outcome::Applied { generation: workload.generation }
        } else {
            contested("its answer was lost, and the patch was not taken".to_owned())
        })
    }

    async fn prepare(&self, change: &Change, now: Timestamp, paused: bool) -> Result<Ready, Outcome> {
        if change.address.kind != WorkloadKind::Deployment {
            return Err(withheld(Reason::Unpatchable, format!("{} is no Deployment", change.address)));
        }
        let path = path(&change.address.namespace, &change.address.name);
        let space = self.read(&format!("/api/v1/namespaces/{}", change.address.namespace)).await?;
        let fresh = self.read(&path).await?;
        let rules = Rules::read(&self.settings.defaults, &annotations(&space), &annotations(&fresh));
        let workload = serde_json::from_value(fresh.clone())
            .ok()
            .and_then(|object| objects::deployment(&object, rules.at(now, paused)))
            .ok_or_else(|| withheld(Reason::Unpatchable, format!("{} cannot be read", change.address)))?;
        allowed(&workload, change, now)?;
        let ops = patch::numbers(&fresh, change)?;
        let patch = Call::json_patch(&path, &ops);
        let rehearsed = patch
            .clone()
            .dry()
            .send(&self.client, self.settings.limits)
            .await
            .map_err(|f| not_done("the dry run", f))?;
        match fence::try_on(&self.client, self.settings.limits, &path, &fresh).await {
            Fence::Holds => Ok(Ready { patch, rehearsed }),
            Fence::Open(why) => Err(Outcome::Withheld { reason: Reason::NoFence, why }),
            Fence::Absent => Err(Outcome::Gone),
        }
    }

    async fn read(&self, path: &str) -> Result<Value, Outcome> {
        Call::get(path).send(&self.client, self.settings.limits).await.map_err(|f| not_done("the fresh read", f))
    }

    /// The patch itself. Only here does a missing answer leave open what happened.
    async fn patch(&self, ready: &Ready) -> Result<Value, Outcome> {
        ready.patch.send(&self.client, self.settings.limits).await.map_err(|failure| match failure.code() {
            Some(code) if code < 500 => not_done("the patch", failure),
            _ => Outcome::Unknown { why: words(&failure.to_string()) },
        })
    }

    async fn let_go_of(&self, address: &Address, mut object: Option<Value>) -> Result<(), Failure> {
        let path = path(&address.namespace, &address.name);
        let mut last = Ok(());
        for _ in 0..LET_GO_TRIES {
            let read = match object.take() {
                Some(object) => object,
                None => match Call::get(&path).send(&self.client, self.settings.limits).await {
                    Ok(object) => object,
                    Err(failure) if failure.code() == Some(404) => return Ok(()),
                    Err(failure) => return Err(failure),
                },
            };
            let Some(ops) = patch::let_go(&read) else { return Ok(()) };
            match Call::json_patch(&path, &ops).send(&self.client, self.settings.limits).await {
                Ok(_) => return Ok(()),
                Err(failure) => match failure.code() {
                    Some(404) => return Ok(()),
                    // The place has shifted: read again.
                    Some(409 | 422) => last = Err(failure),
                    _ => return Err(failure),
                },
            }
        }
        last
    }
}

/// A patch that may be sent.
struct Ready {
    patch: Call,
    rehearsed: Value,
}

/// Whether the owners and the state of the fresh workload allow the change; the nearest "no" first.
fn allowed(workload: &Workload, change: &Change, now: Timestamp) -> Result<(), Outcome> {
    let no = |reason: Reason, why: String| Err(withheld(reason, why));
    if workload.uid != change.workload {
        return Err(contested(format!("another object of this name (uid {})", workload.uid)));
    }
    let p = &workload.permission;
    if p.paused {
        return no(Reason::Paused, "paused, or the Lease that says so cannot be read".to_owned());
    }
    if let Some(unreadable) = p.unreadable.first() {
        return no(Reason::Unreadable, message(unreadable));
    }
    if let Some(why) = &p.skip {
        return no(Reason::Skipped, format!("probe-tuner.io/skip: {why:?}"));
    }
    if p.freeze_until.is_some_and(|until| now < until) {
        return no(Reason::Frozen, "probe-tuner.io/freeze-until lies ahead".to_owned());
    }
    if p.mode < Mode::Auto {
        return no(Reason::RecommendOnly, format!("probe-tuner.io/mode is {} here", p.mode.word()));
    }
    // Changes start only inside the window; the way back from one that has started does not wait for it.
    if change.intent == Intent::Tune && p.window.is_some_and(|w| !w.open) {
        return no(Reason::OutsideWindow, "probe-tuner.io/window is closed".to_owned());
    }
    if let Some(step) = change.steps.iter().find(|s| !p.covers(&s.probe.container, s.probe.kind)) {
        return no(Reason::RecommendOnly, format!("{} is not among the chosen containers and probes", step.probe));
    }
    // The way back may leave a rollout that will never end: it is our own, since the generation is tested.
    let stops = |u: &&Unpatchable| !(change.intent == Intent::Revert && **u == Unpatchable::Progressing);
    if let Some(why) = workload.unpatchable.iter().find(stops) {
        return no(Reason::Unpatchable, because(why));
    }
    Ok(())
}

fn because(unpatchable: &Unpatchable) -> String {
    match unpatchable {
        Unpatchable::Kind(kind) => format!("a {} is only recommended for", kind.name()),
        Unpatchable::Paused => "spec.paused is set".to_owned(),
        Unpatchable::Progressing => "a rollout is under way".to_owned(),
        Unpatchable::Recreate => "strategy Recreate makes every patch an outage".to_owned(),
        Unpatchable::ScaledToZero => "it has no replicas".to_owned(),
        Unpatchable::OwnedBy(owner) => format!("{owner} controls it and would write its own numbers again"),
        Unpatchable::Pipeline(name) => format!("{name} manages it and would put its own numbers back"),
    }
}

fn annotations(object: &Value) -> Annotations {
    let notes = object.pointer("/metadata/annotations").and_then(Value::as_object);
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    notes.into_iter().flatten().filter_map(text).collect()
}

/// The outcome of a request after which surely nothing was written.
fn not_done(what: &str, failure: Failure) -> Outcome {
    let refused = |why: String| Outcome::Refused { why: words(&why) };
    match failure {
        Failure::Refused(refusal) => match refusal.code {
            404 => Outcome::Gone,
            409 => contested(refusal.message),
            // A failed `test` has no causes; a broken rule of validation is named.
            422 if refusal.causes.is_empty() => contested(refusal.message),
            403 if refusal.causes.is_empty() => refused(format!(
                "{what} was forbidden: {}; hint: the daemon's account lacks a right; bind ClusterRoles probe-tuner-read and probe-tuner-write",
                refusal.message
            )),
            // Not asked properly, or not now: nobody has said no to the change.
            401 | 408 | 429 => withheld(Reason::Refused, format!("{what} was put off, nothing was written: {refusal}")),
            400..500 => refused(format!("{what} was refused: {}", named(&refusal.message, &refusal.causes))),
            _ => withheld(Reason::Refused, format!("{what} failed, nothing was written: {refusal}")),
        },
        failure => withheld(Reason::Refused, format!("{what} failed, nothing was written: {failure}")),
    }
}

/// The message with the causes that it does not name itself.
fn named(message: &str, causes: &[String]) -> String {
    let missing = causes.iter().filter(|cause| !message.contains(&***cause)).map(|c| &**c);
    std::iter::once(message).chain(missing).collect::<Vec<_>>().join("; ")
}

fn withheld(reason: Reason, why: String) -> Outcome {
    Outcome::Withheld { reason, why: words(&why) }
}

fn words(text: &str) -> Name {
    text.chars().take(LONGEST_WORDS).collect::<String>().into()
}
