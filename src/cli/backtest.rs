//! `replay --prometheus`: what the engine would have done over a workload's past, and what it expects now.

mod render;

use super::cluster::{ClusterArgs, block_on};
use super::{Console, Exit, Failure, Problem};
use crate::config;
use crate::probe::Settings;
use crate::prometheus::{Access, Budget, Error, History, Server, Spent, Trust, seen_elsewhere};
use crate::run::backtest::{self, Numbers};
use crate::run::daemon;
use crate::units::{Span, Timestamp, parse_span};
use crate::workload::{Address, WorkloadKind};
use std::path::PathBuf;

/// Arguments of `replay --prometheus`.
#[derive(Debug, clap::Args)]
#[group(id = "backtest")]
#[command(next_help_heading = "A workload's past, out of a Prometheus")]
pub struct Args {
    /// A server that speaks the query API: Prometheus, Thanos, Mimir, VictoriaMetrics; with its path prefix
    #[arg(long, value_name = "URL", requires = "workload", conflicts_with_all = ["traces", "history", "policy", "lasting"])]
    prometheus: Option<String>,
    /// Whose: NAMESPACE/NAME of a Deployment, or NAMESPACE/KIND/NAME
    #[arg(long, value_name = "NS/NAME", requires = "prometheus", value_parser = parse_workload)]
    workload: Option<Address>,
    /// How far back
    #[arg(long, value_name = "D", default_value = "14d", requires = "prometheus", value_parser = parse_since)]
    since: Span,
    /// A file that holds a bearer token for the server
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    token_file: Option<PathBuf>,
    /// A PEM file with the authority that signed the server's certificate [default: the system's]
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    ca_file: Option<PathBuf>,
    /// Most samples that are asked for; the oldest history is left out first
    #[arg(long, value_name = "N", default_value_t = Budget::generous().samples, value_parser = clap::value_parser!(u64).range(1_000..=1_000_000_000))]
    most_samples: u64,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Table,
    /// One document.
    Json,
}

fn parse_workload(text: &str) -> Result<Address, String> {
    let wrong =
        || format!("{text:?} names no workload; write NAMESPACE/NAME of a Deployment, or as \"shop/StatefulSet/db\"");
    let kinds = [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::DaemonSet];
    let parts: Vec<&str> = text.split('/').collect();
    let (namespace, kind, name) = match parts.as_slice() {
        [namespace, name] => (*namespace, WorkloadKind::Deployment, *name),
        [namespace, kind, name] => {
            let kind = kinds.into_iter().find(|k| k.word() == kind.to_ascii_lowercase()).ok_or_else(wrong)?;
            (*namespace, kind, *name)
        }
        _ => return Err(wrong()),
    };
    let fits = |part: &str| {
        let letters = part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
        letters && (1..=253).contains(&part.len())
    };
    if !fits(namespace) || !fits(name) {
        return Err(wrong());
    }
    Ok(Address { namespace: namespace.into(), kind, name: name.into() })
}

fn parse_since(text: &str) -> Result<Span, String> {
    let span = parse_span(text)?;
    let range = Span::MINUTE..=Span::YEAR * 2;
    if range.contains(&span) { Ok(span) } else { Err(format!("{text:?} is out of range; write from 1m to 730d")) }
}

impl Args {
    /// Whether a backtest was asked for.
    pub fn asked(&self) -> bool {
        self.prometheus.is_some()
    }

    /// Asks the server, plays the past to the engine and prints. `settings` are the numbers of all the time, where
    /// told; else those that are declared in the cluster now.
    ///
    /// # Errors
    /// Exit code 2 for an address, a file or a name that leads nowhere, 4 when server or cluster did not answer.
    pub fn run(&self, settings: Option<Settings>, form: Form, console: &mut Console<'_>) -> Result<Exit, Failure> {
        let (Some(url), Some(address)) = (&self.prometheus, &self.workload) else {
            return Err(Failure::ours(Problem::new("a backtest without --prometheus and --workload")));
        };
        let trust = self.ca_file.clone().map_or(Trust::System, Trust::File);
        let access = Access { url: url.clone(), token_file: self.token_file.clone(), trust };
        let server = Server::new(&access).map_err(|e| failure(url, &e))?;
        let budget = Budget { samples: self.most_samples, ..Budget::generous() };
        let now = backtest::now();
        let (history, numbers) = block_on(async {
            let numbers = match settings {
                Some(settings) => Numbers::Told(settings),
                None => self.declared(address, now).await?,
            };
            let history = backtest::history(&server, address, self.since, now, &budget).await;
            let history = history.map_err(|e| failure(url, &e))?;
            if history.tracks.is_empty() {
                return Err(self.nothing(&server, address, now, &budget, &history).await);
            }
            Ok((history, numbers))
        })?;
        let rules = config::parse(&config::Sources::default()).map(|c| daemon::rules(&c)).unwrap_or_default();
        let declared = matches!(numbers, Numbers::Declared(_));
        let done = backtest::play(&history, address, numbers, &rules);
        match form {
            Form::Table => write!(console.out, "{}", render::table(&history, &done, declared))?,
            Form::Json => writeln!(console.out, "{}", render::json(&history, &done, declared))?,
        }
        for said in render::warnings(&history, &done, now - self.since) {
            writeln!(console.err, "warning: {said}")?;
        }
        Ok(Exit::Done)
    }

