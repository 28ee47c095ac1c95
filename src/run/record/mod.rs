//! Asks an endpoint at a fixed rate and writes a trace.
//!
//! Checks start on schedule whether or not earlier ones have ended: a recorder that waited for a slow answer would ask
//! least where there is most to see. At most [`MOST_IN_FLIGHT`] are under way; a check for which there was no room, or
//! whose moment has passed while this machine slept, is skipped and counted. A row is written when it and all before it
//! have ended, so rows wait behind one that hangs: never more than start within the patience.

mod tally;

pub use tally::Tally;

use crate::ask::{Asked, Target, ask};
use crate::load::Meter;
use crate::probe::Answer;
use crate::record::{Columns, Load, MOST_ROWS, Row, header, line};
use crate::units::{Span, Timestamp};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// Most checks under way: each holds a file descriptor, of which a process has 1024 unless told, or for a command a
/// thread, of which the runtime has 512.
pub const MOST_IN_FLIGHT: usize = 500;

/// How long an answer is waited for, by the format.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often counters of load are read: the load over the last second is then at most this old.
const READ_EVERY: Duration = Duration::from_millis(250);

/// How often the trace is flushed and progress is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What is recorded.
#[derive(Debug)]
pub struct Recording {
    /// What is asked.
    pub target: Target,
    /// Checks a second; above 0.
    pub rate: f64,
    /// For how long checks are started; `None`: until stopped.
    pub lasting: Option<Duration>,
    /// How long each is watched. [`PATIENCE`], but for tests.
    pub patience: Duration,
    /// What load is measured.
    pub meter: Meter,
}

/// A check that was started; without an answer while it is under way.
struct Slot {
    at: Span,
    load: Load,
    answer: Option<Answer>,
}

/// Rows that wait for those before them.
#[derive(Default)]
struct Held {
    slots: VecDeque<Slot>,
    /// The number of the first of them, counted from the start.
    first: usize,
}

/// Records until `stop` is done, or as long as the recording lasts; `told` hears of progress each second. When it lasts
/// as long as it was to, the checks under way are watched to their end; when it is stopped, they are left out.
///
/// # Errors
/// Those of `out`.
pub async fn record(
    recording: Recording,
    out: &mut dyn Write,
    stop: impl Future<Output = ()>,
    mut told: impl FnMut(&Tally),
) -> io::Result<Tally> {
    let Recording { target, rate, lasting, patience, mut meter } = recording;
    let (target, columns) = (Arc::new(target), meter.columns());
    let (mut tally, mut held, mut checks) = (Tally::default(), Held::default(), JoinSet::new());
    out.write_all(header(columns).as_bytes())?;
    let (mut reading, mut telling) = (interval(READ_EVERY), interval(TELL_EVERY));
    reading.set_missed_tick_behavior(MissedTickBehavior::Delay);
    telling.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let origin = Instant::now();
    let since =
        |at: Instant| Span::from_nanos(i64::try_from((at - origin).as_micros()).unwrap_or(i64::MAX / 1000) * 1000);
    let due = |n: u64| origin + Duration::from_secs_f64(n as f64 / rate);
    let mut n = 0;
    tokio::pin!(stop);
    loop {
        let starting = lasting.is_none_or(|lasting| due(n) - origin < lasting) && tally.started < MOST_ROWS;
        if !starting && checks.is_empty() {
            break;
        }
        tokio::select! {
            biased;
            () = &mut stop => break,
            () = sleep_until(due(n)), if starting => {
                let now = Instant::now();
                n += 1;
                if checks.len() >= MOST_IN_FLIGHT {
                    tally.skipped += 1;
                    continue;
                }
                let number = held.first + held.slots.len();
                let asked = target.clone();
                checks.spawn(async move { (number, ask(&asked, patience).await) });
                held.slots.push_back(Slot { at: since(now), load: meter.load(), answer: None });
                tally.started += 1;
                // Moments that have passed meanwhile would all be now, which is no rate.
                while due(n) < now {
                    n += 1;
                    tally.skipped += 1;
                }
            }
            Some(done) = checks.join_next() => {
                // A check does not panic; one that did would have ended the process.
                let Ok((number, asked)) = done else { continue };
                held.ended(number, &asked);
                tally.count(&asked);
                for row in held.ready() {
                    out.write_all(line(&row, columns).as_bytes())?;
                    tally.rows += 1;
                }
            }
            _ = reading.tick() => meter.read(Timestamp::EPOCH + since(Instant::now())),
            _ = telling.tick() => {
                tally.lasted = Instant::now() - origin;
                out.flush()?;
                told(&tally);
            }
        }
    }
    tally.lasted = Instant::now() - origin;
    checks.shutdown().await;
    tally.left_out = held.slots.iter().filter(|slot| slot.answer.is_none()).count();
    for row in held.slots.iter().filter_map(Slot::row) {
        out.write_all(line(&row, columns).as_bytes())?;
        tally.rows += 1;
    }
    out.flush()?;
    Ok(tally)
}

/// The comment lines before the header: what is recorded, since when, how often.
pub fn preface(recording: &Recording, now: Timestamp) -> String {
    let Recording { target, rate, meter, .. } = recording;
    let begun = jiff::Timestamp::from_nanosecond(now.nanos().into()).unwrap_or_default();
    let each = match target {
        Target::Exec { .. } => "",
        _ => ", each on a new connection",
    };
    let what = match target {
        Target::Exec { command } => format!("the command {}", one_line(command)),
        other => other.to_string(),
    };
    let mut text = format!(
        "# probe-tuner {}: {what}\n# begun {begun:.0}, {rate} checks a second{each}, each watched for up to {} s\n",
        env!("CARGO_PKG_VERSION"),
        recording.patience.as_secs_f64(),
    );
    let columns = meter.columns();
    let Columns { node_cpu, pod_cores, throttled } = columns;
    let known = [(node_cpu, "node_cpu"), (pod_cores, "pod_cores"), (throttled, "throttled")];
    let known: Vec<&str> = known.into_iter().filter(|(has, _)| *has).map(|(_, name)| name).collect();
    if let Some(source) = meter.source() {
        text += &format!("# load: {} of this machine and {}\n", known.join(", "), source.display());
    }
    text
}

/// A command may have lines; a comment has one.
fn one_line(text: &str) -> String {
    text.split(['\n', '\r']).collect::<Vec<_>>().join(" ")
}

impl Held {
    fn ended(&mut self, number: usize, asked: &Asked) {
        let place = number.checked_sub(self.first).and_then(|i| self.slots.get_mut(i));
        if let Some(slot) = place {
            slot.answer = Some(whole_micros(asked.answer()));
        }
    }

    /// The rows before the first that is under way.
    fn ready(&mut self) -> Vec<Row> {
        let mut rows = Vec::new();
        while let Some(row) = self.slots.front().and_then(Slot::row) {
            self.slots.pop_front();
            self.first += 1;
            rows.push(row);
        }
        rows
    }
}

impl Slot {
    fn row(&self) -> Option<Row> {
        self.answer.map(|answer| Row { at: self.at, answer, load: self.load })
    }
}

/// A latency in whole microseconds: what a clock of this kind is good for.
fn whole_micros(answer: Answer) -> Answer {
    let whole = |span: Span| Span::from_nanos(span.nanos() / 1000 * 1000);
    match answer {
        Answer::Healthy(after) => Answer::Healthy(whole(after)),
        Answer::Unhealthy(after) => Answer::Unhealthy(whole(after)),
        Answer::Never => Answer::Never,
    }
}
