//! The brake: annotation `probe-tuner.io/paused` on the Lease `probe-tuner` in the daemon's namespace.
//!
//! It is kept outside the namespaces it stops, so that whoever may stop the daemon needs no right in them. A value that
//! cannot be read, and a Lease that cannot be read, stop everything; an absent annotation stops nothing. Without a Lease
//! there is nothing to read: nobody has paused anything yet, since `pause` makes it.

use crate::units::Name;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use std::collections::BTreeSet;

/// The Lease's name.
pub const LEASE: &str = "probe-tuner";
/// The annotation's key.
pub const KEY: &str = "probe-tuner.io/paused";
/// Most namespaces that are listed by name: then `*` is meant.
pub const MOST_NAMES: usize = 1_000;
/// Who writes.
const MANAGER: &str = "probe-tuner";
/// How often a write is tried again after somebody else's came between.
const TRIES: u32 = 10;

/// Where writes are stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pause {
    /// In these namespaces; often in none.
    In(BTreeSet<Name>),
    /// Everywhere.
    Everywhere,
    /// Everywhere, because what is written cannot be read: this is what was found.
    Unreadable(String),
}

impl Pause {
    /// Nothing is stopped.
    pub const NOWHERE: Pause = Pause::In(BTreeSet::new());

    /// What a Lease says.
    pub fn of(lease: &Lease) -> Pause {
        Pause::parse(lease.metadata.annotations.as_ref().and_then(|a| a.get(KEY)).map(String::as_str))
    }

    /// What an annotation says: `*`, or names parted by commas.
    pub fn parse(value: Option<&str>) -> Pause {
        let Some(value) = value else { return Pause::NOWHERE };
        if value.trim() == "*" {
            return Pause::Everywhere;
        }
        let names: BTreeSet<Name> = value.split(',').map(|name| name.trim().into()).collect();
        if names.len() <= MOST_NAMES && names.iter().all(|name| is_namespace(name)) {
            Pause::In(names)
        } else {
            Pause::Unreadable(value.chars().take(128).collect())
        }
    }

    /// Whether writes are stopped in a namespace.
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Pause::In(names) => names.iter().any(|name| **name == *namespace),
            Pause::Everywhere | Pause::Unreadable(_) => true,
        }
    }

    /// As the annotation is written; `None`: no annotation.
    fn value(&self) -> Option<String> {
        match self {
            Pause::In(names) if names.is_empty() => None,
            Pause::In(names) => Some(names.iter().map(|n| &**n).collect::<Vec<_>>().join(",")),
            Pause::Everywhere => Some("*".to_owned()),
            Pause::Unreadable(found) => Some(found.clone()),
        }
    }
}

/// Reads the brake. An absent Lease stops nothing; for any error the caller must take everything to be stopped.
///
/// # Errors
/// Those of the API server.
pub async fn read(client: &Client, namespace: &str) -> Result<Pause, kube::Error> {
    let lease = Api::<Lease>::namespaced(client.clone(), namespace).get_opt(LEASE).await?;
    Ok(lease.map_or(Pause::NOWHERE, |lease| Pause::of(&lease)))
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
        let was = lease.as_ref().map_or(Pause::NOWHERE, Pause::of);
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

/// A name as Kubernetes takes it for a namespace.
pub fn is_namespace(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_annotation_stops_nothing() {
        assert_eq!(Pause::of(&Lease::default()), Pause::NOWHERE);
        assert!(!Pause::NOWHERE.covers("shop"));
    }

    #[test]
    fn a_star_stops_everything_and_names_stop_themselves() {
        assert!(Pause::parse(Some("*")).covers("shop"));
        let named = Pause::parse(Some("shop, till"));
        assert!(named.covers("shop") && named.covers("till") && !named.covers("shopping"));
        assert_eq!(named.value().as_deref(), Some("shop,till"));
    }

    #[test]
    fn what_cannot_be_read_stops_everything() {
        for value in ["", ",", "shop,", "Shop", "shop till", "*,shop", "shop;till", "-shop"] {
            let pause = Pause::parse(Some(value));
            assert_eq!(pause, Pause::Unreadable(value.to_owned()));
            assert!(pause.covers("anything"), "{value:?}");
        }
    }
}
