//! A recommendation in every form: what a person reads, and what he pastes.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use probe_tuner::cli::recommendation::{Form, Found, render};
use probe_tuner::decide::{Judgement, Urgency};
use probe_tuner::engine::{Phase, View};
use probe_tuner::memory::Memory;
use probe_tuner::policy::Mode;
use probe_tuner::probe::ProbeKind;
use probe_tuner::reason::Reason;
use probe_tuner::units::Span;
use probe_tuner::workload::ProbeId;
use support::fixtures::{settings, wish, workload};

/// A web server whose own probe and whose sidecar's should change, and whose readiness is as it should be.
fn view() -> View {
    let w = workload("shop", "web");
    let own = wish(&w, "10/12/2", Urgency::WithNextRollout);
    let sidecar = Judgement { probe: ProbeId { container: "proxy".into(), kind: ProbeKind::Liveness }, ..own.clone() };
    let ready = Judgement {
        probe: ProbeId { container: "app".into(), kind: ProbeKind::Readiness },
        wanted: settings("10/1/3"),
        urgency: Urgency::Hold,
        reason: Reason::ThinEvidence,
        message: "7 h of 24 h seen".into(),
        now: None,
        then: None,
        confidence: 0.0,
        seen: Span::HOUR * 7,
        watched: Span::HOUR * 7,
        ..own.clone()
    };
    View {
        uid: w.uid,
        address: w.address,
        generation: 4,
        mode: Mode::Recommend,
        phase: Phase::Recommending,
        reason: Reason::WaitsForRollout,
        message: "timeouts restarted it;\u{1b}[31m better with the next release".into(),
        sidecars: vec!["proxy".into()],
        judgements: vec![own, ready, sidecar],
        memory: Memory::default(),
        restarts: Vec::new(),
        forecasts: Vec::new(),
        differing: Vec::new(),
        unreadable: Vec::new(),
        gone: false,
    }
}

/// What one cluster holds.
fn found(views: Vec<View>) -> Vec<Found> {
    vec![("here".into(), views)]
}

