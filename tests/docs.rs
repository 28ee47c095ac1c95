//! The reference: what it says about annotations and reasons is what the program does.
#![expect(clippy::unwrap_used, reason = "tests")]

use probe_tuner::annotations::{Annotations, Defaults, PREFIX, Pause, Rules, keys};
use probe_tuner::reason::Reason;
use std::collections::BTreeSet;

const ANNOTATIONS: &str = include_str!("../docs/reference/annotations.md");
const REASONS: &str = include_str!("../docs/reference/reasons.md");

/// The cells of all table rows whose first cell is one word of code.
fn rows(page: &str) -> impl Iterator<Item = Vec<&str>> {
    page.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let cells = line.strip_prefix('|').and_then(|l| l.strip_suffix('|')).unwrap_or(line).split('|');
        cells.map(|cell| cell.trim().trim_matches('`')).collect()
    })
}

/// Rules of a namespace that is annotated so, beside an opt-in.
fn annotated(key: &str, value: &str) -> Rules {
    let mut namespace = Annotations::from([(format!("{PREFIX}mode"), "auto".to_owned())]);
    namespace.insert(format!("{PREFIX}{key}"), value.to_owned());
    Rules::read(&Defaults::default(), &namespace, &Annotations::new())
}

#[test]
fn every_annotation_stands_in_the_reference_and_no_other() {
    let told: Vec<&str> = rows(ANNOTATIONS).map(|cells| cells[0]).collect();
    assert_eq!(told, keys().collect::<Vec<_>>());
}

#[test]
fn every_example_of_an_annotation_can_be_read() {
    for cells in rows(ANNOTATIONS) {
        let (key, value) = cells[4].split_once('=').unwrap();
        assert_eq!(key, cells[0]);
        if key == "paused" {
            assert!(Pause::parse(Some(value)).covers("shop") && !Pause::parse(Some(value)).covers("web"));
            continue;
        }
        let rules = annotated(key, value);
        assert_eq!((rules.unreadable(), &*rules.remarks), (&[][..], &[][..]), "{key}={value}");
    }
}

#[test]
fn every_reason_stands_in_the_reference_once_and_no_other() {
    let told: Vec<&str> = rows(REASONS).map(|cells| cells[0]).collect();
    let once: BTreeSet<&str> = told.iter().copied().collect();
    assert_eq!(once, Reason::ALL.iter().map(|r| r.code()).collect());
    assert_eq!(told.len(), Reason::ALL.len());
}

#[test]
fn every_reason_says_what_it_means_and_has_its_four_cells() {
    for cells in rows(REASONS) {
        assert!(cells.len() == 4 && !cells[1].is_empty(), "{cells:?}");
    }
}

#[test]
fn the_front_page_leads_to_both() {
    let readme = include_str!("../README.md");
    for page in ["annotations", "reasons"] {
        assert!(readme.contains(&format!("](docs/reference/{page}.md)")), "{page}");
    }
}
