//! What stands beside the decision, a plain paragraph each: the forecast, the load, shadow checks.

use super::Explanation;
use crate::cli::recommendation::basis;
use crate::decide::{Ahead, LoadAccount, ShadowAccount, Spread, about};
use crate::evidence::{Agreement, COMPARED_FROM, Record};
use crate::units::{Span, Timestamp};
use jiff::tz::TimeZone;

/// One text for each of which there is anything to say.
pub(super) fn paragraphs(e: &Explanation) -> Vec<String> {
    let all = [
        e.ahead.map(|a| forecast(&a, e.judgement.current.timeout(), e.at)),
        Some(load(&e.load, &e.judgement.probe.container)),
        e.shadow.as_ref().map(shadow),
    ];
    all.into_iter().flatten().collect()
}

/// `Thu 8 Jan 14:00 UTC`: hours of the forecast are UTC.
fn moment(at: Timestamp) -> String {
    let zoned = jiff::Timestamp::from_second(at.floor_seconds()).map(|t| t.to_zoned(TimeZone::UTC));
    zoned.map_or_else(|_| String::new(), |t| t.strftime("%a %-d %b %H:%M UTC").to_string())
}

fn forecast(a: &Ahead, timeout: u32, now: Timestamp) -> String {
    let told = told(a.record);
    if let Some((since, last)) = a.reaching {
        let last =
            if last == since { String::new() } else { format!(" (the last time in the hour from {})", moment(last)) };
        return format!(
            "forecast: the timeout of {timeout} s is being reached already: since {} one check in a hundred or more ran into it{last}; {told}",
            moment(since)
        );
    }
    match &a.foretold {
        Some(_) if !a.trusted => {
            format!("forecast: none is told, since of the last ten fewer than five came true; {told}")
        }
        Some(f) => {
            let until = f.at.since(now);
            let when = if until > Span::ZERO { format!("in about {}", about(until)) } else { "now".to_owned() };
            format!(
                "forecast: {when}, from {} on (give or take {} h), one check in a hundred is expected to run into the timeout of {} s: {}, {:.0} % likely; {told}",
                moment(f.at),
                f.within.floor_seconds() / 3_600,
                f.timeout,
                basis(f.basis),
                f.probability * 100.0,
            )
        }
        None => format!("forecast: nothing says that the timeout of {timeout} s will be reached within a week; {told}"),
    }
}

/// How earlier forecasts turned out.
fn told(record: Record) -> String {
    let Record { hits, misses, surprises } = record;
    let surprises = match surprises {
        0 => String::new(),
        1 => ", and once it was reached without one".to_owned(),
        n => format!(", and {n} times it was reached without one"),
    };
    match hits + misses {
        0 => format!("no forecast has been judged yet{surprises}"),
        1 => {
            format!("the one forecast so far {}{surprises}", if hits == 1 { "came true" } else { "did not come true" })
        }
        all => format!("of {all} forecasts so far {hits} came true{surprises}"),
    }
}

fn percent(x: f64) -> String {
    format!("{:.0} %", x * 100.0)
}

/// `30 to 40 %`, or `35 %` where both are that.
fn between(least: f64, most: f64) -> String {
    let (least, most) = ((least * 100.0).round(), (most * 100.0).round());
    if least == most { format!("{most:.0} %") } else { format!("{least:.0} to {most:.0} %") }
}

/// `0.25`, `1.5`, `12`.
fn cores(x: f64) -> String {
    let x = if x < 10.0 { format!("{x:.2}") } else { format!("{x:.0}") };
    if x.contains('.') { x.trim_end_matches('0').trim_end_matches('.').to_owned() } else { x }
}

/// The bin in which it was for the longest time.
fn mostly(s: &Spread) -> usize {
    (0..s.seconds.len()).max_by(|a, b| s.seconds[*a].total_cmp(&s.seconds[*b])).unwrap_or(0)
}

