//! From changes to the world: one Deployment's probe integers are patched, and what became of it is told.
//!
//! **Takes** a [`Change`](crate::change::Change), the moment, and the word of the Lease about pauses. **Gives** a
//! [`Done`]: the [`Outcome`](crate::change::Outcome) and whether our entry in `managedFields` is gone again. **Never**
//! writes what the fresh object does not confirm, what its owners do not allow at that moment, what the API server's fence
//! would not stop in other hands, or any field but the three integers of probes that are there; never decides what the
//! numbers should be; never repeats a patch of which it is unknown whether it was done.
//!
//! In order: the Namespace and the workload are read afresh and judged by the same lines as `observe` does; the patch is
//! tried dry; a patch that must be refused is tried dry, and must be; then the patch itself, with `test` on uid,
//! generation and every old number; then a second patch which takes our entry out of `managedFields`, because while it
//! stands the owner's pipeline can neither apply its own numbers nor remove the probe.

mod actor;
mod announce;
mod fence;
pub mod patch;

pub use actor::{Actor, Done, Settings};
pub use announce::{Announcement, Announcer, Regarding, announcer};
pub use fence::{FENCE, Fence};
