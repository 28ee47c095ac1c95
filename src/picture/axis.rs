//! Scales and their ticks: round numbers, few enough to be read.

use super::canvas::{Canvas, Hang};

/// A range of values on a range of places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub(super) least: f64,
    pub(super) most: f64,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) log: bool,
}

impl Scale {
    pub(super) fn linear((least, most): (f64, f64), (from, to): (f64, f64)) -> Self {
        Scale { least, most, from, to, log: false }
    }

    /// Both values above zero.
    pub(super) fn log((least, most): (f64, f64), (from, to): (f64, f64)) -> Self {
        Scale { least, most, from, to, log: true }
    }

    /// The place of a value; what lies outside is at the end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = value.clamp(self.least, self.most);
        let share = if self.log {
            (value / self.least).ln() / (self.most / self.least).ln()
        } else {
            (value - self.least) / (self.most - self.least)
        };
        self.from + share * (self.to - self.from)
    }

    /// Round values, about `n` of them: powers of ten on a logarithmic scale.
    pub(super) fn ticks(&self, n: usize) -> Vec<f64> {
        if self.log {
            let (first, last) = (self.least.log10().ceil() as i32, self.most.log10().floor() as i32);
            let step = usize::try_from(last - first).unwrap_or(0) / n.max(1) + 1;
            return (first..=last).step_by(step).map(|e| 10f64.powi(e)).collect();
        }
        let step = round_step((self.most - self.least) / n.max(1) as f64);
        let first = (self.least / step).ceil() as i64;
        let last = (self.most / step + 1e-9).floor() as i64;
        (first..=last).map(|i| i as f64 * step).collect()
    }

    /// Rules across a plot at each tick of a vertical scale, with their values at its left.
    pub(super) fn rules(&self, canvas: &mut Canvas, (left, right): (f64, f64), n: usize, said: impl Fn(f64) -> String) {
        for value in self.ticks(n) {
            let y = self.place(value);
            canvas.line("thin rule", (left, y), (right, y));
            canvas.text((left - 8.0, y + 4.0), Hang::End, "small soft", &said(value));
        }
    }

    /// Ticks below a plot of a horizontal scale, with their values.
    pub(super) fn marks(&self, canvas: &mut Canvas, y: f64, n: usize, said: impl Fn(f64) -> String) {
        canvas.line("thin frame", (self.from, y), (self.to, y));
        for value in self.ticks(n) {
            let x = self.place(value);
            canvas.line("thin frame", (x, y), (x, y + 5.0));
            canvas.text((x, y + 19.0), Hang::Middle, "small soft", &said(value));
        }
    }
}

/// The next larger of 1, 2 and 5 times a power of ten.
pub(super) fn round_step(least: f64) -> f64 {
    if least <= 0.0 || !least.is_finite() {
        return 1.0;
    }
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * power)
        .find(|step| *step >= least * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

/// A number without digits that say nothing: `0.001`, `10`, `1,000`.
pub(super) fn number(x: f64) -> String {
    let x = if x.abs() >= 1.0 { (x * 10.0).round() / 10.0 } else { (x * 1e6).round() / 1e6 };
    let text = format!("{x}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), String::new()), |(a, b)| (a, format!(".{b}")));
    let mut said = String::new();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 && !said.ends_with('-') {
            said.push(',');
        }
        said.push(c);
    }
    said + &rest
}

/// A rate with the digits that mean something: `0.0003`, `0.07`, `13.2`, `340`.
pub(super) fn rate(x: f64) -> String {
    match x {
        x if x <= 0.0 || !x.is_finite() => "0".into(),
        x if x < 1e-6 => "under 0.000001".into(),
        x if x < 1.0 => {
            let scale = 10f64.powf(-x.log10().floor()) * if x < 0.01 { 1.0 } else { 10.0 };
            format!("{}", (x * scale).round() / scale)
        }
        x if x < 100.0 => format!("{x:.1}"),
        x => number(x.round()),
    }
}

/// A time in the unit that suits it: `90 s`, `12 min`, `5 h`, `28 d`.
pub(super) fn time(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{} s", number(s)),
        s if s < 7_200.0 => format!("{} min", number(s / 60.0)),
        s if s < 172_800.0 => format!("{} h", number(s / 3_600.0)),
        s => format!("{} d", number(s / 86_400.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_not_smaller_than_asked() {
        for (least, step) in [(0.3, 0.5), (1.0, 1.0), (1.2, 2.0), (4.8, 5.0), (28.8, 50.0), (0.0, 1.0), (f64::NAN, 1.0)]
        {
            assert!((round_step(least) - step).abs() < 1e-9, "{least}: {}", round_step(least));
        }
    }

    #[test]
    fn a_scale_places_its_ends_and_cuts_off_what_is_outside() {
        let s = Scale::log((0.01, 100.0), (0.0, 40.0));
        for (value, place) in [(0.01, 0.0), (1.0, 20.0), (100.0, 40.0), (0.0, 0.0), (1e9, 40.0)] {
            assert!((s.place(value) - place).abs() < 1e-9, "{value}");
        }
        assert_eq!(s.ticks(9), [0.01, 0.1, 1.0, 10.0, 100.0]);
        assert_eq!(Scale::linear((0.0, 24.0), (0.0, 1.0)).ticks(5), [0.0, 5.0, 10.0, 15.0, 20.0]);
    }

    #[test]
    fn rates_are_said_with_the_digits_that_mean_something() {
        for (x, text) in [(0.000_331, "0.0003"), (0.0734, "0.073"), (13.21, "13.2"), (4_541.4, "4,541"), (0.0, "0")] {
            assert_eq!(rate(x), text);
        }
    }

    #[test]
    fn numbers_are_said_short() {
        for (x, text) in [
            (0.001, "0.001"),
            (10.0, "10"),
            (1_000.0, "1,000"),
            (1_234_567.0, "1,234,567"),
            (12.34, "12.3"),
            (0.1 + 0.2, "0.3"),
        ] {
            assert_eq!(number(x), text);
        }
        assert_eq!((time(90.0), time(720.0), time(28.0 * 86_400.0)), ("90 s".into(), "12 min".into(), "28 d".into()));
    }
}
