//! The kubelet's Events about probes: which probe of which container failed, how, and how often since the last one.
//!
//! An Event object is counted up, not written anew, so what is told is the growth of its count. The kubelet sends at most
//! 25 about a pod at once and then one in five minutes: a jump of the count is normal, and a missing `Killing` proves
//! nothing. Texts are matched by their stable beginnings only; they changed in four releases out of ten.
//!
//! Facts: `kubernetes/kubernetes:pkg/kubelet/prober/prober.go`, `pkg/kubelet/kuberuntime/kuberuntime_manager.go`,
//! `pkg/probe/*`; `kubernetes/client-go:tools/record/events_cache.go`.

use crate::observation::{Fact, FailureClass};
use crate::probe::ProbeKind;
use crate::units::{Name, Uid};
use k8s_openapi::api::core::v1::Event;
use std::collections::HashMap;

/// What an Event is told as when ten or more of a kind differ in their text.
const COMBINED: &str = "(combined from similar events): ";

/// Most Events that are followed in one namespace. They live for an hour and a pod has at most about forty in that time.
pub const MOST_EVENTS: usize = 20_000;

/// What one Event says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    pod: Uid,
    container: Name,
    kind: ProbeKind,
    /// `None`: the container is killed for it.
    class: Option<FailureClass>,
}

/// The counts of a namespace's Events of one reason, of at most [`MOST_EVENTS`]. Survives a relist; begins with what is
/// there as already known, because nobody can tell when in the last hour it happened.
#[derive(Debug, Default)]
pub struct Counts {
    counts: HashMap<Uid, Count>,
    /// The first list has been read.
    settled: bool,
    /// Events that were not followed because there are too many.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Count {
    last: u32,
    seen: bool,
}

impl Counts {
    /// A list begins.
    pub fn begin(&mut self) {
        self.counts.values_mut().for_each(|c| c.seen = false);
    }

    /// The list is over: what it did not hold has expired.
    pub fn done(&mut self) {
        self.counts.retain(|_, c| c.seen);
        self.settled = true;
    }

    /// An Event is gone.
    pub fn gone(&mut self, event: &Event) {
        if let Some(uid) = uid(event) {
            self.counts.remove(&uid);
        }
    }

    /// An Event as it is now: what happened since it was last seen.
    pub fn apply(&mut self, event: &Event) -> Vec<Fact> {
        let Some(uid) = uid(event) else { return Vec::new() };
        if self.counts.len() >= MOST_EVENTS && !self.counts.contains_key(&uid) {
            self.dropped += 1;
            return Vec::new();
        }
        let now = count(event);
        let known = self.counts.entry(uid).or_default();
        let more = now.saturating_sub(known.last);
        *known = Count { last: now, seen: true };
        if more == 0 || !self.settled {
            return Vec::new();
        }
        said(event).map(|said| told(said, more)).unwrap_or_default()
    }
}

fn told(said: Said, more: u32) -> Vec<Fact> {
    let Said { pod, container, kind, class } = said;
    match class {
        Some(class) => vec![Fact::Unhealthy { pod, container, kind, class, count: more }],
        // One fact a kill; the kubelet's own limit keeps a jump small.
        None => (0..more.min(25)).map(|_| Fact::Killing { pod, container: container.clone(), kind }).collect(),
    }
}

fn uid(event: &Event) -> Option<Uid> {
    Uid::parse(event.metadata.uid.as_deref()?)
}

/// How often it happened. The kubelet's recorder counts in `count`, newer ones in `series`.
fn count(event: &Event) -> u32 {
    let series = event.series.as_ref().and_then(|s| s.count);
    series.or(event.count).and_then(|n| u32::try_from(n).ok()).unwrap_or(1).max(1)
}

