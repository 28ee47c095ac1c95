//! Texts of numbers: traces, the kernel's files, quantities, durations, rates, settings.

use super::text;
use probe_tuner::load::text as kernel;
use probe_tuner::observe::quantity::quantity;
use probe_tuner::probe::{Answer, Settings};
use probe_tuner::record;
use probe_tuner::units::{PerPodYear, Span, Uid, parse_span};

/// What reads writes, and reads again as the same; what does not read says where, within the file.
pub fn trace(bytes: &[u8]) {
    match record::read(bytes) {
        Ok(trace) => {
            let written = record::write(&trace);
            let again =
                record::read(written.as_bytes()).unwrap_or_else(|e| panic!("{e:?} in what we wrote: {written}"));
            assert_eq!(trace.columns(), again.columns());
            assert_eq!(trace.rows().len(), again.rows().len());
            for (a, b) in trace.rows().iter().zip(again.rows()) {
                assert_eq!(a.load, b.load);
                assert_eq!(a.answer, b.answer);
                // A float holds nanoseconds for 104 days, and a microsecond for the rest.
                let exact = a.at < Span::DAY * 104;
                assert!((a.at - b.at).nanos().abs() <= if exact { 0 } else { 1_000 }, "{a:?} {b:?}");
                assert!(!matches!(a.answer, Answer::Healthy(l) | Answer::Unhealthy(l) if l < Span::ZERO));
            }
            let windows = bytes.split(|b| *b == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]);
            assert_eq!(record::read(&windows).as_ref(), Ok(&trace), "with other line ends");
        }
        Err(mistakes) => {
            let lines = bytes.split(|b| *b == b'\n').count();
            assert!((1..=record::MOST_MISTAKES).contains(&mistakes.told.len()));
            assert!(mistakes.told.is_sorted_by_key(|m| m.line));
            for m in &mistakes.told {
                assert!((1..=lines).contains(&m.line) && m.found.chars().count() <= 61, "{m:?}");
            }
        }
    }
}

/// Shares lie between 0 and 1, places below the root, and a counter is one that stands in the text.
pub fn cgroup(bytes: &[u8]) {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    if let (Some(a), Some(b)) = (kernel::proc_stat(first), kernel::proc_stat(second)) {
        let share = b.share_since(a);
        assert!(share.is_none_or(|s| (0.0..=1.0).contains(&s)), "{share:?}");
        assert_eq!(a.share_since(a), None);
    }
    let stands = |n: u64| text(bytes).split_ascii_whitespace().any(|w| w.parse() == Ok(n));
    let v2 = kernel::v2(bytes);
    let v1 = kernel::v1(bytes, bytes);
    if std::str::from_utf8(bytes).is_ok() {
        let all = [v2.usage_nanos.map(|n| n / 1000), v2.periods, v2.throttled, v1.usage_nanos, v1.periods];
        assert!(all.into_iter().flatten().all(stands), "{v2:?} {v1:?}");
    }
    assert_eq!((v1.periods, v1.throttled), (v2.periods, v2.throttled));
    for place in [kernel::v2_place(bytes), kernel::v1_place(bytes, "cpuacct").map(|(_, place)| place)] {
        assert!(place.is_none_or(|p| p.starts_with('/') && !p.split('/').any(|s| s == "..")), "{place:?}");
    }
    if let Some((list, _)) = kernel::v1_place(bytes, "cpu") {
        assert!(list.split(',').any(|c| c == "cpu") && !list.contains('/'));
    }
}

/// A quantity is finite and not negative; a suffix multiplies what stands before it.
pub fn quantities(bytes: &[u8]) {
    let text = text(bytes);
    let Some(found) = quantity(text) else { return };
    assert!(found.is_finite() && found >= 0.0, "{text:?}: {found}");
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        assert_eq!(text.parse(), Ok(found));
        for (suffix, by) in [("Ki", 1024.0), ("M", 1e6), ("Ei", 1024f64.powi(6))] {
            assert_eq!(quantity(&format!("{text}{suffix}")), Some(found * by).filter(|n| n.is_finite()));
        }
        assert_eq!(quantity(&format!("{text}m")), Some(found / 1000.0));
        assert_eq!(quantity(&format!("-{text}")), None);
    }
}

/// What reads is shown, and reads again as the same.
pub fn durations(bytes: &[u8]) {
    let text = text(bytes);
    if let Ok(span) = parse_span(text) {
        assert!(span >= Span::ZERO && span <= Span::YEAR * 100);
        if span.nanos() % 1_000_000_000 == 0 {
            assert_eq!(parse_span(&span.to_string()), Ok(span), "{text:?} is shown as {span}");
        }
        assert!(parse_span(&format!("{text}{text}")).is_ok() || span * 2 > Span::YEAR * 100);
        assert!(parse_span(&format!("-{text}")).is_err());
    }
    if let Ok(rate) = PerPodYear::parse(text) {
        assert!(rate.get() > 0.0 && rate.get().is_finite(), "{text:?}: {rate:?}");
    }
    if let Ok(settings) = text.parse::<Settings>() {
        assert_eq!(settings.to_string().parse(), Ok(settings));
        assert!(settings.stall_tolerance() > 0);
    }
    if let Some(uid) = Uid::parse(text) {
        assert_eq!(Uid::parse(&uid.to_string()), Some(uid));
    }
}
