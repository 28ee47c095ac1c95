//! The brake: annotation `probe-tuner.io/paused` on the daemon's Lease, outside the namespaces that it stops.

use crate::units::Name;
use std::collections::BTreeSet;

/// What is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paused {
    /// Every write, by `*` or because the Lease cannot be read.
    Everywhere,
    /// Writes in these namespaces; none when it is empty.
    Namespaces(BTreeSet<Name>),
}

impl Paused {
    /// Nothing is stopped.
    pub const NOWHERE: Paused = Paused::Namespaces(BTreeSet::new());

    /// Reads the annotation: `*`, or names parted by commas. An absent one stops nothing; one that holds what can be no
    /// namespace's name stops everything, since whoever wrote it meant to stop something.
    pub fn read(annotation: Option<&str>) -> Paused {
        let Some(text) = annotation else { return Paused::NOWHERE };
        let name = |name: &str| {
            let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            (name.len() <= 63 && name.bytes().all(fits)).then(|| Name::from(name))
        };
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(name).collect::<Option<BTreeSet<Name>>>().map_or(Paused::Everywhere, Paused::Namespaces)
    }

    /// The annotation's text; `None` where it is to be taken away.
    pub fn text(&self) -> Option<String> {
        match self {
            Paused::Everywhere => Some("*".to_owned()),
            Paused::Namespaces(names) if names.is_empty() => None,
            Paused::Namespaces(names) => Some(names.iter().map(|n| &**n).collect::<Vec<_>>().join(",")),
        }
    }

    /// Whether writes in this namespace are stopped.
    pub fn stops(&self, namespace: &str) -> bool {
        match self {
            Paused::Everywhere => true,
            Paused::Namespaces(names) => names.contains(namespace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brake_is_a_star_or_a_list_and_what_cannot_be_read_stops_everything() {
        for (text, shop, bank) in [
            (None, false, false),
            (Some(""), false, false),
            (Some("*"), true, true),
            (Some("shop"), true, false),
            (Some("shop, bank,"), true, true),
            (Some("shop;bank"), true, true),
            (Some("SHOP"), true, true),
        ] {
            let paused = Paused::read(text);
            assert_eq!((paused.stops("shop"), paused.stops("bank")), (shop, bank), "{text:?}");
            assert_eq!(Paused::read(paused.text().as_deref()), paused);
        }
    }
}
