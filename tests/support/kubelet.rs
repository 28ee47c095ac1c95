//! Timelines of a real kubelet, read from a file or from a live node, and the same case played by the model.

use probe_tuner::probe::{Answer, Outcome, ProbeKind, Prober, Settings, Verdict};
use probe_tuner::units::{Span, Timestamp};
use serde_json::Value;
use std::path::Path;

/// A case: its header, and what was recorded.
pub struct Timeline {
    /// The header line.
    pub header: Value,
    /// The lines after it, in order of time.
    pub events: Vec<Value>,
}

/// What matters of a timeline: each check's probe and start, and how many had started before each kill.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checks {
    /// Starts, in order of time, from the first start of the container.
    pub starts: Vec<Span>,
    /// Whose check each was; the same length.
    pub kinds: Vec<Option<ProbeKind>>,
    /// For each kill, how many checks had started before it.
    pub kills: Vec<usize>,
}

/// Milliseconds of a JSON number as a span.
fn millis(value: &Value) -> Span {
    Span::round_from_secs_f64(value.as_f64().unwrap() / 1e3)
}

/// Seconds of a JSON number as a span.
fn seconds(value: &Value) -> Span {
    Span::round_from_secs_f64(value.as_f64().unwrap())
}

impl Timeline {
    /// Reads a file of `tests/data/kubelet-truth`.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let header = lines.next().unwrap();
        Timeline { header, events: lines.collect() }
    }

    fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |e| e["ev"] == name)
    }

    /// The moments of one kind of event.
    pub fn moments(&self, name: &str) -> Vec<Span> {
        self.of(name).map(|e| millis(&e["rel_ms"])).collect()
    }

    /// The moment of the last line.
    pub fn last(&self) -> Span {
        self.events.last().map_or(Span::ZERO, |e| millis(&e["rel_ms"]))
    }

    /// What the kubelet did.
    pub fn recorded(&self) -> Checks {
        // No container sees a TCP check; it lasts no time, so its verdict is its moment.
        let name = if self.moments("request").is_empty() { "verdict" } else { "request" };
        let starts = self.moments(name);
        let kinds = self.of(name).map(|e| self.kind_of_path(e["path"].as_str())).collect();
        let kills = self.moments("kill").iter().map(|k| starts.iter().filter(|s| *s <= k).count()).collect();
        Checks { starts, kinds, kills }
    }

    fn probes(&self) -> Vec<(ProbeKind, &Value)> {
        ProbeKind::ALL
            .into_iter()
            .map(|k| (k, &self.header["probes"][k.field()]))
            .filter(|(_, p)| !p.is_null())
            .collect()
    }

    fn kind_of_path(&self, path: Option<&str>) -> Option<ProbeKind> {
        let probes = self.probes();
        match &probes[..] {
            [(only, _)] => Some(*only),
            _ => probes.iter().find(|(_, p)| p["httpGet"]["path"].as_str() == path).map(|(k, _)| *k),
        }
    }
}

/// One scripted container, as the runtime of the recordings plays it.
struct App<'a> {
    script: &'a [Value],
    attempt: usize,
    since: Timestamp,
    /// Requests that took a latency from the queue.
    queued: usize,
    /// The rows of a trace (moment, answer), played from the epoch.
    trace: Vec<(Timestamp, Answer)>,
}

impl App<'_> {
    fn behaviour(&self) -> &Value {
        &self.script[self.attempt.min(self.script.len() - 1)]
    }

    fn answer(&mut self, at: Timestamp) -> Answer {
        if !self.trace.is_empty() {
            let before = self.trace.partition_point(|(t, _)| *t <= at);
            return self.trace[before.saturating_sub(1)].1;
        }
        let (script, attempt) = (self.script, self.attempt.min(self.script.len() - 1));
        let behaviour = &script[attempt];
        if let Some(after) = behaviour["listen_after"].as_f64() {
            let open = self.since + Span::round_from_secs_f64(after);
            return if at >= open { Answer::Healthy(Span::ZERO) } else { Answer::Unhealthy(Span::ZERO) };
        }
        if let Some(queue) = behaviour["queue"].as_array()
            && let Some(ms) = queue.get(self.queued)
        {
            self.queued += 1;
            return answer_of(ms.get("ms").unwrap_or(ms), ms["status"].as_u64());
        }
        let step =
            behaviour["steps"].as_array().unwrap().iter().rfind(|s| self.since + seconds(&s["at"]) <= at).unwrap();
        answer_of(&step["ms"], step["status"].as_u64())
    }

    fn exits_at(&self) -> Option<Timestamp> {
        self.behaviour()["exit"]["at"].as_f64().map(|s| self.since + Span::round_from_secs_f64(s))
    }
}

