//! One workload's history within a budget: raw series, window by window from the newest, put together again into what
//! each page of a kubelet said.
//!
//! All series of one page carry the moment of its scrape, so a counter and its histogram, which has no `pod_uid`, are
//! joined by pod name and moment. Where several scrapers saw the same pod (two Prometheus replicas, two jobs), the one
//! with most samples in the window is believed and the others are counted: their labels differ, their counters do not.

use super::answer::{Answer, Series};
use super::client::{Error, Server, Spent};
use super::select::{Pods, quoted};
use crate::observation::{Counters, EDGES};
use crate::probe::ProbeKind;
use crate::units::{Name, Span, Timestamp, Uid};
use crate::workload::ProbeId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What may be asked for one workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Most questions.
    pub queries: u32,
    /// Most samples: a pod and probe has 15 series, a container with a CPU limit two, so 100,000 a day at a scrape each 15 s.
    pub samples: u64,
    /// The longest answer, in bytes; a sample has about 30.
    pub answer_bytes: usize,
    /// How long one answer may take.
    pub timeout: Duration,
}

impl Budget {
    /// For a person who waits: 500 questions, 20 million samples (two weeks of eight pods with two probes each),
    /// answers up to 64 MiB, half a minute for each.
    pub const fn generous() -> Budget {
        Budget { queries: 500, samples: 20_000_000, answer_bytes: 64 << 20, timeout: Duration::from_secs(30) }
    }
}

/// The first window: what it brings tells how long the next may be.
const FIRST: Span = Span::from_seconds(300);
/// The longest window: an empty stretch is passed in few questions.
const LONGEST: Span = Span::DAY;
/// The shortest: a server that cannot answer a minute of one workload cannot be asked.
const SHORTEST: Span = Span::MINUTE;
/// Samples that an answer should have: some 12 MB.
const AIM: u64 = 400_000;
/// Most different warnings of the server that are kept.
const MOST_WARNINGS: usize = 10;

/// The metrics that are asked for. Two are cAdvisor's and the last four kube-state-metrics': where those are not scraped,
/// they are missing.
const NAMES: [&str; 9] = [
    "prober_probe_total",
    "prober_probe_duration_seconds_bucket",
    "prober_probe_duration_seconds_count",
    "container_cpu_cfs_periods_total",
    "container_cpu_cfs_throttled_periods_total",
    "kube_pod_container_status_restarts_total",
    "kube_pod_container_status_last_terminated_reason",
    "kube_pod_container_status_last_terminated_exitcode",
    "kube_pod_container_state_started",
];

/// cAdvisor also counts whole pods, without a container's name.
const CONTAINERS: &str = "container!=\"\"";

/// Labels that name a series within one scraper's view; all others name the scraper.
const OWN: [&str; 9] = ["__name__", "namespace", "pod", "pod_uid", "container", "probe_type", "result", "le", "reason"];

/// What a kubelet's page said of one probe at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When it was scraped.
    pub at: Timestamp,
    /// The counters.
    pub counters: Counters,
}

/// One probe of one pod over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// The pod's name.
    pub pod: Name,
    /// Its node, by the label `node`, else the scraped address.
    pub node: Option<Name>,
    /// Rising in time, each moment once.
    pub moments: Vec<Moment>,
}

/// What kube-state-metrics said of one container at one moment; what it did not say is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Restarts {
    /// `restartCount`.
    pub count: Option<u64>,
    /// `lastState.terminated.reason`.
    pub reason: Option<Name>,
    /// `lastState.terminated.exitCode`.
    pub code: Option<i32>,
    /// `state.running.startedAt`.
    pub running_since: Option<Timestamp>,
}

/// What came and could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Skipped {
    /// Samples that were no count.
    pub malformed: u64,
    /// Series without the labels that a kubelet gives.
    pub strangers: u64,
    /// Moments without their whole histogram, or whose parts contradict each other.
    pub incomplete: u64,
    /// Moments at which successes were counted and no histogram was kept at all.
    pub without_durations: u64,
    /// Moments at which one name stood for two pods, whose histogram is then nobody's.
    pub ambiguous: u64,
    /// Moments that another scraper saw as well.
    pub twice: u64,
}

