//! What is kept in the cluster about ourselves.
//!
//! **Takes** views of workloads to write down, and our own objects as the API server hands them back: a `ProbeTuning` a
//! workload, the brake on the Lease. **Gives** requests, and what was remembered, typed, with a case for what cannot be
//! read. **Never** takes for permission what it could not read, and never writes what says nothing new.

pub mod evidence;
pub mod pause;
pub mod tunings;
