//! How stalls that recovered went: in company or alone, and whether the replica was soon slow again. What ended in a restart
//! is held against it.

use super::life::SETTLES;
use super::restart::{COMPANY, RELAPSE};
use crate::units::{Timestamp, Uid};

/// What is known of the stalls above 5 s, ten minutes of them one; decayed.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Habits {
    /// Stalls in which another replica was slow within five minutes, and in which none was.
    pub(super) company: (f32, f32),
    /// Stalls after which the replica was slow again within ten minutes, and after which it was not.
    pub(super) again: (f32, f32),
    /// The last one: whether another has been slow beside it, and the replica again, so far.
    pub(super) last: Option<Stall>,
}

/// A stall that recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stall {
    pub(super) at: Timestamp,
    pub(super) pod: Uid,
    pub(super) company: bool,
    pub(super) again: bool,
}

impl Habits {
    /// Stalls with another replica slow within five minutes, and without.
    pub fn company(&self) -> (f64, f64) {
        (f64::from(self.company.0), f64::from(self.company.1))
    }

    /// Stalls after which the replica was slow again within ten minutes, and after which it was not.
    pub fn again(&self) -> (f64, f64) {
        (f64::from(self.again.0), f64::from(self.again.1))
    }

    /// A replica stalled and recovered, another having been slow in the five minutes before or none.
    pub(super) fn recovered(&mut self, at: Timestamp, pod: Uid, company: bool) {
        if self.last.is_some_and(|last| at.since(last.at) <= RELAPSE) {
            return;
        }
        let Some(last) = self.last.replace(Stall { at, pod, company, again: false }) else { return };
        *(if last.company { &mut self.company.0 } else { &mut self.company.1 }) += 1.0;
        *(if last.again { &mut self.again.0 } else { &mut self.again.1 }) += 1.0;
    }

    /// A replica is slow.
    pub(super) fn slow(&mut self, at: Timestamp, pod: Uid) {
        let Some(last) = &mut self.last else { return };
        let after = at.since(last.at);
        last.company |= pod != last.pod && after <= COMPANY;
        last.again |= pod == last.pod && after > SETTLES && after <= RELAPSE;
    }

    pub(super) fn scale(&mut self, factor: f32) {
        for n in [&mut self.company.0, &mut self.company.1, &mut self.again.0, &mut self.again.1] {
            *n *= factor;
        }
    }

    pub(super) fn merge(&mut self, other: Habits) {
        self.company = (self.company.0 + other.company.0, self.company.1 + other.company.1);
        self.again = (self.again.0 + other.again.0, self.again.1 + other.again.1);
        self.last = self.last.max(other.last);
    }
}
