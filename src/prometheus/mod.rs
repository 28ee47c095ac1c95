//! A Prometheus as a source of history: what its server kept of the kubelets' counters becomes [`Observation`]s.
//!
//! **Takes** the address of a server that speaks the HTTP query API (Prometheus, Thanos, Mimir, VictoriaMetrics), a
//! workload's namespace and name, a stretch of time and a [`Budget`]. **Gives** the raw counters of its pods as
//! [`History`], and of that the facts that the kubelet path would have given, in order of time. **Never** asks without a
//! time range and a matcher on the namespace, asks for more than the budget allows, takes a partial answer for a whole
//! one without saying so, or follows a redirect with its token.
//!
//! It asks for raw samples, `{…}[1h]` at `/api/v1/query`, in windows from the newest to the oldest: so a budget that
//! runs out costs the oldest history. A `query_range` would repeat each sample at every step for five minutes and move
//! it to the step's moment: a lost scrape would look like a scrape in which nothing happened, and a minute of silence
//! like a minute of health. Raw samples carry the scrape's own moment, which is the same for all series of one page: so
//! they are put together again exactly as the kubelet said them.
//!
//! What is not in a Prometheus: the numbers that probes had in the past, Events (so how a check failed is untold), and,
//! without kube-state-metrics, restarts; without cAdvisor's pages, how often containers were throttled. Read `history` next.

mod answer;
mod client;
mod elsewhere;
mod facts;
mod history;
mod select;

pub use answer::{Answer, Series, Unreadable, parse};
pub use client::{Access, Error, Server, Spent, Trust};
pub use elsewhere::seen_elsewhere;
pub use facts::{Recounted, Subject, recount};
pub use history::{Budget, History, Moment, Restarts, Skipped, Track, fetch, latest};
pub use select::{Pods, quoted};

#[cfg(doc)]
use crate::observation::Observation;
