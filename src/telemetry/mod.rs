//! What the daemon tells of itself: log lines and the metrics page.
//!
//! **Takes** [`Event`]s, and where each workload stands. **Gives** for each event its log line and its counts together,
//! so that neither is forgotten, and the page of all metrics. **Never** has a label that the cluster can widen: values of
//! labels are closed lists (verbs, phases, reason codes), not names of objects; those stand in the log.
//!
//! `docs/reference/metrics.md` is generated from the page; a name, once there, is for ever.

mod event;
mod metrics;

pub use event::{Event, Lost};
pub use metrics::Metrics;

use crate::config::{Format, Level, Log};
use std::io::IsTerminal;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The target of our log lines. Those of libraries are shown from `warn` on, at level `trace` all of them.
const TARGET: &str = "probe_tuner";

/// Where the Kubernetes client tells of each request that failed.
const CLIENT: &str = "kube_client::client::builder";

/// Sets the process's log up, on standard error. Once a process.
///
/// # Errors
/// When it has been set up already.
pub fn log(log: &Log) -> Result<(), TryInitError> {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let others = if log.level == Level::Trace { level } else { level.min(LevelFilter::WARN) };
    let filter = Targets::new().with_target(TARGET, level).with_default(others);
    // The client's own line for each request that failed gives no reason; ours does.
    let filter = if log.level == Level::Trace { filter } else { filter.with_target(CLIENT, LevelFilter::OFF) };
    let terminal = std::io::stderr().is_terminal();
    let text = match log.format {
        Format::Auto => terminal,
        Format::Text => true,
        Format::Json => false,
    };
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = if text {
        layer.with_ansi(colour).with_target(false).boxed()
    } else {
        layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init()
}
