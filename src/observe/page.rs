//! Reads the kubelet's `/metrics/probes` page: one pass over the bytes as they arrive, keeping only our pods.
//!
//! A node's page holds every probe of every pod, fourteen lines of histogram and two or three of counters each, and most
//! of it is not ours. So the verdict on a line is taken from its labels alone, and lines that differ from one that was read
//! in the value of their last label only (the buckets of a histogram, the results of a counter) are not read again: one
//! comparison of bytes decides.
//!
//! A page that does not end as a page ends (no newline at the end, or the connection broke) is refused whole. The next
//! one comes with the next scrape and counters are cumulative, so nothing is lost by waiting, while half a page looks
//! like a counter that went back to zero.
//!
//! Facts: `kubernetes/kubernetes:pkg/kubelet/prober/{prober_manager,worker}.go`, v1.36; the text format 0.0.4 of
//! Prometheus. `prober_probe_total` names the pod's uid, `prober_probe_duration_seconds` does not: they are joined by
//! namespace, pod, container and type, and a duration series without its counter is not believed.

use super::exposition::{self, Reading, SERIES_LIMIT, count, float, labels};
pub use super::exposition::{PAGE_LIMIT, PageError};
use crate::observation::{Counters, EDGES, Sample};
use crate::probe::ProbeKind;
use crate::units::{Name, Uid};
use crate::workload::ProbeId;
use memchr::memchr;
use std::collections::HashMap;

/// Every edge of the kubelet's histogram was seen.
const ALL_EDGES: u16 = (1 << EDGES.len()) - 1;

/// What was left out of a page that was read, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Skipped {
    /// Lines of the kubelet's probe metrics that could not be read, or whose value is no count.
    pub malformed: u64,
    /// Buckets at edges which are not [`EDGES`].
    pub odd_edges: u64,
    /// Counters that name one of our pods with another uid: of its namesake that went before.
    pub strangers: u64,
    /// Probes of ours whose histogram is not whole, falls, or has no counter beside it.
    pub incomplete: u64,
}

/// A page that was read.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Page {
    /// One for each probe of our pods, ordered by pod, container and kind.
    pub samples: Vec<Sample>,
    /// What was left out.
    pub skipped: Skipped,
}

/// A page in the reading.
pub type Parser<L> = exposition::Parser<L, State>;

/// What was kept of a page so far.
#[derive(Debug, Default)]
pub struct State {
    series: Vec<Series>,
    /// The first series of a pod and kind; the others hang on it.
    index: HashMap<(Uid, ProbeKind), u32>,
    skipped: Skipped,
    /// The last bucket line up to and with `le="`.
    buckets: Head,
    /// The last counter up to and with `result="`.
    totals: Head,
    full: bool,
}

/// How lines begin that differ in the value of their last label only, and whose they are.
#[derive(Debug, Default)]
struct Head {
    text: Vec<u8>,
    /// Where its first label begins.
    labels: usize,
    /// The series; `None` for a pod that is none of ours.
    of: Option<u32>,
}

impl Head {
    fn remember(&mut self, text: &[u8], labels: usize, of: Option<u32>) {
        self.text.clear();
        self.text.extend_from_slice(text);
        (self.labels, self.of) = (labels, of);
    }

    /// What follows it in a line that begins so.
    fn tail<'a>(&self, line: &'a [u8]) -> Option<&'a [u8]> {
        if self.text.is_empty() { None } else { line.strip_prefix(self.text.as_slice()) }
    }

    /// What follows the labels of a line that has the same ones but for `le`.
    fn but_le<'a>(&self, labels: &'a [u8]) -> Option<&'a [u8]> {
        let own = self.text.get(self.labels..)?.strip_suffix(b",le=\"")?;
        labels.strip_prefix(own)?.strip_prefix(b"}")
    }
}

#[derive(Debug)]
struct Series {
    pod: Uid,
    kind: ProbeKind,
    container: Name,
    /// Of the same pod and kind, another container's.
    next: Option<u32>,
    counters: Counters,
    edges: u16,
    totals: bool,
    durations: bool,
    broken: bool,
}

