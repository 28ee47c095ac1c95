//! The rules of a replay read aloud: slow, without shortcuts, in exact fractions of a nanosecond.

use probe_tuner::probe::Answer;
use probe_tuner::record::{Row, Trace};
use probe_tuner::replay::{Change, Detection, Figures, Kind};
use probe_tuner::units::Span;

/// A trace and terms.
pub struct Run<'a> {
    pub trace: &'a Trace,
    pub phases: u32,
    pub takes: i64,
    pub kind: Kind,
}

/// What became of one phase.
#[derive(Default)]
pub struct Phase {
    pub checks: u64,
    pub failed: u64,
    pub restarts: u64,
    pub unready: i128,
    /// The first verdict at or after the fault.
    pub verdict: Option<i128>,
}

/// A fault: its moment in units, and whether it hangs.
pub type Fault = (i128, bool);

/// The trace again and again until `lasting` is over.
pub fn unrolled(trace: &Trace, lasting: Option<Span>) -> Trace {
    let round = trace.seconds() + trace.median_step();
    let Some(lasting) = lasting.filter(|_| round > Span::ZERO) else { return trace.clone() };
    let mut rows: Vec<Row> = Vec::new();
    let mut from = Span::ZERO;
    while from <= lasting {
        rows.extend(trace.rows().iter().map(|row| Row { at: from + row.at, ..*row }));
        from += round;
    }
    Trace::new(rows, trace.columns()).unwrap()
}

impl Run<'_> {
    /// Units in a nanosecond, so that phases and moments of faults are whole.
    fn nano(&self) -> i128 {
        2000 * i128::from(self.phases)
    }

    /// Plays one phase up to `end` of the trace, or with a fault until its verdict.
    pub fn phase(&self, changes: &[Change], phase: u32, fault: Option<Fault>) -> Phase {
        self.play(changes, phase, fault, self.trace.seconds())
    }

    fn play(&self, changes: &[Change], phase: u32, fault: Option<Fault>, end: Span) -> Phase {
        let nano = self.nano();
        // Less than a nanosecond apart is the same.
        let before = |a: i128, b: i128| a <= b - nano;
        let end = i128::from(end.nanos()) * nano;
        let first = |c: &Change| {
            let period = i128::from(c.settings.period_span().nanos());
            i128::from(c.at) * nano + i128::from(phase) * period * 2000
        };
        let mut out = Phase::default();
        let mut segment = 0;
        let mut grid = first(&changes[0]);
        let (mut next, mut busy, mut down) = (grid, i128::MIN, i128::MIN);
        let (mut failures, mut unready) = (0, None::<i128>);
        loop {
            if let Some(change) = changes.get(segment + 1)
                && !before(next, i128::from(change.at) * nano)
            {
                let at = i128::from(change.at) * nano;
                segment += 1;
                grid = first(change);
                let period = i128::from(change.settings.period_span().nanos()) * nano;
                next = grid;
                if down > at {
                    while next < down {
                        next += period;
                    }
                } else if busy > next {
                    next = busy;
                }
                failures = 0;
                if let Some(since) = unready.take() {
                    out.unready += (busy.max(at).min(end) - since).max(0);
                }
                continue;
            }
            if fault.is_none() && next >= end + nano {
                break;
            }
            let numbers = changes[segment].settings;
            let period = i128::from(numbers.period_span().nanos()) * nano;
            let timeout = i128::from(numbers.timeout_span().nanos()) * nano;
            let start = next;
            let (latency, healthy) = match fault {
                Some((moment, hang)) if !before(start, moment) => (if hang { i128::MAX } else { 0 }, false),
                _ => self.answer(start),
            };
            let stop = start + latency.min(timeout);
            let failed = !healthy || latency > timeout;
            out.checks += 1;
            busy = stop;
            let mut tick = grid;
            while tick <= start {
                tick += period;
            }
            next = tick.max(stop);
            if !failed {
                failures = 0;
                if let Some(since) = unready.take() {
                    out.unready += (stop.min(end) - since).max(0);
                }
                continue;
            }
            out.failed += 1;
            failures += 1;
            if failures < numbers.threshold() {
                continue;
            }
            if let Some((moment, _)) = fault
                && !before(stop, moment)
            {
                out.verdict = Some(stop);
                return out;
            }
            match self.kind {
                Kind::Liveness => {
                    out.restarts += 1;
                    failures = 0;
                    down = stop + i128::from(self.takes) * nano;
                    next = grid;
                    while next < down {
                        next += period;
                    }
                }
                Kind::Readiness => {
                    unready.get_or_insert(stop);
                }
            }
        }
        out.unready += unready.map_or(0, |since| (end - since).max(0));
        out
    }

    fn answer(&self, at: i128) -> (i128, bool) {
        let nano = self.nano();
        let row = self.trace.rows().iter().rfind(|r| i128::from(r.at.nanos()) * nano < at + nano);
        match row.unwrap_or(&self.trace.rows()[0]).answer {
            Answer::Healthy(latency) => (i128::from(latency.nanos()) * nano, true),
            Answer::Unhealthy(latency) => (i128::from(latency.nanos()) * nano, false),
            Answer::Never => (i128::MAX, false),
        }
    }
}

/// The figures of these numbers up to `end`.
pub fn figures(run: &Run<'_>, changes: &[Change], end: Span) -> Figures {
    let nano = run.nano();
    let readiness = Run { kind: Kind::Readiness, ..*run };
    let mut figures = Figures {
        settings: changes.to_vec(),
        checks: 0,
        failed: 0,
        false_restarts: 0,
        false_unready: Span::ZERO,
        hang: detection(vec![0]),
        crash: detection(vec![0]),
    };
    let (mut hang, mut crash, mut unready) = (Vec::new(), Vec::new(), 0);
    for phase in 0..run.phases {
        let played = run.play(changes, phase, None, end);
        figures.checks += played.checks;
        figures.failed += played.failed;
        figures.false_restarts += played.restarts;
        unready += readiness.play(changes, phase, None, end).unready / nano;
        for j in 0..1000 {
            let moment = i128::from(end.nanos()) * (2 * j + 1) * i128::from(run.phases);
            for (hangs, times) in [(true, &mut hang), (false, &mut crash)] {
                let verdict = run.play(changes, phase, Some((moment, hangs)), end).verdict.unwrap();
                times.push((verdict - moment + nano / 2).div_euclid(nano).max(0));
            }
        }
    }
    figures.false_unready = Span::from_nanos((unready / i128::from(run.phases)) as i64);
    figures.hang = detection(hang);
    figures.crash = detection(crash);
    figures
}

fn detection(mut times: Vec<i128>) -> Detection {
    times.sort_unstable();
    let n = times.len();
    let span = |t: i128| Span::from_nanos(t as i64);
    let nth = |percent: usize| span(times[(n * percent).div_ceil(100) - 1]);
    Detection { mean: span(times.iter().sum::<i128>() / n as i128), p50: nth(50), p99: nth(99), max: nth(100) }
}
