//! The metrics page: every name, type and label is what the reference says, since a name is for ever.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "support/labels.rs"]
mod labels;

use labels::LABELS;
use probe_tuner::change::{Change, Intent, Outcome, Step, Verdict};
use probe_tuner::engine::Phase;
use probe_tuner::observation::Fact;
use probe_tuner::policy::Unreadable;
use probe_tuner::probe::{ProbeKind, Settings};
use probe_tuner::reason::Reason;
use probe_tuner::telemetry::{Event, Lost, Metrics};
use probe_tuner::units::Uid;
use probe_tuner::workload::{Address, ProbeId, WorkloadKind};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn address() -> Address {
    Address { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: "web".into() }
}

fn change() -> Change {
    Change {
        id: 7,
        workload: Uid::from_bits(1),
        address: address(),
        generation: 3,
        intent: Intent::Tune,
        steps: vec![Step {
            probe: ProbeId { container: "app".into(), kind: ProbeKind::Liveness },
            from: Settings::KUBERNETES_DEFAULT,
            to: Settings::new(10, 10, 2).unwrap(),
        }],
        reason: Reason::Loosen,
        message: "more tolerance".into(),
    }
}

/// Metrics after one event of each kind.
fn lived() -> Metrics {
    let metrics = Metrics::new();
    let took = Duration::from_millis(3);
    let (address, change) = (address(), change());
    let outcome = Outcome::Applied { generation: 4 };
    let unreadable =
        Unreadable { key: "probe-tuner.io/mode".into(), value: "on".into(), wanted: "auto".into(), on_namespace: true };
    for event in [
        Event::Observed(&Fact::Fence { holds: true }),
        Event::Dropped { what: Lost::Series, count: 5 },
        Event::Scraped { node: "n1", took, bytes: 1000, again: false, result: Ok(12) },
        Event::Scraped { node: "n2", took, bytes: 0, again: false, result: Err(("timeout", &"no answer in 5s")) },
        Event::Throttling { node: "n1", took, bytes: 3000, again: false, result: Ok(4) },
        Event::Throttling { node: "n2", took, bytes: 0, again: true, result: Err(("not_found", &"404")) },
        Event::Shadowed { result: "silent" },
        Event::ShadowRefused { rule: "host_network" },
        Event::Recalled { address: &address, samples: 700, cut: None, result: Ok(3) },
        Event::Recalled { address: &address, samples: 0, cut: None, result: Ok(0) },
        Event::Recalled { address: &address, samples: 70, cut: Some("the budget"), result: Ok(1) },
        Event::Recalled { address: &address, samples: 0, cut: None, result: Err(("connect", &"refused")) },
        Event::Foretold { outcome: "hit", count: 2 },
        Event::Turned { took, changes: 1, news: 1 },
        Event::Acted { change: &change, outcome: &outcome },
        Event::Ended { address: &address, change: 7, verdict: Verdict::Verified },
        Event::Requested { verb: "patch", code: Some(200) },
        Event::Requested { verb: "get", code: None },
        Event::WatchBroken { resource: "deployments", why: &"410" },
        Event::Fence { holds: true, why: "refused by fence-workloads" },
        Event::Paused { everywhere: true, namespaces: 2 },
        Event::Unreadable { address: &address, what: &unreadable },
        Event::Stored { objects: 1, bytes: 4096 },
    ] {
        metrics.emit(&event);
    }
    metrics.stand([
        (Phase::Held, Reason::ThinEvidence),
        (Phase::Held, Reason::ThinEvidence),
        (Phase::Verifying, Reason::Verifying),
    ]);
    metrics
}

/// The line of a series without its value.
#[track_caller]
fn value(metrics: &Metrics, series: &str) -> String {
    let (page, _) = metrics.page(true);
    let found = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {series} in\n{page}")).to_owned()
}

/// The labels that the page gives a metric, with their values.
type Sets = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn without_prefix(name: &str) -> &str {
    name.strip_prefix("probe_tuner_").unwrap()
}