fn said(event: &Event) -> Option<Said> {
    let pod = Uid::parse(event.involved_object.uid.as_deref()?)?;
    let place = event.involved_object.field_path.as_deref().and_then(container);
    let text = event.message.as_deref()?;
    let text = text.strip_prefix(COMBINED).unwrap_or(text);
    match event.reason.as_deref()? {
        "Unhealthy" => {
            let (kind, rest) = ProbeKind::ALL
                .into_iter()
                .find_map(|kind| Some((kind, text.strip_prefix(kind.name())?.strip_prefix(" probe ")?)))?;
            Some(Said { pod, container: place?, kind, class: Some(class(rest)) })
        }
        "Killing" => {
            let rest = text.strip_prefix("Container ")?;
            let (name, rest) = rest.split_once(' ')?;
            let kind = [ProbeKind::Liveness, ProbeKind::Startup]
                .into_iter()
                .find(|kind| rest.starts_with(&format!("failed {} probe", kind.word())))?;
            Some(Said { pod, container: place.unwrap_or_else(|| Name::from(name)), kind, class: None })
        }
        _ => None,
    }
}

/// The container in `spec.containers{app}` or `spec.initContainers{proxy}`.
fn container(path: &str) -> Option<Name> {
    let rest = path.strip_prefix("spec.containers{").or_else(|| path.strip_prefix("spec.initContainers{"))?;
    rest.strip_suffix('}').filter(|name| !name.is_empty()).map(Name::from)
}

