//! Families: what kinds of workload there are, each as a few distributions.
//!
//! The first thirteen are those that the policy was tuned on; the next three were written down before anything was
//! seen, and the last three are for the last look only. None of their shapes is one that the estimator assumes.

use super::chance::Length;
use super::wild;
use crate::probe::{Handler, Settings};

/// Stalls of a replica: spells in which nothing is answered; what starts in one waits for its end.
#[derive(Clone, Copy, Debug)]
pub struct Stalls {
    /// The most that there are a replica and day.
    pub most: f64,
    /// Which share of them comes at a load in [0, 1].
    pub share: fn(f64) -> f64,
    /// How long each lasts.
    pub length: Length,
}

/// Spells of refusals: what starts in one is refused at once.
#[derive(Clone, Copy, Debug)]
pub struct Refusals {
    /// How many a replica and day.
    pub per_day: f64,
    /// How long each lasts.
    pub length: Length,
}

/// What a family does beyond latency, stalls and refusals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Twist {
    /// Nothing more.
    None,
    /// Loud neighbours: so many a node and day; while one is loud, latency times 30 and a stall every 40 s.
    Noisy(f64),
    /// Slow after each start: latency times 90, falling to normal over 400 s.
    ColdStart,
    /// Its true faults announce themselves by twelve hours of growing latency.
    Leak,
    /// All replicas slow for hours, once in four days.
    Brownout,
    /// Latency times 6 from the rollout in the middle on, and long stalls.
    Shift,
    /// Every version has another tail; one in five is bad.
    Release,
    /// The node freezes, again and again, for an hour on Sundays.
    Weekly,
    /// A shared database refuses or crawls, for all replicas at once.
    FlakyDependency,
    /// Memory pressure: reclaim stalls grow with the days since the last restart or rollout.
    Reclaim,
    /// A nightly batch job starves all replicas for half an hour.
    NightlyBatch,
    /// A hot key: one replica at a time is slow for hours.
    HotKey,
    /// One replica of several is ill for good: it stalls for a minute, a few times an hour.
    SickReplica,
    /// Its refusals come to all replicas at once: its check depends on something shared.
    SharedRefusals,
    /// Exits by itself so often a replica and day, with this code.
    Exits(f64, i32),
}

/// Everything that makes a workload what it is.
#[derive(Clone, Debug)]
pub struct Nature {
    /// How its check asks.
    pub handler: Handler,
    /// Load at night and at the weekday's peak, in [0, 1].
    pub load: (f64, f64),
    /// Median latency of a check, in seconds, at a load.
    pub median: fn(f64) -> f64,
    /// Deviation of the logarithm of a check's latency.
    pub sigma: f64,
    /// Its stalls.
    pub stalls: Vec<Stalls>,
    /// Its refusals.
    pub refusals: Option<Refusals>,
    /// What else it does.
    pub twist: Twist,
    /// From a container's start to its first answer, in seconds.
    pub start: Length,
    /// Starts take longer by this share of `start` each day: there is more to load.
    pub growth: f64,
    /// When its users roll out: days of each four weeks, rising. `Shift` does so in the middle of the run only.
    pub rollouts: Vec<f64>,
    /// The numbers that its owner gave its liveness probe.
    pub own: Settings,
    /// Those of its readiness probe, if it has one.
    pub readiness: Option<Settings>,
    /// Those of its startup probe, if it has one.
    pub startup: Option<Settings>,
    /// True faults a pod-year, of which two in three hang and one crashes.
    pub faults: f64,
}

/// The families by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Hardly loaded, hardly ever slow.
    Light,
    /// Garbage collection: a second often, 8–22 s seldom.
    Gc,
    /// Throttled by its CPU quota under load.
    Cfs,
    /// Saturates every weekday.
    Diurnal,
    /// Loud neighbours on its nodes.
    Noisy,
    /// Slow after each start, rolled out daily.
    ColdStart,
    /// Leaks until it hangs.
    Leak,
    /// Hours of slowness on all replicas.
    Brownout,
    /// One thread that is often busy for a second.
    EventLoop,
    /// As flat as it can be.
    Flat,
    /// An exec check, slow under load.
    ExecSlow,
    /// Another program after the middle.
    Shift,
    /// Short spells of refusals.
    Blips,
    /// Every version another tail.
    Release,
    /// Frozen nodes on Sundays.
    Weekly,
    /// A shared dependency that fails.
    FlakyDep,
    /// Reclaim stalls that grow with age.
    Reclaim,
    /// A batch job every night.
    NightlyBatch,
    /// One slow replica after another.
    HotKey,
    /// Starts that take longer each day, behind a startup probe that is soon too short.
    SlowStart,
    /// The same behind one that cuts off nine starts in ten.
    CrampedStart,
    /// Hours of slowness on all replicas, and a readiness probe as impatient as liveness.
    Unready,
    /// Slow starts and slow hours, and all three probes.
    EveryKind,
    /// Each seed another kind of workload, drawn by chance.
    Wild,
}

