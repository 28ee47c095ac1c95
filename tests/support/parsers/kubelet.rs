//! What kubelets tell: the page of their probe metrics, and their Events.

use super::text;
use k8s_openapi::api::core::v1::Event;
use probe_tuner::observation::{Counters, EDGES, Fact};
use probe_tuner::observe::event::Counts;
use probe_tuner::observe::page::{PAGE_LIMIT, Page, PageError, Parser, read};
use probe_tuner::units::Uid;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// The pods of the seeds are ours, and some more.
pub(super) fn ours(namespace: &str, pod: &str) -> Option<Uid> {
    match pod.split('-').next()? {
        "fast1b" => Uid::parse("17e2dc72-8979-44e1-8b7d-04d35ceec5a3"),
        "slow10b" => Uid::parse("1b16a0bd-d8de-4202-8b64-759b66335ba3"),
        "p" if namespace == "n" => Uid::parse("00000000-0000-0000-0000-000000000001"),
        _ => None,
    }
}

/// However the page is cut into pieces it reads the same, and as a reader does that knows no shortcut.
pub fn page(bytes: &[u8]) {
    let whole = read(bytes, ours);
    let sizes = [1, 1 + bytes.first().map_or(0, |b| usize::from(*b)), 4096];
    for size in sizes {
        let mut parser = Parser::new(ours, PAGE_LIMIT);
        let fed = bytes.chunks(size).try_for_each(|piece| parser.feed(piece));
        let found = fed.and_then(|()| parser.finish());
        assert_eq!(found, whole, "pieces of {size}");
    }
    match whole {
        Ok(page) => {
            for s in &page.samples {
                assert!(s.counters.buckets.is_sorted() && s.counters.buckets[10] <= s.counters.count);
            }
            naive(bytes).into_iter().for_each(|wanted| assert_eq!(found(&page), wanted));
        }
        Err(PageError::Cut { bytes: n }) => assert!(n == bytes.len() && bytes.last() != Some(&b'\n')),
        Err(error) => assert!(bytes.len() > 60_000, "{error}"),
    }
}

type Values = BTreeMap<(String, String, String), Counters>;

fn found(page: &Page) -> Values {
    let key = |s: &probe_tuner::observation::Sample| {
        (s.pod.to_string(), s.probe.kind.name().to_owned(), s.probe.container.to_string())
    };
    page.samples.iter().map(|s| (key(s), s.counters)).collect()
}

/// One probe's lines as the plain reader met them.
#[derive(Default)]
struct Met {
    counters: Counters,
    edges: BTreeSet<usize>,
    totals: bool,
    durations: bool,
    broken: bool,
}

/// Every line by itself, its labels in a map; `None` for a page that no exposition could be: labels named twice.
fn naive(bytes: &[u8]) -> Option<Values> {
    let mut met: BTreeMap<(String, String, String), Met> = BTreeMap::new();
    for line in bytes.split(|b| *b == b'\n') {
        let Some((name, rest)) = split(line, b'{') else { continue };
        let Some(name) = std::str::from_utf8(name).ok().map(str::trim_ascii_end) else { continue };
        let Some(metric) = name.strip_prefix("prober_probe_") else { continue };
        if !matches!(metric, "total" | "duration_seconds_bucket" | "duration_seconds_count") {
            continue;
        }
        let Some((labels, value)) = labels(rest) else { continue };
        let twice = labels.len() != labels.iter().map(|(k, _)| k).collect::<BTreeSet<_>>().len();
        if twice {
            return None;
        }
        let get = |name: &str| {
            let value = labels.iter().find(|(k, _)| k == name.as_bytes())?;
            String::from_utf8(value.1.clone()).ok()
        };
        let (Some(namespace), Some(pod)) = (get("namespace"), get("pod")) else { continue };
        let Some(uid) = ours(&namespace, &pod).map(|u| u.to_string()) else { continue };
        let Some(kind) = get("probe_type").filter(|k| matches!(&**k, "Liveness" | "Readiness" | "Startup")) else {
            continue;
        };
        let named = get("pod_uid").and_then(|u| Uid::parse(&u)).map(|u| u.to_string());
        if metric == "total" && named.as_ref() != Some(&uid) {
            continue;
        }
        let Some(container) = get("container") else { continue };
        let series = met.entry((uid, kind, container)).or_default();
        let number = count(value);
        if metric == "total" {
            series.totals = true;
        } else if metric == "duration_seconds_count" || labels.iter().any(|(k, _)| k == b"le") {
            series.durations = true;
        }
        let place = match (metric, get("le"), get("result").as_deref()) {
            ("duration_seconds_bucket", Some(le), _) => {
                let Some(at) = le.parse().ok().and_then(|le: f64| EDGES.iter().position(|e| *e == le)) else {
                    continue;
                };
                if number.is_some() {
                    series.edges.insert(at);
                }
                Some(&mut series.counters.buckets[at])
            }
            ("duration_seconds_bucket", None, _) => continue,
            ("duration_seconds_count", ..) => Some(&mut series.counters.count),
            ("total", _, Some("successful")) => Some(&mut series.counters.successful),
            ("total", _, Some("failed")) => Some(&mut series.counters.failed),
            _ => None,
        };
        match (number, place) {
            (Some(number), Some(place)) => *place = number,
            (Some(_), None) => {}
            (None, _) => series.broken = true,
        }
    }
    let sound = |m: &Met| {
        let c = &m.counters;
        m.totals
            && !m.broken
            && (!m.durations || m.edges.len() == EDGES.len())
            && c.buckets.is_sorted()
            && c.buckets[EDGES.len() - 1] <= c.count
            && (c.count == 0 || c.successful > 0)
    };
    Some(met.into_iter().filter(|(_, m)| sound(m)).map(|(key, m)| (key, m.counters)).collect())
}