fn answer_of(ms: &Value, status: Option<u64>) -> Answer {
    match (ms.as_f64().unwrap() < 0.0, status) {
        (true, _) => Answer::Never,
        (false, Some(status)) if status >= 400 => Answer::Unhealthy(millis(ms)),
        (false, _) => Answer::Healthy(millis(ms)),
    }
}

/// Plays a case through the model until `horizon` after the first start, given the header, the moment of the first
/// check (or, more exact on a busy machine, of a tick: `tick_ms`), the manual triggers, and, in a crash loop or where
/// the header says `starts_given`, when the container was started.
pub fn played(case: &Timeline, traces: &Path, horizon: Span) -> Checks {
    let origin = Timestamp::EPOCH + seconds(&case.header["t0"]);
    let recorded = case.recorded();
    let Some(first) = recorded.starts.first().copied() else { return Checks::default() };
    let tick = case.header.get("tick_ms").map_or(first, millis);
    let mut probers: Vec<Prober> =
        case.probes().into_iter().map(|(kind, spec)| prober(case, kind, spec, origin + tick)).collect();
    let kinds: Vec<ProbeKind> = case.probes().into_iter().map(|(kind, _)| kind).collect();
    let script = case.header["script"].as_array().unwrap();
    let mut app = App { script, attempt: 0, since: origin, queued: 0, trace: trace_of(&script[0], traces) };
    let mut flights: Vec<Option<(Timestamp, Outcome)>> = vec![None; probers.len()];
    let mut manual: Vec<Timestamp> = case.moments("manual").iter().map(|m| origin + *m).rev().collect();
    // The back-off decides when a container comes back that exits by itself, or is killed for the third time.
    let starts: Vec<Timestamp> = case.moments("start").iter().map(|m| origin + *m).collect();
    let crash_loops = starts.len() > 2 || case.header["starts_given"] == true;
    let (mut restart, mut exit) = (None, app.exits_at());
    let mut out = Checks::default();
    // A trigger is recorded to the tenth of a millisecond, the success that lets it through is modelled: never after it.
    let (mut open, mut opened) = (!kinds.contains(&ProbeKind::Startup), origin);
    probers.iter_mut().for_each(|p| p.container_started(origin));
    loop {
        let ends = flights.iter().enumerate().filter_map(|(i, f)| f.map(|(end, _)| (end, 0, i)));
        let asks = probers.iter().enumerate().filter_map(|(i, p)| p.next_start().map(|at| (at, 4, i)));
        let others = [
            exit.map(|t| (t, 1, 0)),
            restart.map(|t| (t, 2, 0)),
            manual.last().filter(|_| open).map(|t| ((*t).max(opened), 3, 0)),
        ];
        let Some((now, what, i)) = ends.chain(asks).chain(others.into_iter().flatten()).min() else { break };
        if now.since(origin) > horizon {
            break;
        }
        match what {
            0 => {
                let Some((_, outcome)) = flights[i].take() else { unreachable!("it ends") };
                match probers[i].answered(now, outcome) {
                    Some(Verdict::Kill) => {
                        out.kills.push(out.starts.len());
                        let stopped = now + RESTART + stopping(case, kinds[i], app.behaviour());
                        restart = Some(if crash_loops {
                            starts.get(app.attempt + 1).copied().unwrap_or(FAR)
                        } else {
                            stopped
                        });
                        exit = None;
                    }
                    Some(Verdict::Started) => {
                        (open, opened) = (true, now);
                        probers.iter_mut().for_each(|p| p.startup_succeeded(now));
                    }
                    _ => {}
                }
            }
            1 => {
                exit = None;
                restart = Some(starts.get(app.attempt + 1).copied().unwrap_or(FAR));
                probers.iter_mut().for_each(|p| p.container_exited(now));
                // Their connections are reset.
                flights.iter_mut().flatten().for_each(|f| *f = (now, Outcome::Failure));
            }
            2 => {
                restart = None;
                (app.attempt, app.since, app.queued) = (app.attempt + 1, now, 0);
                exit = app.exits_at();
                probers.iter_mut().for_each(|p| p.container_started(now));
            }
            3 => {
                manual.pop();
                let readiness = kinds.iter().position(|k| *k == ProbeKind::Readiness).unwrap();
                probers[readiness].trigger(now);
            }
            _ => {
                probers[i].start(now);
                let (took, outcome) = app.answer(now).within(probers[i].settings().timeout_span());
                flights[i] = Some((now + took + OVERHEAD, outcome));
                out.starts.push(now.since(origin));
                out.kinds.push(Some(kinds[i]));
            }
        }
    }
    out
}

