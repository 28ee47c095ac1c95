//! What is installed by `deploy/manifests`, on a real control plane: the fence attacked with the daemon's own token, the
//! rights counted one by one, our kind read back.
//!
//! Proved here: what the API server lets through and what it refuses, with which words. Not proved here: that the daemon
//! asks for nothing else; `tests/cluster.rs` counts that in the audit log.
#![expect(clippy::unwrap_used, reason = "tests")]

mod attacks;
mod beyond;
mod harness;
mod installed;
mod owners;
#[path = "../support/mod.rs"]
mod support;
