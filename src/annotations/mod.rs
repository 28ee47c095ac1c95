//! Reads what owners write on Namespaces and workloads into a [`Permission`].
//!
//! **Takes** the annotations of a Namespace and of a workload in it, the configured defaults, and a moment. **Gives** the
//! strictest of them all, what could not be read, and remarks on what has no effect. **Never** takes for permission what
//! it could not read: a mode so written is `off`, anything else holds every change. A workload narrows what its
//! namespace says and never widens it. Knows no clock and no cluster.
//!
//! Both edges read with the same eyes: `observe` when an object changes, `act` once more on the fresh object just before
//! a patch. The keys and their meaning stand in docs/reference/annotations.md.

mod pause;
mod window;

pub use pause::{MOST_NAMES, Pause, is_namespace};

use crate::policy::{Bounds, Mode, Permission, Unreadable};
use crate::probe::ProbeKind;
use crate::units::{Name, PerPodYear, Span, Timestamp, parse_span};
use std::collections::BTreeMap;
use window::Slot;

/// Annotations as Kubernetes has them.
pub type Annotations = BTreeMap<String, String>;

/// What every key of ours begins with.
pub const PREFIX: &str = "probe-tuner.io/";

/// What holds where owners say nothing, and how far anybody may go at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Defaults {
    /// The ceiling of modes: no annotation goes beyond it.
    pub mode: Mode,
    /// Where nobody states a budget.
    pub false_restart_budget: PerPodYear,
    /// Where nobody states a longest detection; `None`: no bound.
    pub detect_within: Option<Span>,
    /// The least and most of each number; not said by annotations.
    pub bounds: Bounds,
    /// Where nobody states the price of a rollout, in pod-seconds a pod.
    pub rollout_price: f64,
}

impl Default for Defaults {
    /// Every mode may be chosen; one false restart a pod-year; no bound; the fence's bounds; 30 pod-seconds.
    fn default() -> Self {
        Defaults {
            mode: Mode::Auto,
            false_restart_budget: PerPodYear::new(1.0).expect("one is a rate"),
            detect_within: None,
            bounds: Bounds::FENCE,
            rollout_price: 30.0,
        }
    }
}

/// Something that is said and has no effect, for the owner to hear of. Nothing is held for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    /// Whether it stands on the Namespace rather than on the workload.
    pub on_namespace: bool,
    /// In words, with a hint.
    pub message: String,
}

/// The annotations of a workload and its Namespace, read; at a moment they are a [`Permission`].
#[derive(Clone, Debug)]
pub struct Rules {
    permission: Permission,
    windows: Vec<Vec<Slot>>,
    /// Said without effect: unknown keys of ours, an unreadable `shadow-checks`.
    pub remarks: Vec<Remark>,
    /// `probe-tuner.io/shadow-checks`: the daemon may ask the endpoint itself. Both must not say `off`, one must say `on`.
    pub shadow_checks: bool,
}

/// Where an annotation stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Namespace,
    Workload,
}

/// The keys, and on which objects they mean something.
const KEYS: [(&str, bool); 13] = [
    ("mode", true),
    ("skip", true),
    ("shadow-checks", true),
    ("containers", true),
    ("probes", true),
    ("false-restart-budget", true),
    ("detect-within", true),
    ("window", true),
    ("rollout-price", true),
    ("freeze-until", true),
    // Set by the namespace's admin; on a workload they would be the owner's own word.
    ("approvals", false),
    ("protected", false),
    // On the daemon's own Lease only.
    ("paused", false),
];

/// Every key that means something, without [`PREFIX`]; the reference lists them.
pub fn keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|(key, _)| *key)
}

/// Longest text of an owner that is repeated in our objects and events, in characters.
const LONGEST_ECHO: usize = 128;

