//! What is remembered, there and back: [`Memory`] to the fields of a `ProbeTuning` that hold it, and again.
//!
//! Both ways take the core's types apart field by field, so that a new one cannot be forgotten. On the way back nothing
//! is trusted: numbers, times and uids are parsed, and a record with anything unreadable in it is no record, because a
//! change that was begun and is not understood must not be begun again.

use super::tuning::{self as wire, Kept, PROBES, ProbeTuning, ProbeTuningStatus, cut};
use crate::change::{Change, Intent, Past, Stage, Step, Verdict};
use crate::memory::{InFlight, Memory, PAST_KEPT};
use crate::probe::{ProbeKind, Settings};
use crate::reason::Reason;
use crate::units::{Timestamp, Uid};
use crate::workload::{Address, ProbeId, WorkloadKind};
use kube::ResourceExt;

/// Why something cannot be written down, or what is written cannot be understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// More than the object takes.
    #[error(
        "{found} {what} are more than the {PROBES} that a ProbeTuning holds\nhint: the workload is only watched; name the containers to tune in probe-tuner.io/containers"
    )]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
    },
    /// A value that is not what the field means.
    #[error("status.{field}: {found:?} is not {wanted}")]
    Value {
        /// Which field.
        field: &'static str,
        /// What stands there, cut to 128 characters.
        found: String,
        /// What would be right.
        wanted: &'static str,
    },
    /// Not of our shape at all.
    #[error("status: {0}")]
    Shape(String),
}

impl ProbeTuningStatus {
    /// Writes down what must be remembered, in place of what was there.
    ///
    /// # Errors
    /// When there is more than the object takes. Nothing has been changed then; what cannot be written down must not
    /// be begun.
    pub fn remember(&mut self, memory: &Memory) -> Result<(), Error> {
        let Memory { in_flight, past, owners, contested, reverts, rested_since } = memory;
        let in_flight = in_flight.as_ref().map(flight_to_wire).transpose()?;
        let changes =
            past[past.len().saturating_sub(PAST_KEPT)..].iter().map(past_to_wire).collect::<Result<_, _>>()?;
        let owners = numbers_to_wire("owners' numbers", owners)?;
        let contested = numbers_to_wire("contested numbers", contested)?;
        self.in_flight = in_flight;
        self.changes = changes;
        self.owners = owners;
        self.contested = contested;
        self.reverts = i64::from(*reverts);
        self.rested_since = rested_since.map(time);
        Ok(())
    }

    fn recall(&self, namespace: &str) -> Result<Memory, Error> {
        let ProbeTuningStatus {
            workload,
            in_flight,
            changes,
            owners,
            contested,
            reverts,
            rested_since,
            // Shown, not remembered: made anew from what is.
            mode: _,
            phase: _,
            reason: _,
            message: _,
            columns: _,
            probes: _,
            restarts: _,
            conditions: _,
        } = self;
        let in_flight = match (in_flight, workload) {
            (None, _) => None,
            (Some(flight), Some(workload)) => Some(flight_from_wire(flight, workload, namespace)?),
            (Some(_), None) => return Err(value("workload", "", "there, as a change in flight needs")),
        };
        let oldest_kept = changes.len().saturating_sub(PAST_KEPT);
        Ok(Memory {
            in_flight,
            past: changes[oldest_kept..].iter().map(past_from_wire).collect::<Result<_, _>>()?,
            owners: numbers_from_wire("owners", owners)?,
            contested: numbers_from_wire("contested", contested)?,
            reverts: u32::try_from(*reverts)
                .map_err(|_| value("reverts", &reverts.to_string(), "a count of changes taken back"))?,
            rested_since: rested_since.as_deref().map(|t| time_from_wire("restedSince", t)).transpose()?,
        })
    }
}

