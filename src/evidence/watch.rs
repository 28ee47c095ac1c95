//! One probe of one pod between two scrapes: counters into windows, windows into runs.

use super::restart::Failing;
use super::run::{Run, Window};
use super::shadow::Checks;
use super::table::{Edge, OUTAGE_SECONDS};
use crate::observation::{Counters, FailureClass};
use crate::probe::{ProbeKind, Settings};
use crate::units::{Name, Span, Timestamp};

/// A longer silence than this is a gap: what the counters add up over it says nothing about runs.
pub(super) const GAP: Span = Span::from_nanos(300 * 1_000_000_000);
/// How long the class of a pod's last failure stands for failures of which no event tells: after 25 events the kubelet
/// sends one in five minutes.
const CLASS_STANDS: Span = Span::from_nanos(600 * 1_000_000_000);
/// The kubelet's latency edges up to 1 s.
pub(super) const LOW: usize = 8;
/// Replicas are slow together above an edge once each of several would have needed this tolerance there, in seconds.
pub const TOGETHER_SECONDS: f32 = 30.0;
/// A replica is ill for so long after it was last slow far more often than the others.
const AILS: Span = Span::from_nanos(1_800 * 1_000_000_000);
/// Slow runs are counted per pod in blocks of this length, of which the last two are kept: three to six hours.
const BLOCK: Span = Span::from_nanos(3 * 3_600 * 1_000_000_000);

/// The counters that later windows are counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last {
    at: Timestamp,
    successful: u64,
    failed: u64,
    count: u64,
    /// Cumulative at 1, 2.5, 5, 10 s.
    within: [u64; 4],
    /// Cumulative at the edges up to 1 s, modulo 2³²: only differences are used.
    low: [u32; LOW],
}

impl Last {
    fn of(at: Timestamp, c: &Counters) -> Self {
        let [.., one, two, five, ten] = c.buckets;
        let low = std::array::from_fn(|i| c.buckets[i] as u32);
        Last { at, successful: c.successful, failed: c.failed, count: c.count, within: [one, two, five, ten], low }
    }

    /// Checks of the window since `old` by latency: up to each low edge and above the one before; above 1 s.
    fn latencies(&self, old: &Last) -> [u32; LOW + 1] {
        let up_to = |i: usize| self.low[i].wrapping_sub(old.low[i]);
        let all = small(self.count - old.count);
        std::array::from_fn(|i| match i {
            0 => up_to(0),
            LOW => all.saturating_sub(up_to(LOW - 1)),
            _ => up_to(i).saturating_sub(up_to(i - 1)),
        })
    }

    fn went_back(&self, old: &Last) -> bool {
        self.successful < old.successful
            || self.failed < old.failed
            || self.count < old.count
            || self.low.iter().zip(&old.low).any(|(new, old)| new.wrapping_sub(*old).cast_signed() < 0)
            || self.within.iter().zip(&old.within).any(|(new, old)| new < old)
    }
}

/// What a window had to say; quiet windows only have `credit`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    /// Pod-time to credit, in seconds.
    pub(super) credit: f64,
    /// Successes by latency: up to each low edge, above 1 s.
    pub(super) latencies: [u32; LOW + 1],
    /// The checks in it.
    pub(super) checks: Checks,
    /// Those that ran into the timeout, as far as anything tells; all that failed where nothing does.
    pub(super) timeouts: u32,
    /// Counters went back, so this window is unknown.
    pub(super) reset: bool,
    /// Something exceeded, failed or ended.
    pub(super) loud: bool,
    /// The container's life ended in it, after failures enough for the probe to have ended it.
    pub(super) gave_up: bool,
    /// Runs that ended and recovered, by edge.
    pub(super) ended: [Option<(f32, f32)>; 5],
    /// A check was slower than a second.
    pub(super) slow: bool,
    /// Checks that were refused, as an event told, are answered again: it was a spell and no fault.
    pub(super) refused: bool,
    /// Checks had failed and all are answered again: how many of them events called slow, and fast.
    pub(super) told: (u32, u32),
    /// Some check failed at once, or nobody knows how it failed.
    pub(super) failed_fast: bool,
    /// Tolerance that running failures need already, in seconds: slow, fast.
    pub(super) failing_for: (f32, f32),
    /// By latency edge: a run of at least half a minute and four checks is under way.
    pub(super) regime: [bool; 4],
    /// Above 10 s or failing for more than two minutes.
    pub(super) outage: bool,
}

