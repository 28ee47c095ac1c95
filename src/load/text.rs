//! The kernel's texts as numbers. Bytes from anybody: what cannot be read is unknown.
//!
//! `Documentation/filesystems/proc.rst`, `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/cpuacct.rst` of Linux.

/// The two generations of cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One tree for each controller.
    V1,
    /// One tree.
    V2,
}

/// Ticks of all CPUs together since the machine began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// In use.
    pub busy: u64,
    /// Idle, waiting for a disk, or taken by another virtual machine.
    pub idle: u64,
}

impl Cpu {
    /// The share of all cores in use since an earlier reading, in `[0, 1]`; `None` where a counter went back or no time
    /// has passed.
    pub fn share_since(self, earlier: Cpu) -> Option<f64> {
        let busy = self.busy.checked_sub(earlier.busy)? as f64;
        let idle = self.idle.checked_sub(earlier.idle)? as f64;
        (busy + idle > 0.0).then(|| busy / (busy + idle))
    }
}

/// A cgroup's counters since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Group {
    /// CPU time used, in nanoseconds.
    pub usage_nanos: Option<u64>,
    /// CFS periods in which something was to run under a quota.
    pub periods: Option<u64>,
    /// Those of them in which it was throttled.
    pub throttled: Option<u64>,
}

/// The first line of `/proc/stat`: `cpu user nice system idle iowait irq softirq steal guest guest_nice`. The time of
/// guests is in `user` and `nice` already.
pub fn proc_stat(text: &[u8]) -> Option<Cpu> {
    let line = text.split(|b| *b == b'\n').find(|l| l.starts_with(b"cpu "))?;
    let mut numbers = words(line).skip(1).map(number);
    let mut next = || numbers.next().unwrap_or(Some(0));
    let [user, nice, system, idle, iowait, irq, softirq, steal] =
        [next()?, next()?, next()?, next()?, next()?, next()?, next()?, next()?];
    let sum = |all: &[u64]| all.iter().try_fold(0u64, |sum, n| sum.checked_add(*n));
    Some(Cpu { busy: sum(&[user, nice, system, irq, softirq])?, idle: sum(&[idle, iowait, steal])? })
}

/// A cgroup's `cpu.stat`, version 2: `usage_usec`, and with a controller `nr_periods` and `nr_throttled`.
pub fn v2(cpu_stat: &[u8]) -> Group {
    Group {
        usage_nanos: value(cpu_stat, b"usage_usec").and_then(|usec| usec.checked_mul(1000)),
        periods: value(cpu_stat, b"nr_periods"),
        throttled: value(cpu_stat, b"nr_throttled"),
    }
}

/// A cgroup's `cpuacct.usage` and `cpu.stat`, version 1.
pub fn v1(cpuacct_usage: &[u8], cpu_stat: &[u8]) -> Group {
    Group {
        usage_nanos: number(cpuacct_usage.trim_ascii()),
        periods: value(cpu_stat, b"nr_periods"),
        throttled: value(cpu_stat, b"nr_throttled"),
    }
}

/// Where a process is in the tree of a version 1 controller, by its `/proc/PID/cgroup`: the tree's list of controllers
/// (`cpu,cpuacct`, which is mostly its folder's name) and the place in it. A step up (`/..`) is no place.
pub fn v1_place<'a>(proc_cgroup: &'a [u8], controller: &str) -> Option<(&'a str, &'a str)> {
    lines(proc_cgroup)
        .find(|(_, list, _)| list.split(',').any(|c| c == controller))
        .map(|(_, list, place)| (list, place))
        .filter(|(list, place)| sound(place) && !list.contains('/'))
}

/// Where a process is in the one tree of version 2.
pub fn v2_place(proc_cgroup: &[u8]) -> Option<&str> {
    lines(proc_cgroup).find(|(id, list, _)| *id == "0" && list.is_empty()).map(|(_, _, p)| p).filter(|p| sound(p))
}

fn sound(place: &str) -> bool {
    place.starts_with('/') && place.split('/').all(|step| step != "..")
}

/// Lines `ID:CONTROLLERS:PLACE`; a place may hold colons.
fn lines(text: &[u8]) -> impl Iterator<Item = (&str, &str, &str)> {
    text.split(|b| *b == b'\n').filter_map(|line| {
        let mut parts = std::str::from_utf8(line).ok()?.splitn(3, ':');
        Some((parts.next()?, parts.next()?, parts.next()?))
    })
}

fn value(text: &[u8], key: &[u8]) -> Option<u64> {
    text.split(|b| *b == b'\n').find_map(|line| {
        let mut parts = words(line);
        (parts.next()? == key).then(|| parts.next())?.and_then(number)
    })
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|b| *b == b' ').filter(|w| !w.is_empty())
}

fn number(word: &[u8]) -> Option<u64> {
    let digits = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(word).ok().filter(|_| digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_stat_is_read_with_steal_as_not_ours() {
        let text = b"cpu  100 5 50 800 20 3 2 20 7 0\ncpu0 1 2 3 4\nintr 99\n";
        assert_eq!(proc_stat(text), Some(Cpu { busy: 160, idle: 840 }));
        // Kernels before 2.6.11 have no steal.
        assert_eq!(proc_stat(b"cpu  1 1 1 1 1 1 1\n"), Some(Cpu { busy: 5, idle: 2 }));
        for strange in [&b""[..], b"cpu0 1 2 3", b"cpu  1 2 x 4", b"cpu  18446744073709551615 1 1 1"] {
            assert_eq!(proc_stat(strange), None);
        }
    }

    #[test]
    fn cgroup_v2_gives_usage_and_throttling_where_it_has_them() {
        let text = b"usage_usec 123456\nuser_usec 1\nsystem_usec 2\nnr_periods 10\nnr_throttled 4\nthrottled_usec 9\n";
        assert_eq!(v2(text), Group { usage_nanos: Some(123_456_000), periods: Some(10), throttled: Some(4) });
        // The root has no controller.
        assert_eq!(v2(b"usage_usec 7\n"), Group { usage_nanos: Some(7000), ..Group::default() });
        assert_eq!(v2(b"usage_usec -7\nnr_periods\n"), Group::default());
    }

    #[test]
    fn cgroup_v1_gives_the_same_from_two_files() {
        let found = v1(b"987654321\n", b"nr_periods 3\nnr_throttled 1\nthrottled_time 500\n");
        assert_eq!(found, Group { usage_nanos: Some(987_654_321), periods: Some(3), throttled: Some(1) });
        assert_eq!(v1(b"", b""), Group::default());
    }

    #[test]
    fn a_process_is_found_in_its_tree() {
        let v1 = b"12:cpuset:/\n4:cpu,cpuacct:/kubepods/pod1/a:b\n1:name=systemd:/x\n0::/\n";
        assert_eq!(v1_place(v1, "cpuacct"), Some(("cpu,cpuacct", "/kubepods/pod1/a:b")));
        assert_eq!(v1_place(v1, "acct"), None);
        let v2 = b"0::/kubepods.slice/pod1.slice/cri-containerd-a.scope\n";
        assert_eq!(v2_place(v2), Some("/kubepods.slice/pod1.slice/cri-containerd-a.scope"));
        assert_eq!(v1_place(v2, "cpuacct"), None);
        // Seen from inside a namespace, the place lies outside of what is mounted.
        assert_eq!(v2_place(b"0::/../../other\n"), None);
    }
}
