//! The trial of the fence: a write that the API server must refuse, sent dry.
//!
//! The fence is an admission policy, so its refusal is a 403 with causes that name it. RBAC's refusal has none and says
//! nothing about the fence.

use super::patch;
use crate::cluster::{Call, Failure, Patience};
use crate::units::Name;
use kube::Client;
use serde_json::Value;

/// What the names of the fence's policies begin with.
pub const FENCE: &str = "probe-tuner-fence";

/// Whether the fence stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fence {
    /// It refused what it must refuse.
    Holds,
    /// It did not: nothing may be written. With what was answered instead and a hint.
    Open(Name),
    /// There was no such object to try it on.
    Absent,
}

/// Tries the fence on the Deployment at `path`, whose state is `object` where it is known.
pub(super) async fn try_on(client: &Client, limits: Patience, path: &str, object: &Value) -> Fence {
    let answer = Call::json_patch(path, &patch::forbidden(object)).dry().send(client, limits).await;
    let open = |why: String| Fence::Open(Name::from(why));
    match answer {
        Ok(_) => open(format!(
            "a dry run that changes the replicas of {path} was not refused; hint: install the policies of deploy/manifests (ValidatingAdmissionPolicy {FENCE}-workloads and its binding)"
        )),
        Err(Failure::Refused(refusal)) if refusal.code == 404 => Fence::Absent,
        Err(Failure::Refused(refusal)) if refusal.code == 403 => {
            if refusal.causes.iter().any(|cause| cause.contains(FENCE)) {
                Fence::Holds
            } else if refusal.causes.is_empty() {
                open(format!(
                    "the API server refuses every patch, so the fence cannot be tried: {refusal}; hint: bind ClusterRole probe-tuner-write (patch deployments.apps)"
                ))
            } else {
                open(format!("another policy than {FENCE} answered: {refusal}"))
            }
        }
        Err(failure) => open(format!("the fence could not be tried: {failure}")),
    }
}