#[test]
fn the_table_has_a_row_a_probe_and_words_that_no_terminal_obeys() {
    let expected = "\
WORKLOAD             CONTAINER  PROBE      NUMBERS            FALSE RESTARTS  DETECTS WITHIN  SURE  REASON
shop/Deployment/web  app        liveness   10/1/3 -> 10/12/2  100 -> 1        31s -> 34s      90%   WAITS_FOR_ROLLOUT
  timeouts restarted it; [31m better with the next release
shop/Deployment/web  app        readiness  10/1/3             unknown         31s             -     THIN_EVIDENCE
  7 h of 24 h seen
shop/Deployment/web  proxy      liveness   10/1/3 -> 10/12/2  100 -> 1        31s -> 34s      90%   WAITS_FOR_ROLLOUT
  timeouts restarted it; [31m better with the next release

numbers:        period/timeout/threshold, now -> recommended
false restarts: expected a pod-year (of a readiness probe: removals), now -> then
detects within: worst time from a hang to the kubelet's verdict, now -> then
sure:           how likely the recommended numbers keep the false restarts that are accepted; - below a day of evidence
";
    assert_eq!(render(&found(vec![view()]), Form::Table), expected);
}

#[test]
fn words_below_a_row_are_broken_before_a_terminal_breaks_them() {
    let long = View { message: "slow ".repeat(60).trim_end().into(), ..view() };
    let text = render(&found(vec![long]), Form::Table);
    let words: Vec<&str> = text.lines().filter(|line| line.starts_with("  slow")).collect();
    assert!(words.len() > 2 && words.iter().all(|line| line.len() <= 98), "{text}");
}

#[test]
fn the_document_says_its_version_and_yaml_says_the_same() {
    let json: serde_json::Value = serde_json::from_str(&render(&found(vec![view()]), Form::Json)).unwrap();
    let row = &json["recommendations"][0];
    assert_eq!(
        (&json["version"], &row["recommended"]["timeout"], &row["detect_seconds"]["then"]),
        (&1.into(), &12.into(), &34.into())
    );
    assert_eq!(json["recommendations"][1]["false_restarts"], serde_json::Value::Null);
    let yaml = render(&found(vec![view()]), Form::Yaml);
    assert!(yaml.starts_with("version: 1\n") && yaml.contains("reason: WAITS_FOR_ROLLOUT\n"), "{yaml}");
}

#[test]
fn the_patch_names_what_changes_and_puts_sidecars_in_their_own_list() {
    let expected = "kubectl patch deployment web -n shop --type=strategic -p '{\"spec\":{\"template\":{\"spec\":{\
\"containers\":[{\"livenessProbe\":{\"failureThreshold\":2,\"periodSeconds\":10,\"timeoutSeconds\":12},\"name\":\"app\"}],\
\"initContainers\":[{\"livenessProbe\":{\"failureThreshold\":2,\"periodSeconds\":10,\"timeoutSeconds\":12},\"name\":\"proxy\"}]}}}}'\n";
    assert_eq!(render(&found(vec![view()]), Form::Patch), expected);
}

#[test]
fn the_kustomization_is_a_file_that_wants_only_the_manifests() {
    let expected = "\
# Put it beside your manifests, and name those under `resources:`.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
patches:
- target: {group: apps, version: v1, kind: Deployment, name: web, namespace: shop}
  patch: |
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web, namespace: shop}
    spec:
      template:
        spec:
          containers:
          - name: app
            livenessProbe: {periodSeconds: 10, timeoutSeconds: 12, failureThreshold: 2}
          initContainers:
          - name: proxy
            livenessProbe: {periodSeconds: 10, timeoutSeconds: 12, failureThreshold: 2}
";
    assert_eq!(render(&found(vec![view()]), Form::Kustomize), expected);
}

#[test]
fn values_stand_under_the_containers_name_where_there_are_several() {
    let expected = "\
---
# shop/Deployment/web
app:
  livenessProbe: {periodSeconds: 10, timeoutSeconds: 12, failureThreshold: 2}
proxy:
  livenessProbe: {periodSeconds: 10, timeoutSeconds: 12, failureThreshold: 2}
";
    assert_eq!(render(&found(vec![view()]), Form::HelmValues), expected);
}

#[test]
fn where_nothing_should_change_nothing_is_pasted() {
    let mut v = view();
    v.judgements.truncate(2);
    v.judgements.remove(0);
    for form in [Form::Patch, Form::Kustomize, Form::HelmValues] {
        assert_eq!(render(&found(vec![v.clone()]), form), "# nothing to change\n");
    }
    assert_eq!(render(&found(vec![]), Form::Table), "no workload with a probe was found\n");
}

#[test]
fn what_its_owner_has_set_aside_is_shown_as_skipped_with_the_reason_and_no_belief() {
    let skipped = View {
        phase: Phase::Held,
        reason: Reason::Skipped,
        message: "annotated probe-tuner.io/skip: moving next week".into(),
        ..view()
    };
    let text = render(&found(vec![skipped.clone()]), Form::Table);
    let row = text.lines().nth(1).unwrap();
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>(),
        ["shop/Deployment/web", "app", "liveness", "10/1/3", "unknown", "31s", "-", "SKIPPED"]
    );
    assert!(text.contains("\n  annotated probe-tuner.io/skip: moving next week\n"), "{text}");
    assert_eq!(render(&found(vec![skipped]), Form::Patch), "# nothing to change\n");
}

#[test]
fn of_several_clusters_each_row_says_which_and_each_patch_goes_there() {
    let two = vec![("one".to_owned(), vec![view()]), ("o'two".to_owned(), vec![view()])];
    let text = render(&two, Form::Table);
    let first: Vec<&str> = text.lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert_eq!((first[0], first[1]), ("CONTEXT", "one"), "{text}");
    assert!(first.contains(&"o'two"), "{text}");
    let patches = render(&two, Form::Patch);
    assert!(patches.contains("kubectl --context 'one' patch deployment web"), "{patches}");
    assert!(patches.contains("kubectl --context 'o'\\''two' patch deployment web"), "{patches}");
    let json: serde_json::Value = serde_json::from_str(&render(&two, Form::Json)).unwrap();
    assert_eq!(json["recommendations"][0]["context"], "one");
}
