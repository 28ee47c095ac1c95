//! The demo's day as one picture: false restarts by hour, with the numbers untouched and with the engine.

use crate::run::demo::{Day, Summary};
use std::io::{self, Write};

const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 48.0;
const TOP: f64 = 64.0;
const PLOT: f64 = 180.0;

const UNTOUCHED: &str = "#c9ced6";
const TUNED: &str = "#1f77b4";
/// Of workloads that the engine may not change: the same blue, faint.
const BOUND: &str = "#b5d4ea";

/// Draws it as a file of its own: no script, no font, no other file.
pub(super) fn draw(summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
    let (before, after) = (by_hour(&summary.before), by_hour(&summary.after));
    let most = before.iter().chain(&after).copied().max().unwrap_or(0).max(1);
    let step = round_step(most);
    let top = most.div_ceil(step) * step;
    let y = |count: usize| TOP + PLOT * (1.0 - count as f64 / top as f64);
    let slot = (WIDTH - LEFT - 16.0) / 24.0;
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\" role=\"img\" aria-label=\"False restarts by hour, untouched and with probe-tuner\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"15\" font-weight=\"bold\" fill=\"#222\">Healthy containers killed by \
         their liveness probes, by hour of a day</text>"
    )?;
    let bound = &summary.after.bound;
    let legend = [
        (0.0, UNTOUCHED, "untouched", before.iter().sum::<usize>()),
        (130.0, TUNED, "with probe-tuner", summary.after.free.iter().sum()),
        (300.0, BOUND, "with probe-tuner, in workloads that it may not change", bound.iter().sum()),
    ];
    for (x, colour, name, sum) in legend {
        let x = LEFT + x;
        writeln!(
            out,
            "<rect x=\"{x}\" y=\"36\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"46\" fill=\"#222\">{name}: {sum}</text>",
            x + 18.0
        )?;
    }
    for mark in (0..=top).step_by(step) {
        let y = y(mark);
        writeln!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#e3e6ea\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{mark}</text>",
            WIDTH - 16.0,
            LEFT - 8.0,
            y + 4.0
        )?;
    }
    for (hour, ((&before, &after), &bound)) in before.iter().zip(&after).zip(bound).enumerate() {
        let x = LEFT + slot * hour as f64;
        let mut bar = |offset: f64, colour: &str, from: usize, to: usize| {
            writeln!(
                out,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
                x + offset * slot,
                y(to),
                slot * 0.38,
                y(from) - y(to)
            )
        };
        bar(0.10, UNTOUCHED, 0, before)?;
        bar(0.50, BOUND, 0, bound)?;
        bar(0.50, TUNED, bound, after)?;
        if hour % 3 == 0 {
            writeln!(out, "<text x=\"{x:.1}\" y=\"{}\" fill=\"#555\">{hour:02}:00</text>", TOP + PLOT + 18.0)?;
        }
    }
    let (was, is) = (&summary.before, &summary.after);
    writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{}\" fill=\"#222\">Rollouts of our own: {}. Numbers that rode on owners' rollouts: {}. \
         Hangs found after {} s untouched, {} s with probe-tuner (means).</text>\n</svg>",
        HEIGHT - 12.0,
        is.own_rollouts.0,
        summary.rode,
        mean(&was.hangs),
        mean(&is.hangs)
    )
}

fn by_hour(day: &Day) -> Vec<usize> {
    day.free.iter().zip(&day.bound).map(|(a, b)| a + b).collect()
}

fn mean(seconds: &[f64]) -> String {
    format!("{:.0}", seconds.iter().sum::<f64>() / seconds.len().max(1) as f64)
}

/// A round step for about five marks.
fn round_step(most: usize) -> usize {
    let mut step = 1;
    loop {
        for factor in [1, 2, 5] {
            if most <= 5 * step * factor {
                return step * factor;
            }
        }
        step *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_few() {
        for (most, step) in [(1, 1), (5, 1), (6, 2), (24, 5), (144, 50), (501, 200)] {
            assert_eq!(round_step(most), step, "{most}");
        }
    }
}
