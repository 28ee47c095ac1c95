//! probe-tuner measures how Kubernetes health checks really behave and keeps their numbers right.
//!
//! ```text
//!              Observation                                         Plan
//!    world ───────────────▶ evidence ─▶ model ─▶ decide ─▶ plan ──────────▶ act ──▶ world
//!      ▲                        └─────▶ verify ──(reverts)──▲                │
//!      └───────── what act did, as Observations: applied, refused, contested ┘
//! ```
//!
//! Everything left of `act` is pure: facts in, plan out, time and chance as arguments. The daemon, `recommend`, the
//! replay, the simulator and the demo are short loops that feed the same engine.

// The words, each using only those above it.
pub mod units;
pub mod probe;
pub mod reason;
pub mod policy;
pub mod workload;
pub mod change;
pub mod memory;
pub mod observation;

// The core: pure and synchronous.
pub mod evidence;
pub mod model;
pub mod forecast;
pub mod decide;
pub mod verify;
pub mod plan;
pub mod engine;
pub mod sim;
pub mod record;
pub mod replay;
pub mod picture;

// The edge: talks to the world.
pub mod crd;
pub mod annotations;
pub mod objects;
pub mod cluster;
pub mod ask;
pub mod load;
pub mod store;
pub mod observe;
pub mod prometheus;
pub mod act;
pub mod config;
pub mod telemetry;
pub mod api;
pub mod run;
pub mod cli;
