//! Pictures of replays: of each shared trace one for the documentation, small whatever the trace, and honest.
//! `UPDATE=1 cargo test --test pictures` draws them anew and writes the tables of the reference.
#![expect(clippy::unwrap_used, reason = "tests")]

use probe_tuner::cli::{self, Console, Exit};
use probe_tuner::picture::{self, OnTrace};
use probe_tuner::record::{Trace, read};
use probe_tuner::replay::{self, Kind, Options, Play, Played, Policy, Scrape, verdicts};
use probe_tuner::run::replay::OnTrace as Engine;
use probe_tuner::units::{NANOS, Span};
use std::ffi::OsString;
use std::fmt::Write;

const TRACES: [&str; 7] = [
    "gunicorn-sync-diurnal",
    "java-gc-step",
    "nginx-throttle-bursts",
    "node-eventloop-bursts",
    "node-noisy-neighbour",
    "postgres-exec-diurnal",
    "redis-exec-step",
];

fn root() -> &'static str {
    env!("CARGO_MANIFEST_DIR")
}

fn shared(name: &str) -> Trace {
    read(&std::fs::read(format!("{}/tests/data/traces/{name}.csv", root())).unwrap()).unwrap()
}

/// Runs a command line and gives its standard output.
fn run(args: &[&str]) -> String {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = std::iter::once("probe-tuner").chain(args.iter().copied()).map(OsString::from);
    let exit = cli::run(args, &mut Console { out: &mut out, err: &mut err, colour: false });
    assert_eq!((exit, String::from_utf8(err).unwrap()), (Exit::Done, String::new()));
    String::from_utf8(out).unwrap()
}

fn path(name: &str) -> String {
    format!("{}/tests/data/traces/{name}.csv", root())
}

/// Holds a file to what it should be.
fn generated(file: &str, text: &str) {
    let path = format!("{}/{file}", root());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "{file} is not what it should be: UPDATE=1 cargo test --test pictures");
}

/// For how long each trace is played for the reference: long enough for a policy that thinks in days.
const LASTING: (&str, Span) = ("7d", Span::from_nanos(7 * 86_400 * NANOS));

/// Every policy on a shared trace, as the command plays it.
fn played(trace: &Trace, options: &Options) -> Vec<Played> {
    let mut engine = Engine::new(options);
    let mut hook = |scrape: &Scrape<'_>| engine.scrape(scrape);
    replay::replay(trace, &[], &Policy::ALL.map(Play::Policy), options, Some(&mut hook))
}

#[test]
fn each_shared_trace_has_its_picture_and_its_table_in_the_reference() {
    let mut pages = String::new();
    let (long, lasting) = LASTING;
    let options = Options { lasting: Some(lasting), ..Options::default() };
    for name in TRACES {
        let trace = shared(name);
        let played = played(&trace, &options);
        let of = |p: &Played| p.outcome.as_ref().map_or(Vec::new(), |f| verdicts(&trace, &f.settings, &options));
        let verdicts: Vec<Vec<Span>> = played.iter().map(of).collect();
        let file = format!("{name}.csv");
        let shown = OnTrace { name: &file, trace: &trace, kind: options.kind, played: &played, verdicts: &verdicts };
        generated(&format!("docs/replay/{name}.svg"), &picture::replay(&[shown]));
        let table = replay::table(&[(file, played)]);
        let rows = table.split_once('\n').unwrap().1.trim_end();
        write!(
            pages,
            "\n### {name}\n\n```sh\nprobe-tuner replay --for {long} tests/data/traces/{name}.csv\n```\n\n```text\n{rows}\n```\n\n\
             ![{name}: latency, and each policy's numbers and false restarts over {long}](../replay/{name}.svg)\n"
        )
        .unwrap();
    }
    const MARKS: [&str; 2] = ["<!-- traces: written by tests/pictures.rs -->\n", "<!-- end of traces -->\n"];
    let page = std::fs::read_to_string(format!("{}/docs/reference/replay.md", root())).unwrap();
    let (before, rest) = page.split_once(MARKS[0]).unwrap();
    let (_, after) = rest.split_once(MARKS[1]).unwrap();
    generated("docs/reference/replay.md", &format!("{before}{}{pages}\n{}{after}", MARKS[0], MARKS[1]));
}