impl Family {
    /// The thirteen on which the policy was tuned.
    pub const TUNED: [Family; 13] = [
        Family::Light,
        Family::Gc,
        Family::Cfs,
        Family::Diurnal,
        Family::Noisy,
        Family::ColdStart,
        Family::Leak,
        Family::Brownout,
        Family::EventLoop,
        Family::Flat,
        Family::ExecSlow,
        Family::Shift,
        Family::Blips,
    ];
    /// The three that were held out.
    pub const HELD_OUT: [Family; 3] = [Family::Release, Family::Weekly, Family::FlakyDep];
    /// The three for the last look only.
    pub const LAST_LOOK: [Family; 3] = [Family::Reclaim, Family::NightlyBatch, Family::HotKey];

    /// Those with a readiness or a startup probe besides liveness.
    pub const KINDS: [Family; 4] = [Family::SlowStart, Family::CrampedStart, Family::Unready, Family::EveryKind];

    /// Its name in tables and flags.
    pub const fn name(self) -> &'static str {
        match self {
            Family::Light => "light",
            Family::Gc => "gc",
            Family::Cfs => "cfs",
            Family::Diurnal => "diurnal",
            Family::Noisy => "noisy",
            Family::ColdStart => "coldstart",
            Family::Leak => "leak",
            Family::Brownout => "brownout",
            Family::EventLoop => "eventloop",
            Family::Flat => "flat",
            Family::ExecSlow => "execslow",
            Family::Shift => "shift",
            Family::Blips => "blips",
            Family::Release => "release",
            Family::Weekly => "weekly",
            Family::FlakyDep => "flakydep",
            Family::Reclaim => "reclaim",
            Family::NightlyBatch => "nightlybatch",
            Family::HotKey => "hotkey",
            Family::SlowStart => "slowstart",
            Family::CrampedStart => "crampedstart",
            Family::Unready => "unready",
            Family::EveryKind => "everykind",
            Family::Wild => "wild",
        }
    }

    /// All of them whose one probe is liveness, in the order of the tables.
    pub fn all() -> impl Iterator<Item = Family> {
        Family::TUNED.into_iter().chain(Family::HELD_OUT).chain(Family::LAST_LOOK)
    }

    /// The family of this name.
    pub fn parse(name: &str) -> Option<Family> {
        Family::all().chain(Family::KINDS).chain([Family::Wild]).find(|f| f.name() == name)
    }

    /// What makes it what it is. The seed says which only where each seed has another.
    pub fn nature(self, seed: u64) -> Nature {
        let base = Nature::quiet();
        match self {
            Family::Light => Nature {
                load: (0.1, 0.45),
                stalls: vec![steady(0.3, |_| 1.0, lognormal(0.8, 0.7))],
                rollouts: vec![3.4, 10.4, 17.4, 24.4],
                ..base
            },
            Family::Gc => Nature {
                load: (0.2, 0.75),
                median: |_| 0.008,
                stalls: vec![
                    steady(120.0, |load| load, lognormal(0.9, 0.6)),
                    steady(1.0, |load| load, Length::Uniform { from: 8.0, to: 22.0 }),
                ],
                rollouts: vec![7.4, 21.4],
                ..base
            },
            Family::Cfs => Nature {
                load: (0.2, 0.95),
                median: |load| 0.010 * (4.0 * above(load, 0.7, 0.25)).exp(),
                sigma: 0.6,
                stalls: vec![steady(300.0, |load| above(load, 0.7, 0.25), gamma(2.0, 1.2))],
                rollouts: vec![2.4, 9.4, 16.4, 23.4],
                ..base
            },
            Family::Diurnal => Nature {
                load: (0.1, 0.97),
                median: |load| 0.006 / (1.02 - load),
                sigma: 0.8,
                stalls: vec![steady(40.0, |load| 4.0 * (load - 0.75).max(0.0), lognormal(2.0, 0.7))],
                rollouts: vec![4.6, 18.6],
                ..base
            },
            Family::Noisy => Nature { twist: Twist::Noisy(2.0), rollouts: vec![6.5, 20.5], ..base },
            Family::ColdStart => Nature {
                load: (0.2, 0.7),
                median: |load| 0.006 / (1.1 - load),
                stalls: vec![steady(6.0, |_| 1.0, lognormal(1.0, 0.5))],
                twist: Twist::ColdStart,
                start: lognormal(45.0, 0.5),
                rollouts: (0..28).map(|day| f64::from(day) + 0.5).collect(),
                ..base
            },
            Family::Leak => Nature {
                stalls: vec![steady(3.0, |_| 1.0, lognormal(1.2, 0.5))],
                twist: Twist::Leak,
                rollouts: vec![8.4],
                faults: 46.0,
                ..base
            },
            Family::Brownout => Nature {
                stalls: vec![steady(2.0, |_| 1.0, lognormal(0.8, 0.6))],
                twist: Twist::Brownout,
                rollouts: vec![5.4, 19.4],
                ..base
            },
            Family::EventLoop => Nature {
                load: (0.15, 0.85),
                median: |_| 0.002,
                stalls: vec![steady(
                    1500.0,
                    |load| load.powi(3),
                    Length::Either { first: (0.3, 1.2), share: 0.8, second: (2.0, 4.5) },
                )],
                rollouts: vec![3.5, 17.5],
                ..base
            },
            Family::Flat => Nature {
                load: (0.1, 0.1),
                median: |_| 0.0012,
                sigma: 0.3,
                rollouts: vec![1.4, 8.4, 15.4, 22.4],
                own: of(30, 10, 5),
                ..base
            },
            Family::ExecSlow => Nature {
                handler: Handler::Exec,
                load: (0.2, 0.9),
                median: |load| 0.150 * (2.6 * (load - 0.3)).exp(),
                sigma: 0.45,
                stalls: vec![steady(20.0, |load| 2.0 * (load - 0.5).max(0.0), lognormal(2.0, 0.8))],
                rollouts: vec![6.5, 20.5],
                ..base
            },
            Family::Shift => Nature {
                load: (0.2, 0.7),
                stalls: vec![steady(2.0, |_| 1.0, lognormal(0.8, 0.5))],
                twist: Twist::Shift,
                rollouts: Vec::new(),
                ..base
            },
            Family::Blips => Nature {
                stalls: vec![steady(3.0, |_| 1.0, lognormal(1.0, 0.6))],
                refusals: Some(Refusals { per_day: 3.0, length: gamma(2.0, 1.5) }),
                rollouts: vec![5.4, 19.4],
                ..base
            },
            Family::Release => {
                Nature { load: (0.2, 0.7), twist: Twist::Release, rollouts: vec![2.5, 9.5, 16.5, 23.5], ..base }
            }
            Family::Weekly => Nature {
                stalls: vec![steady(2.0, |_| 1.0, lognormal(0.8, 0.5))],
                twist: Twist::Weekly,
                rollouts: vec![3.4, 17.4],
                ..base
            },
            Family::FlakyDep => Nature { twist: Twist::FlakyDependency, rollouts: vec![5.4, 19.4], ..base },
            Family::Reclaim => {
                Nature { load: (0.2, 0.8), twist: Twist::Reclaim, rollouts: vec![4.5, 11.5, 18.5, 25.5], ..base }
            }
            Family::NightlyBatch => Nature {
                stalls: vec![steady(1.0, |_| 1.0, lognormal(1.0, 0.7))],
                twist: Twist::NightlyBatch,
                rollouts: vec![3.5, 17.5],
                ..base
            },
            Family::HotKey => Nature {
                stalls: vec![steady(4.0, |_| 1.0, lognormal(1.0, 0.6))],
                twist: Twist::HotKey,
                rollouts: vec![6.4, 13.4, 20.4],
                ..base
            },
            Family::SlowStart => Nature {
                stalls: vec![steady(2.0, |_| 1.0, lognormal(1.0, 0.6))],
                start: lognormal(60.0, 0.4),
                growth: 0.01,
                startup: Some(of(10, 1, 9)),
                rollouts: vec![2.4, 9.4, 16.4, 23.4],
                ..base
            },
            Family::CrampedStart => Nature { startup: Some(of(10, 1, 3)), ..Family::SlowStart.nature(seed) },
            Family::Unready => Nature {
                load: (0.2, 0.75),
                stalls: vec![steady(20.0, |load| load, lognormal(3.0, 0.7))],
                twist: Twist::Brownout,
                readiness: Some(Settings::KUBERNETES_DEFAULT),
                rollouts: vec![2.4, 9.4, 16.4, 23.4],
                ..base
            },
            Family::EveryKind => {
                let Nature { start, growth, startup, .. } = Family::SlowStart.nature(seed);
                Nature { start, growth, startup, ..Family::Unready.nature(seed) }
            }
            Family::Wild => wild::nature(seed),
        }
    }
}

