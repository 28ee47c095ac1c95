//! `record`: asks an endpoint at a fixed rate and writes a trace.

use super::{Console, Exit, Failure, Problem, block_on, signals};
use crate::ask::Target;
use crate::load::Meter;
use crate::record::MOST_ROWS;
use crate::run::clock::Clock;
use crate::run::record::{MOST_IN_FLIGHT, PATIENCE, Recording, Tally, preface, record};
use crate::units::{Span, parse_span};
use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The slowest and the fastest rate: once in a hundred seconds, and as many as a laptop asks without being the load.
const RATES: std::ops::RangeInclusive<f64> = 0.01..=100.0;

/// Checks a second of a URL, and of a command: starting a process costs more.
const URL_RATE: f64 = 10.0;
const EXEC_RATE: f64 = 2.0;

/// Arguments of `record`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A URL is http://HOST:PORT/PATH, https://… (the certificate is not verified, as the kubelet does not), \
tcp://HOST:PORT, or grpc://HOST:PORT/SERVICE (grpc.health.v1, without TLS). Healthy is what the kubelet calls healthy: \
a status of 200 to 399, a connection, SERVING, exit code 0. Each check is watched for 30 s, whatever the kubelet's timeout is.\n\n\
Examples:
  probe-tuner record http://127.0.0.1:8080/healthz -f web.csv
  probe-tuner record tcp://127.0.0.1:6379 --for 10m --pid $(pidof redis-server) -f redis.csv
  probe-tuner record grpc://127.0.0.1:9000/shop.v1.Cart --rate 5 > cart.csv
  probe-tuner record --exec 'redis-cli ping' --for 1h -f redis-exec.csv"
)]
pub struct Args {
    #[command(flatten)]
    what: WhatArgs,
    /// Checks a second [default: 10, of a command 2]
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// Stop after this long [default: at Ctrl-C]
    #[arg(long = "for", value_name = "D", value_parser = lasting)]
    lasting: Option<Span>,
    /// Write the trace to this file [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Overwrite that file
    #[arg(long, requires = "file")]
    force: bool,
    /// Record the load of this process's cgroup too
    #[arg(long, value_name = "PID", conflicts_with = "cgroup")]
    pid: Option<u32>,
    /// Record the load of the cgroup in this folder too
    #[arg(long, value_name = "FOLDER")]
    cgroup: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct WhatArgs {
    /// The endpoint
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// A command, run by sh -c, in place of an endpoint
    #[arg(long, value_name = "CMD")]
    exec: Option<String>,
}

fn rate(text: &str) -> Result<f64, String> {
    let found = text.parse().ok().filter(|rate| RATES.contains(rate));
    found.ok_or_else(|| format!("{text:?}: wanted checks a second, from {} to {}", RATES.start(), RATES.end()))
}

fn lasting(text: &str) -> Result<Span, String> {
    let span = parse_span(text)?;
    if span > Span::ZERO { Ok(span) } else { Err(format!("{text:?} is no time at all; write one as \"10m\"")) }
}

/// Records.
///
/// # Errors
/// A URL, a cgroup or a file that cannot be used.
pub fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit, Failure> {
    block_on(async {
        let (target, usual) = match (&args.what.url, &args.what.exec) {
            (Some(url), _) => (Target::resolve(url).await.map_err(problem)?, URL_RATE),
            (None, command) => (Target::Exec { command: command.clone().unwrap_or_default() }, EXEC_RATE),
        };
        let meter = match (&args.cgroup, args.pid) {
            (Some(folder), _) => Meter::cgroup(folder).map_err(problem)?,
            (None, Some(pid)) => Meter::process(pid).map_err(problem)?,
            (None, None) => Meter::machine(),
        };
        let lasting = args.lasting.map(|span| Duration::from_nanos(u64::try_from(span.nanos()).unwrap_or(0)));
        let recording = Recording { target, rate: args.rate.unwrap_or(usual), lasting, patience: PATIENCE, meter };
        let stop = signals::stop()?;
        let Console { out, err, .. } = console;
        let mut file;
        let out: &mut dyn Write = match &args.file {
            Some(path) => {
                // An hour's recording is soon lost to the last line of a shell's history.
                if !args.force && fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() > 0) {
                    let there = Problem::new(format!("{}: is there already", path.display()));
                    return Err(Failure::unreadable([there.hint("name another file, or overwrite it with --force")]));
                }
                file = BufWriter::new(File::create(path).map_err(|error| unwritable(path, &error))?);
                &mut file
            }
            None => *out,
        };
        let root = args.pid.filter(|_| recording.meter.is_root());
        let mut progress = Progress { shown: io::stderr().is_terminal(), err: *err };
        let failed = |error| match &args.file {
            Some(path) => unwritable(path, &error),
            None => Failure::from(error),
        };
        out.write_all(preface(&recording, Clock::start().now()).as_bytes()).map_err(failed)?;
        let tally = record(recording, out, stop, |tally| progress.show(tally)).await.map_err(failed)?;
        progress.end(&tally, root, args.file.as_deref())?;
        Ok(Exit::Done)
    })
}

/// An error of another room, whose last line may be a hint.
fn problem(error: impl std::error::Error) -> Failure {
    let text = error.to_string();
    Failure::unreadable([match text.split_once("\nhint: ") {
        Some((what, hint)) => Problem::new(what).hint(hint),
        None => Problem::new(text),
    }])
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::unreadable([Problem::new(format!("{}: cannot be written", path.display())).because(error)])
}

/// What is said on standard error: one line that is written over on a terminal, and a last word everywhere.
struct Progress<'a> {
    shown: bool,
    err: &'a mut dyn Write,
}

impl Progress<'_> {
    fn show(&mut self, tally: &Tally) {
        if self.shown {
            // Progress that cannot be shown is no reason to stop.
            write!(self.err, "\r\x1b[K{tally}").and_then(|()| self.err.flush()).unwrap_or_default();
        }
    }

    fn end(&mut self, tally: &Tally, root: Option<u32>, file: Option<&Path>) -> io::Result<()> {
        if self.shown {
            write!(self.err, "\r\x1b[K")?;
        }
        let err = &mut self.err;
        let lasted = Span::from_seconds(tally.lasted.as_secs_f64().round() as i64);
        writeln!(err, "{tally}; in {lasted}")?;
        if let Some(last) = &tally.last {
            writeln!(err, "the last that was not healthy: {last}")?;
        }
        if tally.skipped > 0 {
            let skipped = tally.skipped;
            writeln!(
                err,
                "{skipped} checks were not started in time: {MOST_IN_FLIGHT} were under way, or this machine was too busy"
            )?;
        }
        if tally.left_out > 0 {
            writeln!(err, "{} were under way at the end and have no row", tally.left_out)?;
        }
        if tally.started == MOST_ROWS {
            writeln!(err, "stopped at {MOST_ROWS} checks, the most that a trace holds")?;
        }
        if let Some(pid) = root {
            writeln!(
                err,
                "process {pid} is in the root cgroup: pod_cores is the load of everything in it: outside a container, of the whole machine"
            )?;
        }
        if tally.rows > 0 && tally.healthy == 0 {
            writeln!(err, "no check was healthy, and a replay of that says little: is it the right endpoint?")?;
        }
        match file {
            _ if tally.rows == 0 => writeln!(err, "no check has ended: there is nothing to replay"),
            Some(path) => writeln!(err, "next: probe-tuner replay {}", path.display()),
            None => writeln!(err, "next: probe-tuner replay FILE"),
        }
    }
}
