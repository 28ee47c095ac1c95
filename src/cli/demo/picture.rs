//! The demo's day as one picture: false restarts by hour, with the numbers untouched and with the engine.

use crate::picture::{self, Bars};
use crate::run::demo::{Day, Summary};

/// Draws it.
pub(super) fn draw(summary: &Summary) -> String {
    let (was, is) = (&summary.before, &summary.after);
    let note = format!(
        "Rollouts of our own: {}. Numbers that rode on owners' rollouts: {}. Hangs found after {} s untouched, {} s with \
         probe-tuner (means).",
        is.own_rollouts.0,
        summary.rode,
        mean(&was.hangs),
        mean(&is.hangs)
    );
    picture::hours(&Bars {
        title: "Healthy containers killed by their liveness probes, by hour of a day",
        before: &by_hour(was),
        after: &by_hour(is),
        bound: &is.bound,
        names: ["untouched", "with probe-tuner, where it may change numbers", "where it may not"],
        note: &note,
    })
}

fn by_hour(day: &Day) -> Vec<usize> {
    day.free.iter().zip(&day.bound).map(|(a, b)| a + b).collect()
}

fn mean(seconds: &[f64]) -> String {
    format!("{:.0}", seconds.iter().sum::<f64>() / seconds.len().max(1) as f64)
}
