//! `explain`: everything that one workload's decisions were made of.

use super::cluster::{Cluster, ClusterArgs, block_on};
use super::configuration::ConfigArgs;
use super::explanation::{self, Explained, Form};
use super::recommend::{look, warn};
use super::{Console, Exit, Failure, Problem};
use crate::run::recommend::{Pass, Scope};
use crate::units::Name;
use crate::workload::WorkloadKind;

/// Says what a workload's decisions were made of.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Words first: what it would do, why, what that costs, and what to type. Then what was seen, what is believed, \
what each other setting would cost, and every gate with its figure. Reads what the daemon has seen, where you may; without it \
this is one look at each kubelet, and says what is missing. Writes nothing.\n\n\
Examples:\n  probe-tuner explain shop/deployment/web\n  probe-tuner explain -n shop deploy/web\n  \
probe-tuner explain shop/web -o svg > web.svg\n  probe-tuner explain shop/web -o json --context staging"
)]
pub struct Args {
    /// The workload, as NS/KIND/NAME or NS/NAME; with -n as KIND/NAME or NAME
    #[arg(value_name = "NS/KIND/NAME")]
    workload: String,
    /// The namespace [default: the context's, where the workload names none]
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "text")]
    output: Form,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// The workload that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    namespace: Option<String>,
    kind: Option<WorkloadKind>,
    name: String,
}

/// A kind as kubectl lets it be written.
fn kind(word: &str) -> Option<WorkloadKind> {
    let word = word.to_ascii_lowercase();
    let word = word.strip_suffix(".apps").unwrap_or(&word);
    Some(match word {
        "deployment" | "deployments" | "deploy" => WorkloadKind::Deployment,
        "statefulset" | "statefulsets" | "sts" => WorkloadKind::StatefulSet,
        "daemonset" | "daemonsets" | "ds" => WorkloadKind::DaemonSet,
        _ => return None,
    })
}

impl Target {
    fn parse(text: &str, namespace: Option<&str>) -> Result<Target, Problem> {
        let problem =
            |what: String| Problem::new(what).hint("write it as shop/deployment/web, shop/web, or -n shop deploy/web");
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|p| p.is_empty()) {
            return Err(problem(format!("{text:?} names no workload")));
        }
        let named = |ns: Option<&str>, kind: Option<WorkloadKind>, name: &str| Target {
            namespace: ns.map(str::to_owned),
            kind,
            name: name.to_owned(),
        };
        let known =
            |word: &str| kind(word).ok_or_else(|| problem(format!("{word:?} is no kind of workload that has probes")));
        match (parts.as_slice(), namespace) {
            ([name], ns) => Ok(named(ns, None, name)),
            ([word, name], Some(ns)) => Ok(named(Some(ns), Some(known(word)?), name)),
            ([ns, name], None) => Ok(named(Some(ns), None, name)),
            ([ns, word, name], None) => Ok(named(Some(ns), Some(known(word)?), name)),
            ([ns, word, name], Some(other)) if *ns == other => Ok(named(Some(ns), Some(known(word)?), name)),
            ([ns, ..], Some(other)) => {
                Err(problem(format!("{text:?} lies in namespace {ns:?}, and -n says {other:?}")))
            }
            _ => Err(problem(format!("{text:?} names no workload"))),
        }
    }

    /// It in what a pass found; `Err`: what there is instead.
    fn find(&self, pass: &Pass, context: Option<String>) -> Result<Explained, String> {
        let fits = |kind: WorkloadKind, name: &str| self.kind.is_none_or(|k| k == kind) && name == self.name;
        let mut found = pass.views.iter().filter(|v| fits(v.address.kind, &v.address.name));
        let several = || {
            let names: Vec<String> = pass.views.iter().take(12).map(|v| v.address.to_string()).collect();
            if names.is_empty() {
                "no workload with a probe is there".into()
            } else {
                format!("there are {}", names.join(", "))
            }
        };
        match (found.next(), found.next()) {
            (Some(view), None) => {
                let explanations = pass.engine.explain(view.uid, pass.at);
                Ok(Explained { context, view: view.clone(), explanations })
            }
            (Some(a), Some(b)) => Err(format!("{} or {}: name its kind", a.address, b.address)),
            _ => Err(several()),
        }
    }
}

/// Looks and explains.
///
/// # Errors
/// Exit code 2 for what cannot be read or is not there, 4 when no cluster answered.
pub fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let target = Target::parse(&args.workload, args.namespace.as_deref()).map_err(|p| Failure::unreadable([p]))?;
    let config = args.config.load(&[])?;
    let scope = |cluster: &Cluster| {
        Scope::Named([Name::from(target.namespace.as_deref().unwrap_or(&cluster.namespace))].into())
    };
    let passes =
        block_on(args.cluster.each(console, async |cluster| look(cluster, config.clone(), scope(cluster)).await))?;
    let several = passes.len() > 1;
    let (mut all, mut missing) = (Vec::new(), Vec::new());
    for (context, pass) in passes {
        warn(&pass, &if several { format!("{context}: ") } else { String::new() }, console)?;
        match target.find(&pass, several.then(|| context.clone())) {
            Ok(explained) => all.push(explained),
            Err(there) => missing.push((context, there)),
        }
    }
    if all.is_empty() {
        let told = missing.into_iter().map(|(context, there)| {
            Problem::new(format!("context {context}: no workload {:?} with a probe", args.workload)).hint(there)
        });
        return Err(Failure::unreadable(told));
    }
    for (context, there) in missing {
        writeln!(console.err, "warning: {context}: not there; {there}")?;
    }
    write!(console.out, "{}", explanation::render(&all, args.output, console.colour))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn target(text: &str, ns: Option<&str>) -> (Option<String>, Option<WorkloadKind>, String) {
        let t = Target::parse(text, ns).unwrap();
        (t.namespace, t.kind, t.name)
    }

    #[test]
    fn a_workload_is_named_as_kubectl_names_it() {
        let (shop, web) = (|| Some("shop".to_owned()), || "web".to_owned());
        let deployment = Some(WorkloadKind::Deployment);
        for text in ["shop/deployment/web", "shop/Deployment/web", "shop/deploy/web", "shop/deployments.apps/web"] {
            assert_eq!(target(text, None), (shop(), deployment, web()), "{text}");
        }
        assert_eq!(target("shop/web", None), (shop(), None, web()));
        assert_eq!(target("web", None), (None, None, web()));
        assert_eq!(target("web", Some("shop")), (shop(), None, web()));
        assert_eq!(target("sts/web", Some("shop")), (shop(), Some(WorkloadKind::StatefulSet), web()));
        assert_eq!(target("shop/ds/web", Some("shop")), (shop(), Some(WorkloadKind::DaemonSet), web()));
    }

    #[test]
    fn what_names_no_workload_is_refused_with_an_example() {
        for (text, ns) in [
            ("", None),
            ("a/b/c/d", None),
            ("shop//web", None),
            ("shop/job/web", None),
            ("pod/web", Some("shop")),
            ("a/deploy/web", Some("b")),
        ] {
            let problem = format!("{:?}", Target::parse(text, ns).unwrap_err());
            assert!(problem.contains("shop/deployment/web"), "{text}: {problem}");
        }
    }
}
