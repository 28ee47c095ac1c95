//! The brake: annotation `probe-tuner.io/paused` on the Lease `probe-tuner` in the daemon's namespace.
//!
//! It is kept outside the namespaces it stops, so that whoever may stop the daemon needs no right in them. A value that
//! cannot be read, and a Lease that cannot be read, stop everything; an absent annotation stops nothing. Without a Lease
//! there is nothing to read: nobody has paused anything yet, since `pause` makes it.

use crate::annotations::Pause;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

/// The Lease's name.
pub const LEASE: &str = "probe-tuner";
/// The annotation's key.
pub const KEY: &str = "probe-tuner.io/paused";
/// Who writes.
const MANAGER: &str = "probe-tuner";
/// How often a write is tried again after somebody else's came between.
const TRIES: u32 = 10;

/// What a Lease says.
pub fn of(lease: &Lease) -> Pause {
    Pause::parse(lease.metadata.annotations.as_ref().and_then(|a| a.get(KEY)).map(String::as_str))
}

/// Reads the brake. An absent Lease stops nothing; for any error the caller must take everything to be stopped.
///
/// # Errors
/// Those of the API server.
pub async fn read(client: &Client, namespace: &str) -> Result<Pause, kube::Error> {
    let lease = Api::<Lease>::namespaced(client.clone(), namespace).get_opt(LEASE).await?;
    Ok(lease.map_or(Pause::NOWHERE, |lease| of(&lease)))
}

/// Changes the brake, and gives what it was and what it is. `to` may be asked several times, when somebody else writes
/// the Lease at the same time; `None` leaves everything as it is. The Lease is made where there is none.
///
/// # Errors
/// Those of the API server; 409 when somebody else came between ten times.
pub async fn change(
    client: &Client,
    namespace: &str,
    to: impl Fn(&Pause) -> Option<Pause>,
) -> Result<(Pause, Pause), kube::Error> {
    let leases = Api::<Lease>::namespaced(client.clone(), namespace);
    let mut tries = 0;
    loop {
        tries += 1;
        let lease = leases.get_opt(LEASE).await?;
        let was = lease.as_ref().map_or(Pause::NOWHERE, of);
        let Some(is) = to(&was).filter(|is| *is != was) else { return Ok((was.clone(), was)) };
        let value = is.value();
        let done = match lease.map(|lease| lease.metadata.resource_version) {
            Some(version) => {
                let patch = json!({"metadata": {"resourceVersion": version, "annotations": {KEY: value}}});
                let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
                leases.patch(LEASE, &params, &Patch::Merge(patch)).await
            }
            None => {
                let mut lease = Lease::default();
                lease.metadata.name = Some(LEASE.to_owned());
                lease.metadata.annotations = value.map(|value| [(KEY.to_owned(), value)].into());
                let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
                leases.create(&params, &lease).await
            }
        };
        match done {
            Ok(_) => return Ok((was, is)),
            Err(kube::Error::Api(status)) if status.code == 409 && tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
}
