//! `recommend`: one pass, nothing written.

use super::cluster::{Cluster, ClusterArgs, block_on};
use super::configuration::ConfigArgs;
use super::recommendation::{self, Form, Found};
use super::run::failure;
use super::{Console, Exit, Failure};
use crate::config::Config;
use crate::run::daemon::Setup;
use crate::run::recommend::{Pass, Scope, recommend};
use crate::units::Name;
use std::io::Write;
use std::time::Duration;
use tokio::time::timeout;

/// How long a pass may take.
const WITHIN: Duration = Duration::from_secs(60);

/// How long the first answer may take; a server that is slower is asked all the same.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Looks once and says which numbers each probe should have.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Reads what the daemon has seen and decided, where you may; without it this is one look at each kubelet, and \
the answer is mostly THIN_EVIDENCE. Writes nothing: of what is no reading the API server sees only the request \
for a token of account probe-tuner-scrape. Namespaces need no annotation for it.\n\n\
Examples:\n  probe-tuner recommend -n shop\n  probe-tuner recommend -A -o json\n  \
probe-tuner recommend -A --all-contexts\n  \
probe-tuner recommend -n shop -o patch | sh"
)]
pub struct Args {
    /// These namespaces; may be repeated [default: the context's]
    #[arg(short, long, value_name = "NS")]
    namespace: Vec<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// How to print
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "table")]
    output: Form,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Looks and prints.
///
/// # Errors
/// Exit code 2 for what cannot be read, 4 when no cluster answered.
pub fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let config = args.config.load(&[])?;
    let scope = |cluster: &Cluster| {
        if args.all_namespaces {
            Scope::All
        } else if args.namespace.is_empty() {
            Scope::Named([Name::from(cluster.namespace.as_str())].into())
        } else {
            Scope::Named(args.namespace.iter().map(|n| Name::from(n.as_str())).collect())
        }
    };
    let passes = block_on(args.cluster.each(console, async |cluster| {
        let scope = scope(cluster);
        let looked_in = match &scope {
            Scope::Named(names) => names.iter().map(|n| &**n).collect::<Vec<_>>().join(", "),
            Scope::All | Scope::OptedIn => "every namespace".to_owned(),
        };
        Ok((look(cluster, config.clone(), scope).await?, looked_in))
    }))?;
    let several = passes.len() > 1;
    let mut found: Vec<Found> = Vec::new();
    for (context, (pass, looked_in)) in passes {
        let place = if several { format!("{context}: ") } else { String::new() };
        warn(&pass, &place, console)?;
        if pass.views.is_empty() {
            writeln!(console.err, "hint: {place}looked in {looked_in}; -n names other namespaces, -A means all")?;
        }
        found.push((context, pass.views));
    }
    write!(console.out, "{}", recommendation::render(&found, args.output))?;
    Ok(Exit::Done)
}

/// Looks once at a cluster.
///
/// # Errors
/// Exit code 4 when it does not answer.
pub(super) async fn look(cluster: &Cluster, config: Config, scope: Scope) -> Result<Pass, Failure> {
    // Asked first, so that a cluster that is not there is told at once and with its reason.
    match timeout(ANSWERS_WITHIN, cluster.client.apiserver_version()).await {
        // Who may not ask for the version may still list.
        Ok(Err(error)) if !matches!(&error, kube::Error::Api(status) if status.code == 403) => {
            return Err(cluster.failure("look at it", "get /version", &error));
        }
        Ok(_) => {}
        // Who waits should know for what. It is nobody's data: what cannot be written is not missed.
        Err(_) => writeln!(
            std::io::stderr(),
            "note: context {} has not answered within {} s; waiting for another {} s at most",
            cluster.context,
            ANSWERS_WITHIN.as_secs(),
            WITHIN.as_secs()
        )
        .unwrap_or_default(),
    }
    let setup = Setup { config, client: cluster.client.clone(), roots: cluster.roots.clone() };
    recommend(&setup, scope, WITHIN).await.map_err(failure)
}

/// Says what could not be looked at.
pub(super) fn warn(pass: &Pass, place: &str, console: &mut Console<'_>) -> std::io::Result<()> {
    pass.warnings.iter().try_for_each(|w| writeln!(console.err, "warning: {place}{}", w.replace('\n', " ")))
}
