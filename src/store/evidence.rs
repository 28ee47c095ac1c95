//! Evidence, in 64 ConfigMaps of the daemon's own namespace: tenants cannot touch it, and few large writes cost the API
//! server less than many small ones.
//!
//! A workload's place is drawn from its uid. A ConfigMap is written when what it holds has changed, at most once in the
//! configured interval, the 64 spread over it; and all at shutdown. What is lost by a crash is at most one interval of
//! evidence, never a decision: those are in the `ProbeTuning`s.

use crate::cluster::{Call, Failure, Patience};
use crate::units::{Span, Timestamp, Uid};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use std::collections::BTreeMap;

/// How many ConfigMaps: at 10,000 workloads of 4 KiB each holds 640 KiB at worst before the bound below, 160 KiB as
/// measured.
pub const SHARDS: usize = 64;

/// Most bytes of evidence in one, so that with its base64 it stays below the 1 MiB that a ConfigMap may have.
pub const SHARD_LIMIT: usize = 512 << 10;

/// In which ConfigMap a workload's evidence stands.
pub fn shard(workload: Uid) -> usize {
    // The bits that say "version 4" are the same in all uids; a hash over all of them is not.
    usize::try_from(fingerprint(&[(workload, Vec::new())]) % 64).expect("less than 64")
}

fn name(shard: usize) -> String {
    format!("probe-tuner-evidence-{shard:02}")
}

/// Reads one ConfigMap: the evidence of each workload in it, still encoded. Empty where it does not exist.
///
/// # Errors
/// The failure of the request. Keys that are no uid are left out.
pub async fn recall(
    client: &Client,
    namespace: &str,
    shard: usize,
    patience: Patience,
) -> Result<Vec<(Uid, Vec<u8>)>, Failure> {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps/{}", name(shard));
    let object = match Call::get(path).send(client, patience).await {
        Ok(object) => object,
        Err(failure) if failure.code() == Some(404) => return Ok(Vec::new()),
        Err(failure) => return Err(failure),
    };
    let map: ConfigMap =
        serde_json::from_value(object).map_err(|e| Failure::Broken(format!("a ConfigMap of evidence: {e}")))?;
    let entries = map.binary_data.unwrap_or_default();
    Ok(entries.into_iter().filter_map(|(key, bytes)| Some((Uid::parse(&key)?, bytes.0))).collect())
}

/// Which ConfigMap is due, and what stands in each.
#[derive(Clone, Debug)]
pub struct Shards {
    namespace: String,
    every: Span,
    due: Vec<Timestamp>,
    written: Vec<u64>,
}

/// A ConfigMap to be written.
#[derive(Clone, Debug)]
pub struct Write {
    /// The request.
    pub call: Call,
    /// Bytes of evidence in it.
    pub bytes: usize,
    /// Workloads whose evidence no longer fitted, the largest first.
    pub left_out: usize,
    shard: usize,
    print: u64,
}

impl Shards {
    /// None written yet; the first falls due an interval after `start`, the others spread over the next.
    pub fn new(namespace: &str, every: Span, start: Timestamp) -> Self {
        let share = every.nanos() / i64::try_from(SHARDS).expect("64 fits");
        let due = (0..SHARDS)
            .map(|i| start + every + Span::from_nanos(share) * i64::try_from(i).expect("less than 64"))
            .collect();
        Shards { namespace: namespace.to_owned(), every, due, written: vec![0; SHARDS] }
    }

    /// The shards that are due at `now`; all of them when `all`. Each is put off to its next turn.
    pub fn due(&mut self, now: Timestamp, all: bool) -> Vec<usize> {
        let mut shards = Vec::new();
        for (i, due) in self.due.iter_mut().enumerate() {
            if all || *due <= now {
                *due = now + self.every;
                shards.push(i);
            }
        }
        shards
    }

