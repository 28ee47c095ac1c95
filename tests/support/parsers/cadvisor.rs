//! What kubelets tell of containers' usage: of that page only how often they were throttled.

use super::kubelet::{count, labels, ours, split};
use probe_tuner::observe::cadvisor::{PAGE_LIMIT, PageError, Parser, read};
use probe_tuner::units::Uid;
use std::collections::{BTreeMap, BTreeSet};

/// However the page is cut into pieces it reads the same, and as a reader does that knows no shortcut.
pub fn cadvisor(bytes: &[u8]) {
    let whole = read(bytes, ours);
    for size in [1, 1 + bytes.first().map_or(0, |b| usize::from(*b)), 4096] {
        let mut parser = Parser::new(ours, PAGE_LIMIT);
        let fed = bytes.chunks(size).try_for_each(|piece| parser.feed(piece));
        assert_eq!(fed.and_then(|()| parser.finish()), whole, "pieces of {size}");
    }
    match whole {
        Ok(page) => {
            let Some(wanted) = naive(bytes) else { return };
            let found = page.throttling.iter().map(|t| ((t.pod, t.container.to_string()), (t.periods, t.throttled)));
            assert_eq!(found.collect::<BTreeMap<_, _>>(), wanted);
            assert!(page.throttling.iter().all(|t| t.throttled <= t.periods));
        }
        Err(PageError::Cut { bytes: n }) => assert!(n == bytes.len() && bytes.last() != Some(&b'\n')),
        Err(error) => assert!(bytes.len() > 60_000, "{error}"),
    }
}

type Values = BTreeMap<(Uid, String), (u64, u64)>;

/// One life of a container: when it was looked at, periods, throttled ones.
type Life = (i64, Option<u64>, Option<u64>);

/// Every line by itself; `None` for a page that no exposition could be: labels named twice.
fn naive(bytes: &[u8]) -> Option<Values> {
    let mut lives: BTreeMap<(Uid, String), BTreeMap<Vec<u8>, Life>> = BTreeMap::new();
    for line in bytes.split(|b| *b == b'\n') {
        let Some((name, rest)) = split(line, b'{') else { continue };
        let name = std::str::from_utf8(name).unwrap_or_default().trim_ascii_end();
        let throttled = match name {
            "container_cpu_cfs_periods_total" => false,
            "container_cpu_cfs_throttled_periods_total" => true,
            _ => continue,
        };
        let Some((labels, value)) = labels(rest) else { continue };
        if labels.len() != labels.iter().map(|(k, _)| k).collect::<BTreeSet<_>>().len() {
            return None;
        }
        let raw =
            |name: &str| labels.iter().find(|(k, _)| k == name.as_bytes()).map(|(_, v)| v.clone()).unwrap_or_default();
        let text = |name: &str| String::from_utf8(raw(name)).ok();
        let (Some(namespace), Some(pod), Some(container)) = (text("namespace"), text("pod"), text("container")) else {
            continue;
        };
        let Some(pod) = ours(&namespace, &pod).filter(|_| !container.is_empty()) else { continue };
        let id = raw("id");
        if cgroup(&id).is_some_and(|other| other != pod) {
            continue;
        }
        let parts: Vec<&[u8]> = value.split(u8::is_ascii_whitespace).filter(|p| !p.is_empty()).collect();
        let moment = match parts.get(1) {
            None => Some(0),
            Some(text) => std::str::from_utf8(text).ok().and_then(|t| t.parse::<i64>().ok()),
        };
        let (Some(n), Some(moment)) = (count(value), moment) else { continue };
        let life = lives.entry((pod, container)).or_default().entry(id).or_insert((0, None, None));
        life.0 = life.0.max(moment);
        *(if throttled { &mut life.2 } else { &mut life.1 }) = Some(n);
    }
    let one = |lives: BTreeMap<Vec<u8>, Life>| {
        let newest = lives.values().map(|l| l.0).max()?;
        let mut running = lives.into_values().filter(|l| l.0 == newest);
        match (running.next()?, running.next()) {
            ((_, Some(periods), Some(throttled)), None) if throttled <= periods => Some((periods, throttled)),
            _ => None,
        }
    };
    Some(lives.into_iter().filter_map(|(key, lives)| Some((key, one(lives)?))).collect())
}

/// The first uid behind `pod` in a path.
fn cgroup(id: &[u8]) -> Option<Uid> {
    (0..id.len()).filter(|at| id[*at..].starts_with(b"pod")).find_map(|at| {
        let uid = id.get(at + 3..at + 39)?.iter().map(|b| if *b == b'_' { b'-' } else { *b }).collect();
        Uid::parse(&String::from_utf8(uid).ok()?)
    })
}
