//! Every parser of bytes from outside keeps its promises on its seeds, on what fuzzing found, and on bytes near them.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "support/parsers/mod.rs"]
mod parsers;

use probe_tuner::evidence::{Edge, Evidence};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fs;
use std::path::Path;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

#[test]
fn every_seed_is_read_as_its_parser_promises() {
    for (target, run) in parsers::ALL {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "{target} has no seeds");
        seeds.iter().for_each(|seed| run(seed));
        run(b"");
    }
}

/// A seed with a few places changed: a byte, a piece left out, a piece told twice, a piece of another seed.
fn near(seeds: &[Vec<u8>], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = seeds[rng.random_range(0..seeds.len())].clone();
    for _ in 0..rng.random_range(1..5) {
        let other = &seeds[rng.random_range(0..seeds.len())];
        let from = rng.random_range(0..=bytes.len());
        let to = (from + rng.random_range(0..9usize)).min(bytes.len());
        match rng.random_range(0..5) {
            0 if from < bytes.len() => bytes[from] ^= 1 << rng.random_range(0..8u32),
            1 => drop(bytes.drain(from..to)),
            2 => {
                let piece = bytes[from..to].to_vec();
                bytes.splice(from..from, piece);
            }
            3 if from < bytes.len() => bytes[from] = b"09 -+.,:;\n\r\t\"'{}[]=/\x00\xff"[rng.random_range(0..22usize)],
            _ => {
                let a = rng.random_range(0..=other.len());
                let b = (a + rng.random_range(0..40usize)).min(other.len());
                bytes.splice(from..to, other[a..b].iter().copied());
            }
        }
    }
    bytes
}

#[test]
fn bytes_near_the_seeds_are_read_as_their_parser_promises() {
    for (target, run) in parsers::ALL {
        let seeds: Vec<_> = seeds(target).into_iter().filter(|seed| seed.len() < 20_000).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for _ in 0..if target == "config" { 100 } else { 1_000 } {
            run(&near(&seeds, &mut rng));
        }
    }
}

#[test]
fn numbers_beyond_all_measure_in_evidence_never_become_infinite_and_poison_no_rate() {
    let (_, run) = parsers::ALL.into_iter().find(|(target, _)| *target == "evidence").unwrap();
    let seeds: Vec<_> = seeds("evidence").into_iter().filter(|seed| Evidence::decode(seed).is_ok()).collect();
    let singles = [f32::MAX, 1e30, 1e16, 1e-30, f32::MIN_POSITIVE, f32::from_bits(1)].map(f32::to_le_bytes);
    let doubles = [f64::MAX, 1e300, 1e16, 1e-300, f64::MIN_POSITIVE, f64::from_bits(1)].map(f64::to_le_bytes);
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut read = 0;
    for _ in 0..4_000 {
        let mut bytes = seeds[rng.random_range(0..seeds.len())].clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(4..bytes.len() - 8);
            let i = rng.random_range(0..singles.len());
            if rng.random_bool(0.5) {
                bytes[at..at + 4].copy_from_slice(&singles[i]);
            } else {
                bytes[at..at + 8].copy_from_slice(&doubles[i]);
            }
        }
        let Ok(evidence) = Evidence::decode(&bytes) else { continue };
        read += 1;
        run(&bytes);
        // What two observers saw is added up.
        let mut both = evidence.clone();
        both.merge(evidence);
        for seen in both.probes() {
            for edge in Edge::ALL {
                let exposure = seen.this().exposure(edge) + seen.past().exposure(edge);
                let runs: f32 = seen.this().table(edge).extents().iter().map(|e| e.count).sum();
                assert!(exposure <= 1e16 && runs <= 1e18, "{exposure} {runs}");
            }
        }
    }
    assert!(read > 200, "only {read} of 4,000 were read");
}
