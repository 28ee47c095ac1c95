//! Reads the kubelet's `/metrics/cadvisor` page: of its hundred metrics a container, the two that tell how often a
//! container with a CPU limit was throttled.
//!
//! Every other line costs the comparison of its first bytes. Containers without a limit have no such series, and those of
//! foreign pods are dropped by their labels; a page that does not end as a page ends is refused whole, as in `page`.
//!
//! Facts: `google/cadvisor:metrics/prometheus.go`, v0.56, and `kubernetes/kubernetes:pkg/kubelet/server/server.go`,
//! v1.36: the labels are container, id, image, name, namespace and pod, empty where there is none, and each sample
//! carries the moment at which cAdvisor looked, in milliseconds. There is no label for the pod's uid: it stands in the
//! path of the cgroup, `id`, in one of two spellings. For a moment after a restart both lives of a container may be on
//! the page; the one that was looked at last is the one that runs.

use super::exposition::{self, Reading, SERIES_LIMIT, count, labels};
pub use super::exposition::{PAGE_LIMIT, PageError};
use crate::observation::Throttling;
use crate::units::{Name, Uid};
use memchr::{memchr, memmem};
use std::collections::HashMap;

/// The length of a uid as text.
const UID: usize = 36;

/// What was left out of a page that was read, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Skipped {
    /// Lines of the two metrics that could not be read, or whose value is no count.
    pub malformed: u64,
    /// Those in the cgroup of a namesake of one of our pods.
    pub strangers: u64,
    /// Containers of which one of the two is missing, or of which nobody can say which of two lives runs.
    pub incomplete: u64,
}

/// A page that was read.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Page {
    /// One for each container of our pods that has a CPU limit, ordered by pod and container.
    pub throttling: Vec<Throttling>,
    /// What was left out.
    pub skipped: Skipped,
}

/// A page in the reading.
pub type Parser<L> = exposition::Parser<L, State>;

/// What was kept of a page so far.
#[derive(Debug, Default)]
pub struct State {
    series: Vec<Series>,
    index: HashMap<Uid, Vec<u32>>,
    skipped: Skipped,
    full: bool,
}

/// One life of a container.
#[derive(Debug)]
struct Series {
    pod: Uid,
    container: Name,
    id: Box<[u8]>,
    /// When cAdvisor looked, in milliseconds; 0 where it does not say.
    at: i64,
    periods: Option<u64>,
    throttled: Option<u64>,
}

/// Reads a whole page that is in memory already.
///
/// # Errors
/// As [`Parser::feed`] and [`Parser::finish`].
pub fn read(page: &[u8], lookup: impl FnMut(&str, &str) -> Option<Uid>) -> Result<Page, PageError> {
    exposition::read::<State>(page, lookup)
}

impl Reading for State {
    type Page = Page;

    fn line(&mut self, lookup: &mut impl FnMut(&str, &str) -> Option<Uid>, line: &[u8]) {
        let Some(rest) = line.strip_prefix(b"container_cpu_cfs_") else { return };
        let Some(brace) = memchr(b'{', rest) else { return };
        let field: fn(&mut Series) -> &mut Option<u64> = match rest[..brace].trim_ascii_end() {
            b"periods_total" => |s| &mut s.periods,
            b"throttled_periods_total" => |s| &mut s.throttled,
            _ => return,
        };
        if self.sample(lookup, field, line, line.len() - rest.len() + brace + 1).is_none() {
            self.skipped.malformed += 1;
        }
    }

    fn full(&self) -> bool {
        self.full
    }

