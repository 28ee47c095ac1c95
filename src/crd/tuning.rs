//! The shape of a `ProbeTuning`: what is shown of one workload, and what a restarted daemon must find again.

use super::forecast::Forecast;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;

/// Most probes that one object tells of: 85 containers with all three. What has more is held, never told in part.
pub const PROBES: usize = 256;

/// One workload's object, named `deployment-web` and owned by its workload, so that it goes when that goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeTuning {
    #[serde(default)]
    api_version: ApiVersion,
    #[serde(default)]
    kind: Kind,
    /// Standard object metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// All there is to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Kept<ProbeTuningStatus>>,
}

impl ProbeTuning {
    /// An object with this metadata and this status.
    pub fn new(metadata: ObjectMeta, status: ProbeTuningStatus) -> Self {
        ProbeTuning { metadata, status: Some(Kept::Read(Box::new(status))), ..Default::default() }
    }
}

/// `apiVersion`, which has one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum ApiVersion {
    #[default]
    #[serde(rename = "probe-tuner.io/v1alpha1")]
    V1Alpha1,
}

/// `kind`, which has one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    #[default]
    ProbeTuning,
}

impl kube::Resource for ProbeTuning {
    type DynamicType = ();
    type Scope = kube::core::NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "ProbeTuning".into()
    }
    fn group((): &()) -> Cow<'_, str> {
        super::GROUP.into()
    }
    fn version((): &()) -> Cow<'_, str> {
        super::VERSION.into()
    }
    fn plural((): &()) -> Cow<'_, str> {
        "probetunings".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// A part of an object that may have been written by another version or another hand: what does not fit the shape is
/// kept as a message, so that one such object in a list does not hide the others.
#[derive(Clone, Debug, PartialEq)]
pub enum Kept<T> {
    /// As it should be.
    Read(Box<T>),
    /// Not readable, and why.
    Unreadable(String),
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Kept<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(match serde_json::from_value(value) {
            Ok(read) => Kept::Read(Box::new(read)),
            Err(e) => Kept::Unreadable(e.to_string()),
        })
    }
}

impl<T: Serialize> Serialize for Kept<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Kept::Read(read) => read.serialize(serializer),
            Kept::Unreadable(why) => {
                Err(serde::ser::Error::custom(format!("what could not be read is not written again: {why}")))
            }
        }
    }
}

/// What is known of the workload's probes, what is being done about them and why. Written by the daemon alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeTuningStatus {
    /// The workload that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadRef>,
    /// How far the daemon may go: the strictest of configuration, Namespace and workload (off, recommend, piggyback,
    /// canary, auto).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub mode: Option<String>,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Why, as a code to search for, such as THIN_EVIDENCE.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// Why, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// The probes in a few words each, for the columns of `kubectl get`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,
    /// Each probe: its numbers and what is recommended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = PROBES), extend("x-kubernetes-list-type" = "atomic"))]
    pub probes: Vec<ProbeState>,
    /// Restarts of its containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts: Option<Restarts>,
    /// The change under way; written down before it is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<InFlight>,
    /// The last changes, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "atomic"))]
    pub changes: Vec<Past>,
    /// The numbers that the owner had before the daemon first changed any: what "doubled" is counted from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = PROBES), extend("x-kubernetes-list-type" = "atomic"))]
    pub owners: Vec<Numbers>,
    /// Somebody put these numbers in the place of the daemon's: while they stand the workload is left alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = PROBES), extend("x-kubernetes-list-type" = "atomic"))]
    pub contested: Vec<Numbers>,
    /// Changes taken back in a row; each doubles the wait before the next.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub reverts: i64,
    /// When the last change ended, was refused or was taken back: what a cooldown counts from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub rested_since: Option<String>,
    /// Ready, Contested, Degraded, Invalid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

/// Which workload, in the namespace of the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkloadRef {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its uid: another workload may later have the same name.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// `metadata.generation` when this was written.
    pub generation: i64,
}

/// The kinds of workload that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WorkloadKind {
    /// The one kind that is patched.
    Deployment,
    /// Watched and reported.
    StatefulSet,
    /// Watched and reported.
    DaemonSet,
}

/// Where a workload stands. A word that is not known (a newer daemon's) reads as Held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Its numbers are the best known, or too little is known yet.
    Observing,
    /// There are better numbers and nothing is written: the mode says so, or they are not worth a rollout of their own.
    Recommending,
    /// A change is being written or rolled out.
    RollingOut,
    /// A change is being watched.
    Verifying,
    /// The numbers are not what is wrong: overload, a dependency, one sick replica, memory, a crash.
    Refused,
    /// Several changes were taken back, or one could not be: a person decides.
    Degraded,
    /// A change is wished and something holds it.
    #[serde(other)]
    Held,
}

