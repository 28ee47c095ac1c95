//! From the kernel's own counters to the load of the machine and of one cgroup over the last second.
//!
//! **Takes** `/proc/stat`, and the `cpu.stat` (v2) or `cpuacct.usage` and `cpu.stat` (v1) of a cgroup that is named by its
//! folder or by a process in it. **Gives** a [`Load`] over the last second, whose values are unknown where the kernel does
//! not tell them. **Never** writes, takes a counter that went back for load, or says zero for what it could not read.
//!
//! The texts are read by the pure functions of [`text`]; only [`Meter`] opens files.

pub mod text;

use crate::record::{Columns, Load};
use crate::units::{Span, Timestamp};
use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use text::{Cpu, Group, Version};

/// Over how long load is measured.
const OVER: Span = Span::SECOND;

/// Readings that are kept: five seconds of four a second.
const READINGS: usize = 20;

/// Most bytes of a file of counters; `/proc/stat` has its line first.
const FILE_LIMIT: u64 = 64 << 10;

/// Where cgroups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Why a cgroup cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("{path}: cannot be read: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// The process is in no cgroup that counts its CPU.
    #[error("process {pid} is in no cgroup that counts CPU\nhint: name the folder with --cgroup, as {CGROUPS}/…")]
    NoGroup {
        /// The process.
        pid: u32,
    },
    /// The folder has no counters of CPU.
    #[error(
        "{path}: has neither usage_usec in cpu.stat (v2) nor cpuacct.usage (v1)\nhint: name a cgroup's folder below {CGROUPS}"
    )]
    NoCounters {
        /// The folder.
        path: PathBuf,
    },
}

/// Where a cgroup's counters stand. In v1 its usage and its throttling may lie in two folders.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Files {
    version: Version,
    usage: PathBuf,
    throttling: PathBuf,
}

/// What was read at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    at: Timestamp,
    node: Option<Cpu>,
    group: Group,
}

/// Measures load over the last second, as long as it is read a few times a second.
#[derive(Debug)]
pub struct Meter {
    group: Option<Files>,
    readings: VecDeque<Reading>,
    /// The group is the root of all.
    root: bool,
}

impl Meter {
    /// A meter of the machine alone.
    pub fn machine() -> Self {
        Meter { group: None, readings: VecDeque::new(), root: false }
    }

    /// A meter of the machine and of the cgroup in this folder.
    ///
    /// # Errors
    /// When it has no counters of CPU.
    pub fn cgroup(folder: &Path) -> Result<Self, LoadError> {
        let files = |version| Files {
            version,
            usage: folder.join(if version == Version::V2 { "cpu.stat" } else { "cpuacct.usage" }),
            throttling: folder.join("cpu.stat"),
        };
        let both = [files(Version::V2), files(Version::V1)];
        let found = both.into_iter().find(|f| f.read().usage_nanos.is_some());
        let group = found.ok_or_else(|| LoadError::NoCounters { path: folder.to_owned() })?;
        Ok(Meter { group: Some(group), readings: VecDeque::new(), root: false })
    }

    /// A meter of the machine and of the cgroup in which this process is.
    ///
    /// # Errors
    /// When there is no such process, or no such cgroup.
    pub fn process(pid: u32) -> Result<Self, LoadError> {
        let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
        let list = read(&path).map_err(|why| LoadError::File { path, why })?;
        let root = Path::new(CGROUPS);
        // The folder by its place under the root, without a step up: what a process in a namespace of its own shows.
        let under = |folder: &Path, place: &str| folder.join(place.trim_start_matches('/'));
        let v1 = |controller| {
            let (list, place) = text::v1_place(&list, controller)?;
            let folders = [list, controller].map(|name| under(&root.join(name), place));
            folders.into_iter().find(|f| f.is_dir())
        };
        let group = match v1("cpuacct") {
            Some(usage) => Files {
                version: Version::V1,
                throttling: v1("cpu").unwrap_or_else(|| usage.clone()).join("cpu.stat"),
                usage: usage.join("cpuacct.usage"),
            },
            None => {
                let place = text::v2_place(&list).ok_or(LoadError::NoGroup { pid })?;
                let folders = [root.to_owned(), root.join("unified")].map(|root| under(&root, place).join("cpu.stat"));
                let [first, second] = folders;
                let file = if first.exists() { first } else { second };
                Files { version: Version::V2, usage: file.clone(), throttling: file }
            }
        };
        if group.read().usage_nanos.is_none() {
            return Err(LoadError::NoGroup { pid });
        }
        let place = text::v1_place(&list, "cpuacct").map(|(_, place)| place).or_else(|| text::v2_place(&list));
        Ok(Meter { group: Some(group), readings: VecDeque::new(), root: place == Some("/") })
    }

    /// Whether the process was found in the root cgroup, whose load is that of everything in it.
    pub fn is_root(&self) -> bool {
        self.root
    }