    fn finish(mut self) -> Page {
        // The life that was looked at last comes last.
        self.series.sort_by(|a, b| (a.pod, &a.container, a.at).cmp(&(b.pod, &b.container, b.at)));
        let mut page = Page { throttling: Vec::with_capacity(self.series.len()), skipped: self.skipped };
        for lives in self.series.chunk_by(|a, b| (a.pod, &a.container) == (b.pod, &b.container)) {
            let Some((last, before)) = lives.split_last() else { continue };
            let alone = before.last().is_none_or(|other| other.at < last.at);
            match (last.periods, last.throttled) {
                (Some(periods), Some(throttled)) if alone && throttled <= periods => {
                    let container = last.container.clone();
                    page.throttling.push(Throttling { pod: last.pod, container, periods, throttled });
                }
                _ => page.skipped.incomplete += 1,
            }
        }
        page
    }
}

impl State {
    /// Reads a line of one of the two metrics, whose labels begin at `at`; `None` if it cannot be read.
    fn sample(
        &mut self,
        lookup: &mut impl FnMut(&str, &str) -> Option<Uid>,
        field: fn(&mut Series) -> &mut Option<u64>,
        line: &[u8],
        at: usize,
    ) -> Option<()> {
        let (labels, value) = labels(line, at)?;
        let Some(pod) = lookup(text(labels.namespace)?, text(labels.pod)?) else { return Some(()) };
        // That of the whole pod has no container's name.
        let container = text(labels.container)?;
        if container.is_empty() {
            return Some(());
        }
        let id = labels.id.unwrap_or_default();
        if pod_of(id).is_some_and(|other| other != pod) {
            self.skipped.strangers += 1;
            return Some(());
        }
        let (value, moment) = (count(value)?, moment(value)?);
        let series = self.series(pod, container, id)?;
        series.at = series.at.max(moment);
        *field(series) = Some(value);
        Some(())
    }

    /// The series of this life of a container, made if it is new; `None` when there are too many.
    fn series(&mut self, pod: Uid, container: &str, id: &[u8]) -> Option<&mut Series> {
        let places = self.index.entry(pod).or_default();
        let known = places
            .iter()
            .map(|at| *at as usize)
            .find(|at| self.series.get(*at).is_some_and(|s| *s.container == *container && *s.id == *id));
        if let Some(at) = known {
            return self.series.get_mut(at);
        }
        if self.series.len() >= SERIES_LIMIT {
            self.full = true;
            return None;
        }
        places.push(u32::try_from(self.series.len()).ok()?);
        let (container, id) = (Name::from(container), Box::from(id));
        self.series.push(Series { pod, container, id, at: 0, periods: None, throttled: None });
        self.series.last_mut()
    }
}

/// A label's value; one that is missing is as good as empty.
fn text(label: Option<&[u8]>) -> Option<&str> {
    std::str::from_utf8(label.unwrap_or_default()).ok()
}

/// The moment behind a value, in milliseconds; 0 where there is none, `None` where it cannot be read.
fn moment(value: &[u8]) -> Option<i64> {
    let mut parts = value.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty());
    match parts.nth(1) {
        None => Some(0),
        Some(moment) => std::str::from_utf8(moment).ok()?.parse().ok(),
    }
}