impl Rules {
    /// Reads the annotations of a workload and of its Namespace.
    pub fn read(defaults: &Defaults, namespace: &Annotations, workload: &Annotations) -> Rules {
        let mut rules = Rules {
            permission: Permission {
                mode: Mode::Off,
                skip: None,
                freeze_until: None,
                containers: None,
                probes: ProbeKind::ALL.to_vec(),
                false_restart_budget: defaults.false_restart_budget,
                detect_within: defaults.detect_within,
                bounds: defaults.bounds,
                window: None,
                rollout_price: defaults.rollout_price,
                approvals: false,
                protected: false,
                paused: false,
                unreadable: Vec::new(),
            },
            windows: Vec::new(),
            remarks: Vec::new(),
            shadow_checks: false,
        };
        let mut said = Said::default();
        for (on, annotations) in [(On::Namespace, namespace), (On::Workload, workload)] {
            for (key, value) in annotations {
                if let Some(key) = key.strip_prefix(PREFIX) {
                    rules.take(&mut said, on, key, value);
                }
            }
        }
        let p = &mut rules.permission;
        // Without the Namespace's word nothing is watched; a workload's own word can only take away.
        let opted = said.namespace_mode.unwrap_or(Mode::Off);
        p.mode = opted.min(said.workload_mode.unwrap_or(opted)).min(defaults.mode);
        if let Some(budget) = said.budget {
            p.false_restart_budget = budget;
        }
        if let Some(within) = said.detect_within {
            p.detect_within = Some(within);
        }
        if let Some(price) = said.rollout_price {
            p.rollout_price = price;
        }
        rules.shadow_checks = said.shadow == Some(true);
        p.unreadable.sort();
        rules
    }

    /// What is allowed at `now`; `paused` is the word of the Lease.
    pub fn at(&self, now: Timestamp, paused: bool) -> Permission {
        let mut permission = self.permission.clone();
        permission.paused = paused;
        permission.window = (!self.windows.is_empty()).then(|| window::at(&self.windows, now));
        permission
    }

    /// How far the daemon may go.
    pub fn mode(&self) -> Mode {
        self.permission.mode
    }

    /// What could not be read, ordered.
    pub fn unreadable(&self) -> &[Unreadable] {
        &self.permission.unreadable
    }

    /// Takes one annotation in; the strictest word stands.
    fn take(&mut self, said: &mut Said, on: On, key: &str, value: &str) {
        let p = &mut self.permission;
        match KEYS.iter().find(|(k, _)| *k == key) {
            None => return self.unknown(on, key),
            Some((_, false)) if on == On::Workload || key == "paused" => {
                let place = if key == "paused" { "on the daemon's Lease" } else { "on the Namespace, by its admin" };
                return self.hold(on, key, value, place);
            }
            Some(_) => {}
        }
        match key {
            "mode" => {
                let mode = Mode::parse(value);
                let mode_said = Some(mode.unwrap_or(Mode::Off));
                match on {
                    On::Namespace => said.namespace_mode = mode_said,
                    On::Workload => said.workload_mode = mode_said,
                }
                if mode.is_none() {
                    self.hold(on, key, value, "off, recommend, piggyback, canary or auto");
                }
            }
            // The workload's reason, being the nearer one, is the one that is shown.
            "skip" => p.skip = Some(echo(value)),
            "shadow-checks" => match value {
                "on" => said.shadow = Some(said.shadow.unwrap_or(true)),
                "off" => said.shadow = Some(false),
                _ => {
                    said.shadow = Some(false);
                    self.remark(on, format!("annotation {PREFIX}{key}: {:?} cannot be read and counts as off; hint: write \"on\" or \"off\"", &*echo(value)));
                }
            },
            "containers" => match names(value) {
                Some(names) => match &mut p.containers {
                    Some(only) => only.retain(|c| names.contains(c)),
                    None => p.containers = Some(names),
                },
                None => self.hold(on, key, value, "app,sidecar"),
            },
            "probes" => match kinds(value) {
                Some(kinds) => p.probes.retain(|k| kinds.contains(k)),
                None => self.hold(on, key, value, "liveness,readiness"),
            },
            "false-restart-budget" => match budget(value) {
                Some(budget) => said.budget = Some(said.budget.map_or(budget, |b| if b < budget { b } else { budget })),
                None => self.hold(on, key, value, "1/pod-year"),
            },
            "detect-within" => match parse_span(value).ok().filter(|s| *s > Span::ZERO) {
                Some(span) => said.detect_within = Some(said.detect_within.map_or(span, |s| s.min(span))),
                None => self.hold(on, key, value, "60s"),
            },
            "window" => match window::parse(value) {
                Some(slots) => self.windows.push(slots),
                None => self.hold(on, key, value, "Mon-Fri 09:00-17:00 Europe/Berlin"),
            },
            "rollout-price" => match parse_span(value) {
                Ok(span) => {
                    let price = span.as_secs_f64();
                    said.rollout_price = Some(said.rollout_price.map_or(price, |p| p.max(price)));
                }
                Err(_) => self.hold(on, key, value, "30s"),
            },
            "freeze-until" => match value.parse::<jiff::Timestamp>() {
                Ok(until) => {
                    let until = moment(until);
                    p.freeze_until = Some(p.freeze_until.map_or(until, |f| f.max(until)));
                }
                Err(_) => self.hold(on, key, value, "2026-12-24T18:00:00+01:00"),
            },
            "approvals" => {
                p.approvals = value == "ledger";
                if !p.approvals {
                    self.hold(on, key, value, "ledger");
                }
            }
            // Its presence is what counts, as in the fence: `false` does not unprotect.
            _ => p.protected = true,
        }
    }

