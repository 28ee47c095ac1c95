//! A day hour by hour, twice: as it was, and as it became.

use super::axis::{Scale, number, round_step};
use super::canvas::{Canvas, Hang, MARGIN, WIDTH};

/// Counts by hour, in order.
#[derive(Clone, Debug)]
pub struct Bars<'a> {
    /// What is counted.
    pub title: &'a str,
    /// As it was.
    pub before: &'a [usize],
    /// As it became, in all.
    pub after: &'a [usize],
    /// The part of it that could not be changed; never more than `after`.
    pub bound: &'a [usize],
    /// What the three are called, in this order.
    pub names: [&'a str; 3],
    /// A line below.
    pub note: &'a str,
}

/// Draws a day.
pub fn hours(bars: &Bars<'_>) -> String {
    const HEIGHT: f64 = 330.0;
    const PLOT: (f64, f64) = (84.0, 270.0);
    let mut c = Canvas::new(HEIGHT);
    let left = MARGIN + 32.0;
    c.text((MARGIN, 34.0), Hang::Start, "title", bars.title);
    let sum = |counts: &[usize]| counts.iter().sum::<usize>();
    let sums = [sum(bars.before), sum(bars.after) - sum(bars.bound), sum(bars.bound)];
    let mut x = MARGIN;
    for ((class, name), sum) in ["plain", "then", "faint"].into_iter().zip(bars.names).zip(sums) {
        c.rect(class, (x, 49.0), (12.0, 12.0));
        let said = format!("{name}: {sum}");
        c.text((x + 18.0, 60.0), Hang::Start, "", &said);
        x += 40.0 + 7.0 * said.chars().count() as f64;
    }
    let most = bars.before.iter().chain(bars.after).copied().max().unwrap_or(0).max(1) as f64;
    let step = round_step(most / 5.0).max(1.0);
    let y = Scale::linear((0.0, (most / step).ceil() * step), (PLOT.1, PLOT.0));
    y.rules(&mut c, (left, WIDTH - MARGIN), 5, number);
    let slot = (WIDTH - MARGIN - left) / bars.before.len().max(1) as f64;
    for (hour, before) in bars.before.iter().enumerate() {
        let of = |counts: &[usize]| counts.get(hour).copied().unwrap_or(0) as f64;
        let x = left + slot * hour as f64;
        let mut bar = |offset: f64, class: &str, from: f64, to: f64| {
            if to > from {
                c.rect(class, (x + offset * slot, y.place(to)), (slot * 0.38, y.place(from) - y.place(to)));
            }
        };
        bar(0.10, "plain", 0.0, *before as f64);
        bar(0.50, "faint", 0.0, of(bars.bound));
        bar(0.50, "then", of(bars.bound), of(bars.after));
        if hour % 3 == 0 {
            c.text((x + 0.1 * slot, PLOT.1 + 19.0), Hang::Start, "small soft", &format!("{hour:02}:00"));
        }
    }
    c.line("thin frame", (left, PLOT.1), (WIDTH - MARGIN, PLOT.1));
    c.text((MARGIN, HEIGHT - 14.0), Hang::Start, "small", bars.note);
    let [a, b, d] = bars.names;
    c.finish(bars.title, &format!("{a}: {}; {b}: {}; {d}: {}. {}", sums[0], sums[1], sums[2], bars.note))
}