pub(super) type Label = (Vec<u8>, Vec<u8>);

/// `name="value"` as often as it comes, parted by commas, up to the brace; and what follows it.
pub(super) fn labels(mut rest: &[u8]) -> Option<(Vec<Label>, &[u8])> {
    let blank = |b: &&u8| **b == b' ' || **b == b'\t';
    let skip = |text: &mut &[u8]| *text = &text[text.iter().take_while(blank).count()..];
    let mut labels = Vec::new();
    loop {
        skip(&mut rest);
        if let Some(value) = rest.strip_prefix(b"}") {
            return Some((labels, value));
        }
        let (name, after) = split(rest, b'=')?;
        rest = after;
        skip(&mut rest);
        rest = rest.strip_prefix(b"\"")?;
        let (mut value, mut escaped) = (Vec::new(), false);
        loop {
            let (byte, after) = rest.split_first()?;
            rest = after;
            match byte {
                b'"' if !escaped => break,
                byte => value.push(*byte),
            }
            escaped = *byte == b'\\' && !escaped;
        }
        labels.push((name.trim_ascii().to_vec(), value));
        skip(&mut rest);
        match rest.first() {
            Some(b',') => rest = &rest[1..],
            Some(b'}') => {}
            _ => return None,
        }
    }
}

pub(super) fn count(value: &[u8]) -> Option<u64> {
    // What follows the value is its moment, which nobody reads.
    let first = value.trim_ascii().split(|b| matches!(b, b' ' | b'\t')).next()?;
    let number: f64 = std::str::from_utf8(first).ok()?.parse().ok()?;
    (0.0..9_007_199_254_740_992.0).contains(&number).then(|| number.round() as u64)
}

pub(super) fn split(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = text.iter().position(|b| *b == at)?;
    Some((&text[..place], &text[place + 1..]))
}

/// Reason, place, and the rest as message: what is told is the growth of the count, of one container, once.
pub fn event(bytes: &[u8]) {
    let mut parts = text(bytes).splitn(3, '\n');
    let (reason, place, said) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let uid = "00000000-0000-0000-0000-000000000001";
    let make = |count: u64, said: &str| -> Event {
        serde_json::from_value(json!({
            "metadata": {"uid": uid}, "reason": reason, "message": said, "count": count,
            "involvedObject": {"uid": uid, "fieldPath": place},
        }))
        .unwrap()
    };
    let tell = |said: &str| {
        let mut counts = Counts::default();
        counts.begin();
        counts.done();
        let first = counts.apply(&make(1, said));
        assert_eq!(counts.apply(&make(1, said)), []);
        let more = counts.apply(&make(41, said));
        assert_eq!(counts.apply(&make(3, said)), [], "a count that falls is a new beginning");
        (first, more)
    };
    let (first, more) = tell(said);
    assert_eq!(first.is_empty(), more.is_empty());
    assert!(first.len() <= 1 && more.len() <= 25);
    for fact in first.iter().chain(&more) {
        match fact {
            Fact::Unhealthy { container, kind, count, .. } => {
                assert!(reason == "Unhealthy" && place.ends_with(&format!("ontainers{{{container}}}")));
                assert!(said.contains(kind.name()) && [1, 40].contains(count));
            }
            Fact::Killing { container, kind, .. } => {
                assert!(reason == "Killing" && said.contains(&format!("failed {} probe", kind.word())));
                assert!(place.contains(&**container) || said.contains(&**container));
            }
            other => panic!("{other:?}"),
        }
    }
    if !said.starts_with("(combined from similar events): ") {
        assert_eq!(tell(&format!("(combined from similar events): {said}")), (first, more));
    }
    // An Event as the API server has it.
    if let Ok(event) = serde_json::from_slice::<Event>(bytes) {
        let mut counts = Counts::default();
        counts.apply(&event);
        counts.gone(&event);
    }
}
