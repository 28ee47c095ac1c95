//! Explanations: they tell the story of the decision and no other, in words, as JSON and as a picture. Those of the
//! documentation are made here: `UPDATE=1 cargo test --test explain` writes them anew.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use probe_tuner::cli::explanation::{Explained, Form, render};
use probe_tuner::decide::{Explanation, Mark, Prices, judge};
use probe_tuner::engine::{Engine, Rules};
use probe_tuner::observation::{Fact, Observation};
use probe_tuner::policy::Mode;
use probe_tuner::probe::{ProbeKind, Settings};
use probe_tuner::reason::Reason;
use probe_tuner::sim::{Family, Fleet, MONDAY, Nature, Setup, Twist, World};
use probe_tuner::units::Span;

fn settings(text: &str) -> Settings {
    text.parse().unwrap()
}

/// A simulated workload that is watched and never changed.
fn setup(name: &str, nature: Nature, numbers: &str, days: f64) -> Setup {
    let mut s = Setup::of(name, nature, 1, days);
    s.address.namespace = "shop".into();
    s.settings = settings(numbers);
    s.permission.mode = Mode::Recommend;
    s.listen = true;
    s
}

/// Lets it live for its days before the engine's eyes.
fn watch(setup: Setup) -> Explained {
    let (uid, end) = (setup.uid, MONDAY + Span::round_from_secs_f64(setup.days * 86_400.0));
    let mut fleet = Fleet::new(vec![World::new(setup)]);
    let mut engine = Engine::new(Rules::default(), MONDAY);
    engine.observe(Observation { at: MONDAY, fact: Fact::Fence { holds: true } });
    let (mut now, mut facts) = (MONDAY, Vec::new());
    while now < end {
        let until = (now + Span::SECOND * 15).min(end);
        while fleet.advance(until, &mut facts).is_some() {}
        now = until;
        facts.drain(..).for_each(|o| engine.observe(o));
        drop(engine.turn(now).news);
    }
    let view = engine.view(uid).unwrap();
    let explanations = engine.explain(uid, now);
    let workload = engine.workloads().find(|w| w.uid == uid).unwrap();
    let prices = Prices { slow_rate: engine.prior(), ..Prices::default() };
    let judgements = judge(engine.evidence(uid).unwrap(), workload, &view.memory, &prices, now);
    assert_eq!(explanations.iter().map(|e| e.judgement.clone()).collect::<Vec<_>>(), judgements);
    Explained { context: None, view, explanations }
}

fn of(x: &Explained, kind: ProbeKind) -> Explained {
    let explanations = x.explanations.iter().filter(|e| e.judgement.probe.kind == kind).cloned().collect();
    Explained { explanations, ..x.clone() }
}

fn liveness(x: &Explained) -> &Explanation {
    x.explanations.iter().find(|e| e.judgement.probe.kind == ProbeKind::Liveness).unwrap()
}

/// Stalls of 8 to 22 s under load, at numbers that tolerate 14 s.
fn loosened() -> Explained {
    watch(setup("basket", Family::Gc.nature(0), "7/7/2", 28.0))
}

/// Two quiet months with a release a week, at the numbers for the unknown.
fn tightened() -> Explained {
    watch(setup("catalog", Family::Light.nature(0), "10/12/2", 56.0))
}

/// The same numbers for liveness and readiness.
fn alike() -> Explained {
    let nature = Nature { readiness: Some(settings("10/12/2")), ..Family::Light.nature(0) };
    watch(setup("cart", nature, "10/12/2", 28.0))
}

/// One replica of five that is ill.
fn held() -> Explained {
    let nature = Nature { twist: Twist::SickReplica, ..Nature::quiet() };
    watch(setup("mail", nature, "10/5/3", 3.0))
}

/// Starts that take longer each day, behind a startup probe that allows 90 s.
fn started() -> Explained {
    watch(setup("search", Family::SlowStart.nature(0), "10/12/2", 21.0))
}

