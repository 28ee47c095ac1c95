//! The loops: each feeds the one engine from one source and obeys its plans in one way.
//!
//! **Takes** settings and, for the daemon, a client. **Gives** what its loop is for: a running daemon, one pass of
//! recommendations, a recording, a told day. **Never** decides: what differs between the loops is where facts come from and what
//! becomes of a plan.
//!
//! The one lawful clock of the program is here.

pub mod clock;
mod brake;
pub mod daemon;
mod past;
pub mod recommend;
pub mod record;
pub mod replay;
mod tell;
mod writer;
pub mod arena;
pub mod backtest;
pub mod demo;
mod drive;
pub mod kinds;
pub mod policy_table;
mod rival;