fn load(l: &LoadAccount, container: &str) -> String {
    let mut told = Vec::new();
    match &l.nodes {
        None => told.push("that of its nodes is unknown: metrics.k8s.io told of none".to_owned()),
        Some(s) if s.brief() => told.push(format!(
            "its nodes were seen for less than an hour, at up to {} of their cores; nothing is known of more",
            percent(s.highest)
        )),
        Some(s) => {
            let at = mostly(s);
            let usual = match s.edges.get(at + 1) {
                Some(to) => between(s.edges[at], *to),
                None => format!("above {}", percent(s.edges[at])),
            };
            told.push(format!(
                "its nodes were seen at up to {} of their cores ({} ago), mostly at {usual}; nothing is known of more",
                percent(s.highest),
                about(s.highest_ago)
            ));
        }
    }
    if let (Some(&least), Some(&most), n) = (l.restarts.first(), l.restarts.last(), l.restarts.len()) {
        let at = between(least, most);
        told.push(if n == 1 { format!("the one restart came at {at}") } else { format!("{n} restarts came at {at}") });
    }
    if let Some(s) = &l.pods {
        told.push(format!("a pod used up to {} cores", cores(s.highest)));
    }
    if let Some(t) = &l.throttled {
        let lasts = t.lasts.map_or(String::new(), |long| format!(", above 30 % on most pods for {}", about(long)));
        told.push(format!(
            "container {container} was throttled in {} of its CPU periods in a day{lasts}",
            percent(t.share)
        ));
    }
    format!("load: {}", told.join("; "))
}

fn shadow(s: &ShadowAccount) -> String {
    let checks = format!("shadow checks: {} answers", thousands(s.checks - s.silent));
    let kept = |words: &str| {
        let slowest = s
            .slowest
            .iter()
            .find_map(|l| l.latency)
            .map_or(String::new(), |l| format!(", the slowest of the last day {:.1} s", l.as_secs_f64()));
        let (edge, above) = s.above;
        let silent =
            if s.silent >= 0.5 { format!(", {} without any in 30 s", thousands(s.silent)) } else { String::new() };
        let ill = if s.unhealthy >= 0.5 { format!(", {} not healthy", thousands(s.unhealthy)) } else { String::new() };
        format!("{checks}{slowest}, {} above {edge} s{silent}{ill}; {words}", thousands(above))
    };
    match s.agreement {
        Agreement::Agree => kept("they agree with the kubelet"),
        Agreement::NotYet { have: (ours, theirs) } => kept(&format!(
            "too few to hold against the kubelet: {ours} of ours and {theirs} of its in two days, {COMPARED_FROM} of each are asked"
        )),
        Agreement::Differ { since, shares: (ours, theirs) } => format!(
            "shadow checks: they disagree with the kubelet since {}: {:.1} % of ours were slow or not healthy, {:.1} % of its; what they saw is dropped, because the daemon's way to the pods is not the kubelet's",
            moment(since),
            ours * 100.0,
            theirs * 100.0
        ),
    }
}

