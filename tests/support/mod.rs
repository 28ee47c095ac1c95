//! What several test binaries share.
#![allow(dead_code, reason = "no test binary uses all of it, and what one leaves out differs")]

pub mod fixtures;
pub mod minicluster;
pub mod page;
pub mod stage;