    /// Which columns can be told here.
    pub fn columns(&self) -> Columns {
        let group = self.group.as_ref().map(Files::read).unwrap_or_default();
        Columns {
            node_cpu: node().is_some(),
            pod_cores: group.usage_nanos.is_some(),
            throttled: group.periods.is_some() && group.throttled.is_some(),
        }
    }

    /// The cgroup's file of usage, for people.
    pub fn source(&self) -> Option<&Path> {
        self.group.as_ref().map(|g| g.usage.as_path())
    }

    /// Reads the counters. To be done a few times a second.
    pub fn read(&mut self, now: Timestamp) {
        let group = self.group.as_ref().map(Files::read).unwrap_or_default();
        if self.readings.len() == READINGS {
            self.readings.pop_front();
        }
        self.readings.push_back(Reading { at: now, node: node(), group });
    }

    /// The load over the last second before the last reading; unknown before there is one that old.
    pub fn load(&self) -> Load {
        let Some(last) = self.readings.back() else { return Load::default() };
        let before = self.readings.iter().rev().find(|r| last.at.since(r.at) >= OVER);
        before.map_or(Load::default(), |before| between(before, last))
    }
}

fn between(before: &Reading, last: &Reading) -> Load {
    let seconds = last.at.since(before.at).as_secs_f64();
    let node_cpu = before.node.zip(last.node).and_then(|(a, b)| b.share_since(a));
    let grown = |of: fn(&Group) -> Option<u64>| of(&last.group)?.checked_sub(of(&before.group)?);
    let pod_cores = grown(|g| g.usage_nanos).map(|nanos| nanos as f64 / 1e9 / seconds);
    let throttled = grown(|g| g.periods).zip(grown(|g| g.throttled));
    // No period in which anything ran: in none of them it was throttled.
    let throttled = throttled.map(|(n, throttled)| if n == 0 { 0.0 } else { (throttled as f64 / n as f64).min(1.0) });
    Load { node_cpu: node_cpu.map(round), pod_cores: pod_cores.map(round), throttled: throttled.map(round) }
}

/// To four digits: counters do not know more over a second.
fn round(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}

fn node() -> Option<Cpu> {
    text::proc_stat(&read(Path::new("/proc/stat")).ok()?)
}

impl Files {
    fn read(&self) -> Group {
        let usage = read(&self.usage).unwrap_or_default();
        match self.version {
            Version::V2 => text::v2(&usage),
            Version::V1 => text::v1(&usage, &read(&self.throttling).unwrap_or_default()),
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn reading(at: i64, busy: u64, idle: u64, usage: u64, periods: u64, throttled: u64) -> Reading {
        Reading {
            at: Timestamp::EPOCH + Span::from_millis(at),
            node: Some(Cpu { busy, idle }),
            group: Group { usage_nanos: Some(usage), periods: Some(periods), throttled: Some(throttled) },
        }
    }

    fn meter(readings: &[Reading]) -> Meter {
        Meter { group: None, readings: readings.iter().copied().collect(), root: false }
    }

    #[test]
    fn load_is_that_of_the_last_second() {
        let readings = [
            reading(0, 0, 0, 0, 0, 0),
            reading(500, 0, 100, 0, 5, 0),
            reading(1000, 50, 150, 0, 10, 4),
            reading(1500, 150, 250, 750_000_000, 15, 5),
        ];
        assert_eq!(meter(&readings[..2]).load(), Load::default());
        let load = meter(&readings).load();
        assert_eq!((load.node_cpu, load.pod_cores, load.throttled), (Some(0.5), Some(0.75), Some(0.5)));
    }

    #[test]
    fn a_counter_that_went_back_is_no_load_and_no_period_is_no_throttling() {
        let load = meter(&[reading(0, 9, 9, 9, 9, 9), reading(1000, 5, 5, 5, 5, 5)]).load();
        assert_eq!(load, Load::default());
        let load = meter(&[reading(0, 0, 0, 5, 7, 2), reading(1000, 1, 3, 5, 7, 2)]).load();
        assert_eq!((load.node_cpu, load.pod_cores, load.throttled), (Some(0.25), Some(0.0), Some(0.0)));
    }

    #[test]
    fn this_machine_and_this_process_can_be_read() {
        let mut meter = Meter::process(std::process::id()).unwrap();
        assert!(meter.columns().node_cpu && meter.columns().pod_cores, "{:?}", meter.source());
        for at in 0..3 {
            meter.read(Timestamp::from_seconds(at));
        }
        assert!(meter.load().pod_cores.is_some_and(|c| c >= 0.0));
    }

    #[test]
    fn what_has_no_counters_is_refused_with_what_was_looked_for() {
        let error = Meter::cgroup(Path::new("/proc")).unwrap_err().to_string();
        assert!(error.starts_with("/proc: has neither usage_usec in cpu.stat (v2) nor cpuacct.usage (v1)"), "{error}");
        let error = Meter::process(u32::MAX).unwrap_err().to_string();
        assert!(error.starts_with("/proc/4294967295/cgroup: cannot be read"), "{error}");
    }
}