impl ProbeTuning {
    /// The workload that this is about: as it says, or else by its owner reference.
    pub fn workload(&self) -> Option<Uid> {
        let said = match &self.status {
            Some(Kept::Read(status)) => status.workload.as_ref().and_then(|w| Uid::parse(&w.uid)),
            Some(Kept::Unreadable(_)) | None => None,
        };
        said.or_else(|| self.owner_references().iter().find_map(|o| Uid::parse(&o.uid)))
    }

    /// What an earlier life of the daemon wrote down about the workload.
    ///
    /// # Errors
    /// When anything in it cannot be read. A change may have been begun that nobody understands any more, so the
    /// workload is to be left alone until a person deletes the object.
    pub fn recall(&self) -> Result<Memory, Error> {
        match &self.status {
            None => Ok(Memory::default()),
            Some(Kept::Unreadable(why)) => Err(Error::Shape(cut(why, 512))),
            Some(Kept::Read(status)) => status.recall(&self.namespace().unwrap_or_default()),
        }
    }
}

fn value(field: &'static str, found: &str, wanted: &'static str) -> Error {
    Error::Value { field, found: cut(found, 128), wanted }
}

fn bounded<T, W>(what: &'static str, all: &[T], each: impl Fn(&T) -> W) -> Result<Vec<W>, Error> {
    if all.len() > PROBES {
        return Err(Error::TooMany { what, found: all.len() });
    }
    Ok(all.iter().map(each).collect())
}

fn flight_to_wire(flight: &InFlight) -> Result<wire::InFlight, Error> {
    let InFlight { change, stage, since, applied, generation: patched, version } = flight;
    // The workload's uid and address are the object's own: status.workload and metadata.namespace.
    let Change { id, workload: _, address: _, generation, intent, steps, reason, message } = change;
    Ok(wire::InFlight {
        id: hex(*id),
        intent: (*intent).into(),
        steps: steps_to_wire(steps)?,
        reason: reason.code().to_owned(),
        message: cut(message, 1024),
        generation: *generation,
        stage: (*stage).into(),
        since: time(*since),
        applied: applied.map(time),
        patched_generation: *patched,
        version: hex(*version),
    })
}

fn flight_from_wire(flight: &wire::InFlight, workload: &wire::WorkloadRef, namespace: &str) -> Result<InFlight, Error> {
    let wire::InFlight {
        id,
        intent,
        steps,
        reason,
        message,
        generation,
        stage,
        since,
        applied,
        patched_generation,
        version,
    } = flight;
    let wire::WorkloadRef { kind, name, uid, generation: _ } = workload;
    let change = Change {
        id: from_hex("inFlight.id", id)?,
        workload: Uid::parse(uid).ok_or_else(|| value("workload.uid", uid, "a uid"))?,
        address: Address { namespace: namespace.into(), kind: (*kind).into(), name: name.as_str().into() },
        generation: *generation,
        intent: (*intent).into(),
        steps: steps_from_wire("inFlight.steps", steps)?,
        reason: Reason::parse(reason).ok_or_else(|| value("inFlight.reason", reason, "a reason that we know"))?,
        message: message.clone(),
    };
    Ok(InFlight {
        change,
        stage: (*stage).into(),
        since: time_from_wire("inFlight.since", since)?,
        applied: applied.as_deref().map(|t| time_from_wire("inFlight.applied", t)).transpose()?,
        generation: *patched_generation,
        version: from_hex("inFlight.version", version)?,
    })
}

fn past_to_wire(past: &Past) -> Result<wire::Past, Error> {
    let Past { at, steps, intent, verdict } = past;
    Ok(wire::Past { at: time(*at), intent: (*intent).into(), steps: steps_to_wire(steps)?, result: (*verdict).into() })
}

fn past_from_wire(past: &wire::Past) -> Result<Past, Error> {
    let wire::Past { at, intent, steps, result } = past;
    Ok(Past {
        at: time_from_wire("changes.at", at)?,
        steps: steps_from_wire("changes.steps", steps)?,
        intent: (*intent).into(),
        verdict: (*result).into(),
    })
}

