//! The brake's word: annotation `probe-tuner.io/paused` on the daemon's Lease, outside the namespaces that it stops.

use crate::units::Name;
use std::collections::BTreeSet;

/// Most namespaces that are listed by name: then `*` is meant.
pub const MOST_NAMES: usize = 1_000;

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
    pub fn value(&self) -> Option<String> {
        match self {
            Pause::In(names) if names.is_empty() => None,
            Pause::In(names) => Some(names.iter().map(|n| &**n).collect::<Vec<_>>().join(",")),
            Pause::Everywhere => Some("*".to_owned()),
            Pause::Unreadable(found) => Some(found.clone()),
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
        assert_eq!(Pause::parse(None), Pause::NOWHERE);
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
