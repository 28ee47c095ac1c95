//! History out of a Prometheus: a real one that scrapes real kubelets, and a scripted one for what real ones do rarely.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod days;
mod real;
mod scripted;
mod server;