/// One workload's history.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct History {
    /// From when on it was asked for and answered.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Each probe of each pod.
    pub tracks: BTreeMap<(Uid, ProbeId), Track>,
    /// Each container of each pod, where kube-state-metrics was kept.
    pub restarts: BTreeMap<(Uid, Name), BTreeMap<Timestamp, Restarts>>,
    /// How often each container was throttled, by the pod's name, where cAdvisor was scraped: CFS periods, throttled ones.
    pub throttling: BTreeMap<(Name, Name), BTreeMap<Timestamp, (u64, u64)>>,
    /// What it took.
    pub spent: Spent,
    /// What could not be used.
    pub skipped: Skipped,
    /// Why it does not reach back as far as was asked, if so.
    pub cut: Option<String>,
    /// What the server said besides: partial answers, above all.
    pub warnings: BTreeSet<String>,
}

/// Asks for the history of a workload's pods in a namespace from `from` until `until`.
///
/// # Errors
/// When nothing at all was answered. What was answered before something went wrong is kept, and [`History::cut`] says
/// what is missing.
pub async fn fetch(
    server: &Server,
    namespace: &str,
    pods: &Pods,
    (from, until): (Timestamp, Timestamp),
    budget: &Budget,
) -> Result<History, Error> {
    let selector = format!(
        "{{__name__=~{},namespace={},pod=~{},{CONTAINERS}}}",
        quoted(&NAMES.join("|")),
        quoted(namespace),
        quoted(&pods.pattern())
    );
    let mut history = History { from: until, until, ..History::default() };
    let mut width = FIRST;
    while history.from > from {
        let end = history.from;
        width = whole(width.min(end.since(from)));
        let before = history.spent.samples;
        let query = format!("{selector}[{}s]", width.floor_seconds());
        match server.query(&query, end, budget, &mut history.spent).await {
            Ok(answer) => {
                history.absorb(namespace, answer);
                history.from = end - width;
            }
            Err(error) if error.asks_for_less() && width > SHORTEST => {
                width = Span::from_nanos(width.nanos() / 2).max(SHORTEST);
                continue;
            }
            Err(error) if end == until => return Err(error),
            Err(error) => {
                history.cut = Some(first_line(&error));
                break;
            }
        }
        match next(width, history.spent.samples - before, budget.samples.saturating_sub(history.spent.samples)) {
            Some(longer) => width = longer,
            None if history.from > from => {
                history.cut = Some(format!("the budget of {} samples is used up", budget.samples));
                break;
            }
            None => {}
        }
    }
    history.from = history.from.max(from);
    for track in history.tracks.values_mut() {
        // Windows may share the moment between them.
        track.moments.sort_by_key(|m| m.at);
        track.moments.dedup_by_key(|m| m.at);
    }
    Ok(history)
}

/// Asks for all samples of a namespace's probes in the `window` before `until`, in one question.
///
/// # Errors
/// [`Error`].
pub async fn latest(
    server: &Server,
    namespace: &str,
    window: Span,
    until: Timestamp,
    budget: &Budget,
) -> Result<History, Error> {
    let names = NAMES[..5].join("|");
    let window = whole(window);
    let query = format!(
        "{{__name__=~{},namespace={},{CONTAINERS}}}[{}s]",
        quoted(&names),
        quoted(namespace),
        window.floor_seconds()
    );
    let mut history = History { from: until - window, until, ..History::default() };
    let answer = server.query(&query, until, budget, &mut history.spent).await?;
    history.absorb(namespace, answer);
    Ok(history)
}

/// The next window, after one of this width brought `n` samples and `left` may still come; `None` when that is nothing.
fn next(width: Span, n: u64, left: u64) -> Option<Span> {
    if n == 0 {
        return Some((width * 4).min(LONGEST));
    }
    // Windows share a moment, and a morning has more pods than the night before it: a twentieth is left for that.
    let seconds = width.as_secs_f64() * AIM.min(left - left / 20) as f64 / n as f64;
    let next = Span::from_seconds(seconds as i64).min(width * 4).min(LONGEST);
    (next >= SHORTEST).then_some(next)
}

/// Whole seconds, rounded up: two windows may share a second, and none is left out.
fn whole(width: Span) -> Span {
    Span::from_seconds(width.ceil_seconds().max(1))
}

