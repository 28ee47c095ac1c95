//! Which series are asked for: one workload's pods, by namespace and by the form of their names.
//!
//! A Prometheus that scrapes kubelets knows no owners. But controllers name pods by rule, and the rule's alphabet is
//! narrow: the template's hash and the last five characters of a name have no vowels, so `web` does not match the pods
//! of `web-api`. Facts: `kubernetes/apimachinery:pkg/util/rand/rand.go` (`SafeEncodeString`),
//! `kubernetes/apiserver:pkg/storage/names/generate.go`.

use crate::workload::WorkloadKind;
use std::fmt::Write;

/// The letters of hashes and of the ends of generated names.
const ALPHABET: &str = "[bcdfghjklmnpqrstvwxz2456789]";

/// The pods of one workload, by the form of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pods {
    /// What makes them.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: String,
}

impl Pods {
    /// The names as a regular expression (RE2) that is matched whole.
    pub(super) fn pattern(&self) -> String {
        let name = literally(&self.name);
        match self.kind {
            WorkloadKind::Deployment => format!("{name}-{ALPHABET}{{5,10}}-{ALPHABET}{{5}}"),
            WorkloadKind::StatefulSet => format!("{name}-[0-9]+"),
            WorkloadKind::DaemonSet => format!("{name}-{ALPHABET}{{5}}"),
        }
    }

    /// The template's hash in the name of one of its pods: another hash is another revision. `None` where names do not
    /// tell.
    pub fn revision<'a>(&self, pod: &'a str) -> Option<&'a str> {
        let rest = pod.strip_prefix(self.name.as_str())?.strip_prefix('-')?;
        match self.kind {
            WorkloadKind::Deployment => rest.split_once('-').map(|(hash, _)| hash),
            WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => None,
        }
    }
}

/// A string literal of PromQL.
pub fn quoted(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => literal.extend(['\\', c]),
            c if c.is_control() => {
                write!(literal, "\\u{:04x}", u32::from(c)).expect("writing to a string cannot fail");
            }
            c => literal.push(c),
        }
    }
    literal.push('"');
    literal
}

/// A regular expression that matches just this text.
fn literally(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() && c != '-' && c != '_' && c.is_ascii() {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_cannot_leave_their_quotes() {
        assert_eq!(quoted("shop"), "\"shop\"");
        assert_eq!(quoted("a\"} or up{x=\"\\\n"), "\"a\\\"} or up{x=\\\"\\\\\\u000a\"");
        let odd = Pods { kind: WorkloadKind::StatefulSet, name: "web.v2|.*".into() };
        assert_eq!(quoted(&odd.pattern()), "\"web\\\\.v2\\\\|\\\\.\\\\*-[0-9]+\"");
    }

    #[test]
    fn a_deployments_pods_tell_their_revision() {
        let pods = Pods { kind: WorkloadKind::Deployment, name: "web".into() };
        assert_eq!(pods.revision("web-6d4cf56db6-abcde"), Some("6d4cf56db6"));
        assert_eq!(pods.revision("shop-6d4cf56db6-abcde"), None);
        assert_eq!(Pods { kind: WorkloadKind::DaemonSet, name: "web".into() }.revision("web-abcde"), None);
    }
}