/// The first minutes of a container's life: are its answers unusual?
#[derive(Clone, Copy, Debug)]
pub(super) struct Beginning {
    pub(super) since: Timestamp,
    /// After a kill by its probe; else of a new pod.
    pub(super) after_kill: bool,
    /// Answers so far, and those slower than is usual.
    pub(super) answers: (u32, u32),
    /// The kill ended a spell in which this replica alone was slow.
    pub(super) cured: bool,
}

/// One probe of one pod.
#[derive(Clone, Debug)]
pub(super) struct PodProbe {
    /// Position among the workload's probes.
    pub(super) probe: usize,
    pub(super) container: Name,
    pub(super) kind: ProbeKind,
    /// The numbers that this very pod runs.
    pub(super) settings: Settings,
    pub(super) initial_delay: Span,
    /// The first minutes of a life, and whether it is the pod's first.
    pub(super) beginning: Option<Beginning>,
    last: Option<Last>,
    /// Time since the last window with a check in it: credited with the next check.
    pending: Span,
    /// Scrapes known to be missed since the last sample.
    pub(super) missed: u32,
    open: [Run; 5],
    /// Failures in a row at most, of whatever kind.
    pub(super) failed_in_a_row: u32,
    /// Failures told by events since the last window with failures: slow, fast.
    told: (u32, u32),
    /// The same since the last window without failures: what a kill is judged by.
    told_in_run: (u32, u32),
    class: Option<(Timestamp, Failing)>,
    /// Failures of open runs of which nothing told the class.
    untold: bool,
    /// An event told that checks of the run under way were refused.
    refused: bool,
    /// The container's life ended at this moment, after so many failures in a row as were known then: failures until
    /// then belong to its end.
    given_up: Option<(Timestamp, u32)>,
    /// When it last answered slower than a second, or failed.
    pub(super) slow_at: Option<Timestamp>,
    /// When a check was last refused (or failed untold).
    pub(super) refused_at: Option<Timestamp>,
    /// When failures last went on, and for what tolerance: slow, fast.
    pub(super) failing: Option<(Timestamp, (f32, f32))>,
    pub(super) regime_at: [Option<Timestamp>; 4],
    pub(super) outage_at: Option<Timestamp>,
    /// Since when it is slow far more often than the others, and when it last was.
    ailed: Option<(Timestamp, Timestamp)>,
    /// Slow runs that ended in this life of its container.
    runs_in_life: u32,
    /// Slow runs in this and the last block of three hours.
    block: (i64, u32, u32),
    /// Of them those counted last, and when.
    counted: Option<(Timestamp, u32)>,
}

impl PodProbe {
    pub(super) fn new(probe: usize, container: Name, kind: ProbeKind, settings: Settings, delay: Span) -> Self {
        PodProbe {
            probe,
            container,
            kind,
            settings,
            initial_delay: delay,
            beginning: None,
            last: None,
            pending: Span::ZERO,
            missed: 0,
            open: [Run::NONE; 5],
            failed_in_a_row: 0,
            told: (0, 0),
            told_in_run: (0, 0),
            class: None,
            untold: false,
            refused: false,
            given_up: None,
            slow_at: None,
            refused_at: None,
            failing: None,
            regime_at: [None; 4],
            outage_at: None,
            ailed: None,
            runs_in_life: 0,
            block: (0, 0, 0),
            counted: None,
        }
    }

    /// When its counters were last read.
    pub(super) fn sampled_at(&self) -> Option<Timestamp> {
        self.last.map(|l| l.at)
    }