/// `1,234`.
fn thousands(x: f64) -> String {
    let digits = format!("{:.0}", x.max(0.0));
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::ThrottleAccount;
    use crate::evidence::{Basis, Foretold, Long, NODE_EDGES, POD_EDGES};
    use crate::units::Span;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[track_caller]
    fn says(said: &str, wanted: &str) {
        assert_eq!(said, wanted);
    }

    /// Thu 8 Jan 2026, 14:00 UTC.
    const TWO: i64 = 1_767_880_800;

    fn ahead(record: (u32, u32, u32)) -> Ahead {
        let foretold = Foretold {
            made: at(0),
            at: at(TWO),
            within: Span::HOUR,
            timeout: 5,
            probability: 0.92,
            basis: Basis::Season,
        };
        let (hits, misses, surprises) = record;
        Ahead { foretold: Some(foretold), trusted: true, record: Record { hits, misses, surprises }, reaching: None }
    }

    #[test]
    fn a_forecast_says_when_how_sure_it_is_and_how_earlier_ones_turned_out() {
        let ahead = ahead((12, 1, 3));
        says(
            &forecast(&ahead, 5, at(TWO - 5 * 3_600)),
            "forecast: in about 5 h, from Thu 8 Jan 14:00 UTC on (give or take 1 h), one check in a hundred is expected to run into the timeout of 5 s: as at this hour before, 92 % likely; of 13 forecasts so far 12 came true, and 3 times it was reached without one",
        );
        says(
            &forecast(&Ahead { trusted: false, ..ahead }, 5, at(TWO)),
            "forecast: none is told, since of the last ten fewer than five came true; of 13 forecasts so far 12 came true, and 3 times it was reached without one",
        );
        says(
            &forecast(&Ahead { foretold: None, record: Record::default(), ..ahead }, 2, at(TWO)),
            "forecast: nothing says that the timeout of 2 s will be reached within a week; no forecast has been judged yet",
        );
    }

    #[test]
    fn a_forecast_whose_hour_has_come_is_not_told_as_the_future() {
        let text = forecast(&ahead((1, 0, 1)), 5, at(TWO + 1_800));
        assert!(text.starts_with("forecast: now, from Thu 8 Jan 14:00 UTC on (give or take 1 h), one check"), "{text}");
        assert!(text.ends_with("; the one forecast so far came true, and once it was reached without one"), "{text}");
    }

    #[test]
    fn a_timeout_that_is_being_reached_is_told_as_that_and_as_no_forecast() {
        let told = |reaching| forecast(&Ahead { reaching: Some(reaching), ..ahead((0, 0, 0)) }, 5, at(TWO));
        says(
            &told((at(TWO - 12 * 3_600), at(TWO - 3_600))),
            "forecast: the timeout of 5 s is being reached already: since Thu 8 Jan 02:00 UTC one check in a hundred or more ran into it (the last time in the hour from Thu 8 Jan 13:00 UTC); no forecast has been judged yet",
        );
        assert!(
            told((at(TWO), at(TWO))).contains("since Thu 8 Jan 14:00 UTC one check in a hundred or more ran into it; ")
        );
    }

    #[test]
    fn the_load_says_what_was_seen_and_that_nothing_is_known_of_more() {
        let spread = |edges, bin: usize, highest| {
            let mut seconds = [0.0; 10];
            seconds[bin] = 3_600.0;
            Some(Spread { edges, seconds, highest, highest_ago: Span::HOUR * 5 })
        };
        let account = LoadAccount {
            nodes: spread(NODE_EDGES, 3, 0.82),
            pods: spread(POD_EDGES, 2, 0.25),
            restarts: vec![0.71, 0.74, 0.75, 0.8],
            throttled: Some(ThrottleAccount { share: 0.42, seen: Span::HOUR * 90, lasts: Some(Span::HOUR * 6) }),
        };
        says(
            &load(&account, "app"),
            "load: its nodes were seen at up to 82 % of their cores (5 h ago), mostly at 30 to 40 %; nothing is known of more; 4 restarts came at 71 to 80 %; a pod used up to 0.25 cores; container app was throttled in 42 % of its CPU periods in a day, above 30 % on most pods for 6 h",
        );
        let seconds = [0.0; 10];
        let once = Spread { edges: NODE_EDGES, seconds, highest: 0.04, highest_ago: Span::ZERO };
        let account = LoadAccount { nodes: Some(once), pods: None, restarts: Vec::new(), throttled: None };
        says(
            &load(&account, "app"),
            "load: its nodes were seen for less than an hour, at up to 4 % of their cores; nothing is known of more",
        );
        let nothing = LoadAccount { nodes: None, pods: None, restarts: Vec::new(), throttled: None };
        says(&load(&nothing, "app"), "load: that of its nodes is unknown: metrics.k8s.io told of none");
    }

    #[test]
    fn shadow_checks_say_whether_they_see_what_the_kubelet_sees() {
        let account = ShadowAccount {
            checks: 1_236.0,
            silent: 2.0,
            unhealthy: 0.0,
            above: (5.0, 3.0),
            slowest: vec![
                Long { latency: None, at: at(0) },
                Long { latency: Some(Span::from_millis(6_100)), at: at(0) },
            ],
            agreement: Agreement::Agree,
        };
        says(
            &shadow(&account),
            "shadow checks: 1,234 answers, the slowest of the last day 6.1 s, 3 above 5 s, 2 without any in 30 s; they agree with the kubelet",
        );
        let agreement = Agreement::Differ { since: at(TWO), shares: (0.1, 0.012) };
        says(
            &shadow(&ShadowAccount { agreement, ..account }),
            "shadow checks: they disagree with the kubelet since Thu 8 Jan 14:00 UTC: 10.0 % of ours were slow or not healthy, 1.2 % of its; what they saw is dropped, because the daemon's way to the pods is not the kubelet's",
        );
    }
}