/// The pod whose cgroup it is: `/kubepods/burstable/pod1b16a0bd-…/…`, or, as systemd names slices,
/// `…-pod1b16a0bd_d8de_….slice/…`; `None` of other paths.
fn pod_of(id: &[u8]) -> Option<Uid> {
    memmem::find_iter(id, b"pod").find_map(|at| {
        let mut uid: [u8; UID] = id.get(at + 3..at + 3 + UID)?.try_into().ok()?;
        uid.iter_mut().filter(|b| **b == b'_').for_each(|b| *b = b'-');
        Uid::parse(std::str::from_utf8(&uid).ok()?)
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const WEB: &str = "17e2dc72-8979-44e1-8b7d-04d35ceec5a3";
    const OTHER: &str = "1b16a0bd-d8de-4202-8b64-759b66335ba3";

    fn ours(namespace: &str, pod: &str) -> Option<Uid> {
        (namespace == "shop" && pod == "web-0").then(|| Uid::parse(WEB).unwrap())
    }

    fn line(metric: &str, container: &str, id: &str, value: &str) -> String {
        format!(
            "container_cpu_cfs_{metric}_total{{container=\"{container}\",id=\"{id}\",image=\"example/web:1\",name=\"8f3\",namespace=\"shop\",pod=\"web-0\"}} {value}\n"
        )
    }

    fn both(container: &str, id: &str, periods: &str, throttled: &str) -> String {
        line("periods", container, id, periods) + &line("throttled_periods", container, id, throttled)
    }

    /// `app 1200 400`, and what was left out.
    fn found(page: &str) -> (Vec<String>, Skipped) {
        let page = read(page.as_bytes(), ours).unwrap();
        let short = |t: &Throttling| {
            assert_eq!(t.pod.to_string(), WEB);
            format!("{} {} {}", t.container, t.periods, t.throttled)
        };
        (page.throttling.iter().map(short).collect(), page.skipped)
    }

    #[test]
    fn both_counters_of_a_container_are_one_fact() {
        let id = format!("/kubepods/burstable/pod{WEB}/8f3");
        let page = both("app", &id, "1200 1764105151123", "400 1764105151123")
            + &both("", &format!("/kubepods/burstable/pod{WEB}"), "1300 1764105151123", "410 1764105151123")
            + &both("log", &id, "3 1764105151123", "0 1764105151123");
        assert_eq!(found(&page), (vec!["app 1200 400".into(), "log 3 0".into()], Skipped::default()));
        // As a server without moments would write it.
        assert_eq!(found(&both("app", &id, "1200", "4e2")).0, ["app 1200 400"]);
    }

    #[test]
    fn of_two_lives_of_a_container_the_one_that_was_looked_at_last_runs() {
        let life = |id: &str, at: &str| {
            both("app", &format!("/kubepods/pod{WEB}/{id}"), &format!("90{id} {at}"), &format!("7 {at}"))
        };
        assert_eq!(found(&(life("1", "2000") + &life("2", "3000"))).0, ["app 902 7"]);
        assert_eq!(found(&(life("2", "3000") + &life("1", "2000"))).0, ["app 902 7"]);
        let unsure = found(&(life("1", "3000") + &life("2", "3000")));
        assert_eq!(unsure, (vec![], Skipped { incomplete: 1, ..Skipped::default() }));
    }

    #[test]
    fn a_namesake_in_another_cgroup_is_not_believed_in_either_spelling() {
        let slice = |uid: &str| {
            let uid = uid.replace('-', "_");
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice/cri-containerd-8f3.scope"
            )
        };
        assert_eq!(found(&both("app", &slice(WEB), "12 1", "4 1")).0, ["app 12 4"]);
        for id in [slice(OTHER), format!("/kubepods/pod{OTHER}/8f3")] {
            assert_eq!(
                found(&both("app", &id, "12 1", "4 1")),
                (vec![], Skipped { strangers: 2, ..Skipped::default() })
            );
        }
        // A path that names no pod says nothing against it.
        assert_eq!(found(&both("app", "/docker/8f3", "12 1", "4 1")).0, ["app 12 4"]);
    }

    #[test]
    fn half_a_pair_and_what_is_no_count_is_not_told() {
        let id = format!("/kubepods/pod{WEB}/8f3");
        assert_eq!(found(&line("periods", "app", &id, "12 1")).1.incomplete, 1);
        assert_eq!(found(&both("app", &id, "3 1", "4 1")).1.incomplete, 1);
        for value in ["-1 1", "NaN 1", "many 1", "12 soon", ""] {
            assert_eq!(found(&line("periods", "app", &id, value)).1.malformed, 1, "{value}");
        }
    }

    #[test]
    fn a_page_that_is_cut_is_refused_whole() {
        let page = both("app", &format!("/kubepods/pod{WEB}/8f3"), "12 1", "4 1");
        assert_eq!(read(&page.as_bytes()[..page.len() - 1], ours), Err(PageError::Cut { bytes: page.len() - 1 }));
    }
}