/// The probes in a few words each: `kubectl` can neither count nor join.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Columns {
    /// Liveness numbers of the container with most false restarts: `10/1/3 -> 10/10/2`, `+1` when one more differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub liveness: Option<String>,
    /// The same for readiness.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub readiness: Option<String>,
    /// False restarts expected a pod-year: `41 -> 0.6`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub expected: Option<String>,
    /// Worst time from a hang to the verdict: `31s -> 30s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub detect: Option<String>,
    /// Hours of evidence behind the probe with the least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<i64>,
}

impl Columns {
    /// The columns for these probes.
    ///
    /// Of several containers the one with most false restarts stands for all, and `+n` says that n others are to
    /// change too. Expected and detect are those of that liveness probe; hours are the least of all.
    pub fn of(probes: &[ProbeState]) -> Columns {
        let rate = |p: &ProbeState| p.false_restarts.map_or(0.0, |f| f.now);
        let changes = |p: &ProbeState| p.recommended.as_ref().is_some_and(|r| *r != p.current);
        // Of equals the first, so that the columns do not flicker.
        let worst = |kind: ProbeKind| {
            let of_kind = probes.iter().filter(|p| p.kind == kind);
            of_kind.rev().max_by(|a, b| changes(a).cmp(&changes(b)).then(rate(a).total_cmp(&rate(b))))
        };
        let numbers = |kind: ProbeKind| {
            let shown = worst(kind)?;
            let others = probes.iter().filter(|p| p.kind == kind && changes(p)).count().saturating_sub(1);
            let more = if others > 0 { format!(" +{others}") } else { String::new() };
            Some(match &shown.recommended {
                Some(to) if *to != shown.current => format!("{} -> {to}{more}", shown.current),
                Some(_) | None => shown.current.clone(),
            })
        };
        let liveness = worst(ProbeKind::Liveness);
        Columns {
            liveness: numbers(ProbeKind::Liveness),
            readiness: numbers(ProbeKind::Readiness),
            expected: liveness.and_then(|p| p.false_restarts).map(|f| format!("{} -> {}", f.now, f.then)),
            detect: liveness.and_then(|p| p.detect_seconds).map(|d| format!("{}s -> {}s", d.now, d.then)),
            hours: probes.iter().filter_map(|p| p.hours).min(),
        }
    }
}

/// A number with two digits, as our objects tell it: 41.27 is 41, 0.6349 is 0.63. What is not finite is 0, since JSON
/// has no word for it.
pub fn two_digits(n: f64) -> f64 {
    if n == 0.0 || !n.is_finite() {
        return 0.0;
    }
    // Through text, so that the result prints with the same two digits.
    format!("{n:.1e}").parse().unwrap_or(0.0)
}

/// One probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeState {
    /// The container's name.
    #[schemars(length(max = 63))]
    pub container: String,
    /// Which of its probes.
    pub kind: ProbeKind,
    /// Its numbers: period/timeout/threshold.
    #[schemars(length(max = 32))]
    pub current: String,
    /// What is recommended; the same numbers when they are the best allowed ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub recommended: Option<String>,
    /// False restarts expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub false_restarts: Option<FalseRestarts>,
    /// How long a hang goes unseen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detect_seconds: Option<DetectSeconds>,
    /// Whole hours of evidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<i64>,
    /// When one check in a hundred will run into its timeout, and how often that was foretold rightly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
}

/// False restarts expected, in a pod-year; two digits, so that noise is no write.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FalseRestarts {
    /// With the present numbers.
    pub now: f64,
    /// With the recommended ones.
    pub then: f64,
    /// With the recommended ones, at most, as far as the evidence goes.
    pub upper: f64,
}

/// Worst time from a hang to the kubelet's verdict, in seconds; two digits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DetectSeconds {
    /// With the present numbers.
    pub now: f64,
    /// With the recommended ones.
    pub then: f64,
}

/// The kinds of probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProbeKind {
    /// Kills the container at its threshold.
    Liveness,
    /// Takes the pod out of Services at its threshold.
    Readiness,
    /// Holds back the other two until it has once succeeded.
    Startup,
}

/// Restarts of the workload's containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restarts {
    /// In the last 24 hours.
    #[schemars(range(min = 0))]
    pub day: i64,
}

/// The change under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InFlight {
    /// Names the change in events and logs: 16 hexadecimal digits.
    #[schemars(length(max = 16))]
    pub id: String,
    /// What it is for.
    pub intent: Intent,
    /// What is changed.
    #[schemars(length(max = PROBES), extend("x-kubernetes-list-type" = "atomic"))]
    pub steps: Vec<Step>,
    /// Why, as a code.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Why, in words.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The generation of the workload that was looked at.
    pub generation: i64,
    /// How far it has come.
    pub stage: Stage,
    /// When that stage began.
    #[schemars(extend("format" = "date-time"))]
    pub since: String,
    /// When the patch was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub applied: Option<String>,
    /// The generation that the patch made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patched_generation: Option<i64>,
    /// Hash of the pod template without its probes' numbers when it was patched: 16 hexadecimal digits. Another one on
    /// top ends the comparison of before and after.
    #[schemars(length(max = 16))]
    pub version: String,
}

