//! Our own kinds in the Kubernetes API, as they travel: `probe-tuner.io/v1alpha1`.
//!
//! **Takes** what must be remembered or shown of a workload, and objects as the API server hands them back.
//! **Gives** `ProbeTuning`, the definition of the kind as YAML, and a [`Memory`](crate::memory::Memory) again.
//! **Never** panics on an object that somebody has edited, nor reads permission out of a word that it does not know:
//! an unknown phase is `Held`, and a record with anything unreadable in it is none.
//!
//! The types here are not those of the core: a field's name and shape are a promise to people and to older daemons, so
//! they change on purpose only. Conversions take every type apart by exhaustive destructuring; a field that is added
//! to the core does not compile until it has its place here or is left out in so many words.
//!
//! There is no status subresource: the daemon is the one writer, so one write does instead of two.
//!
//! Read next: `tuning` (the shape), then `memory` (there and back).

mod definition;
mod forecast;
mod memory;
mod tuning;

pub use definition::{definition, yaml};
pub use forecast::Forecast;
pub use memory::{Error, time};
pub use tuning::{
    Columns, Condition, ConditionStatus, DetectSeconds, FalseRestarts, InFlight, Intent, Kept, Numbers, PROBES, Past,
    Phase, ProbeKind, ProbeState, ProbeTuning, ProbeTuningStatus, Restarts, Stage, Step, Verdict, WorkloadKind,
    WorkloadRef, cut, two_digits,
};

/// The API group of all our kinds.
pub const GROUP: &str = "probe-tuner.io";

/// The version that is served and stored.
pub const VERSION: &str = "v1alpha1";
