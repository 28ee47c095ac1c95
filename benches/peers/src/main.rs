//! `cargo run --release --manifest-path benches/peers/Cargo.toml`: one page of 110 pods, read by our parser and by published
//! ones in turns, the median of the rounds in GB/s; in one run, so that the ratios hold whatever else the machine does.
//!
//! The others read any page and keep all of it; ours reads this one and keeps what is ours. That is the point.

#[path = "../../../tests/support/page.rs"]
mod generated;

use generated::{generated, name};
use probe_tuner::observe::page;
use probe_tuner::units::Uid;
use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

const PODS: u128 = 110;
const ROUNDS: usize = 101;

/// A parser: its name, how many samples it must find, and a round of it, which says how many it found.
type Reader<'a> = (&'a str, usize, Box<dyn Fn() -> usize + 'a>);

fn main() {
    let page = generated(PODS);
    let lines = page.lines().filter(|line| !line.starts_with('#')).count();
    let all: Vec<((String, String), Uid)> = (0..PODS).map(|pod| (name(pod), Uid::from_bits(pod))).collect();
    let mut pods: HashMap<&str, HashMap<&str, Uid>> = HashMap::new();
    for ((namespace, pod), uid) in &all {
        pods.entry(namespace).or_default().insert(pod, *uid);
    }
    let one = name(3);
    let ours = |few: bool| {
        let read = page::read(black_box(page.as_bytes()), |ns, pod| match few {
            true => (ns == one.0 && pod == one.1).then(|| Uid::from_bits(3)),
            false => pods.get(ns)?.get(pod).copied(),
        });
        read.map_or(0, |page| page.samples.len())
    };
    let readers: [Reader<'_>; 6] = [
        ("probe-tuner, one pod of 110 is ours", 2, Box::new(|| ours(true))),
        ("probe-tuner, all 110 are ours", 220, Box::new(|| ours(false))),
        (
            "nom-openmetrics",
            lines,
            Box::new(|| {
                let read = nom_openmetrics::parser::prometheus(black_box(&page));
                read.map_or(0, |(_, families)| families.iter().map(|f| f.samples.len()).sum())
            }),
        ),
        (
            "prom_text_format_parser",
            // It keeps a histogram as one sample.
            660,
            Box::new(|| {
                let read = prom_text_format_parser::Scrape::parse(black_box(&page));
                read.map_or(0, |scrape| scrape.metrics.iter().map(|m| m.samples.len()).sum())
            }),
        ),
        (
            "prometheus-parse",
            660,
            Box::new(|| {
                let lines = black_box(&page).lines().map(|line| Ok(line.to_owned()));
                prometheus_parse::Scrape::parse(lines).map_or(0, |scrape| scrape.samples.len())
            }),
        ),
        (
            "openmetrics-parser",
            660,
            Box::new(|| {
                let read = openmetrics_parser::prometheus::parse_prometheus(black_box(&page));
                read.map_or(0, |all| all.families.values().map(|f| f.iter_samples().count()).sum())
            }),
        ),
    ];
    let mut times = vec![Vec::with_capacity(ROUNDS); readers.len()];
    for _ in 0..ROUNDS {
        for ((_, _, read), times) in readers.iter().zip(&mut times) {
            let start = Instant::now();
            black_box(read());
            times.push(start.elapsed().as_secs_f64());
        }
    }
    println!("a page of {} bytes, {lines} samples; median of {ROUNDS} rounds", page.len());
    let mut ours = None;
    for ((name, wanted, read), mut times) in readers.iter().zip(times) {
        times.sort_by(f64::total_cmp);
        let median = times[ROUNDS / 2];
        let ratio = median / *ours.get_or_insert(median);
        let found = read();
        let doubt =
            if found >= *wanted { String::new() } else { format!(", wanted {wanted}: IT DID NOT READ THE PAGE") };
        println!("{name:36} {:7.3} GB/s  1/{ratio:<6.1} ({found} found{doubt})", page.len() as f64 / median / 1e9);
    }
}