/// Reads a whole page that is in memory already.
///
/// # Errors
/// As [`Parser::feed`] and [`Parser::finish`].
pub fn read(page: &[u8], lookup: impl FnMut(&str, &str) -> Option<Uid>) -> Result<Page, PageError> {
    exposition::read::<State>(page, lookup)
}

/// The three metrics that are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Metric {
    Total,
    Bucket,
    Count,
}

impl Reading for State {
    type Page = Page;

    fn line(&mut self, lookup: &mut impl FnMut(&str, &str) -> Option<Uid>, line: &[u8]) {
        if let Some(tail) = self.buckets.tail(line) {
            let Some(at) = self.buckets.of else { return };
            if let Some((edge, value)) = last_value(tail) {
                return self.bucket(at, edge, value);
            }
        }
        if let Some(tail) = self.totals.tail(line) {
            let Some(at) = self.totals.of else { return };
            if let Some((result, value)) = last_value(tail) {
                let read = self.total(at, result, value);
                self.skipped.malformed += u64::from(read.is_none());
                return;
            }
        }
        let Some(rest) = line.strip_prefix(b"prober_probe_") else { return };
        let Some(brace) = memchr(b'{', rest) else { return };
        let metric = match rest[..brace].trim_ascii_end() {
            b"total" => Metric::Total,
            b"duration_seconds_bucket" => Metric::Bucket,
            b"duration_seconds_count" => Metric::Count,
            _ => return,
        };
        let read = match self.buckets.but_le(&rest[brace + 1..]) {
            Some(value) if metric == Metric::Count => self.buckets.of.map_or(Some(()), |at| self.counted(at, value)),
            _ => self.sample(lookup, metric, line, line.len() - rest.len() + brace + 1),
        };
        self.skipped.malformed += u64::from(read.is_none());
    }

    fn full(&self) -> bool {
        self.full
    }

    fn finish(mut self) -> Page {
        let mut samples = Vec::with_capacity(self.series.len());
        for series in self.series {
            if !series.totals && !series.broken && series.counters.count == 0 {
                continue; // Only another pod's uid was counted, or the series is empty.
            }
            let counters = series.counters;
            let rising = counters.buckets.is_sorted() && counters.buckets[EDGES.len() - 1] <= counters.count;
            let whole = !series.durations || series.edges == ALL_EDGES;
            let counted = series.totals && (counters.count == 0 || counters.successful > 0);
            if rising && whole && counted && !series.broken {
                let probe = ProbeId { container: series.container, kind: series.kind };
                samples.push(Sample { pod: series.pod, probe, counters });
            } else {
                self.skipped.incomplete += 1;
            }
        }
        // No two are equal.
        samples.sort_unstable_by(|a, b| (a.pod, &a.probe).cmp(&(b.pod, &b.probe)));
        Page { samples, skipped: self.skipped }
    }
}

impl State {
    /// Reads a line of one of the three metrics, whose labels begin at `at`; `None` if it cannot be read.
    fn sample(
        &mut self,
        lookup: &mut impl FnMut(&str, &str) -> Option<Uid>,
        metric: Metric,
        line: &[u8],
        at: usize,
    ) -> Option<()> {
        let (labels, value) = labels(line, at)?;
        let namespace = std::str::from_utf8(labels.namespace?).ok()?;
        let pod = std::str::from_utf8(labels.pod?).ok()?;
        let ours = lookup(namespace, pod);
        let head = match (metric, labels.last) {
            (Metric::Bucket, (b"le", begin)) | (Metric::Total, (b"result", begin)) => Some(&line[..begin]),
            _ => None,
        };
        let Some(uid) = ours else {
            self.remember(metric, head, at, None);
            return Some(());
        };
        let kind = match labels.probe_type? {
            b"Liveness" => ProbeKind::Liveness,
            b"Readiness" => ProbeKind::Readiness,
            b"Startup" => ProbeKind::Startup,
            _ => return None,
        };
        if metric == Metric::Total {
            let named = labels.pod_uid.and_then(|u| std::str::from_utf8(u).ok()).and_then(Uid::parse);
            if named != Some(uid) {
                self.skipped.strangers += 1;
                return Some(());
            }
        }
        let container = std::str::from_utf8(labels.container?).ok()?;
        let place = self.series(uid, kind, container)?;
        self.remember(metric, head, at, Some(place));
        match metric {
            Metric::Bucket => self.bucket(place, labels.le?, value),
            Metric::Count => self.counted(place, value)?,
            Metric::Total => self.total(place, labels.result.unwrap_or_default(), value)?,
        }
        Some(())
    }

