//! What owners and administrators write: annotations, the brake, the configuration.

use super::text;
use probe_tuner::annotations::{Annotations, Defaults, Pause, Rules, message};
use probe_tuner::config::{File, Mistake, Place, Sources, parse};
use probe_tuner::policy::Mode;
use probe_tuner::units::{Span, Timestamp};

/// Lines `KEY: VALUE`; those of the workload after an empty line.
fn both(text: &str) -> (Annotations, Annotations) {
    let read = |part: &str| -> Annotations {
        let pair = |line: &str| line.split_once(": ").map(|(k, v)| (format!("probe-tuner.io/{k}"), v.to_owned()));
        part.lines().filter_map(pair).collect()
    };
    let (namespace, workload) = text.split_once("\n\n").unwrap_or((text, ""));
    (read(namespace), read(workload))
}

/// A workload narrows what its namespace says, nothing unread is permission, and a window changes when it says so.
pub fn annotations(bytes: &[u8]) {
    let text = text(bytes);
    let (namespace, workload) = both(text);
    let defaults = Defaults::default();
    let now = Timestamp::from_seconds(1_764_000_000 + bytes.len() as i64 * 9_973);
    let (upper, rules) =
        (Rules::read(&defaults, &namespace, &Annotations::new()), Rules::read(&defaults, &namespace, &workload));
    let (wide, p) = (upper.at(now, false), rules.at(now, false));
    assert!(p.mode <= wide.mode);
    assert!(namespace.contains_key("probe-tuner.io/mode") || p.mode == Mode::Off);
    assert!(p.unreadable.len() >= wide.unreadable.len() && p.unreadable.is_sorted());
    assert!(p.unreadable.len() <= namespace.len() + workload.len());
    assert!(p.freeze_until >= wide.freeze_until && p.protected >= wide.protected && p.approvals == wide.approvals);
    assert!(p.probes.iter().all(|k| wide.probes.contains(k)));
    if let (Some(all), Some(some)) = (&wide.containers, &p.containers) {
        assert!(some.iter().all(|c| all.contains(c)));
    }
    for (key, narrowed) in [
        ("false-restart-budget", p.false_restart_budget <= wide.false_restart_budget),
        ("detect-within", p.detect_within <= wide.detect_within),
        ("rollout-price", p.rollout_price >= wide.rollout_price),
    ] {
        let key = format!("probe-tuner.io/{key}");
        let unread = wide.unreadable.iter().any(|u| *u.key == *key);
        assert!(!namespace.contains_key(&key) || unread || narrowed, "{key}");
    }
    assert!(p.rollout_price.is_finite() && p.rollout_price >= 0.0 && p.false_restart_budget.get() > 0.0);
    for u in &p.unreadable {
        assert!(u.value.chars().count() <= 128 && message(u).contains("wanted: "));
    }
    let Some(window) = p.window else { return };
    assert!(wide.window.is_none_or(|w| w.open || !window.open));
    let open = |at: Timestamp| rules.at(at, false).window.unwrap().open;
    if let Some(at) = window.changes_at {
        assert!(at > now && open(at) != window.open && open(at - Span::from_nanos(1)) == window.open, "{text:?}");
    } else {
        assert!((0..16).all(|half_days| open(now + Span::HOUR * 12 * half_days) == window.open), "{text:?}");
    }
}

/// What stops somewhere is written as what stops there; what cannot be read stops everywhere.
pub fn pause(bytes: &[u8]) {
    let pause = Pause::parse(Some(text(bytes)));
    match &pause {
        Pause::In(names) => {
            assert!(names.iter().all(|name| pause.covers(name)) && !pause.covers("no.such.namespace"));
            assert_eq!(Pause::parse(pause.value().as_deref()), pause);
        }
        Pause::Everywhere => assert_eq!(Pause::parse(pause.value().as_deref()), pause),
        Pause::Unreadable(found) => assert!(found.chars().count() <= 128 && pause.covers("shop")),
    }
}

/// The same text gives the same configuration; a text that gives none says why, on a line that it has. A file, and after
/// a NUL lines `NAME=VALUE` of the environment.
pub fn config(bytes: &[u8]) {
    let text = text(bytes);
    let (file, environment) = text.split_once('\0').unwrap_or((text, ""));
    let pair = |line: &str| line.split_once('=').map(|(n, v)| (format!("PROBE_TUNER_{n}"), v.to_owned()));
    let sources = Sources {
        file: Some(File { name: "probe-tuner.toml".to_owned(), text: file.to_owned() }),
        environment: environment.lines().filter_map(pair).collect(),
        flags: Vec::new(),
    };
    let lines = file.bytes().filter(|b| *b == b'\n').count() + 1;
    match parse(&sources) {
        Ok(config) => {
            let again = parse(&sources).unwrap();
            assert_eq!(format!("{config:?}"), format!("{again:?}"));
            // A comment and blank lines are nobody's word.
            let sources = Sources {
                file: Some(File { name: "probe-tuner.toml".to_owned(), text: format!("# first\n\n{file}\n") }),
                ..sources
            };
            let spaced = parse(&sources).unwrap_or_else(|e| panic!("{e} after blank lines in {file:?}"));
            assert_eq!(format!("{config:?}"), format!("{spaced:?}"));
        }
        Err(mistakes) => {
            assert!(!mistakes.0.is_empty());
            for mistake in &mistakes.0 {
                assert!(!mistake.to_string().is_empty() && mistake.hint().is_none_or(|h| !h.is_empty()));
                if let Mistake::Syntax { place, .. } | Mistake::Unknown { place, .. } | Mistake::Value { place, .. } =
                    mistake
                {
                    assert!(!matches!(place, Place::File { line, .. } if !(1..=lines).contains(line)), "{place}");
                }
            }
        }
    }
}
