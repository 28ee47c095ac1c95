//! The strip below a decision: for how long its nodes were how busy, and at what load restarts came.

use super::axis::{Scale, time};
use super::canvas::{Canvas, Hang, MARGIN};
use crate::decide::{LoadAccount, Spread};

/// Height of the highest bar.
const BAR: f64 = 34.0;

/// Height of the whole strip: one line where only words are said.
pub(super) fn height(l: &LoadAccount) -> f64 {
    match &l.nodes {
        None => 0.0,
        Some(nodes) if nodes.brief() => 30.0,
        Some(_) => 110.0,
    }
}

/// Draws it from `top` on, between two edges.
pub(super) fn load(l: &LoadAccount, c: &mut Canvas, (left, right): (f64, f64), top: f64) {
    let Some(nodes) = &l.nodes else { return };
    if nodes.brief() {
        c.text((MARGIN, top), Hang::Start, "soft", &briefly(nodes));
        return;
    }
    let red = if l.restarts.is_empty() { "" } else { "; red: restarts" };
    let heading = format!("Load of its nodes, as share of their cores, and for how long, all nodes together{red}");
    c.text((MARGIN, top), Hang::Start, "soft", &heading);
    let x = Scale::linear((0.0, 1.0), (left, right));
    let floor = top + 28.0 + BAR;
    // A lane from end to end, so that a bar alone is seen to be all of it.
    c.rect("lane", (left, floor - BAR), (right - left, BAR));
    let most = nodes.seconds.iter().copied().fold(1.0, f64::max);
    for (i, seconds) in nodes.seconds.iter().enumerate().filter(|(_, seconds)| **seconds >= 1.0) {
        let (from, to) = (nodes.edges[i], nodes.edges.get(i + 1).copied().unwrap_or(1.0));
        let height = (BAR * seconds / most).max(1.5);
        c.rect("plain", (x.place(from) + 0.5, floor - height), (x.place(to) - x.place(from) - 1.0, height));
        c.text((x.place(f64::midpoint(from, to)), floor - height - 5.0), Hang::Middle, "small", &time(seconds.round()));
    }
    for (i, load) in l.restarts.iter().enumerate() {
        // Spread over four rows, so that equal ones are seen beside each other.
        c.circle("bad", (x.place(load.min(1.0)), floor - 6.0 - 7.0 * (i % 4) as f64), 3.5);
    }
    x.marks(c, floor, 11, |share| format!("{:.0} %", share * 100.0));
}

/// The load of which too little is known for bars.
fn briefly(nodes: &Spread) -> String {
    let long = nodes.seconds.iter().sum::<f64>().round();
    let long = if long < 1.0 { "once".to_owned() } else { format!("for {} only", time(long)) };
    format!("Load of its nodes: seen {long}, at up to {:.0} % of their cores", nodes.highest * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::NODE_EDGES;
    use crate::units::Span;

    fn drawn(seconds: f64, restarts: Vec<f64>) -> String {
        let spread = Spread {
            edges: NODE_EDGES,
            seconds: [seconds, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            highest: 0.04,
            highest_ago: Span::ZERO,
        };
        let account = LoadAccount { nodes: Some(spread), pods: None, restarts, throttled: None };
        let mut c = Canvas::new(height(&account));
        load(&account, &mut c, (0.0, 900.0), 10.0);
        c.finish("", "")
    }

    #[test]
    fn a_load_seen_for_a_moment_is_said_in_words_and_not_drawn() {
        for (seconds, said) in [(0.0, "seen once, at up to 4 %"), (45.0, "seen for 45 s only, at up to 4 %")] {
            let picture = drawn(seconds, vec![0.03]);
            assert!(picture.contains(said), "{picture}");
            assert!(!picture.contains("class=\"lane\"") && !picture.contains("100 %"), "{picture}");
        }
    }

    #[test]
    fn a_bar_alone_stands_in_a_lane_and_says_how_long() {
        let picture = drawn(86_400.0 * 7.0, vec![0.03]);
        for part in ["class=\"lane\"", ">7 d<", "class=\"bad\"", "100 %"] {
            assert!(picture.contains(part), "{part}: {picture}");
        }
    }
}