/// What the prober itself adds to a check, as measured where checks outlast the period (gap less latency).
const OVERHEAD: Span = Span::from_nanos(1_300_000);

/// From the end of a container to the start of the next, where no back-off holds it: 1 to 4 ms were seen.
const RESTART: Span = Span::from_millis(2);

/// Later than any recording.
const FAR: Timestamp = Timestamp::from_seconds(9_000_000_000);

/// How long the container takes to stop: what its script says, but no longer than the grace of the probe or the pod, of
/// which the kubelet leaves at least two seconds.
fn stopping(case: &Timeline, kind: ProbeKind, behaviour: &Value) -> Span {
    let own = &case.header["probes"][kind.field()]["terminationGracePeriodSeconds"];
    let grace = own.as_i64().or(case.header["grace_s"].as_i64()).unwrap().max(2);
    behaviour["stop_ms"]
        .as_f64()
        .map_or(Span::ZERO, |ms| Span::round_from_secs_f64(ms / 1e3))
        .min(Span::from_seconds(grace))
}

fn prober(case: &Timeline, kind: ProbeKind, spec: &Value, tick: Timestamp) -> Prober {
    let number = |key: &str| spec[key].as_i64().map(|n| i32::try_from(n).unwrap());
    let settings =
        Settings::from_spec(number("periodSeconds"), number("timeoutSeconds"), number("failureThreshold")).unwrap();
    let prober = Prober::new(kind, settings, tick)
        .initial_delay(u32::try_from(number("initialDelaySeconds").unwrap_or(0)).unwrap())
        .success_threshold(u32::try_from(number("successThreshold").unwrap_or(1)).unwrap());
    let gated = kind != ProbeKind::Startup && !case.header["probes"]["startupProbe"].is_null();
    if gated { prober.behind_startup() } else { prober }
}

fn trace_of(behaviour: &Value, traces: &Path) -> Vec<(Timestamp, Answer)> {
    let Some(name) = behaviour["trace"].as_str() else { return Vec::new() };
    let epoch = Timestamp::EPOCH + seconds(&behaviour["epoch"]);
    let text = std::fs::read_to_string(traces.join(name)).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let at = epoch + Span::round_from_secs_f64(cells[0].parse().unwrap());
        let answer = match (cells[1].parse::<f64>(), cells[2]) {
            (Err(_), _) => Answer::Never,
            (Ok(ms), "1") => Answer::Healthy(Span::round_from_secs_f64(ms / 1e3)),
            (Ok(ms), _) => Answer::Unhealthy(Span::round_from_secs_f64(ms / 1e3)),
        };
        (at, answer)
    };
    text.lines().skip(1).map(row).collect()
}

/// The largest difference between corresponding gaps of two runs of equally many checks, taken from one check of a
/// probe to the next of the same probe; `None` where the checks differ in number or order.
pub fn largest_gap_difference(a: &Checks, b: &Checks) -> Option<Span> {
    if a.kinds != b.kinds {
        return None;
    }
    let mut largest = Span::ZERO;
    for kind in ProbeKind::ALL {
        let gaps = |c: &Checks| {
            let of: Vec<Span> =
                c.starts.iter().zip(&c.kinds).filter(|(_, k)| **k == Some(kind)).map(|(s, _)| *s).collect();
            of.windows(2).map(|w| w[1] - w[0]).collect::<Vec<_>>()
        };
        for (x, y) in gaps(a).iter().zip(gaps(b)) {
            largest = largest.max(Span::from_nanos((x.nanos() - y.nanos()).abs()));
        }
    }
    Some(largest)
}