    /// The request for one shard that holds this evidence, or `None` if that is what stands there. Tell
    /// [`Shards::wrote`] when it was done.
    ///
    /// Where it is too much for one ConfigMap the largest entries are left out, and counted.
    pub fn request(&self, shard: usize, mut entries: Vec<(Uid, Vec<u8>)>) -> Option<Write> {
        entries.sort_by(|a, b| a.1.len().cmp(&b.1.len()).then(a.0.cmp(&b.0)));
        let mut bytes = 0;
        let fit = entries.iter().take_while(|(_, e)| {
            bytes += e.len();
            bytes <= SHARD_LIMIT
        });
        let fit = fit.count();
        let left_out = entries.len() - fit;
        entries.truncate(fit);
        entries.sort_by_key(|(uid, _)| *uid);
        let print = fingerprint(&entries);
        if self.written[shard] == print || (entries.is_empty() && self.written[shard] == 0) {
            return None;
        }
        let bytes = entries.iter().map(|(_, e)| e.len()).sum();
        let name = name(shard);
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(self.namespace.clone()),
                labels: Some(BTreeMap::from([("app.kubernetes.io/name".into(), "probe-tuner".into())])),
                ..ObjectMeta::default()
            },
            binary_data: Some(entries.into_iter().map(|(uid, e)| (uid.to_string(), ByteString(e))).collect()),
            ..ConfigMap::default()
        };
        let path = format!("/api/v1/namespaces/{}/configmaps/{name}", self.namespace);
        Some(Write { call: Call::apply(&path, &map), bytes, left_out, shard, print })
    }

    /// Notes that the request was done.
    pub fn wrote(&mut self, write: &Write) {
        self.written[write.shard] = write.print;
    }
}

/// FNV-1a; never 0, which stands for "nothing written".
fn fingerprint(entries: &[(Uid, Vec<u8>)]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut eat = |bytes: &[u8]| {
        for b in bytes {
            hash = (hash ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    for (uid, evidence) in entries {
        eat(&uid.bits().to_be_bytes());
        eat(evidence);
    }
    hash.max(1)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn shards() -> Shards {
        Shards::new("probe-tuner", Span::MINUTE * 64, Timestamp::EPOCH)
    }

    fn minute(n: i64) -> Timestamp {
        Timestamp::from_seconds(n * 60)
    }

    #[test]
    fn the_writes_are_spread_over_the_interval() {
        let mut s = shards();
        assert_eq!(s.due(minute(63), false), [] as [usize; 0]);
        assert_eq!(s.due(minute(64), false), [0]);
        assert_eq!(s.due(minute(66), false), [1, 2]);
        assert_eq!(s.due(minute(66), true).len(), SHARDS);
        assert_eq!(s.due(minute(129), false), [] as [usize; 0]);
    }

    #[test]
    fn what_stands_there_already_is_not_written_again() {
        let mut s = shards();
        let entries = vec![(Uid::from_bits(1), vec![1, 2, 3])];
        let write = s.request(5, entries.clone()).unwrap();
        s.wrote(&write);
        assert!(s.request(5, entries).is_none());
        assert!(s.request(5, vec![(Uid::from_bits(1), vec![1, 2, 4])]).is_some());
        assert!(s.request(6, Vec::new()).is_none());
    }

    #[test]
    fn what_does_not_fit_is_left_out_largest_first_and_counted() {
        let write = shards()
            .request(0, vec![(Uid::from_bits(1), vec![0; SHARD_LIMIT]), (Uid::from_bits(2), vec![0; 10])])
            .unwrap();
        assert_eq!((write.bytes, write.left_out), (10, 1));
    }

    #[test]
    fn uids_spread_evenly() {
        let mut counts = [0; SHARDS];
        for i in 0..6400u128 {
            // Version 4 and variant bits fixed, the rest scrambled, as the API server makes them.
            let bits = (i.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) & !(0xf << 76) & !(0x3 << 62))
                | 4 << 76
                | 2 << 62;
            counts[shard(Uid::from_bits(bits))] += 1;
        }
        assert!(counts.iter().all(|&n| (50..=150).contains(&n)), "{counts:?}");
    }
}
