//! What must hold of every parser of bytes from outside, whatever the bytes are: more than that it does not panic. Each
//! function takes any bytes and panics where its promise is broken. `fuzz/` feeds them from libFuzzer, `tests/parsers.rs`
//! with the seeds and with what was found before.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod cadvisor;
mod evidence;
mod kubelet;
mod owners;
mod text;
mod wire;

/// Every target by its name, which is also its folder of seeds in `fuzz/seeds/`.
pub const ALL: [(&str, fn(&[u8])); 14] = [
    ("annotations", owners::annotations),
    ("cadvisor", cadvisor::cadvisor),
    ("cgroup", text::cgroup),
    ("config", owners::config),
    ("durations", text::durations),
    ("event", kubelet::event),
    ("evidence", evidence::evidence),
    ("grpc", wire::grpc),
    ("memory", wire::memory),
    ("page", kubelet::page),
    ("pause", owners::pause),
    ("prometheus", wire::prometheus),
    ("quantity", text::quantities),
    ("trace", text::trace),
];

/// The text of the bytes; no text is no input of a parser of text.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