    fn hold(&mut self, on: On, key: &str, value: &str, wanted: &str) {
        self.permission.unreadable.push(Unreadable {
            key: format!("{PREFIX}{key}").into(),
            value: echo(value),
            wanted: wanted.into(),
            on_namespace: on == On::Namespace,
        });
    }

    fn unknown(&mut self, on: On, key: &str) {
        let key = echo(key);
        let nearest = KEYS
            .iter()
            .map(|(known, _)| (distance(&key, known), known))
            .min()
            .filter(|(distance, _)| *distance <= 3)
            .map_or(String::from("docs/reference/annotations.md has every key"), |(_, known)| {
                format!("did you mean {PREFIX}{known}?")
            });
        self.remark(on, format!("annotation {PREFIX}{key} is not known and has no effect; hint: {nearest}"));
    }

    fn remark(&mut self, on: On, message: String) {
        self.remarks.push(Remark { on_namespace: on == On::Namespace, message });
    }
}

/// Words that are narrowed among those who speak, and replace a default.
#[derive(Default)]
struct Said {
    namespace_mode: Option<Mode>,
    workload_mode: Option<Mode>,
    budget: Option<PerPodYear>,
    detect_within: Option<Span>,
    rollout_price: Option<f64>,
    shadow: Option<bool>,
}

/// What we tell the owner of a value that cannot be read.
pub fn message(unreadable: &Unreadable) -> String {
    let Unreadable { key, value, wanted, on_namespace } = unreadable;
    let place = if *on_namespace { "of the Namespace" } else { "of the workload" };
    let counts = if &**key == "probe-tuner.io/mode" { "counts as off" } else { "holds every change" };
    format!("annotation {key} {place}: {:?} cannot be read and {counts}; wanted: {wanted}", &**value)
}

/// A moment of the calendar as our own type.
pub(crate) fn moment(at: jiff::Timestamp) -> Timestamp {
    // Beyond 1678..2262 the nearest end is far enough away for anything that is done with it.
    let nanos = at.as_nanosecond().clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    Timestamp::from_nanos(i64::try_from(nanos).expect("clamped to the range"))
}

/// A text of the owner's, short enough to repeat.
fn echo(text: &str) -> Name {
    text.chars().take(LONGEST_ECHO).collect::<String>().into()
}

