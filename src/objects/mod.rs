//! From Kubernetes' objects to our records: workloads, pods, and what forbids a patch.
//!
//! **Takes** typed objects of `apps/v1` and `v1`, and what their owners allow. **Gives** [`Workload`]s and [`Pod`]s that
//! keep a few hundred bytes of each, and where a pod's probes can be asked ([`Reach`]). **Never** keeps an object, asks the cluster, or guesses: a pod whose workload
//! cannot be told is nobody's.
//!
//! `observe` reads every object through this room, and `act` reads the fresh object through it once more before it
//! patches: what forbids a change is judged by the same lines both times.

mod pod;
mod reach;
mod template;
mod workload;

pub use pod::{Owner, owner, pod};
pub use reach::{Endpoint, Reach, Unaskable, Way, reach};
pub use template::version;
pub use workload::{daemon_set, deployment, stateful_set};

use crate::annotations::moment;
use crate::units::Timestamp;
#[cfg(doc)]
use crate::workload::{Pod, Workload};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A moment of an object.
fn time(time: &Time) -> Timestamp {
    moment(time.0)
}
