//! The strip below a decision: for how long its nodes were how busy, and at what load restarts came.

use super::axis::Scale;
use super::canvas::{Canvas, Hang, MARGIN};
use crate::decide::LoadAccount;

/// Height of the whole strip.
pub(super) const HEIGHT: f64 = 96.0;
/// Height of the highest bar.
const BAR: f64 = 34.0;

/// Draws it from `top` on, between two edges.
pub(super) fn load(l: &LoadAccount, c: &mut Canvas, (left, right): (f64, f64), top: f64) {
    let Some(nodes) = &l.nodes else { return };
    let red = if l.restarts.is_empty() { "" } else { "; red: restarts" };
    let heading =
        format!("Load of its nodes, as share of their cores: the higher the bar, the longer they were so busy{red}");
    c.text((MARGIN, top), Hang::Start, "soft", &heading);
    let x = Scale::linear((0.0, 1.0), (left, right));
    let floor = top + 14.0 + BAR;
    let most = nodes.seconds.iter().copied().fold(1.0, f64::max);
    for (i, seconds) in nodes.seconds.iter().enumerate().filter(|(_, seconds)| **seconds >= 1.0) {
        let (from, to) = (nodes.edges[i], nodes.edges.get(i + 1).copied().unwrap_or(1.0));
        let height = (BAR * seconds / most).max(1.5);
        c.rect("plain", (x.place(from) + 0.5, floor - height), (x.place(to) - x.place(from) - 1.0, height));
        c.tip(&format!("{:.0} to {:.0} % of the cores: {:.1} h", from * 100.0, to * 100.0, seconds / 3_600.0));
    }
    c.line("thin frame", (left, floor), (right, floor));
    for load in &l.restarts {
        let place = x.place(load.min(1.0));
        c.line("line bad-line", (place, floor - BAR), (place, floor));
    }
    x.marks(c, floor, 11, |share| format!("{:.0} %", share * 100.0));
}
