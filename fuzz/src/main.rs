//! One program for all targets, each of which would link the whole tree again: `PROBE_TUNER_FUZZ` names the one to run.
#![no_main]

#[path = "../../tests/support/parsers/mod.rs"]
mod parsers;

use std::sync::LazyLock;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let wanted = std::env::var("PROBE_TUNER_FUZZ").unwrap_or_default();
    let known = parsers::ALL.map(|(name, _)| name);
    let found = parsers::ALL.into_iter().find(|(name, _)| *name == wanted);
    found.unwrap_or_else(|| panic!("PROBE_TUNER_FUZZ is {wanted:?}, wanted one of {}", known.join(", "))).1
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET(bytes));