/// The reference, as the page gives it, and the labels that were on it.
fn reference(metrics: &Metrics) -> (String, Sets) {
    let (page, _) = metrics.page(false);
    let (mut helps, mut types, mut labels) = (BTreeMap::new(), BTreeMap::new(), Sets::new());
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            helps.insert(name.to_owned(), help.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            types.insert(name.to_owned(), kind.to_owned());
        } else if let Some((series, _)) = line.rsplit_once(' ') {
            let (series, set) = series.strip_suffix('}').unwrap_or(series).split_once('{').unwrap_or((series, ""));
            let name = types.keys().filter(|name| series.starts_with(*name)).max_by_key(|name| name.len()).unwrap();
            for label in set.split(',').filter(|label| !label.is_empty()) {
                let (key, value) = label.split_once('=').unwrap();
                let values = labels.entry(name.clone()).or_default().entry(key.to_owned()).or_default();
                values.insert(value.trim_matches('"').to_owned());
            }
        }
    }
    let mut text = String::from(
        "# Metrics\n\n\
         Generated from the page itself by `UPDATE=1 cargo test --test metrics`; the test fails while the two differ.\n\
         Served at `/metrics`, in OpenMetrics 1.0 to who accepts it and in Prometheus' text format 0.0.4 to others.\n\
         No label carries the name of an object; those stand in the log.\n\n\
         | metric | type | labels | counts |\n|---|---|---|---|\n",
    );
    for (name, kind) in types {
        let none = BTreeMap::new();
        let keys = labels.get(&name).unwrap_or(&none).keys().filter(|key| *key != "le");
        let keys: Vec<String> = keys.map(|key| format!("`{key}`")).collect();
        text += &format!("| `{name}` | {kind} | {} | {} |\n", keys.join(", "), helps[&name]);
    }
    text += "\n## Labels\n\n\
             Each list is closed. Where a series is missing, its event has not happened yet.\n";
    for label in LABELS {
        let metrics: Vec<String> = label.metrics.iter().map(|m| format!("`probe_tuner_{m}`")).collect();
        text += &format!("\n### `{}` of {}\n\nSays {}.\n\n", label.name, metrics.join(" and "), label.says);
        let mut alike = Vec::new();
        for (value, meaning) in label.values {
            alike.push(format!("`{value}`"));
            // Values without words of their own stand on one line with the next.
            if !meaning.is_empty() {
                text += &format!("- {}: {meaning}\n", alike.join(", "));
                alike.clear();
            }
        }
        if !alike.is_empty() {
            text += &format!("- {}\n", alike.join(", "));
        }
    }
    text += "\n### `reason` of `probe_tuner_held_workloads`\n\nSays what holds the change: a code of [reasons](reasons.md).\n";
    text += "\n### `version` of `probe_tuner_build_info`\n\nSays the release that runs.\n";
    (text, labels)
}

/// The words that a function, or the arms of an enum's `match`, gives for a label.
fn words(file: &str, part: &str) -> BTreeSet<String> {
    let source = std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (_, rest) = source.split_once(if part.ends_with('(') { part } else { "" }).unwrap();
    let body = if part.ends_with('(') { rest.split_once("\n}\n").unwrap().0 } else { rest };
    let arms = body.lines().filter(|line| part.ends_with('(') || line.trim_start().starts_with(part));
    arms.filter_map(|line| line.split_once("=> \"")?.1.split_once('"').map(|(word, _)| word.to_owned())).collect()
}

#[test]
fn the_reference_lists_the_values_that_the_program_gives_and_no_other() {
    for label in LABELS.iter().filter(|label| !label.from.is_empty()) {
        let known: BTreeSet<String> = label.values.iter().map(|(value, _)| (*value).to_owned()).collect();
        let mut given: BTreeSet<String> = label.from.iter().flat_map(|(file, part)| words(file, part)).collect();
        // These come from where a result is counted, not from a kind of failure.
        given.extend(["ok", "cut", "empty"].map(str::to_owned).into_iter().filter(|word| known.contains(word)));
        assert_eq!(known, given, "{} of {:?}", label.name, label.metrics);
    }
}

#[test]
fn every_label_on_the_page_is_explained_with_its_values() {
    let (_, labels) = reference(&lived());
    for (metric, sets) in &labels {
        for (key, values) in sets.iter().filter(|(key, _)| !["le", "reason", "version"].contains(&key.as_str())) {
            let told = LABELS.iter().find(|l| l.name == key && l.metrics.contains(&without_prefix(metric)));
            let told = told.unwrap_or_else(|| panic!("{key} of {metric} is not explained"));
            for value in values {
                assert!(told.values.iter().any(|(known, _)| known == value), "{metric}{{{key}={value:?}}}");
            }
        }
    }
}

