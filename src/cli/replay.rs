//! `replay`: what each policy would have done on recorded traces.

use super::backtest;
use super::demo::wrap;
use super::{Console, Exit, Failure, Problem};
use crate::decide::about;
use crate::picture;
use crate::probe::Settings;
use crate::record::{self, Trace};
use crate::replay::{self, Kind, MOST_PHASES, Options, Play, Played, Policy, Scrape, verdicts};
use crate::run::replay::OnTrace;
use crate::units::{PerPodYear, Span, parse_span};
use clap::{ArgMatches, Command, FromArgMatches};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The longest trace that is read, in bytes: the most rows, each with every column.
const FILE_LIMIT: u64 = 160 << 20;

/// Arguments of `replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  probe-tuner replay trace.csv
  probe-tuner replay --settings 10/5/3 --policy kubernetes-default trace.csv
  probe-tuner replay -o svg trace.csv > trace.svg
  probe-tuner record http://localhost:8080/healthz --for 10m | probe-tuner replay -
  probe-tuner replay --for 28d --history yesterday.csv -o json monday.csv tuesday.csv
  probe-tuner replay --prometheus http://localhost:9090 --workload shop/web --since 14d")]
pub struct Args {
    /// What the numbers serve
    #[arg(long, value_enum, default_value = "liveness")]
    kind: Serves,
    #[command(flatten)]
    plays: Plays,
    /// False restarts that are allowed, as 1/pod-year or 0.5/pod-day
    #[arg(long, value_name = "RATE", default_value = "1/pod-year", value_parser = PerPodYear::parse)]
    budget: PerPodYear,
    /// How many probers play each trace, evenly spaced over the period
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_PHASES)))]
    phases: u32,
    /// From a restart's verdict until the container runs again
    #[arg(long, value_name = "D", default_value = "20s", value_parser = parse_span)]
    restart_takes: Span,
    /// Play each trace end to end until this is over
    #[arg(long = "for", value_name = "D", value_parser = positive_span)]
    lasting: Option<Span>,
    /// Show this trace to the policies first, uncounted (repeatable)
    #[arg(long, value_name = "TRACE")]
    history: Vec<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    /// Recorded traces; - is standard input
    #[arg(required_unless_present = "prometheus", value_name = "TRACE")]
    traces: Vec<PathBuf>,
    #[command(flatten)]
    backtest: backtest::Args,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Serves {
    Liveness,
    Readiness,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Output {
    /// A row a policy
    Table,
    /// One document, with its version
    Json,
    /// One picture: latency, each policy's numbers and restarts over time, and what came of it
    Svg,
}

/// What is played, in the order of the command line; no policy and no numbers: every policy.
#[derive(Clone, Debug)]
struct Plays {
    order: Vec<Play>,
    start: Settings,
}

#[derive(Debug, clap::Args)]
struct PlayArgs {
    /// What to play; may be repeated [default: every policy]
    #[arg(long, value_name = "NAME", value_parser = str::parse::<Policy>)]
    policy: Vec<Policy>,
    /// Play fixed numbers, as 10/1/3; policies that change theirs start from them
    #[arg(short, long, value_name = "P/T/K", value_parser = str::parse::<Settings>)]
    settings: Option<Settings>,
}

impl FromArgMatches for Plays {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let args = PlayArgs::from_arg_matches(matches)?;
        let places = |id: &str| matches.indices_of(id).into_iter().flatten();
        let mut order: Vec<(usize, Play)> =
            places("policy").zip(args.policy.iter().map(|p| Play::Policy(*p))).collect();
        order.extend(places("settings").zip(args.settings.map(Play::Fixed)));
        order.sort_by_key(|(place, _)| *place);
        let mut order: Vec<Play> = order.into_iter().map(|(_, play)| play).collect();
        if order.is_empty() {
            order = Policy::ALL.map(Play::Policy).into();
        }
        Ok(Plays { order, start: args.settings.unwrap_or(Settings::KUBERNETES_DEFAULT) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Plays::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Plays {
    fn augment_args(command: Command) -> Command {
        PlayArgs::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        PlayArgs::augment_args_for_update(command)
    }
}

fn positive_span(text: &str) -> Result<Span, String> {
    let span = parse_span(text)?;
    if span > Span::ZERO { Ok(span) } else { Err(format!("{text:?} is no time at all; write one as \"28d\"")) }
}

/// Plays the traces and prints what came of it.
///
/// # Errors
/// Traces that cannot be read, all mistakes of all of them at once.
pub fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit, Failure> {
    if args.backtest.asked() {
        let told = args.plays.order.iter().find_map(|play| if let Play::Fixed(s) = play { Some(*s) } else { None });
        let form = match args.output {
            Output::Table => backtest::Form::Table,
            Output::Json => backtest::Form::Json,
            Output::Svg => {
                let problem =
                    Problem::new("-o svg: there is no picture of a past out of a Prometheus, wanted table or json");
                return Err(Failure::unreadable([problem.hint("pictures are drawn of traces, and by `explain`")]));
            }
        };
        return args.backtest.run(told, form, console);
    }
    let mut problems = Vec::new();
    let mut piped_before = false;
    let mut read = |path: &PathBuf| {
        if piped(path) && std::mem::replace(&mut piped_before, true) {
            problems.push(Problem::new("-: standard input comes twice, wanted once: it can be read only once"));
            return None;
        }
        let trace = read_trace(path);
        trace.map_err(|mut found| problems.append(&mut found)).ok()
    };
    let history: Vec<Trace> = args.history.iter().filter_map(&mut read).collect();
    let traces: Vec<(&PathBuf, Option<Trace>)> = args.traces.iter().map(|path| (path, read(path))).collect();
    if !problems.is_empty() {
        return Err(Failure::unreadable(problems));
    }
    let options = Options {
        kind: match args.kind {
            Serves::Liveness => Kind::Liveness,
            Serves::Readiness => Kind::Readiness,
        },
        phases: args.phases,
        restart_takes: args.restart_takes,
        budget: args.budget,
        lasting: args.lasting,
        start: args.plays.start,
    };
    let traces: Vec<(String, Trace)> =
        traces.into_iter().filter_map(|(path, trace)| Some((shown(path), trace?))).collect();
    let play = |(name, trace): &(String, Trace)| {
        let mut engine = OnTrace::new(&options);
        let mut hook = |scrape: &Scrape<'_>| engine.scrape(scrape);
        (name.clone(), replay::replay(trace, &history, &args.plays.order, &options, Some(&mut hook)))
    };
    let results: Vec<(String, Vec<Played>)> = traces.iter().map(play).collect();
    match args.output {
        Output::Table => {
            write!(console.out, "{}", replay::table(&results))?;
            if let Some(short) = short(&traces) {
                writeln!(console.err, "\n{short}")?;
            }
        }
        Output::Json => writeln!(console.out, "{}", replay::json(&results))?,
        Output::Svg => write!(console.out, "{}", picture(&traces, &results, &options))?,
    }
    Ok(Exit::Done)
}

/// What to make of recordings of less than a day, if one is: what happened then, and no more.
fn short(traces: &[(String, Trace)]) -> Option<String> {
    // The last check of a whole day began a step before its end.
    let mut all = traces.iter().filter(|(_, trace)| trace.seconds() + trace.median_step() < Span::DAY);
    let ((name, trace), more) = (all.next()?, all.count());
    let all = if more > 0 { " and others like it are" } else { " is" };
    let words = format!(
        "note: {name}{all} too short to choose numbers by: {} of one pod show what each policy would have done then. \
         Before it tightens anything, probe-tuner asks for a day of all pods and a release (THIN_EVIDENCE).",
        about(trace.seconds())
    );
    Some(wrap(&words, 100).join("\n"))
}

/// Whether this is standard input, by its usual name.
fn piped(path: &Path) -> bool {
    path == Path::new("-")
}

/// How a trace is called.
fn shown(path: &Path) -> String {
    if piped(path) { "standard input".to_owned() } else { path.display().to_string() }
}

/// Every trace with its results, below each other.
fn picture(traces: &[(String, Trace)], results: &[(String, Vec<Played>)], options: &Options) -> String {
    let verdicts: Vec<Vec<Vec<Span>>> = traces
        .iter()
        .zip(results)
        .map(|((_, trace), (_, played))| {
            let of = |p: &Played| p.outcome.as_ref().map_or(Vec::new(), |f| verdicts(trace, &f.settings, options));
            played.iter().map(of).collect()
        })
        .collect();
    let shown: Vec<picture::OnTrace<'_>> = traces
        .iter()
        .zip(results)
        .zip(&verdicts)
        .map(|(((name, trace), (_, played)), verdicts)| {
            // The file's own name says enough; the way to it is nobody's business in a picture.
            let name = Path::new(name).file_name().and_then(|n| n.to_str()).unwrap_or(name);
            picture::OnTrace { name, trace, kind: options.kind, played, verdicts }
        })
        .collect();
    picture::replay(&shown)
}

/// Reads one trace, or says all that is wrong with it.
fn read_trace(path: &Path) -> Result<Trace, Vec<Problem>> {
    let name = shown(path);
    let unreadable = |error: std::io::Error| {
        let problem = Problem::new(format!("{name}: cannot be read")).because(&error);
        vec![problem.hint("name files that `probe-tuner record` has written, or - for standard input")]
    };
    let mut bytes = Vec::new();
    let source: Box<dyn Read> =
        if piped(path) { Box::new(io::stdin()) } else { Box::new(File::open(path).map_err(unreadable)?) };
    source.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_LIMIT {
        let problem = Problem::new(format!("{name}: longer than {FILE_LIMIT} bytes, wanted a trace"));
        return Err(vec![problem.hint("split it, or record at a lower rate")]);
    }
    record::read(&bytes).map_err(|mistakes| {
        let mut problems: Vec<Problem> =
            mistakes.told.iter().map(|mistake| Problem::new(format!("{name}:{mistake}"))).collect();
        if mistakes.more > 0 {
            problems.push(Problem::new(format!("{name}: and {} more", mistakes.more)));
        }
        if let Some(last) = problems.pop() {
            problems.push(last.hint("a trace has the columns t_s,latency_ms,ok; see docs/reference/trace.md"));
        }
        problems
    })
}
