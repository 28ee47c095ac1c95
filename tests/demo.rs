//! The demo: the same day for the same seed, byte for byte; what it promises first, and what to type next.
#![expect(clippy::unwrap_used, reason = "tests")]

use probe_tuner::cli::{self, Console, Exit};
use std::ffi::OsString;

/// Runs a command line and gives its standard output.
fn run(args: &[&str], colour: bool) -> String {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = std::iter::once("probe-tuner").chain(args.iter().copied()).map(OsString::from);
    let exit = cli::run(args, &mut Console { out: &mut out, err: &mut err, colour });
    assert_eq!((exit, String::from_utf8(err).unwrap()), (Exit::Done, String::new()));
    String::from_utf8(out).unwrap()
}

/// The number in a row of the table, in the column "untouched" (0) or "probe-tuner" (1).
fn figure(day: &str, row: &str, column: usize) -> f64 {
    let line = day.lines().find(|l| l.starts_with(row)).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    words[words.len() - 2 + column].replace(',', "").parse().unwrap()
}

#[test]
fn the_same_seed_tells_the_same_day_byte_for_byte() {
    let day = run(&["demo", "--seed", "5"], false);
    assert_eq!(day, run(&["demo", "--seed", "5"], false));
    assert_ne!(day, run(&["demo", "--seed", "6"], false));
}

#[test]
fn colours_are_for_terminals_only_and_change_no_word() {
    let (plain, coloured) = (run(&["demo"], false), run(&["demo"], true));
    assert!(!plain.contains('\x1b') && coloured.contains('\x1b'));
    assert_eq!(plain, run(&["demo", "--plain"], true));
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some((text, after)) = rest.split_once('\x1b') {
        stripped.push_str(text);
        rest = after.split_once('m').unwrap().1;
    }
    stripped.push_str(rest);
    assert_eq!(stripped, plain);
}

#[test]
fn it_says_first_what_will_happen_and_last_what_to_type_next() {
    let day = run(&["demo"], false);
    assert!(day.lines().take(3).any(|l| l.contains("nothing outside this")), "{day}");
    assert!(day.lines().rev().take(3).all(|l| l.trim_start().starts_with("probe-tuner ")), "{day}");
}

#[test]
fn the_day_is_a_small_fleet_with_true_faults_and_owners_who_roll_out() {
    let day = run(&["demo"], false);
    let second: Vec<&str> = day.lines().nth(1).unwrap().split_whitespace().collect();
    assert!(second[0].parse::<usize>().unwrap() >= 50, "{day}");
    assert!(figure(&day, "owners' rollouts", 0) >= 10.0);
    assert_eq!(figure(&day, "owners' rollouts", 0), figure(&day, "owners' rollouts", 1));
    assert!(figure(&day, "false restarts", 0) > 100.0);
}

#[test]
fn the_picture_is_one_file_without_anything_from_elsewhere() {
    let picture = run(&["demo", "-o", "svg"], false);
    assert!(picture.starts_with("<svg ") && picture.trim_end().ends_with("</svg>"));
    for foreign in ["<script", "href", "url(", "@import"] {
        assert!(!picture.contains(foreign), "{foreign}");
    }
}

#[test]
fn the_picture_of_the_readme_is_that_of_the_day() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/demo.svg");
    let picture = run(&["demo", "-o", "svg"], false);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(file, &picture).unwrap();
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), picture, "draw it anew: UPDATE=1 cargo test --test demo");
}

#[test]
fn a_storm_in_a_workload_of_which_one_replica_was_sick_says_what_has_changed() {
    let day = run(&["demo"], false);
    let told: Vec<Vec<&str>> = day.lines().map(|l| l.split_whitespace().collect()).collect();
    let says = |word: &str| {
        told.iter().filter(|w| w.get(3).is_some_and(|w| w.trim_end_matches([':', ',']) == word)).collect::<Vec<_>>()
    };
    let storms = says("STORM");
    let both = says("SICK_REPLICA").into_iter().filter_map(|sick| storms.iter().find(|storm| storm[1] == sick[1]));
    let both: Vec<String> = both.map(|storm| storm.join(" ")).collect();
    assert!(!both.is_empty(), "{day}");
    assert!(both.iter().all(|storm| storm.contains("STORM, since now it is more than one pod: ")), "{both:?}");
}

#[test]
fn no_line_is_wider_than_a_hundred_columns() {
    for line in run(&["demo"], false).lines() {
        assert!(line.chars().count() <= 100, "{}: {line}", line.chars().count());
    }
}