    /// Remembers how a line of a metric begins up to the value of its last label, its labels from `at` on.
    fn remember(&mut self, metric: Metric, head: Option<&[u8]>, at: usize, of: Option<u32>) {
        let Some(head) = head else { return };
        match metric {
            Metric::Bucket => self.buckets.remember(head, at, of),
            Metric::Total => self.totals.remember(head, at, of),
            Metric::Count => {}
        }
    }

    /// How many checks a histogram counted.
    fn counted(&mut self, at: u32, value: &[u8]) -> Option<()> {
        let series = self.series.get_mut(at as usize)?;
        series.durations = true;
        let count = count(value);
        series.broken |= count.is_none();
        series.counters.count = count?;
        Some(())
    }

    /// How many checks had a result.
    fn total(&mut self, at: u32, result: &[u8], value: &[u8]) -> Option<()> {
        let series = self.series.get_mut(at as usize)?;
        series.totals = true;
        let count = count(value);
        series.broken |= count.is_none();
        match result {
            b"successful" => series.counters.successful = count?,
            b"failed" => series.counters.failed = count?,
            // `unknown` is never counted up by any kubelet read; another word would be news.
            b"unknown" => _ = count?,
            _ => return None,
        }
        Some(())
    }

    fn bucket(&mut self, at: u32, edge: &[u8], value: &[u8]) {
        let Some(series) = self.series.get_mut(at as usize) else { return };
        series.durations = true;
        let place = match edge {
            b"0.005" => 0,
            b"0.01" => 1,
            b"0.025" => 2,
            b"0.05" => 3,
            b"0.1" => 4,
            b"0.25" => 5,
            b"0.5" => 6,
            b"1" => 7,
            b"2.5" => 8,
            b"5" => 9,
            b"10" => 10,
            b"+Inf" => return,
            other => match float(other).map(|edge| EDGES.iter().position(|e| *e == edge)) {
                Some(Some(place)) => place,
                Some(None) => {
                    self.skipped.odd_edges += 1;
                    return;
                }
                None => {
                    self.skipped.malformed += 1;
                    return;
                }
            },
        };
        match count(value) {
            Some(count) => {
                series.counters.buckets[place] = count;
                series.edges |= 1 << place;
            }
            None => {
                series.broken = true;
                self.skipped.malformed += 1;
            }
        }
    }

    /// The place of this probe's series, made if it is new; `None` when there are too many.
    fn series(&mut self, pod: Uid, kind: ProbeKind, container: &str) -> Option<u32> {
        let (mut place, mut last) = (self.index.get(&(pod, kind)).copied(), None);
        while let Some(at) = place {
            let series = self.series.get(at as usize)?;
            if *series.container == *container {
                return Some(at);
            }
            (place, last) = (series.next, Some(at));
        }
        if self.series.len() >= SERIES_LIMIT {
            self.full = true;
            return None;
        }
        let at = u32::try_from(self.series.len()).ok()?;
        match last.and_then(|last| self.series.get_mut(last as usize)) {
            Some(last) => last.next = Some(at),
            None => drop(self.index.insert((pod, kind), at)),
        }
        // A page is sorted by container before all else.
        let name = self.series.last().map(|s| &s.container).filter(|name| ***name == *container);
        self.series.push(Series {
            pod,
            kind,
            container: name.cloned().unwrap_or_else(|| Name::from(container)),
            next: None,
            counters: Counters::default(),
            edges: 0,
            totals: false,
            durations: false,
            broken: false,
        });
        Some(at)
    }
}

/// Splits what follows a [`Head`] in the kubelet's own form, `0.25"} 20`, into the last label's value and the sample's.
fn last_value(tail: &[u8]) -> Option<(&[u8], &[u8])> {
    let quote = memchr(b'"', tail)?;
    let value = tail[quote + 1..].strip_prefix(b"} ")?;
    Some((&tail[..quote], value))
}

#[cfg(test)]
mod tests;