fn steps_to_wire(steps: &[Step]) -> Result<Vec<wire::Step>, Error> {
    bounded("probes of one change", steps, |step| {
        let Step { probe: ProbeId { container, kind }, from, to } = step;
        wire::Step {
            container: container.to_string(),
            kind: (*kind).into(),
            from: from.to_string(),
            to: to.to_string(),
        }
    })
}

fn steps_from_wire(field: &'static str, steps: &[wire::Step]) -> Result<Vec<Step>, Error> {
    let mut steps = steps
        .iter()
        .map(|wire::Step { container, kind, from, to }| {
            Ok(Step { probe: probe_id(container, *kind), from: settings(field, from)?, to: settings(field, to)? })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    if steps.is_empty() {
        return Err(value(field, "[]", "one probe or more"));
    }
    steps.sort_by(|a, b| a.probe.cmp(&b.probe));
    match steps.windows(2).find(|w| w[0].probe == w[1].probe) {
        Some(twice) => Err(value(field, &twice[0].probe.to_string(), "a probe named once")),
        None => Ok(steps),
    }
}

fn numbers_to_wire(what: &'static str, all: &[(ProbeId, Settings)]) -> Result<Vec<wire::Numbers>, Error> {
    bounded(what, all, |(ProbeId { container, kind }, numbers)| wire::Numbers {
        container: container.to_string(),
        kind: (*kind).into(),
        numbers: numbers.to_string(),
    })
}

fn numbers_from_wire(field: &'static str, all: &[wire::Numbers]) -> Result<Vec<(ProbeId, Settings)>, Error> {
    all.iter()
        .map(|wire::Numbers { container, kind, numbers }| Ok((probe_id(container, *kind), settings(field, numbers)?)))
        .collect()
}

fn hex(bits: u64) -> String {
    format!("{bits:016x}")
}

fn from_hex(field: &'static str, text: &str) -> Result<u64, Error> {
    let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let bits = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
    bits.ok_or_else(|| value(field, text, "16 hexadecimal digits"))
}

fn probe_id(container: &str, kind: wire::ProbeKind) -> ProbeId {
    ProbeId { container: container.into(), kind: kind.into() }
}

fn settings(field: &'static str, text: &str) -> Result<Settings, Error> {
    text.parse().map_err(|_| value(field, text, "a probe setting such as \"10/1/3\""))
}

/// A moment as our objects write it: RFC 3339, in UTC.
pub fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(at.nanos()))
        .expect("64 bits of nanoseconds end in 2262, and jiff in 9999")
        .to_string()
}

fn time_from_wire(field: &'static str, text: &str) -> Result<Timestamp, Error> {
    let at = text.parse::<jiff::Timestamp>().ok().and_then(|t| i64::try_from(t.as_nanosecond()).ok());
    at.map(Timestamp::from_nanos).ok_or_else(|| value(field, text, "a time such as \"2026-01-31T10:00:00Z\""))
}