    /// Takes the counters of a scrape. `counting` is false while the probe is not asked in earnest (starting,
    /// shutting down, not yet ready): then the counters are only remembered.
    /// `usual` is how checks of this probe nearly always fail, where that is known.
    pub(super) fn window(
        &mut self,
        at: Timestamp,
        counters: &Counters,
        counting: bool,
        usual: Option<Failing>,
    ) -> Said {
        let new = Last::of(at, counters);
        let Some(old) = self.last else {
            self.last = Some(new);
            return Said::default();
        };
        if at <= old.at {
            return Said::default();
        }
        self.last = Some(new);
        self.missed = 0;
        if new.went_back(&old) {
            self.forget_runs();
            return Said { reset: true, ..Said::default() };
        }
        let passed = at.since(old.at);
        let (ok, failed) = (small(new.successful - old.successful), small(new.failed - old.failed));
        if passed > GAP || !counting {
            // A container that starts again does not count yet, but the last failures of its life before may lie here.
            let gave_up = passed <= GAP && self.gave_up((old.at, at), failed) == Some(true);
            self.forget_runs();
            return Said { loud: gave_up, gave_up, ..Said::default() };
        }
        let checks = ok.saturating_add(failed);
        self.pending += passed;
        if checks == 0 {
            return Said::default();
        }
        let most = i64::from(checks) * i64::from(self.settings.spacing()) + i64::from(self.settings.period());
        let credit = std::mem::take(&mut self.pending).min(Span::from_seconds(most)).as_secs_f64();
        let timed = new.count - old.count;
        let latencies = new.latencies(&old);
        let above: [u32; 4] =
            std::array::from_fn(|i| small(timed.saturating_sub(new.within[i] - old.within[i])).min(ok));
        let counted = Checks { all: checks, failed, above };
        if failed == 0 && above[0] == 0 && self.quiet() {
            return Said { credit, latencies, checks: counted, ..Said::default() };
        }
        Said { latencies, checks: counted, ..self.loud((old.at, at), checks, failed, above, credit, usual) }
    }

    fn quiet(&self) -> bool {
        self.failed_in_a_row == 0 && self.open.iter().all(|r| r.most == 0) && self.given_up.is_none()
    }

    fn loud(
        &mut self,
        (from, at): (Timestamp, Timestamp),
        checks: u32,
        failed: u32,
        above: [u32; 4],
        credit: f64,
        usual: Option<Failing>,
    ) -> Said {
        let mut said = Said { credit, loud: true, ..Said::default() };
        let class = self.run_failing(at);
        if let Some(gave_up) = self.gave_up((from, at), failed) {
            // The failures in it led to a restart that is recorded as such; perhaps only now it is seen that they did.
            said.gave_up = gave_up;
            said.timeouts = if class.slow() { failed } else { 0 };
            self.forget_runs();
            return said;
        }
        let (slow, fast, told) = self.split(at, failed);
        let untold = self.untold || failed > 0 && !told;
        said.timeouts = slow;
        self.failed_in_a_row = if failed == checks { self.failed_in_a_row.saturating_add(failed) } else { failed };
        let visible = Edge::visible(self.settings.timeout());
        for edge in Edge::ALL {
            let i = edge.index();
            let window = match edge {
                Edge::Fast => Window { checks, over: fast, failed: fast, slowest: (0.0, 0.0) },
                _ if i >= visible => continue,
                _ => Window { checks, over: above[i] + slow, failed: slow, slowest: slowest(above) },
            };
            let ended = self.open[i].push(window);
            // Of failures that nobody told of only the tables take what is usual: all else is on its guard against both.
            let unusual = if edge == Edge::Fast { Failing::Slow } else { Failing::Fast };
            let counts = |run: &Run| !(untold && usual == Some(unusual) && run.only_failures());
            let ended = ended.filter(counts);
            said.ended[i] = ended.and_then(|run| run.recovered(edge, self.kind, self.settings));
        }
        self.look(at, &mut said, visible);
        said.slow = above[0] + slow > 0;
        said.failed_fast = fast > 0;
        if said.slow {
            self.slow_at = Some(at);
        }
        if said.failed_fast {
            self.refused_at = Some(at);
        }
        if failed < checks {
            // Something was answered again.
            said.refused = std::mem::take(&mut self.refused);
        }
        if failed == 0 {
            said.told = std::mem::take(&mut self.told_in_run);
            self.untold = false;
        } else {
            self.untold |= !told;
            self.refused |= told && fast > 0;
        }
        said
    }

