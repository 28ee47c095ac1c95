//! Days of a simulated workload, put into a real Prometheus as its scrapes would have been, and read back: what the
//! engine makes of the server's answers against what it makes of the same days told directly.

use super::server::{Prometheus, promtool, run};
use probe_tuner::evidence::Evidence;
use probe_tuner::observation::{EDGES, Fact, Observation};
use probe_tuner::run::backtest;
use probe_tuner::sim::{Family, Pause, Setup, World};
use probe_tuner::units::{Span, Timestamp, Uid};
use probe_tuner::workload::{Pod, ProbeId, Workload};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// How many days; `PROMETHEUS_DAYS=3` prints what docs/guides/prometheus.md shows.
fn days() -> i64 {
    std::env::var("PROMETHEUS_DAYS").map_or(2, |days| days.parse().unwrap())
}

/// The last days of three replicas with loud neighbours, their user rolling out twice a week.
fn lived() -> Vec<Observation> {
    let days = days();
    let start = Timestamp::from_seconds(backtest::now().floor_seconds()) - Span::DAY * days;
    let mut setup = Setup::new(Family::Noisy, 7, days as f64);
    (setup.start, setup.replicas, setup.listen) = (start, 3, true);
    setup.nodes.truncate(3);
    let mut world = World::new(setup);
    let mut facts = Vec::new();
    while world.advance(start + Span::DAY * days - Span::MINUTE, &mut facts) == Pause::Rollout {
        world.ride(&[]);
    }
    facts
}

/// A word of the letters that Kubernetes makes names of.
fn word(mut n: u64, letters: usize) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut letter = || {
        let at = n % ALPHABET.len() as u64;
        n /= ALPHABET.len() as u64;
        char::from(ALPHABET[at as usize])
    };
    (0..letters).map(|_| letter()).collect()
}

/// What kubelets and kube-state-metrics would have shown of it, as OpenMetrics.
#[derive(Default)]
struct Scrapes {
    text: String,
    version: u64,
    pods: BTreeMap<Uid, (String, String)>,
}

impl Scrapes {
    fn write(&mut self, name: &str, labels: &str, value: u64, at: Timestamp) {
        let ms = at.nanos().div_euclid(1_000_000);
        writeln!(self.text, "{name}{{{labels}}} {value} {}.{:03}", ms / 1_000, ms % 1_000).unwrap();
    }

    fn fact(&mut self, o: &Observation) {
        match &o.fact {
            Fact::Workload(w) => self.version = w.version,
            Fact::Pod(pod) => self.pod(o.at, pod),
            Fact::Sample(s) => {
                let (pod, node) = self.pods[&s.pod].clone();
                let ProbeId { container, kind } = &s.probe;
                let kind = kind.name();
                let labels = format!(
                    "job=\"kubelet\",node=\"{node}\",namespace=\"shop\",pod=\"{pod}\",container=\"{container}\",probe_type=\"{kind}\""
                );
                for (result, n) in [("successful", s.counters.successful), ("failed", s.counters.failed)] {
                    let labels = format!("{labels},pod_uid=\"{}\",result=\"{result}\"", s.pod);
                    self.write("prober_probe_total", &labels, n, o.at);
                }
                for (edge, n) in EDGES.iter().zip(s.counters.buckets) {
                    self.write("prober_probe_duration_seconds_bucket", &format!("{labels},le=\"{edge}\""), n, o.at);
                }
                self.write("prober_probe_duration_seconds_count", &labels, s.counters.count, o.at);
            }
            _ => {}
        }
    }

    fn pod(&mut self, at: Timestamp, pod: &Pod) {
        let tail = (pod.uid.bits() >> 64) as u64 ^ pod.uid.bits() as u64;
        let version = self.version;
        let name = || format!("web-{}-{}", word(version, 9), word(tail.wrapping_mul(0x9e37_79b9_7f4a_7c15), 5));
        let node = pod.node.as_deref().unwrap_or_default().to_owned();
        let name = self.pods.entry(pod.uid).or_insert_with(|| (name(), node)).0.clone();
        for c in &pod.containers {
            let labels = format!("namespace=\"shop\",pod=\"{name}\",container=\"{}\",uid=\"{}\"", c.name, pod.uid);
            self.write("kube_pod_container_status_restarts_total", &labels, u64::from(c.restarts), at);
            if let Some(end) = &c.last_end {
                self.write("kube_pod_container_status_last_terminated_exitcode", &labels, end.code as u64, at);
            }
        }
    }
}

#[test]
fn days_that_a_real_prometheus_kept_are_to_the_engine_what_they_were() {
    let facts = lived();
    let mut scrapes = Scrapes::default();
    let mut direct = Evidence::new();
    let mut workload: Option<Workload> = None;
    for o in &facts {
        scrapes.fact(o);
        match &o.fact {
            Fact::Workload(w) => {
                workload = Some((**w).clone());
                direct.workload(o.at, w);
            }
            Fact::Pod(p) => direct.pod(o.at, p),
            Fact::PodGone(uid) => direct.pod_gone(o.at, *uid),
            Fact::Sample(s) => {
                direct.sample(o.at, s);
            }
            _ => {}
        }
    }
    let w = workload.unwrap();
    scrapes.text.push_str("# EOF\n");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prometheus-days");
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("scrapes.txt");
    std::fs::write(&file, &scrapes.text).unwrap();
    let prometheus = Prometheus::with("days", "{}", |data| {
        let mut made = Command::new(promtool());
        made.args(["tsdb", "create-blocks-from", "openmetrics", "--quiet"]).arg(&file).arg(data);
        assert!(made.status().unwrap().success());
    });
    // The folder is the server's, too.
    std::fs::remove_file(&file).unwrap();

    let since = format!("{}d", days());
    let numbers = w.probes[0].settings.to_string();
    let args = ["replay", "--prometheus", &prometheus.url, "--workload", "shop/web", "--since", &since, "-s", &numbers];
    let (exit, out, err) = run(&[&args[..], &["-o", "json"]].concat());
    assert_eq!(exit, 0, "{err}");
    if std::env::var_os("PROMETHEUS_DAYS").is_some() {
        let (_, table, said) = run(&args);
        println!("{table}{said}{}", out.lines().rev().take(20).collect::<Vec<_>>().join("\n"));
    }
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["prometheus"]["cut"], Value::Null);

    let seen = direct.seen(&w.probes[0].id).unwrap();
    let probe = &told["probes"][0];
    let hours = (probe["seen_hours"].as_f64().unwrap(), seen.pod_time().as_secs_f64() / 3_600.0);
    assert!((hours.0 / hours.1 - 1.0).abs() < 0.01, "exposure: {hours:?} hours");
    let ours: Vec<(&str, &str)> = told["restarts"]["last"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["container"].as_str().unwrap(), r["cause"].as_str().unwrap()))
        .collect();
    let theirs: Vec<(&str, &str)> = direct.restarts().iter().map(|r| (&*r.container, r.cause.word())).collect();
    assert_eq!(ours, theirs, "{told:#}");
    assert_eq!(told["versions"].as_u64().unwrap(), u64::from(direct.rollouts().0) + 1);
}
