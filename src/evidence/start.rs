//! How long containers took to start.

use crate::units::Span;

/// Most starts kept: more add little to a tolerance bound (its factor falls from 2.79 to 2.68 between 64 and 100).
pub const STARTS: usize = 64;

/// One start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Start {
    /// From the container's start to its startup probe's success, in seconds; for a start that was cut off, to its end.
    pub seconds: f32,
    /// Whether it was cut off by a kill: it would have taken longer.
    pub cut_off: bool,
}

/// The last starts of a container, in no order, and what the earlier ones leave behind.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Starts {
    pub(super) recent: Vec<Start>,
    pub(super) total: u32,
    pub(super) longest: f32,
}

impl Starts {
    /// The last starts, at most [`STARTS`].
    pub fn recent(&self) -> &[Start] {
        &self.recent
    }

    /// All starts ever seen.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// The longest start ever seen, in seconds; one that was cut off counts with what was seen of it.
    pub fn longest(&self) -> f32 {
        self.longest
    }

    /// Adds one that took so long, or was cut off after so long.
    pub fn add(&mut self, took: Span, cut_off: bool) {
        let seconds = took.as_secs_f64().clamp(0.001, 86_400.0) as f32;
        let start = Start { seconds, cut_off };
        if self.recent.len() < STARTS {
            self.recent.push(start);
        } else {
            let place = usize::try_from(self.total).expect("u32 fits into usize here") % STARTS;
            self.recent[place] = start;
        }
        self.total = self.total.saturating_add(1);
        self.longest = self.longest.max(seconds);
    }
}