    /// Whether the failures of a window between two moments were enough for the probe to have ended the life that
    /// ended in it; `None` if none did.
    fn gave_up(&mut self, (from, to): (Timestamp, Timestamp), failed: u32) -> Option<bool> {
        // Counters may be told late: a window that ends before the life did is a window of that life.
        let (_, known) = self.given_up.take_if(|(ended, _)| *ended <= to).filter(|(ended, _)| *ended >= from)?;
        Some(failed > 0 && known.saturating_add(failed) >= self.settings.threshold())
    }

    /// What the runs under way say already.
    fn look(&mut self, at: Timestamp, said: &mut Said, visible: usize) {
        let s = self.settings;
        let failing = |run: &Run, edge| if run.surely_failed() > 0 { run.so_far(edge, s) } else { 0.0 };
        let top = visible - 1;
        said.failing_for =
            (failing(&self.open[top], Edge::LATENCY[top]), failing(&self.open[Edge::Fast.index()], Edge::Fast));
        if said.failing_for != (0.0, 0.0) {
            self.failing = Some((at, said.failing_for));
        }
        for (i, edge) in Edge::LATENCY.into_iter().enumerate().take(visible) {
            let run = &self.open[i];
            said.regime[i] = run.most > 0 && run.surely() >= 4 && run.so_far(edge, s) >= TOGETHER_SECONDS;
            if said.regime[i] {
                self.regime_at[i] = Some(at);
            }
        }
        let (slow, fast) = said.failing_for;
        let ten = &self.open[Edge::Ten.index()];
        let above_ten = if visible == 4 && ten.most > 0 { ten.so_far(Edge::Ten, s) } else { 0.0 };
        said.outage = slow.max(fast).max(above_ten) > OUTAGE_SECONDS;
        if said.outage {
            self.outage_at = Some(at);
        }
    }

    /// Parts failures into slow and fast by what events told; both where nothing did. Says whether something told.
    fn split(&mut self, at: Timestamp, failed: u32) -> (u32, u32, bool) {
        if failed == 0 {
            self.told = (0, 0);
            return (0, 0, true);
        }
        let (slow, fast) = std::mem::take(&mut self.told);
        match (slow, fast) {
            (0, 0) => match self.class.filter(|(told, _)| at.since(*told) <= CLASS_STANDS) {
                Some((_, Failing::Slow)) => (failed, 0, true),
                Some((_, Failing::Fast)) => (0, failed, true),
                _ => (failed, failed, false),
            },
            (_, 0) => (failed, 0, true),
            (0, _) => (0, failed, true),
            (slow, fast) => {
                let part = |n: u32| {
                    let share = u64::from(failed) * u64::from(n);
                    small(share.div_ceil(u64::from(slow) + u64::from(fast)))
                };
                (part(slow), part(fast), true)
            }
        }
    }

    /// An event told how checks failed.
    pub(super) fn told(&mut self, at: Timestamp, class: FailureClass, count: u32) {
        let count = count.max(1);
        let failing = match class {
            FailureClass::Slow => {
                self.told.0 = self.told.0.saturating_add(count);
                self.told_in_run.0 = self.told_in_run.0.saturating_add(count);
                Failing::Slow
            }
            FailureClass::Fast => {
                self.told.1 = self.told.1.saturating_add(count);
                self.told_in_run.1 = self.told_in_run.1.saturating_add(count);
                Failing::Fast
            }
            FailureClass::Dropped | FailureClass::Other => return,
        };
        self.class = Some((at, failing));
        // The scrape was quicker than the event: what was counted as both is now known.
        if std::mem::take(&mut self.untold) {
            self.refused |= failing == Failing::Fast;
            match failing {
                Failing::Slow => self.open[Edge::Fast.index()] = Run::NONE,
                _ => self.open[..4].iter_mut().filter(|r| r.only_failures()).for_each(|r| *r = Run::NONE),
            }
        }
    }

