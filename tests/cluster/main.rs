//! The loop against a real control plane with real kubelets: each promise to the people who run clusters, a sentence.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod harness;
mod missing;
mod owners;
mod shadow;
mod story;
mod throttle;
