//! Start times on a line, and what the numbers allow.

use super::axis::{Scale, number};
use super::canvas::{Canvas, Hang, MARGIN, WIDTH};
use super::explanation::title;
use crate::decide::Explanation;

/// Draws the starts of a container against what its startup probe allows.
pub(super) fn starts(e: &Explanation) -> Canvas {
    const HEIGHT: f64 = 250.0;
    const LINE: f64 = 176.0;
    let mut c = Canvas::new(HEIGHT);
    let title = title(e);
    c.text((MARGIN, 34.0), Hang::Start, "title", &title);
    let Some(starts) = e.starts.as_ref().filter(|s| !s.seconds.is_empty()) else {
        c.text((WIDTH / 2.0, 130.0), Hang::Middle, "soft", "no start seen yet");
        return c;
    };
    let heading = format!(
        "The last {} starts of {}: seconds until ready, and what the numbers allow",
        starts.seconds.len(),
        starts.total
    );
    c.text((MARGIN, 58.0), Hang::Start, "soft", &heading);
    let most = [starts.longest, starts.bound.unwrap_or(0.0), starts.now, starts.then].into_iter().fold(1.0, f64::max);
    let x = Scale::linear((0.0, most * 1.08), (MARGIN + 8.0, WIDTH - MARGIN));
    let changes = e.judgement.wanted != e.judgement.current;
    let mut limits = vec![(starts.now, "now", format!("{} allows {} s", e.judgement.current, number(starts.now)))];
    limits.extend(
        starts.bound.map(|b| (b, "limit", format!("99 of 100 start within {} s (95 % sure)", number(b.round())))),
    );
    if changes {
        limits.push((starts.then, "then", format!("{} allows {} s", e.judgement.wanted, number(starts.then))));
    }
    for (row, (value, class, said)) in limits.into_iter().enumerate() {
        let (place, y) = (x.place(value), 84.0 + 20.0 * row as f64);
        c.line(&format!("line {class}-line"), (place, y - 10.0), (place, LINE));
        let (tx, hang) = if place > WIDTH * 0.6 { (place - 7.0, Hang::End) } else { (place + 7.0, Hang::Start) };
        c.text((tx, y), hang, &format!("halo strong {class}"), &said);
    }
    for (i, (seconds, cut_off)) in starts.seconds.iter().enumerate() {
        // Spread over four rows, so that equal ones are seen beside each other.
        let place = (x.place(*seconds), LINE - 6.0 - 7.0 * (i % 4) as f64);
        c.circle(if *cut_off { "bad" } else { "plain" }, place, 3.5);
    }
    x.marks(&mut c, LINE, 12, number);
    c.text((WIDTH - MARGIN, LINE + 38.0), Hang::End, "small soft", "seconds");
    if starts.seconds.iter().any(|(_, cut)| *cut) {
        c.text((MARGIN, LINE + 58.0), Hang::Start, "small bad", "red: cut off by a kill, would have taken longer");
    }
    c
}