/// Holds a generated file to what it should be.
fn generated(file: &str, text: &str) {
    let path = format!("{}/docs/explain/{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(format!("{}/docs/explain", env!("CARGO_MANIFEST_DIR"))).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, text, "{file}: write it anew: UPDATE=1 cargo test --test explain");
}

fn documented(name: &str, x: &Explained) {
    generated(&format!("{name}.txt"), &render(std::slice::from_ref(x), Form::Text, false));
    generated(&format!("{name}.svg"), &render(std::slice::from_ref(x), Form::Svg, false));
}

#[test]
fn false_restarts_loosen_and_the_explanation_says_so() {
    let x = loosened();
    let e = liveness(&x);
    assert_eq!(e.judgement.reason, Reason::Loosen, "{}", e.judgement.message);
    least_of_the_allowed(e);
    documented("loosen", &x);
}

#[test]
fn quiet_months_tighten_and_the_explanation_says_so() {
    let x = tightened();
    let e = liveness(&x);
    assert_eq!(e.judgement.reason, Reason::Tighten, "{}", e.judgement.message);
    least_of_the_allowed(e);
    documented("tighten", &x);
}

#[test]
fn a_readiness_probe_as_patient_as_liveness_gives_up_sooner_and_the_explanation_says_so() {
    let x = of(&alike(), ProbeKind::Readiness);
    let e = &x.explanations[0];
    assert_eq!(e.judgement.reason, Reason::Tighten, "{}", e.judgement.message);
    assert!(e.judgement.wanted.stall_tolerance() <= 12, "{}", e.judgement.message);
    documented("readiness", &x);
}

#[test]
fn a_sick_replica_holds_and_the_explanation_names_it() {
    let x = held();
    let e = liveness(&x);
    assert_eq!(e.judgement.reason, Reason::SickReplica, "{}", e.judgement.message);
    let stop = e.gates.iter().find(|g| g.mark == Mark::Stops).unwrap();
    assert_eq!((stop.reason, &stop.figure), (Some(Reason::SickReplica), &e.judgement.message));
    let pod = &e.account.as_ref().unwrap().restarts.last().unwrap().pod;
    let text = render(std::slice::from_ref(&x), Form::Text, false);
    assert!(text.contains(&format!("kubectl -n shop describe pod {pod}\n")), "{text}");
    documented("hold", &x);
}

#[test]
fn starts_are_explained_by_their_times() {
    let x = of(&started(), ProbeKind::Startup);
    let starts = x.explanations[0].starts.as_ref().unwrap();
    // What was seen could have been seen: nothing started later than its probe allows, and a check of it.
    assert!(starts.seconds.iter().all(|(took, _)| *took <= 91.0), "{:?}", starts.seconds);
    assert!(starts.seconds.iter().any(|(_, cut_off)| *cut_off) && starts.seconds.len() > 5);
    assert_eq!(x.explanations[0].judgement.reason, Reason::Loosen);
    documented("startup", &x);
}

/// The one that was chosen is allowed, and none that is allowed loses less.
fn least_of_the_allowed(e: &Explanation) {
    let wanted = e.alternative(e.judgement.wanted).unwrap();
    assert_eq!(wanted.objection, None);
    let open = e.alternatives.iter().filter(|a| a.objection.is_none());
    let best = open.min_by(|a, b| a.loss.total_cmp(&b.loss)).unwrap();
    assert_eq!(best.settings, wanted.settings);
}

#[test]
fn of_every_family_the_chosen_one_is_the_least_that_is_allowed_and_the_gate_that_stops_gives_the_reason() {
    for family in Family::all() {
        let x = watch(setup("web", family.nature(0), "10/10/3", 9.0));
        let e = liveness(&x);
        let j = &e.judgement;
        if matches!(j.reason, Reason::Loosen | Reason::Tighten) {
            least_of_the_allowed(e);
        }
        let stops = e.gates.iter().find(|g| matches!(g.mark, Mark::Stops | Mark::Acts));
        let told = stops.and_then(|g| g.reason);
        match j.reason {
            // What is in place is there because nothing is better, or because nothing better may be had.
            Reason::InPlace | Reason::OverBudgetAtMax | Reason::NeedsApproval | Reason::ColdStart | Reason::Starved => {
                assert_eq!(told, Some(Reason::InPlace), "{}: {j:?}", family.name());
            }
            Reason::Loosen | Reason::Tighten => assert_eq!(told, None, "{}: {j:?}", family.name()),
            Reason::Oom | Reason::Crash => assert!(matches!(told, Some(Reason::Oom | Reason::Crash))),
            reason => assert_eq!(told, Some(reason), "{}: {j:?}", family.name()),
        }
    }
}

#[test]
fn what_was_just_seen_for_the_first_time_is_explained_too() {
    let x = watch(setup("web", Nature::quiet(), "10/1/3", 0.01));
    let text = render(std::slice::from_ref(&x), Form::Text, false);
    assert!(
        text.contains("THIN_EVIDENCE") && text.contains("10/1/3 (period/timeout/failures in a row) stays."),
        "{text}"
    );
    assert!(render(&[x], Form::Svg, false).starts_with("<svg "));
}

#[test]
fn a_curve_never_rises_and_its_bound_is_never_below_it() {
    for curve in loosened().explanations.iter().flat_map(|e| e.curves.clone()) {
        assert!(curve.points.windows(2).all(|w| w[1].mean <= w[0].mean * (1.0 + 1e-9)));
        assert!(curve.points.iter().all(|p| p.upper >= p.mean));
    }
}

#[test]
fn the_document_says_its_version_and_every_alternative() {
    let x = held();
    let json: serde_json::Value = serde_json::from_str(&render(std::slice::from_ref(&x), Form::Json, false)).unwrap();
    let e = &json["explanations"][0];
    assert_eq!((&json["version"], &e["reason"], &e["name"]), (&1.into(), &"SICK_REPLICA".into(), &"mail".into()));
    assert_eq!(e["alternatives"].as_array().unwrap().len(), x.explanations[0].alternatives.len());
    assert!(e["at"].as_str().unwrap().starts_with("2026-01-08T00:00:00"), "{}", e["at"]);
}

#[test]
fn colours_change_no_word_and_what_others_wrote_gives_none() {
    let mut x = held();
    x.explanations[0].judgement.message = "\u{1b}[31mred<script>alert(1)</script>\u{0}".into();
    x.explanations[0].address.name = "<script>\u{1b}]0;title\u{7}".into();
    x.explanations[0].judgement.probe.container = "a\"'&\u{202e}<".into();
    let (plain, coloured) = (render(&[x.clone()], Form::Text, false), render(&[x.clone()], Form::Text, true));
    assert!(plain.chars().all(|c| c == '\n' || !c.is_control()), "{plain:?}");
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some((text, after)) = rest.split_once("\u{1b}[") {
        stripped.push_str(text);
        rest = after.split_once('m').unwrap().1;
    }
    stripped.push_str(rest);
    assert_eq!(stripped, plain);
    let picture = render(&[x], Form::Svg, false);
    assert!(!picture.contains("<script") && picture.contains("&lt;script&gt;"), "{picture}");
    assert!(picture.chars().all(|c| c == '\n' || !c.is_control()), "{picture:?}");
}

#[test]
fn a_picture_needs_nothing_from_elsewhere() {
    let picture = render(&[loosened()], Form::Svg, false);
    for foreign in ["<script", "href", "url(", "@import", "NaN", "inf"] {
        assert!(!picture.contains(foreign), "{foreign}: {picture}");
    }
    for part in ["role=\"img\"", "<title>", "<desc>", "prefers-color-scheme:dark", "viewBox"] {
        assert!(picture.contains(part), "{part}");
    }
}

#[test]
fn what_its_owner_has_set_aside_stays_and_says_why() {
    let mut s = setup("web", Nature::quiet(), "10/1/3", 2.0);
    s.permission.skip = Some("moving next week".into());
    let text = render(&[watch(s)], Form::Text, false);
    assert!(text.contains(": SKIPPED\n") && text.contains("probe-tuner.io/skip: moving next week"), "{text}");
    assert!(text.contains("probe-tuner.io/skip-") && !text.contains("kubectl patch"), "{text}");
    if text.is_empty() {
        panic!("nothing is said");
    }
}

#[test]
fn a_readiness_probe_that_goes_along_with_liveness_is_explained_by_that() {
    let nature = Nature { readiness: Some(settings("10/1/3")), ..Nature::quiet() };
    let x = of(&watch(setup("cart", nature, "10/1/3", 1.5)), ProbeKind::Readiness);
    let e = &x.explanations[0];
    assert_eq!(e.judgement.wanted, settings("5/6/2"), "{}", e.judgement.message);
    let [gate] = &e.gates[..] else { panic!("{:?}", e.gates) };
    assert_eq!((gate.mark, &gate.figure), (Mark::Acts, &e.judgement.message));
    assert_eq!(e.alternative(e.judgement.wanted).unwrap().objection, None);
    assert!(render(std::slice::from_ref(&x), Form::Text, false).contains("with liveness"));
}

#[test]
fn while_the_timeout_is_being_reached_it_says_how_to_see_the_pods() {
    let mut x = of(&alike(), ProbeKind::Readiness);
    let command = "  kubectl -n shop get events --field-selector reason=Unhealthy\n";
    assert!(!render(&[x.clone()], Form::Text, false).contains(command));
    let e = &mut x.explanations[0];
    let now = e.at;
    e.ahead.as_mut().unwrap().reaching = Some((now - Span::HOUR * 3, now));
    let text = render(&[x], Form::Text, false);
    assert!(text.contains(command) && text.contains("the timeout of 12 s is being reached already"), "{text}");
}