#[test]
fn the_reference_names_every_metric_with_its_type_and_labels() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/metrics.md");
    let (now, _) = reference(&lived());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        written, now,
        "docs/reference/metrics.md is not what the page says: run UPDATE=1 cargo test --test metrics"
    );
}

#[test]
fn an_event_counts_where_the_reference_says() {
    let metrics = lived();
    for (series, expected) in [
        ("probe_tuner_observations_total{kind=\"fence\"}", "1"),
        ("probe_tuner_dropped_total{what=\"series\"}", "5"),
        ("probe_tuner_scrapes_total{result=\"ok\"}", "1"),
        ("probe_tuner_scrapes_total{result=\"timeout\"}", "1"),
        ("probe_tuner_page_bytes_total", "1000"),
        ("probe_tuner_scrape_duration_seconds_count", "2"),
        ("probe_tuner_cadvisor_scrapes_total{result=\"ok\"}", "1"),
        ("probe_tuner_cadvisor_scrapes_total{result=\"not_found\"}", "1"),
        ("probe_tuner_cadvisor_page_bytes_total", "3000"),
        ("probe_tuner_forecasts_total{outcome=\"hit\"}", "2"),
        ("probe_tuner_forecasts_total{outcome=\"miss\"}", "0"),
        ("probe_tuner_shadow_checks_total{result=\"silent\"}", "1"),
        ("probe_tuner_shadow_refusals_total{rule=\"host_network\"}", "1"),
        ("probe_tuner_histories_total{result=\"ok\"}", "1"),
        ("probe_tuner_histories_total{result=\"empty\"}", "1"),
        ("probe_tuner_histories_total{result=\"cut\"}", "1"),
        ("probe_tuner_histories_total{result=\"connect\"}", "1"),
        ("probe_tuner_history_samples_total", "770"),
        ("probe_tuner_turn_seconds_count", "1"),
        ("probe_tuner_changes_total{intent=\"tune\",outcome=\"applied\"}", "1"),
        ("probe_tuner_changes_total{intent=\"revert\",outcome=\"applied\"}", "0"),
        ("probe_tuner_verifications_total{verdict=\"Verified\"}", "1"),
        ("probe_tuner_api_requests_total{verb=\"patch\",code=\"200\"}", "1"),
        ("probe_tuner_api_requests_total{verb=\"get\",code=\"none\"}", "1"),
        ("probe_tuner_watch_failures_total{resource=\"deployments\"}", "1"),
        ("probe_tuner_fence_holds", "1"),
        ("probe_tuner_paused", "1"),
        ("probe_tuner_paused_namespaces", "2"),
        ("probe_tuner_unreadable_annotations_total", "1"),
        ("probe_tuner_evidence_bytes", "4096"),
        ("probe_tuner_workloads{phase=\"Held\"}", "2"),
        ("probe_tuner_workloads{phase=\"Observing\"}", "0"),
        ("probe_tuner_held_workloads{reason=\"THIN_EVIDENCE\"}", "2"),
    ] {
        assert_eq!(value(&metrics, series), expected, "{series}");
    }
}

#[test]
fn a_workload_that_is_held_no_longer_leaves_no_series_behind() {
    let metrics = lived();
    metrics.stand([(Phase::Observing, Reason::InPlace)]);
    assert_eq!(value(&metrics, "probe_tuner_workloads{phase=\"Held\"}"), "0");
    assert!(!metrics.page(true).0.contains("THIN_EVIDENCE"));
}

#[test]
fn statuses_and_verbs_that_nobody_expects_widen_no_label() {
    let metrics = Metrics::new();
    for code in 0..=u16::MAX {
        metrics.emit(&Event::Requested { verb: "brew", code: Some(code) });
    }
    let (page, _) = metrics.page(true);
    let series = page.lines().filter(|line| line.starts_with("probe_tuner_api_requests_total{")).count();
    assert!(series <= 16, "{series} series");
}

#[test]
fn the_page_is_openmetrics_for_those_who_accept_it() {
    let metrics = Metrics::new();
    let (page, kind) = metrics.page(true);
    assert!(page.ends_with("# EOF\n") && kind.starts_with("application/openmetrics-text; version=1.0.0"));
    let (page, kind) = metrics.page(false);
    assert!(!page.contains("# EOF") && kind.starts_with("text/plain; version=0.0.4"));
}