    /// How the failures of the run under way failed.
    pub(super) fn run_failing(&self, at: Timestamp) -> Failing {
        match self.told_in_run {
            (0, 0) => {
                self.class.filter(|(told, _)| at.since(*told) <= CLASS_STANDS).map_or(Failing::Untold, |(_, f)| f)
            }
            (_, 0) => Failing::Slow,
            (0, _) => Failing::Fast,
            _ => Failing::Untold,
        }
    }

    /// The container's life ended: nothing that its runs would have become is known, and what the next scrape still
    /// brings of it is not evidence.
    pub(super) fn life_ended(&mut self, at: Timestamp) {
        let known = self.failed_in_a_row;
        self.forget_runs();
        self.given_up = Some((at, known));
        self.runs_in_life = 0;
        self.ailed = None;
    }

    pub(super) fn forget_runs(&mut self) {
        self.open = [Run::NONE; 5];
        self.failed_in_a_row = 0;
        self.told = (0, 0);
        self.told_in_run = (0, 0);
        self.untold = false;
        self.refused = false;
        self.pending = Span::ZERO;
    }

    /// Counts a slow run that ended, and says how many there were in the last hours.
    pub(super) fn count_run(&mut self, at: Timestamp) {
        self.turn_block(at);
        self.block.1 = self.block.1.saturating_add(1);
        let so_far = self.counted.filter(|(then, _)| *then == at).map_or(0, |(_, n)| n);
        self.counted = Some((at, so_far.saturating_add(1)));
        self.runs_in_life = self.runs_in_life.saturating_add(1);
    }

    pub(super) fn runs_lately(&mut self, at: Timestamp) -> u32 {
        self.turn_block(at);
        self.block.1.saturating_add(self.block.2)
    }

    /// The same before this moment: replicas of one scrape are heard in any order.
    pub(super) fn runs_before(&mut self, at: Timestamp) -> u32 {
        let now = self.counted.filter(|(then, _)| *then == at).map_or(0, |(_, n)| n);
        self.runs_lately(at).saturating_sub(now)
    }

    /// It is slow far more often than the others; in this life, if it was `runs` times in it.
    pub(super) fn ails(&mut self, at: Timestamp, runs: u32) {
        if self.runs_in_life >= runs {
            self.ailed = Some((self.ailed.map_or(at, |(since, _)| since), at));
        }
    }

    /// Whether a spell of being slow far more often than the others passed by itself since it was last asked.
    pub(super) fn recovered(&mut self, at: Timestamp) -> bool {
        self.ailed.take_if(|(_, last)| at.since(*last) > BLOCK * 2).is_some()
    }

    /// Whether the life that ends now ends such a spell.
    pub(super) fn ends_spell(&mut self, at: Timestamp) -> bool {
        self.ailed.take().is_some_and(|(_, last)| at.since(last) <= BLOCK)
    }

    /// Whether it is far more often slow than the others, of late and in this life, and was before this moment.
    pub(super) fn ailing(&self, at: Timestamp) -> bool {
        self.ailed.is_some_and(|(since, last)| since < at && at.since(last) <= AILS)
    }

    fn turn_block(&mut self, at: Timestamp) {
        let block = at.nanos().div_euclid(BLOCK.nanos());
        if block != self.block.0 {
            let before = if block == self.block.0 + 1 { self.block.1 } else { 0 };
            self.block = (block, 0, before);
        }
    }
}

/// The bucket of the slowest success in a window.
fn slowest(above: [u32; 4]) -> (f32, f32) {
    const BUCKETS: [(f32, f32); 4] = [(1.0, 2.5), (2.5, 5.0), (5.0, 10.0), (10.0, f32::INFINITY)];
    above.iter().rposition(|n| *n > 0).map_or((0.0, 0.0), |i| BUCKETS[i])
}

fn small(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