/// A comma list of container names (DNS labels), at least one.
fn names(text: &str) -> Option<Vec<Name>> {
    let label = |name: &str| {
        !name.is_empty()
            && name.len() <= 63
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.split(',').map(str::trim).map(|name| label(name).then(|| Name::from(name))).collect()
}

/// A comma list of kinds of probe, at least one.
fn kinds(text: &str) -> Option<Vec<ProbeKind>> {
    text.split(',').map(str::trim).map(|word| ProbeKind::ALL.into_iter().find(|k| k.word() == word)).collect()
}

/// `1/pod-year`, `2/pod-month`, `0.5/pod-day`: a number above 0 and at most a million, as events a pod-year.
fn budget(text: &str) -> Option<PerPodYear> {
    let (number, unit) = text.split_once('/')?;
    let a_year = match unit {
        "pod-day" => 365.0,
        "pod-week" => 365.0 / 7.0,
        "pod-month" => 365.0 / 30.0,
        "pod-year" => 1.0,
        _ => return None,
    };
    let plain =
        number.bytes().all(|b| b.is_ascii_digit() || b == b'.') && number.starts_with(|c: char| c.is_ascii_digit());
    let number: f64 = number.parse().ok().filter(|n| plain && *n > 0.0 && *n <= 1e6)?;
    PerPodYear::new(number * a_year)
}

/// Edits between two keys (insert, delete, replace), for "did you mean". Both are short.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let best = (corner + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn notes(pairs: &[(&str, &str)]) -> Annotations {
        pairs.iter().map(|(k, v)| (format!("{PREFIX}{k}"), (*v).to_owned())).collect()
    }

    fn read(namespace: &[(&str, &str)], workload: &[(&str, &str)]) -> Rules {
        Rules::read(&Defaults::default(), &notes(namespace), &notes(workload))
    }

    fn allowed(namespace: &[(&str, &str)], workload: &[(&str, &str)]) -> Permission {
        read(namespace, workload).at(Timestamp::EPOCH, false)
    }

    #[test]
    fn a_namespace_without_the_annotation_is_off_whatever_the_workload_says() {
        assert_eq!(allowed(&[], &[("mode", "auto")]).mode, Mode::Off);
        assert_eq!(allowed(&[("window", "x")], &[]).mode, Mode::Off);
    }

    #[test]
    fn a_workload_lowers_its_namespaces_mode_and_never_raises_it() {
        for (namespace, workload, mode) in [
            ("auto", "recommend", Mode::Recommend),
            ("recommend", "auto", Mode::Recommend),
            ("auto", "off", Mode::Off),
            ("canary", "canary", Mode::Canary),
        ] {
            assert_eq!(allowed(&[("mode", namespace)], &[("mode", workload)]).mode, mode);
        }
        assert_eq!(allowed(&[("mode", "auto")], &[]).mode, Mode::Auto);
    }

    #[test]
    fn no_annotation_goes_beyond_the_configured_ceiling() {
        let defaults = Defaults { mode: Mode::Recommend, ..Defaults::default() };
        assert_eq!(Rules::read(&defaults, &notes(&[("mode", "auto")]), &notes(&[])).mode(), Mode::Recommend);
    }

    #[test]
    fn of_two_words_the_stricter_stands() {
        let p = allowed(
            &[
                ("mode", "auto"),
                ("false-restart-budget", "2/pod-month"),
                ("detect-within", "60s"),
                ("containers", "app, proxy"),
                ("probes", "liveness,readiness"),
                ("rollout-price", "10s"),
                ("freeze-until", "2026-12-24T18:00:00Z"),
            ],
            &[
                ("false-restart-budget", "1/pod-year"),
                ("detect-within", "2m"),
                ("containers", "app,web"),
                ("probes", "liveness,startup"),
                ("rollout-price", "0s"),
                ("freeze-until", "2026-12-24T18:00:01+01:00"),
            ],
        );
        assert_eq!(p.unreadable, []);
        assert_eq!(p.false_restart_budget.get(), 1.0);
        assert_eq!(p.detect_within, Some(Span::MINUTE));
        assert_eq!(p.containers.unwrap(), [Name::from("app")]);
        assert_eq!(p.probes, [ProbeKind::Liveness]);
        assert_eq!(p.rollout_price, 10.0);
        assert_eq!(p.freeze_until.unwrap().floor_seconds(), 1_798_135_200);
    }

    #[test]
    fn where_owners_say_nothing_the_defaults_hold_and_where_one_speaks_his_word_replaces_them() {
        let p = allowed(&[("mode", "auto")], &[]);
        assert_eq!((p.false_restart_budget.get(), p.detect_within, p.rollout_price), (1.0, None, 30.0));
        assert_eq!((p.containers, p.probes.len(), p.window), (None, 3, None));
        let p = allowed(&[("mode", "auto")], &[("false-restart-budget", "0.5/pod-day"), ("rollout-price", "0s")]);
        assert_eq!((p.false_restart_budget.get(), p.rollout_price), (182.5, 0.0));
    }

    #[test]
    fn a_skip_needs_no_reason_and_the_nearer_one_is_shown() {
        assert_eq!(allowed(&[("mode", "auto")], &[("skip", "")]).skip.unwrap(), "".into());
        assert_eq!(allowed(&[("mode", "auto"), ("skip", "a")], &[("skip", "b")]).skip.unwrap(), "b".into());
        assert_eq!(allowed(&[("mode", "auto"), ("skip", "a")], &[]).skip.unwrap(), "a".into());
    }

    #[test]
    fn protection_is_by_presence_and_a_ledger_by_its_word() {
        let p = allowed(&[("mode", "auto"), ("protected", "false"), ("approvals", "ledger")], &[]);
        assert!(p.protected && p.approvals && p.unreadable.is_empty());
    }

    #[test]
    fn every_value_that_cannot_be_read_is_named_with_an_example_and_never_permits() {
        for (key, value, wanted) in [
            ("mode", "Auto", "off, recommend, piggyback, canary or auto"),
            ("containers", "", "app,sidecar"),
            ("containers", "app,,web", "app,sidecar"),
            ("containers", "App", "app,sidecar"),
            ("probes", "liveness,alive", "liveness,readiness"),
            ("probes", "", "liveness,readiness"),
            ("false-restart-budget", "1", "1/pod-year"),
            ("false-restart-budget", "0/pod-year", "1/pod-year"),
            ("false-restart-budget", "-1/pod-year", "1/pod-year"),
            ("false-restart-budget", "inf/pod-year", "1/pod-year"),
            ("false-restart-budget", "1/year", "1/pod-year"),
            ("detect-within", "60", "60s"),
            ("detect-within", "0s", "60s"),
            ("rollout-price", "cheap", "30s"),
            ("freeze-until", "2026-12-24", "2026-12-24T18:00:00+01:00"),
            ("freeze-until", "tomorrow", "2026-12-24T18:00:00+01:00"),
            ("window", "weekdays", "Mon-Fri 09:00-17:00 Europe/Berlin"),
        ] {
            let on_workload = read(&[("mode", "auto")], &[(key, value)]);
            let on_namespace =
                read(&if key == "mode" { vec![(key, value)] } else { vec![("mode", "auto"), (key, value)] }, &[]);
            for (rules, place) in [(on_workload, "of the workload"), (on_namespace, "of the Namespace")] {
                assert_eq!(rules.unreadable().len(), 1, "{key}: {value}");
                let message = message(&rules.unreadable()[0]);
                let counts = if key == "mode" { "counts as off" } else { "holds every change" };
                let wanted = format!(
                    "annotation probe-tuner.io/{key} {place}: {value:?} cannot be read and {counts}; wanted: {wanted}"
                );
                assert_eq!(message, wanted);
                assert_eq!(rules.mode() == Mode::Off, key == "mode");
            }
        }
    }

    #[test]
    fn what_only_an_admin_may_say_holds_on_a_workload() {
        for key in ["approvals", "protected", "paused"] {
            let rules = read(&[("mode", "auto")], &[(key, "ledger")]);
            assert_eq!(rules.unreadable().len(), 1, "{key}");
            assert!(!rules.at(Timestamp::EPOCH, false).approvals);
        }
        let message = message(&read(&[("mode", "auto"), ("approvals", "two")], &[]).unreadable()[0]);
        assert!(message.ends_with("\"two\" cannot be read and holds every change; wanted: ledger"), "{message}");
    }

    #[test]
    fn a_long_value_is_repeated_only_in_part() {
        let rules = read(&[("mode", &"ä".repeat(5000))], &[]);
        assert_eq!(rules.unreadable()[0].value.chars().count(), 128);
    }

    #[test]
    fn an_unknown_key_is_remarked_with_the_nearest_one_and_holds_nothing() {
        let rules = read(&[("mode", "auto")], &[("windw", "Mon-Fri 09:00-17:00 UTC"), ("frobnicate-all", "1")]);
        assert!(rules.unreadable().is_empty());
        let messages: Vec<&str> = rules.remarks.iter().map(|r| &*r.message).collect();
        assert_eq!(
            messages,
            [
                "annotation probe-tuner.io/frobnicate-all is not known and has no effect; hint: docs/reference/annotations.md has every key",
                "annotation probe-tuner.io/windw is not known and has no effect; hint: did you mean probe-tuner.io/window?",
            ]
        );
    }

    #[test]
    fn shadow_checks_are_off_unless_somebody_says_on_and_nobody_off() {
        for (namespace, workload, on, remarks) in [
            (None, None, false, 0),
            (Some("on"), None, true, 0),
            (Some("on"), Some("off"), false, 0),
            (Some("off"), Some("on"), false, 0),
            (Some("yes"), Some("on"), false, 1),
        ] {
            let pair = |v: Option<&'static str>| v.map(|v| ("shadow-checks", v)).into_iter().collect::<Vec<_>>();
            let rules = read(&pair(namespace), &pair(workload));
            assert_eq!((rules.shadow_checks, rules.remarks.len()), (on, remarks), "{namespace:?} {workload:?}");
            assert!(rules.unreadable().is_empty());
        }
    }
}
