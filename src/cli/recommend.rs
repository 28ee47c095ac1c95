//! `recommend`: one pass, nothing written.

use super::cluster::{ClusterArgs, block_on};
use super::configuration::ConfigArgs;
use super::recommendation::{self, Form};
use super::run::failure;
use super::{Console, Exit, Failure};
use crate::run::daemon::Setup;
use crate::run::recommend::{Scope, recommend};
use crate::units::Name;
use std::time::Duration;

/// How long a pass may take.
const WITHIN: Duration = Duration::from_secs(60);

/// Looks once and says which numbers each probe should have.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Reads what the daemon has seen and decided, where you may; without it this is one look at each kubelet, and\n\
the answer is mostly THIN_EVIDENCE. Writes nothing: of what is no reading the API server sees only the request\n\
for a token of account probe-tuner-scrape. Namespaces need no annotation for it.\n\n\
Examples:\n  probe-tuner recommend -n shop\n  probe-tuner recommend -A -o json\n  \
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
/// Exit code 2 for what cannot be read, 4 when the cluster did not answer.
pub fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let config = args.config.load(&[])?;
    let pass = block_on(async {
        let cluster = args.cluster.one().await?;
        let scope = if args.all_namespaces {
            Scope::All
        } else if args.namespace.is_empty() {
            Scope::Named([Name::from(cluster.namespace.as_str())].into())
        } else {
            Scope::Named(args.namespace.iter().map(|n| Name::from(n.as_str())).collect())
        };
        let setup = Setup { config, client: cluster.client.clone(), roots: cluster.roots.clone() };
        recommend(&setup, scope, WITHIN).await.map_err(failure)
    })?;
    for warning in &pass.warnings {
        writeln!(console.err, "warning: {}", warning.replace('\n', " "))?;
    }
    write!(console.out, "{}", recommendation::render(&pass.views, args.output))?;
    Ok(Exit::Done)
}
