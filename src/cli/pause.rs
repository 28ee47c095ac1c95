//! `pause` and `resume`: the brake, which works without a running daemon.

use super::cluster::{Cluster, ClusterArgs, block_on};
use super::{Console, Exit, Failure, Problem};
use crate::annotations::{Pause, is_namespace};
use crate::store::pause;
use crate::units::Name;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long one cluster may take: whoever pulls a brake wants to know soon whether it holds.
const WITHIN: Duration = Duration::from_secs(30);

/// Arguments of `pause`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The word stands on the Lease probe-tuner in the daemon's namespace. The daemon reads it before \
each write; a change that is under way is not taken back.\n\n\
Examples:\n  probe-tuner pause -n shop\n  probe-tuner pause -A\n  probe-tuner pause -A --all-contexts"
)]
pub struct PauseArgs {
    #[command(flatten)]
    brake: BrakeArgs,
}

/// Arguments of `resume`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  probe-tuner resume -n shop\n  probe-tuner resume -A")]
pub struct ResumeArgs {
    #[command(flatten)]
    brake: BrakeArgs,
}

#[derive(Debug, clap::Args)]
struct BrakeArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// The namespace in which the daemon lives
    #[arg(long, value_name = "NS", default_value = "probe-tuner", value_parser = namespace)]
    daemon_namespace: String,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

/// One or the other: a brake that guesses which namespace was meant would be none.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct ScopeArgs {
    /// This namespace; may be repeated
    #[arg(short, long, value_name = "NS", value_parser = namespace)]
    namespace: Vec<String>,
    /// Everywhere
    #[arg(short = 'A', long)]
    all_namespaces: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

/// The document of `-o json`, version 1.
#[derive(serde::Serialize)]
struct Document {
    version: u32,
    contexts: Vec<State>,
}

#[derive(serde::Serialize)]
struct State {
    context: String,
    /// Whether the command changed anything.
    changed: bool,
    everywhere: bool,
    namespaces: Vec<String>,
}

/// Stops writes.
///
/// # Errors
/// Exit code 4 when no cluster took it.
pub fn pause(args: &PauseArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let scope = args.brake.scope.names();
    let to = |was: &Pause| match (&scope, was) {
        (None, _) | (Some(_), Pause::Everywhere | Pause::Unreadable(_)) => Ok(Pause::Everywhere),
        (Some(more), Pause::In(names)) => Ok(Pause::In(names | more)),
    };
    run(&args.brake, "pause", to, console)
}

/// Lets writes go on.
///
/// # Errors
/// Exit code 4 when no cluster took it; 2 when everything is paused and only some namespaces are to go on.
pub fn resume(args: &ResumeArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let scope = args.brake.scope.names();
    let to = |was: &Pause| match (&scope, was) {
        (None, _) => Ok(Pause::NOWHERE),
        (Some(fewer), Pause::In(names)) => Ok(Pause::In(names - fewer)),
        (Some(_), Pause::Everywhere) => Err("everything is paused, not single namespaces".to_owned()),
        (Some(_), Pause::Unreadable(found)) => {
            Err(format!("the annotation {} is {found:?}, which cannot be read and pauses everything", pause::KEY))
        }
    };
    run(&args.brake, "resume", to, console)
}

fn run(
    args: &BrakeArgs,
    verb: &str,
    to: impl Fn(&Pause) -> Result<Pause, String>,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let done = block_on(args.cluster.each(console, async |cluster| {
        let change = change(cluster, &args.daemon_namespace, verb, &to);
        tokio::time::timeout(WITHIN, change).await.unwrap_or_else(|_| {
            let what = format!("context {}: cannot {verb}: no answer within {}s", cluster.context, WITHIN.as_secs());
            Err(Failure::cluster(Problem::new(what).hint("try again; until it is confirmed, nothing is known")))
        })
    }))?;
    match args.output {
        Output::Json => {
            let contexts = done.into_iter().map(|(context, (was, is))| State::of(context, &was, &is)).collect();
            console.json(&Document { version: 1, contexts })?;
        }
        Output::Text => {
            for (context, (was, is)) in &done {
                let unchanged = if was == is { " (as before)" } else { "" };
                writeln!(console.out, "{context}: {}{unchanged}", say(is))?;
            }
        }
    }
    Ok(Exit::Done)
}

async fn change(
    cluster: &Cluster,
    namespace: &str,
    verb: &str,
    to: &impl Fn(&Pause) -> Result<Pause, String>,
) -> Result<(Pause, Pause), Failure> {
    let refused = std::cell::RefCell::new(None);
    let done = pause::change(&cluster.client, namespace, |was| match to(was) {
        Ok(is) => Some(is),
        Err(why) => {
            *refused.borrow_mut() = Some(why);
            None
        }
    })
    .await;
    if let Some(why) = refused.into_inner() {
        let problem = Problem::new(format!("context {}: cannot {verb}: {why}", cluster.context));
        return Err(Failure::unreadable([
            problem.hint("resume everything with -A, then pause what shall stay paused with -n")
        ]));
    }
    let rights = format!("get, create and patch leases in namespace {namespace}");
    done.map_err(|error| cluster.failure(&format!("{verb} (Lease {namespace}/{})", pause::LEASE), &rights, &error))
}

fn say(pause: &Pause) -> String {
    match pause {
        Pause::In(names) if names.is_empty() => "nothing is paused".to_owned(),
        Pause::In(names) => format!("paused: {}", names.iter().map(|n| &**n).collect::<Vec<_>>().join(", ")),
        Pause::Everywhere | Pause::Unreadable(_) => "paused: every namespace".to_owned(),
    }
}

impl State {
    fn of(context: String, was: &Pause, is: &Pause) -> State {
        let namespaces = match is {
            Pause::In(names) => names.iter().map(|n| n.to_string()).collect(),
            Pause::Everywhere | Pause::Unreadable(_) => Vec::new(),
        };
        let everywhere = matches!(is, Pause::Everywhere | Pause::Unreadable(_));
        State { context, changed: was != is, everywhere, namespaces }
    }
}

impl ScopeArgs {
    /// The namespaces, or `None` for everywhere.
    fn names(&self) -> Option<BTreeSet<Name>> {
        (!self.all_namespaces).then(|| self.namespace.iter().map(|n| n.as_str().into()).collect())
    }
}

fn namespace(text: &str) -> Result<String, String> {
    is_namespace(text).then(|| text.to_owned()).ok_or_else(|| "wanted a namespace's name, as shop".to_owned())
}