/// What a change is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Intent {
    /// New numbers.
    Tune,
    /// The former numbers again.
    Revert,
}

/// How far a change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Stage {
    /// Written down, not yet sent.
    Intended,
    /// Sent and taken; the rollout runs.
    Patched,
    /// The rollout has finished; being watched.
    Watching,
}

/// One probe's part of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// The container's name.
    #[schemars(length(max = 63))]
    pub container: String,
    /// Which of its probes.
    pub kind: ProbeKind,
    /// Its numbers before: period/timeout/threshold.
    #[schemars(length(max = 32))]
    pub from: String,
    /// Its numbers afterwards.
    #[schemars(length(max = 32))]
    pub to: String,
}

/// A change that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Past {
    /// When it was applied.
    #[schemars(extend("format" = "date-time"))]
    pub at: String,
    /// What it was for.
    pub intent: Intent,
    /// What was changed.
    #[schemars(length(max = PROBES), extend("x-kubernetes-list-type" = "atomic"))]
    pub steps: Vec<Step>,
    /// How it ended.
    pub result: Verdict,
}

/// How a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// Watched to the end and not worse.
    Verified,
    /// Worse, and taken back.
    Reverted,
    /// Somebody else changed the numbers: theirs stand.
    Contested,
    /// Not taken by the API server.
    Refused,
    /// A person stopped it.
    Abandoned,
    /// Another version came on top before the watch was over: the numbers stay, unjudged.
    Superseded,
}

/// A probe and its numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Numbers {
    /// The container's name.
    #[schemars(length(max = 63))]
    pub container: String,
    /// Which of its probes.
    pub kind: ProbeKind,
    /// period/timeout/threshold.
    #[schemars(length(max = 32))]
    pub numbers: String,
}

/// A condition, as Kubernetes writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is said to be so, or not: Ready, Contested, Degraded, Invalid, ShadowChecksDiffer.
    #[serde(rename = "type")]
    #[schemars(length(max = 64))]
    pub type_: String,
    /// Whether it is so: True, False, Unknown.
    pub status: ConditionStatus,
    /// Why, as a word.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Why, in words.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When the status last changed.
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: String,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody can tell.
    #[serde(other)]
    Unknown,
}

/// Cuts a text to the length that a field takes, counted in characters as the API server does.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(container: &str, kind: ProbeKind, current: &str, recommended: &str, now: f64) -> ProbeState {
        ProbeState {
            container: container.into(),
            kind,
            current: current.into(),
            recommended: Some(recommended.into()),
            false_restarts: Some(FalseRestarts { now: two_digits(now), then: two_digits(0.634), upper: 1.9 }),
            detect_seconds: Some(DetectSeconds { now: 26.0, then: 25.0 }),
            hours: Some(26),
            forecast: None,
        }
    }

    #[test]
    fn columns_show_the_worst_container_and_how_many_more_change() {
        let probes = [
            probe("app", ProbeKind::Liveness, "10/1/3", "10/10/2", 41.27),
            probe("quiet", ProbeKind::Liveness, "9/9/9", "9/9/9", 100.0),
            probe("sidecar", ProbeKind::Liveness, "5/1/3", "5/2/3", 3.0),
            probe("app", ProbeKind::Readiness, "10/1/3", "10/1/3", 0.0),
        ];
        let columns = Columns::of(&probes);
        assert_eq!(columns.liveness.as_deref(), Some("10/1/3 -> 10/10/2 +1"));
        assert_eq!(columns.readiness.as_deref(), Some("10/1/3"));
        assert_eq!(columns.expected.as_deref(), Some("41 -> 0.63"));
        assert_eq!(columns.detect.as_deref(), Some("26s -> 25s"));
        assert_eq!(columns.hours, Some(26));
        assert_eq!(Columns::of(&[]), Columns::default());
    }

    #[test]
    fn numbers_keep_two_digits_and_are_never_other_than_finite() {
        let given = [0.0, 41.27, 0.6349, 12_345.0, 9.99, -0.0251, f64::NAN, f64::INFINITY, 1e-300];
        let kept = [0.0, 41.0, 0.63, 12_000.0, 10.0, -0.025, 0.0, 0.0, 1e-300];
        assert_eq!(given.map(two_digits), kept);
    }

    #[test]
    fn a_text_is_cut_at_the_character_that_the_field_takes() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(cut("x", 0), "…");
    }
}