    async fn declared(&self, address: &Address, now: Timestamp) -> Result<Numbers, Failure> {
        let hint = "a Prometheus does not know the numbers of probes: say them with --settings 10/1/3, or name the cluster with --context";
        let cluster = self.cluster.one().await.map_err(|f| f.hint(hint))?;
        match backtest::declared(&cluster.client, address, now).await {
            Ok(Some(workload)) => Ok(Numbers::Declared(Box::new(workload))),
            Ok(None) => {
                let problem = Problem::new(format!("{address}: the API server's answer holds no such object"));
                Err(Failure::cluster(problem.hint(hint)))
            }
            Err(error) => {
                let problem = Problem::new(format!("context {}: {address} cannot be read", cluster.context));
                Err(Failure::cluster(problem.cause(error.to_string()).hint(hint)))
            }
        }
    }

    /// No series of this workload: says what there is instead.
    async fn nothing(
        &self,
        server: &Server,
        address: &Address,
        now: Timestamp,
        budget: &Budget,
        history: &History,
    ) -> Failure {
        let Address { namespace, kind, name } = address;
        let problem = Problem::new(format!(
            "{}: no probe of {namespace}/{}/{name} in the last {}",
            self.prometheus.as_deref().unwrap_or_default(),
            kind.name(),
            render::days(self.since)
        ));
        if history.skipped.without_durations > 0 {
            return Failure::unreadable([problem
                .cause("prober_probe_total is kept, and prober_probe_duration_seconds is not")
                .hint(
                    "keep the histogram too: look for a drop in metric_relabel_configs (docs/guides/prometheus.md)",
                )]);
        }
        let mut spent = Spent::default();
        let elsewhere = match seen_elsewhere(server, namespace, now, budget, &mut spent).await {
            Ok(elsewhere) => elsewhere,
            Err(error) => return failure(self.prometheus.as_deref().unwrap_or_default(), &error),
        };
        let few = |names: &[String]| {
            let shown: Vec<&str> = names.iter().take(8).map(String::as_str).collect();
            let more = names.len() - shown.len();
            if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
        };
        Failure::unreadable([if elsewhere.exported {
            problem
                .cause(format!("its series are kept with exported_namespace={namespace:?}"))
                .hint("set honor_labels: true on the scrape of /metrics/probes: the kubelet's own labels name the pod")
        } else if !elsewhere.pods.is_empty() {
            problem
                .cause(format!("pods of {namespace} that have probe series: {}", few(&elsewhere.pods)))
                .hint("is it another name or kind? write it as \"shop/StatefulSet/db\"")
        } else if !elsewhere.namespaces.is_empty() {
            problem
                .cause(format!("namespaces that have probe series: {}", few(&elsewhere.namespaces)))
                .hint(format!("is {namespace} another cluster's, or has it no pod with a probe?"))
        } else {
            problem.cause("the server has no series prober_probe_total at all of the last day").hint(
                "let it scrape the kubelets' /metrics/probes; docs/guides/prometheus.md has the configuration to copy",
            )
        }])
    }
}

/// What to say when the server did not answer.
fn failure(url: &str, error: &Error) -> Failure {
    let text = error.to_string();
    let (what, hint) = text.split_once("\nhint: ").map_or((text.as_str(), None), |(what, hint)| (what, Some(hint)));
    match error {
        Error::Url { .. } | Error::Authority { .. } | Error::Token { .. } => {
            let option = match error {
                Error::Url { .. } => "--prometheus",
                Error::Authority { .. } => "--ca-file",
                _ => "--token-file",
            };
            let problem = Problem::new(format!("{option} {what}"));
            Failure::unreadable([hint.map_or(problem.clone(), |h| problem.hint(h))])
        }
        _ => {
            let problem = Problem::new(format!("{url} cannot be asked")).cause(what);
            Failure::cluster(hint.map_or(problem.clone(), |h| problem.hint(h)))
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_workload_is_a_deployment_unless_its_kind_is_told() {
        for (text, wanted) in [
            ("shop/web", "shop/Deployment/web"),
            ("shop/Deployment/web", "shop/Deployment/web"),
            ("shop/statefulset/db", "shop/StatefulSet/db"),
        ] {
            assert_eq!(parse_workload(text).unwrap().to_string(), wanted);
        }
        for wrong in ["web", "shop/", "/web", "shop/Pod/web", "a/b/c/d", "Shop/web", "shop/we b", ""] {
            assert!(parse_workload(wrong).unwrap_err().contains("NAMESPACE/NAME"), "{wrong}");
        }
    }
}