fn first_line(error: &Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

/// One probe of one pod's name as one scraper saw it, in one window.
#[derive(Default)]
struct Slot {
    node: Option<Name>,
    points: BTreeMap<i64, Point>,
}

/// CFS periods and throttled ones by moment, of each container of each pod's name.
type Quotas = BTreeMap<(Name, Name), BTreeMap<i64, [Option<u64>; 2]>>;

/// The parts of a page that are known of one moment.
#[derive(Clone, Copy, Default)]
struct Point {
    pod: Option<Uid>,
    two_pods: bool,
    counters: Counters,
    edges: u16,
    totals: bool,
    count: bool,
}

/// Every edge of the kubelet's histogram was seen.
const ALL_EDGES: u16 = (1 << EDGES.len()) - 1;

impl History {
    fn absorb(&mut self, namespace: &str, answer: Answer) {
        self.skipped.malformed += answer.malformed;
        let room = MOST_WARNINGS.saturating_sub(self.warnings.len());
        self.warnings.extend(answer.warnings.into_iter().take(room));
        let mut slots: BTreeMap<(Name, Name, ProbeKind), BTreeMap<String, Slot>> = BTreeMap::new();
        let mut quotas = Quotas::new();
        for series in answer.series {
            let placed = match series.labels.get("__name__").map(String::as_str) {
                // A server that was asked for one namespace and answers of another is not believed.
                _ if series.labels.get("namespace").is_none_or(|n| n != namespace) => None,
                Some(name) if name.starts_with("prober_probe_") => self.probe(name, &series, &mut slots),
                Some(name) if name.starts_with("container_cpu_cfs_") => self.quota(name, &series, &mut quotas),
                Some(name) if name.starts_with("kube_pod_container_") => self.container(name, &series),
                _ => None,
            };
            if placed.is_none() {
                self.skipped.strangers += 1;
            }
        }
        for ((pod, container, kind), sources) in slots {
            let all: usize = sources.values().map(|s| s.points.len()).sum();
            // The first of the largest: the same answer gives the same choice.
            let Some(best) = sources.into_values().rev().max_by_key(|s| s.points.len()) else { continue };
            self.skipped.twice += (all - best.points.len()) as u64;
            self.keep(&pod, &ProbeId { container, kind }, best);
        }
        for ((pod, container), told) in quotas {
            // One half is as good as none.
            let whole =
                told.into_iter().filter_map(|(at, [periods, throttled])| Some((moment(at), (periods?, throttled?))));
            self.throttling.entry((pod, container)).or_default().extend(whole);
        }
        // Containers' states stand for days: only their changes are kept.
        for told in self.restarts.values_mut() {
            let mut last: Option<Restarts> = None;
            told.retain(|_, now| last.replace(now.clone()).as_ref() != Some(now));
        }
    }

    /// A series of a kubelet's page; `None` if it is no such.
    fn probe(
        &mut self,
        name: &str,
        series: &Series,
        slots: &mut BTreeMap<(Name, Name, ProbeKind), BTreeMap<String, Slot>>,
    ) -> Option<()> {
        let label = |name: &str| series.labels.get(name).map(String::as_str);
        let kind = label("probe_type").and_then(|t| ProbeKind::ALL.into_iter().find(|k| k.name() == t))?;
        let key = (Name::from(label("pod")?), Name::from(label("container")?), kind);
        let set: Box<dyn Fn(&mut Point, u64)> = match name {
            "prober_probe_total" => {
                let pod = Uid::parse(label("pod_uid")?)?;
                let field: fn(&mut Counters) -> Option<&mut u64> = match label("result")? {
                    "successful" => |c| Some(&mut c.successful),
                    "failed" => |c| Some(&mut c.failed),
                    _ => |_| None,
                };
                Box::new(move |point, n| {
                    point.two_pods |= point.pod.is_some_and(|other| other != pod);
                    point.pod = Some(pod);
                    point.totals = true;
                    if let Some(slot) = field(&mut point.counters) {
                        *slot = n;
                    }
                })
            }
            "prober_probe_duration_seconds_count" => Box::new(|point, n| {
                point.count = true;
                point.counters.count = n;
            }),
            "prober_probe_duration_seconds_bucket" => {
                let edge: f64 = label("le")?.parse().ok()?;
                let Some(at) = EDGES.iter().position(|e| *e == edge) else { return Some(()) };
                Box::new(move |point, n| {
                    point.edges |= 1 << at;
                    point.counters.buckets[at] = n;
                })
            }
            _ => return None,
        };
        let mut source = String::new();
        for (name, value) in series.labels.iter().filter(|(name, _)| !OWN.contains(&name.as_str())) {
            source.extend([name.as_str(), "\u{0}", value, "\u{0}"]);
        }
        let slot = slots.entry(key).or_default().entry(source).or_default();
        if slot.node.is_none() {
            slot.node = label("node").or_else(|| label("instance")).map(Name::from);
        }
        for (at, value) in &series.samples {
            match count(*value) {
                Some(n) => set(slot.points.entry(*at).or_default(), n),
                None => self.skipped.malformed += 1,
            }
        }
        Some(())
    }

    /// A series of cAdvisor; `None` if it is no such. Its samples carry the moments at which it looked, so that several
    /// scrapers say the same of the same moment; a life that begins anew counts from zero, and is told apart by that.
    fn quota(&mut self, name: &str, series: &Series, quotas: &mut Quotas) -> Option<()> {
        let label = |name: &str| series.labels.get(name).filter(|l| !l.is_empty()).map(|l| Name::from(l.as_str()));
        let place = match name {
            "container_cpu_cfs_periods_total" => 0,
            "container_cpu_cfs_throttled_periods_total" => 1,
            _ => return None,
        };
        let told = quotas.entry((label("pod")?, label("container")?)).or_default();
        for (at, value) in &series.samples {
            match count(*value) {
                Some(n) => told.entry(*at).or_default()[place] = Some(n),
                None => self.skipped.malformed += 1,
            }
        }
        Some(())
    }

    /// A series of kube-state-metrics; `None` if it is no such.
    fn container(&mut self, name: &str, series: &Series) -> Option<()> {
        let label = |name: &str| series.labels.get(name).map(String::as_str);
        let key = (Uid::parse(label("uid")?)?, Name::from(label("container")?));
        let reason = label("reason").map(Name::from);
        let told = self.restarts.entry(key).or_default();
        for (at, value) in &series.samples {
            let moment = told.entry(moment(*at)).or_default();
            match name {
                "kube_pod_container_status_restarts_total" => moment.count = count(*value),
                "kube_pod_container_status_last_terminated_reason" if *value == 1.0 => {
                    moment.reason.clone_from(&reason);
                }
                "kube_pod_container_status_last_terminated_exitcode" => moment.code = Some(*value as i32),
                "kube_pod_container_state_started" => {
                    moment.running_since = count(*value)
                        .and_then(|s| i64::try_from(s).ok())
                        .filter(|s| *s > 0)
                        .map(Timestamp::from_seconds);
                }
                _ => {}
            }
        }
        Some(())
    }

    fn keep(&mut self, pod: &Name, probe: &ProbeId, slot: Slot) {
        for (at, point) in slot.points {
            let Counters { successful, buckets, count, .. } = point.counters;
            let Some(uid) = point.pod.filter(|_| point.totals) else {
                self.skipped.incomplete += 1;
                continue;
            };
            if point.two_pods {
                self.skipped.ambiguous += 1;
                continue;
            }
            let durations = point.count || point.edges != 0;
            let whole = !durations || (point.count && point.edges == ALL_EDGES);
            let rising = buckets.is_sorted() && buckets[EDGES.len() - 1] <= count;
            let counted = count == 0 || successful > 0;
            if successful > 0 && !durations {
                self.skipped.without_durations += 1;
            } else if whole && rising && counted {
                let track = self.tracks.entry((uid, probe.clone())).or_insert_with(|| Track {
                    pod: pod.clone(),
                    node: slot.node.clone(),
                    moments: Vec::new(),
                });
                track.moments.push(Moment { at: moment(at), counters: point.counters });
            } else {
                self.skipped.incomplete += 1;
            }
        }
    }
}

fn moment(millis: i64) -> Timestamp {
    Timestamp::from_nanos(millis.saturating_mul(1_000_000))
}

/// A value as a count; `None` for what is none: negative, broken, beyond the integers that a float holds exactly.
fn count(value: f64) -> Option<u64> {
    (0.0..9_007_199_254_740_992.0).contains(&value).then(|| value.round() as u64)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const POD: &str = "17e2dc72-8979-44e1-8b7d-04d35ceec5a3";

    fn series(name: &str, labels: &[(&str, &str)], samples: &[(i64, f64)]) -> Series {
        let common = [
            ("__name__", name),
            ("namespace", "shop"),
            ("pod", "web-0"),
            ("container", "app"),
            ("probe_type", "Liveness"),
        ];
        let labels = common.iter().chain(labels).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Series { labels, samples: samples.to_vec() }
    }

    /// A whole page at each of these moments: `n` successes, all below 5 ms.
    fn page(labels: &[(&str, &str)], at: &[(i64, f64)]) -> Vec<Series> {
        let with = |more: &[(&'static str, &'static str)]| -> Vec<(&str, &str)> {
            labels.iter().copied().chain(more.iter().copied()).collect()
        };
        let mut all = vec![
            series("prober_probe_total", &with(&[("result", "successful"), ("pod_uid", POD)]), at),
            series("prober_probe_duration_seconds_count", labels, at),
        ];
        for le in ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5.0", "10", "+Inf"] {
            all.push(series("prober_probe_duration_seconds_bucket", &with(&[("le", le)]), at));
        }
        all
    }

    fn history(series: Vec<Series>) -> History {
        let mut history = History::default();
        history.absorb("shop", Answer { series, ..Answer::default() });
        history
    }

    fn only(history: &History) -> Vec<(i64, u64)> {
        history.tracks.values().flat_map(|t| &t.moments).map(|m| (m.at.nanos() / 1_000_000, m.counters.count)).collect()
    }

    #[test]
    fn a_page_is_put_together_again_by_pod_name_and_moment() {
        let h = history(page(&[("job", "kubelet"), ("node", "n1")], &[(1_000, 3.0), (16_000, 4.0)]));
        assert_eq!(only(&h), [(1_000, 3), (16_000, 4)]);
        let track = h.tracks.values().next().unwrap();
        assert_eq!((track.node.as_deref(), &*track.pod), (Some("n1"), "web-0"));
        assert_eq!(track.moments[0].counters.buckets, [3; 11]);
        assert_eq!(h.skipped, Skipped::default());
    }

    #[test]
    fn of_two_scrapers_the_one_that_saw_more_is_believed() {
        let mut both = page(&[("replica", "a")], &[(1_000, 3.0)]);
        both.extend(page(&[("replica", "b")], &[(1_400, 3.0), (16_400, 4.0)]));
        let h = history(both);
        assert_eq!(only(&h), [(1_400, 3), (16_400, 4)]);
        assert_eq!(h.skipped.twice, 1);
    }

    #[test]
    fn half_a_histogram_is_no_page_and_none_at_all_is_named() {
        let mut half = page(&[], &[(1_000, 3.0)]);
        half.remove(5);
        assert_eq!((only(&history(half.clone())).len(), history(half).skipped.incomplete), (0, 1));
        let bare = page(&[], &[(1_000, 3.0)]).into_iter().take(1).collect();
        assert_eq!(history(bare).skipped, Skipped { without_durations: 1, ..Skipped::default() });
    }

    #[test]
    fn one_name_for_two_pods_at_once_is_nobodys_histogram() {
        let mut two = page(&[], &[(1_000, 3.0)]);
        two.push(series(
            "prober_probe_total",
            &[("result", "failed"), ("pod_uid", "00000000-0000-0000-0000-000000000001")],
            &[(1_000, 1.0)],
        ));
        let h = history(two);
        assert_eq!((only(&h).len(), h.skipped.ambiguous), (0, 1));
    }

    #[test]
    fn what_was_not_asked_for_is_not_taken() {
        let mut foreign = page(&[], &[(1_000, 3.0)]);
        for s in &mut foreign {
            s.labels.insert("namespace".into(), "bank".into());
        }
        let n = foreign.len() as u64;
        assert_eq!(history(foreign).skipped.strangers, n);
        let odd = vec![
            series("prober_probe_total", &[("result", "failed"), ("pod_uid", "static-7f")], &[(1, 1.0)]),
            series("up", &[], &[(1, 1.0)]),
        ];
        assert_eq!(history(odd).skipped.strangers, 2);
    }

    #[test]
    fn throttled_periods_are_put_together_by_the_moment_at_which_cadvisor_looked() {
        let of = |name: &str, at: &[(i64, f64)]| series(name, &[("id", "/kubepods/pod1/8f3")], at);
        let h = history(vec![
            of("container_cpu_cfs_periods_total", &[(1_000, 100.0), (16_000, 250.0), (31_000, 400.0)]),
            of("container_cpu_cfs_throttled_periods_total", &[(1_000, 10.0), (16_000, 90.0)]),
        ]);
        let told: Vec<_> = h.throttling.iter().map(|((pod, container), t)| (&**pod, &**container, t.len())).collect();
        assert_eq!(told, [("web-0", "app", 2)]);
        let last = h.throttling.values().next().unwrap().last_key_value().unwrap();
        assert_eq!(last, (&Timestamp::from_seconds(16), &(250, 90)));
    }

    #[test]
    fn windows_grow_where_little_comes_and_shrink_to_what_is_left() {
        let hour = Span::HOUR;
        assert_eq!(next(hour, 0, u64::MAX), Some(hour * 4));
        assert_eq!(next(hour, 200_000, u64::MAX), Some(hour * 2));
        assert_eq!(next(hour, 800_000, u64::MAX), Some(Span::MINUTE * 30));
        assert_eq!(next(hour, 190_000, 100_000), Some(Span::MINUTE * 30));
        assert_eq!(next(hour, 200_000, 3_000), None);
        assert_eq!(next(hour, 1, u64::MAX), Some(hour * 4));
        assert_eq!(next(Span::DAY, 0, u64::MAX), Some(Span::DAY));
    }
}