/// The same words on both sides of the wall, converted both ways without a wildcard.
macro_rules! same_words {
    ($core:ident: $($word:ident),+) => {
        impl From<$core> for wire::$core {
            fn from(of: $core) -> Self {
                match of { $($core::$word => wire::$core::$word),+ }
            }
        }
        impl From<wire::$core> for $core {
            fn from(of: wire::$core) -> Self {
                match of { $(wire::$core::$word => $core::$word),+ }
            }
        }
    };
}
same_words!(ProbeKind: Liveness, Readiness, Startup);
same_words!(WorkloadKind: Deployment, StatefulSet, DaemonSet);
same_words!(Intent: Tune, Revert);
same_words!(Stage: Intended, Patched, Watching);
same_words!(Verdict: Verified, Reverted, Contested, Refused, Abandoned, Superseded);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::crd::{Phase, WorkloadRef};
    use kube::core::ObjectMeta;
    use serde_json::{Value, json};

    const UID: &str = "7c1e0a4f-0001-4abc-9def-0123456789ab";

    fn step(container: &str, kind: ProbeKind, from: &str, to: &str) -> Step {
        Step {
            probe: ProbeId { container: container.into(), kind },
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
        }
    }

    fn full() -> Memory {
        let steps = vec![
            step("app", ProbeKind::Liveness, "10/1/3", "10/10/2"),
            step("app", ProbeKind::Readiness, "5/1/3", "5/2/3"),
            step("sidecar", ProbeKind::Startup, "1/1/30", "2/2/10"),
        ];
        let past = |at, intent, verdict| Past { at: Timestamp::from_nanos(at), steps: steps.clone(), intent, verdict };
        Memory {
            in_flight: Some(InFlight {
                change: Change {
                    id: 0x0123_4567_89ab_cdef,
                    workload: Uid::parse(UID).unwrap(),
                    address: Address { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: "web".into() },
                    generation: 12,
                    intent: Intent::Tune,
                    steps: steps.clone(),
                    reason: Reason::Loosen,
                    message: "3 false restarts a day".into(),
                },
                stage: Stage::Watching,
                since: Timestamp::from_nanos(1_764_082_800_123_456_789),
                applied: Some(Timestamp::from_seconds(1_764_082_700)),
                generation: Some(13),
                version: u64::MAX,
            }),
            past: vec![
                past(1, Intent::Tune, Verdict::Reverted),
                past(2, Intent::Revert, Verdict::Refused),
                past(3, Intent::Tune, Verdict::Superseded),
                past(4, Intent::Tune, Verdict::Abandoned),
                past(i64::MAX, Intent::Tune, Verdict::Verified),
            ],
            owners: vec![(steps[0].probe.clone(), steps[0].from), (steps[1].probe.clone(), steps[1].from)],
            contested: vec![(steps[2].probe.clone(), steps[2].to)],
            reverts: 2,
            rested_since: Some(Timestamp::from_nanos(-1)),
        }
    }

    fn object(memory: &Memory) -> ProbeTuning {
        let mut status = ProbeTuningStatus {
            workload: Some(WorkloadRef {
                kind: wire::WorkloadKind::Deployment,
                name: "web".into(),
                uid: UID.into(),
                generation: 13,
            }),
            phase: Some(Phase::Verifying),
            ..Default::default()
        };
        status.remember(memory).unwrap();
        let metadata = ObjectMeta { namespace: Some("shop".into()), ..Default::default() };
        ProbeTuning::new(metadata, status)
    }

    fn read(json: Value) -> ProbeTuning {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_is_remembered_comes_back_whole() {
        for memory in [full(), Memory::default(), Memory { in_flight: None, ..full() }] {
            let travelled = read(serde_json::to_value(object(&memory)).unwrap());
            assert_eq!(travelled.recall(), Ok(memory));
            assert_eq!(travelled.workload(), Uid::parse(UID));
        }
    }

    #[test]
    fn every_stage_intent_and_verdict_comes_back() {
        for stage in [Stage::Intended, Stage::Patched, Stage::Watching] {
            for intent in [Intent::Tune, Intent::Revert] {
                let mut memory = full();
                let flight = memory.in_flight.as_mut().unwrap();
                (flight.stage, flight.change.intent) = (stage, intent);
                assert_eq!(object(&memory).recall(), Ok(memory));
            }
        }
    }

    #[test]
    fn of_the_past_the_last_five_are_kept() {
        let mut memory = full();
        memory.past.insert(0, memory.past[2].clone());
        assert_eq!(object(&memory).recall(), Ok(full()));
    }

    #[test]
    fn an_empty_memory_takes_no_room() {
        let object = serde_json::to_value(object(&Memory::default())).unwrap();
        let fields: Vec<_> = object["status"].as_object().unwrap().keys().collect();
        assert_eq!(fields, ["phase", "workload"]);
    }

    #[test]
    fn an_unknown_phase_reads_as_held() {
        let object = read(json!({"status": {"phase": "Riding"}}));
        let Some(Kept::Read(status)) = object.status else { unreachable!("a phase is enough") };
        assert_eq!(status.phase, Some(Phase::Held));
    }

    #[test]
    fn more_than_the_object_takes_is_not_written_in_part() {
        let mut memory = full();
        let one = memory.owners[0].clone();
        memory.owners = vec![one; PROBES + 1];
        let mut status = ProbeTuningStatus::default();
        assert_eq!(status.remember(&memory), Err(Error::TooMany { what: "owners' numbers", found: PROBES + 1 }));
        assert_eq!(status, ProbeTuningStatus::default());
    }

    #[test]
    fn a_record_that_somebody_edited_is_no_record_and_says_where() {
        for (pointer, edit, says) in [
            ("/status/inFlight/id", json!("+1"), r#"status.inFlight.id: "+1" is not 16 hexadecimal digits"#),
            ("/status/inFlight/version", json!("ffffffffffffffffff"), "status.inFlight.version: "),
            ("/status/inFlight/steps", json!([]), r#"status.inFlight.steps: "[]" is not one probe or more"#),
            ("/status/inFlight/steps/0/to", json!("10/0/3"), r#""10/0/3" is not a probe setting such as"#),
            ("/status/inFlight/steps/1/kind", json!("Liveness"), "is not a probe named once"),
            ("/status/inFlight/steps/1/kind", json!("Lively"), "unknown variant `Lively`"),
            ("/status/inFlight/stage", json!("Canary"), "unknown variant `Canary`"),
            ("/status/inFlight/reason", json!("BECAUSE"), r#""BECAUSE" is not a reason that we know"#),
            ("/status/inFlight/since", json!("9999-12-31T23:59:59Z"), "is not a time such as"),
            ("/status/inFlight/applied", json!("yesterday"), "status.inFlight.applied"),
            ("/status/workload/uid", json!("x"), "status.workload.uid"),
            ("/status/workload", Value::Null, "status.workload"),
            ("/status/changes/0/result", json!("Celebrated"), "unknown variant"),
            ("/status/changes/0/at", json!(""), "status.changes.at"),
            ("/status/owners/0/numbers", json!("99999999999999999999/1/3"), "status.owners"),
            ("/status/contested/0/numbers", json!("-1/1/3"), "status.contested"),
            ("/status/reverts", json!(-1), "status.reverts"),
            ("/status/reverts", json!("many"), "invalid type"),
            ("/status/restedSince", json!("12"), "status.restedSince"),
            ("/status", json!("whole"), "status: invalid type"),
        ] {
            let mut edited = serde_json::to_value(object(&full())).unwrap();
            *edited.pointer_mut(pointer).unwrap() = edit.clone();
            let said = read(edited).recall().unwrap_err().to_string();
            assert!(said.contains(says), "{pointer} = {edit}: {said}");
            assert!(said.len() < 1024, "{said}");
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_cut_by_characters_not_by_bytes() {
        let mut memory = full();
        memory.in_flight.as_mut().unwrap().change.message = "ä".repeat(2000);
        let Some(Kept::Read(status)) = object(&memory).status else { unreachable!("just made") };
        assert_eq!(status.in_flight.unwrap().message.chars().count(), 1024);
    }

    #[test]
    fn an_object_without_status_says_nothing_and_is_told_by_its_owner() {
        let object = read(json!({"metadata": {"ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": UID}]}}));
        assert_eq!(object.recall(), Ok(Memory::default()));
        assert_eq!(object.workload(), Uid::parse(UID));
        assert_eq!(read(json!({})).workload(), None);
    }
}
