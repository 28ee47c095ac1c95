//! `run`: the daemon.

use super::cluster::{ClusterArgs, block_on};
use super::configuration::ConfigArgs;
use super::{Console, Exit, Failure, Problem, signals};
use crate::run::daemon::{self, Error, Setup};
use crate::telemetry;
use tokio::sync::oneshot;

/// Watches, decides, and changes what it may.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Nothing is written where no namespace is annotated probe-tuner.io/mode, nor before the API server was seen \
to refuse what the fence must refuse. SIGTERM ends it after it has written down what it knows.\n\n\
Examples:\n  probe-tuner run\n  probe-tuner run --config tuner.toml --listen 127.0.0.1:9753\n  \
probe-tuner run --kubeconfig ~/.kube/config --set cluster.mode=recommend"
)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    config: ConfigArgs,
    /// Where /metrics, /healthz and /readyz are served [default: http.listen of the configuration]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
}

/// Runs until a signal.
///
/// # Errors
/// Configuration and kubeconfig that cannot be read; what the daemon cannot live without.
pub fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let config = args.config.load(&[("--listen", "http.listen", args.listen.clone())])?;
    telemetry::log(&config.log).map_err(|e| Failure::ours(Problem::new("cannot write a log").because(&e)))?;
    // A daemon's data is what it serves: nothing comes on standard output.
    console.out.flush()?;
    block_on(async {
        let cluster = args.cluster.one().await?;
        let stop = signals::stop()?;
        let setup = Setup { config, client: cluster.client.clone(), roots: cluster.roots.clone() };
        let (address, _) = oneshot::channel();
        daemon::run(setup, address, stop).await.map_err(failure)?;
        Ok(Exit::Done)
    })
}

/// What a loop's end means for the caller.
pub(super) fn failure(error: Error) -> Failure {
    let text = error.to_string();
    let (what, hint) = text.split_once("\nhint: ").map_or((text.as_str(), None), |(what, hint)| (what, Some(hint)));
    let problem = Problem::new(what);
    let problem = match hint {
        Some(hint) => problem.hint(hint.to_owned()),
        None => problem,
    };
    match error {
        Error::Http(_) | Error::Authority { .. } | Error::Prometheus(_) => Failure::unreadable([problem]),
        Error::NotInTime(_, why) => {
            let problem = why.into_iter().fold(problem, |problem, why| problem.cause(why));
            Failure::cluster(problem.hint("can the API server be reached, and may you list namespaces and pods?"))
        }
        Error::Refused(why) => Failure::cluster(why.into_iter().fold(problem, |problem, why| problem.cause(why))),
        Error::Observe(_) | Error::Task(_) => Failure::ours(problem),
    }
}