#[test]
fn as_many_verdicts_are_drawn_as_restarts_are_counted() {
    for kind in [Kind::Liveness, Kind::Readiness] {
        let options = Options { kind, lasting: Some(Span::HOUR), ..Options::default() };
        for name in TRACES {
            let trace = shared(name);
            for p in replay::replay(&trace, &[], &Policy::ALL.map(Play::Policy), &options, None) {
                let Ok(f) = &p.outcome else { continue };
                let found = verdicts(&trace, &f.settings, &options);
                assert!(found.is_sorted() && found.iter().all(|at| *at <= p.length + Span::MINUTE), "{name}");
                match kind {
                    Kind::Liveness => assert_eq!(found.len() as u64, f.false_restarts, "{name}: {}", p.policy),
                    // Who is never unready has no verdict, and the other way round.
                    Kind::Readiness => {
                        assert_eq!(found.is_empty(), f.false_unready == Span::ZERO, "{name}: {}", p.policy)
                    }
                }
            }
        }
    }
}

#[test]
fn four_weeks_are_drawn_as_small_as_twelve_minutes() {
    let file = path("nginx-throttle-bursts");
    let short = run(&["replay", "--policy", "load-rule", "--policy", "kubernetes-default", "-o", "svg", &file]);
    let long =
        run(&["replay", "--policy", "load-rule", "--policy", "kubernetes-default", "--for", "28d", "-o", "svg", &file]);
    assert!(short.len() < 60_000 && long.len() < 60_000, "{} and {}", short.len(), long.len());
}

#[test]
fn a_trace_of_one_row_is_drawn_too() {
    let trace = read(b"t_s,latency_ms,ok\n0,5,1\n").unwrap();
    let options = Options { lasting: Some(Span::DAY * 28), ..Options::default() };
    let played = replay::replay(&trace, &[], &[Play::Policy(Policy::Even)], &options, None);
    let shown = OnTrace { name: "one", trace: &trace, kind: options.kind, played: &played, verdicts: &[Vec::new()] };
    assert!(picture::replay(&[shown]).contains("28 d long"));
}

#[test]
fn several_traces_stand_below_each_other_in_one_file() {
    let one = run(&["replay", "--policy", "even", "-o", "svg", &path("java-gc-step")]);
    let two = run(&["replay", "--policy", "even", "-o", "svg", &path("java-gc-step"), &path("redis-exec-step")]);
    let height = |svg: &str| -> f64 {
        svg.split_once("viewBox=\"0 0 960 ").unwrap().1.split_once('"').unwrap().0.parse().unwrap()
    };
    assert!((height(&two) - 2.0 * height(&one)).abs() < 1.0);
    assert_eq!(two.matches("<svg").count(), 1);
    assert!(two.contains(">java-gc-step.csv<") && two.contains(">redis-exec-step.csv<"));
}

#[test]
fn names_of_files_and_policies_are_text_and_nothing_else() {
    let trace = shared("redis-exec-step");
    let played = vec![Played {
        policy: "<script>".into(),
        length: trace.seconds(),
        phases: 1,
        outcome: Err("\u{1b}]0;</text><script>alert(1)</script>\u{0}".into()),
    }];
    let name = "x\"><script>alert('\u{7}\u{202e}')</script>";
    let svg = picture::replay(&[OnTrace {
        name,
        trace: &trace,
        kind: Kind::Liveness,
        played: &played,
        verdicts: &[Vec::new()],
    }]);
    assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;"), "{svg}");
    assert!(svg.chars().all(|c| c == '\n' || !c.is_control()), "{svg:?}");
}

#[test]
fn a_picture_follows_light_and_dark_and_needs_nothing_from_elsewhere() {
    let svg = run(&["replay", "--policy", "even", "-o", "svg", &path("java-gc-step")]);
    for part in ["role=\"img\"", "<title>", "<desc>", "prefers-color-scheme:dark", "viewBox"] {
        assert!(svg.contains(part), "{part}");
    }
    for foreign in ["<script", "href", "url(", "@import", "NaN"] {
        assert!(!svg.contains(foreign), "{foreign}");
    }
}
