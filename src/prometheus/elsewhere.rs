//! What a server knows of probes where those of a workload were not found: a hint for whoever asked.

use super::client::{Error, Server, Spent};
use super::history::Budget;
use super::select::quoted;
use crate::units::{Span, Timestamp};

/// What a server knows of probes where a workload's were not found.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Elsewhere {
    /// Pods of the namespace that have probe series, at most a thousand.
    pub pods: Vec<String>,
    /// Namespaces that have any.
    pub namespaces: Vec<String>,
    /// The namespace stands in `exported_namespace`: the scrape overwrites the kubelet's own labels.
    pub exported: bool,
}

/// Looks what probe series there are, for a hint: three cheap questions over the last day before `until`.
///
/// # Errors
/// Those of the questions.
pub async fn seen_elsewhere(
    server: &Server,
    namespace: &str,
    until: Timestamp,
    budget: &Budget,
    spent: &mut Spent,
) -> Result<Elsewhere, Error> {
    let day = (until - Span::DAY, until);
    let total = |matcher: &str| format!("prober_probe_total{{{matcher}}}");
    let here = total(&format!("namespace={}", quoted(namespace)));
    let pods = server.values("pod", &here, day, budget, spent).await?;
    let namespaces = server.values("namespace", &total("namespace!=\"\""), day, budget, spent).await?;
    let exported = total(&format!("exported_namespace={}", quoted(namespace)));
    let exported = !server.values("exported_pod", &exported, day, budget, spent).await?.is_empty();
    Ok(Elsewhere { pods, namespaces, exported })
}