/// How a check failed, by what follows `Liveness probe `.
///
/// An exec check's text is whatever the command printed, and no text at all was a timeout on older kubelets and is an
/// ordinary failure on newer ones: both are `Other`.
fn class(rest: &str) -> FailureClass {
    if rest.starts_with("errored") {
        return FailureClass::Dropped;
    }
    let Some(output) = rest.strip_prefix("failed:") else { return FailureClass::Other };
    let output = output.trim_start();
    let has = |fragments: &[&str]| fragments.iter().any(|f| output.contains(f));
    if output.starts_with("HTTP probe failed with statuscode") {
        FailureClass::Fast
    } else if output.starts_with("Get ") || output.starts_with("dial ") {
        if has(&["Client.Timeout", "context deadline exceeded", "i/o timeout"]) {
            FailureClass::Slow
        } else if has(&[
            "refused",
            "reset by peer",
            "EOF",
            "no route to host",
            "unreachable",
            "tls:",
            "x509:",
            "malformed",
            "broken pipe",
            "server gave HTTP response",
        ]) {
            FailureClass::Fast
        } else {
            FailureClass::Other
        }
    } else if output.starts_with("command ") && has(&["timed out"]) || output.starts_with("timeout: ") {
        FailureClass::Slow
    } else if output.starts_with("service unhealthy")
        || output.starts_with("error: ") && has(&["grpc", "rpc", "connect"])
    {
        FailureClass::Fast
    } else {
        FailureClass::Other
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    const POD: &str = "17e2dc72-8979-44e1-8b7d-04d35ceec5a3";

    fn event(id: u32, reason: &str, message: &str, count: i32) -> Event {
        serde_json::from_value(json!({
            "metadata": {"uid": format!("00000000-0000-4000-8000-{id:012}")},
            "involvedObject": {"kind": "Pod", "uid": POD, "fieldPath": "spec.containers{app}"},
            "reason": reason, "message": message, "count": count
        }))
        .unwrap()
    }

    fn settled() -> Counts {
        Counts { settled: true, ..Counts::default() }
    }

    #[test]
    fn failures_are_told_by_the_beginnings_of_their_texts() {
        for (text, class) in [
            (
                r#"Liveness probe failed: Get "http://10.0.0.1:80/": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"#,
                FailureClass::Slow,
            ),
            (
                r#"Liveness probe failed: Get "http://10.0.0.1:80/": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)"#,
                FailureClass::Slow,
            ),
            ("Readiness probe failed: dial tcp 10.0.0.1:80: i/o timeout", FailureClass::Slow),
            (
                r#"Liveness probe failed: Get "http://10.0.0.1:80/": dial tcp 10.0.0.1:80: i/o timeout"#,
                FailureClass::Slow,
            ),
            (r#"Liveness probe failed: command timed out: "sh -c x" timed out after 1s"#, FailureClass::Slow),
            (r#"Liveness probe failed: command "sh -c x" timed out"#, FailureClass::Slow),
            ("Startup probe failed: timeout: health rpc did not complete within 1s", FailureClass::Slow),
            (
                r#"Startup probe failed: timeout: failed to connect service "10.0.0.1:80" within 1s: context deadline exceeded"#,
                FailureClass::Slow,
            ),
            ("Liveness probe failed: HTTP probe failed with statuscode: 503", FailureClass::Fast),
            ("Liveness probe failed: dial tcp 10.0.0.1:80: connect: connection refused", FailureClass::Fast),
            (r#"Liveness probe failed: Get "http://10.0.0.1:80/": EOF"#, FailureClass::Fast),
            (
                r#"Liveness probe failed: Get "http://10.0.0.1:80/": read tcp: read: connection reset by peer"#,
                FailureClass::Fast,
            ),
            (r#"Liveness probe failed: service unhealthy (responded with "NOT_SERVING")"#, FailureClass::Fast),
            (
                "Liveness probe failed: error: this server does not implement the grpc health protocol",
                FailureClass::Fast,
            ),
            (
                "Liveness probe errored and resulted in failure state: rpc error: code = DeadlineExceeded",
                FailureClass::Dropped,
            ),
            ("Liveness probe errored: body", FailureClass::Dropped),
            ("Liveness probe failed: ", FailureClass::Other),
            ("Liveness probe failed: my script timed out", FailureClass::Other),
            ("Liveness probe did something new", FailureClass::Other),
        ] {
            for text in [text.to_owned(), format!("{COMBINED}{text}")] {
                let facts = settled().apply(&event(1, "Unhealthy", &text, 1));
                let [Fact::Unhealthy { class: found, count: 1, container, .. }] = &facts[..] else {
                    unreachable!("{text}: {facts:?}")
                };
                assert_eq!((*found, &**container), (class, "app"), "{text}");
            }
        }
    }

    #[test]
    fn kills_are_told_only_for_probes() {
        for (text, kind) in [
            ("Container app failed liveness probe, will be restarted", Some(ProbeKind::Liveness)),
            ("Container app failed startup probe", Some(ProbeKind::Startup)),
            ("Container app definition changed, will be restarted", None),
            ("Stopping container app", None),
        ] {
            let wanted: Vec<Fact> = kind
                .map(|kind| Fact::Killing { pod: Uid::parse(POD).unwrap(), container: "app".into(), kind })
                .into_iter()
                .collect();
            assert_eq!(settled().apply(&event(1, "Killing", text, 1)), wanted, "{text}");
        }
    }

    #[test]
    fn an_event_tells_by_how_much_its_count_grew() {
        let counted = |facts: Vec<Fact>| match facts.as_slice() {
            [Fact::Unhealthy { count, .. }] => *count,
            _ => 0,
        };
        let text = "Liveness probe failed: HTTP probe failed with statuscode: 503";
        let mut counts = settled();
        let growth = [3, 3, 7, 2, 4].map(|n| counted(counts.apply(&event(1, "Unhealthy", text, n))));
        assert_eq!(growth, [3, 0, 4, 0, 2]);
        assert_eq!(counted(counts.apply(&event(2, "Unhealthy", text, 5))), 5);
    }

    #[test]
    fn what_was_there_before_us_is_not_news_and_what_came_in_a_gap_is() {
        let text = "Liveness probe failed: HTTP probe failed with statuscode: 503";
        let mut counts = Counts::default();
        counts.begin();
        assert_eq!(counts.apply(&event(1, "Unhealthy", text, 9)), []);
        counts.done();
        counts.begin();
        assert_eq!(counts.apply(&event(1, "Unhealthy", text, 10)).len(), 1);
        assert_eq!(counts.apply(&event(2, "Unhealthy", text, 1)).len(), 1);
        counts.done();
        counts.begin();
        counts.done();
        assert!(counts.counts.is_empty());
    }

    #[test]
    fn series_and_odd_events_are_read_without_harm() {
        let mut odd = event(1, "Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 503", 1);
        odd.count = None;
        odd.series = Some(serde_json::from_value(json!({"count": 6})).unwrap());
        assert!(matches!(settled().apply(&odd)[..], [Fact::Unhealthy { count: 6, .. }]));
        odd.involved_object.field_path = Some("spec.ephemeralContainers{x}".into());
        assert_eq!(settled().apply(&odd), []);
        odd.involved_object.uid = Some("static".into());
        assert_eq!(settled().apply(&odd), []);
        odd.message = None;
        odd.metadata.uid = None;
        assert_eq!(settled().apply(&odd), []);
    }
}
