//! What is told besides the plan: what is foretold, how that turned out, and shadow checks that see something else than
//! the kubelet. No number follows from it.

use super::{Engine, Entry};
use crate::evidence::{Agreement, Evidence, Foretold, Record};
use crate::forecast;
use crate::units::{Span, Timestamp, Uid};
use crate::workload::{Address, ProbeId};

/// A forecast that is new.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreseen {
    /// Whose.
    pub workload: Uid,
    /// Where.
    pub address: Address,
    /// Of which probe.
    pub probe: ProbeId,
    /// What.
    pub foretold: Foretold,
}

/// What a workload still has to tell.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// The hour, counted from the epoch, in which it was last looked ahead.
    looked: Option<i64>,
    foretold: Vec<(ProbeId, Foretold)>,
    /// The record of all its probes as far as it was told, and what came since.
    record: Record,
    judged: Record,
    /// Probes of which shadow checks differ from the kubelet.
    differing: Vec<ProbeId>,
}

impl Ahead {
    /// What was judged until now was told by an earlier life, or is nobody's news.
    pub(super) fn known(&mut self, evidence: &Evidence) {
        self.record = record(evidence);
    }
}

/// How the forecasts of all probes turned out.
fn record(evidence: &Evidence) -> Record {
    evidence.probes().iter().map(|s| s.season().record()).fold(Record::default(), sum)
}

fn sum(a: Record, b: Record) -> Record {
    Record {
        hits: a.hits.saturating_add(b.hits),
        misses: a.misses.saturating_add(b.misses),
        surprises: a.surprises.saturating_add(b.surprises),
    }
}

impl Engine {
    /// Takes what was foretold and how forecasts turned out since the last time.
    pub(super) fn foreseen(&mut self) -> (Vec<Foreseen>, Record) {
        let (mut foreseen, mut judged) = (Vec::new(), Record::default());
        for (uid, e) in &mut self.workloads {
            judged = sum(judged, std::mem::take(&mut e.ahead.judged));
            foreseen.extend(std::mem::take(&mut e.ahead.foretold).into_iter().map(|(probe, foretold)| Foreseen {
                workload: *uid,
                address: e.workload.address.clone(),
                probe,
                foretold,
            }));
        }
        (foreseen, judged)
    }
}

impl Entry {
    /// Looks ahead once an hour. What is foretold is told and shown.
    pub(super) fn look_ahead(&mut self, now: Timestamp) {
        let hour = now.nanos().div_euclid(Span::HOUR.nanos());
        if self.ahead.looked.replace(hour) == Some(hour) {
            return;
        }
        let (old, new) = (self.ahead.record, record(&self.evidence));
        let since = Record {
            hits: new.hits.saturating_sub(old.hits),
            misses: new.misses.saturating_sub(old.misses),
            surprises: new.surprises.saturating_sub(old.surprises),
        };
        self.ahead.judged = sum(self.ahead.judged, since);
        self.ahead.record = new;
        for probe in &self.workload.probes {
            let timeout = probe.settings.timeout();
            let Some(foretold) = forecast::look(&mut self.evidence, &probe.id, timeout, now) else { continue };
            if self.evidence.seen(&probe.id).is_some_and(|s| s.season().trusted()) {
                self.ahead.foretold.push((probe.id.clone(), foretold));
                self.news = true;
            }
        }
    }

    /// Looks whether shadow checks have begun, or ceased, to differ from the kubelet: that is shown.
    pub(super) fn compare(&mut self) {
        let differs = |s: &&crate::evidence::Seen| {
            s.shadow().is_some_and(|shadow| matches!(shadow.agreement(), Agreement::Differ { .. }))
        };
        let differing: Vec<ProbeId> = self.evidence.probes().iter().filter(differs).map(|s| s.id().clone()).collect();
        self.news |= differing != self.ahead.differing;
        self.ahead.differing = differing;
    }
}