impl Nature {
    /// A calm HTTP service: 4 ms, never stalls, restarts in 15 s, 10/1/3, twelve true faults a pod-year.
    pub fn quiet() -> Nature {
        Nature {
            handler: Handler::Http,
            load: (0.2, 0.6),
            median: |_| 0.004,
            sigma: 0.5,
            stalls: Vec::new(),
            refusals: None,
            twist: Twist::None,
            start: lognormal(15.0, 0.3),
            growth: 0.0,
            rollouts: Vec::new(),
            own: Settings::KUBERNETES_DEFAULT,
            readiness: None,
            startup: None,
            faults: 12.0,
        }
    }
}

/// How far a load lies above `from`, in units of `width`, in [0, 1].
fn above(load: f64, from: f64, width: f64) -> f64 {
    ((load - from) / width).clamp(0.0, 1.0)
}

fn steady(most: f64, share: fn(f64) -> f64, length: Length) -> Stalls {
    Stalls { most, share, length }
}

const fn lognormal(median: f64, sigma: f64) -> Length {
    Length::Lognormal { median, sigma }
}

const fn gamma(shape: f64, scale: f64) -> Length {
    Length::Gamma { shape, scale }
}

fn of(period: u32, timeout: u32, threshold: u32) -> Settings {
    Settings::new(period, timeout, threshold).expect("the numbers written in this file are in range")
}
