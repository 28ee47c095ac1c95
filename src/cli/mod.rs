//! The command line: from arguments to text on a terminal and a code for the shell.
//!
//! **Takes** arguments. **Gives** data on standard output, everything else on standard error, and one of the exit codes
//! of [`Exit`]. **Never** decides anything about a probe: each command reads its arguments, calls one room, and prints.
//!
//! A command is a file with `Args`, whose help carries examples, and `run(&Args, &mut Console)`. A reader that goes away
//! (`probe-tuner … | head`) is not an error.

mod backtest;
mod cluster;
mod configuration;
mod console;
mod crds;
mod demo;
mod exit;
mod explain;
pub mod explanation;
mod failure;
mod pause;
mod record;
mod recommend;
pub mod recommendation;
mod replay;
mod run;
mod signals;
mod sim;
mod version;

pub use cluster::{Cluster, ClusterArgs, NamespaceArgs, block_on};
pub use configuration::ConfigArgs;
pub use console::Console;
pub use exit::Exit;
pub use failure::{Failure, Problem};

use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

/// Measures how Kubernetes health checks really behave and keeps their numbers right.
#[derive(Debug, Parser)]
#[command(
    name = "probe-tuner",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "Data goes to standard output, everything else to standard error.\n\
Exit codes: 0 done, 1 our own fault, 2 wrong usage or unreadable input, 3 there was a finding,\n\
4 the cluster refused or could not be reached.")]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: watch, decide, and change what owners allow
    Run(run::Args),
    /// Look once and say which numbers each probe should have; writes nothing
    Recommend(recommend::Args),
    /// Say what a workload's decisions were made of, in words and as a picture; writes nothing
    Explain(explain::Args),
    /// Ask a health endpoint at a fixed rate and write a trace of its answers
    Record(record::Args),
    /// Play policies on recorded traces: false restarts, time unready, time to find a hang or a crash
    Replay(replay::Args),
    /// Watch a day of a simulated cluster, with and without probe-tuner; needs no cluster
    Demo(demo::Args),
    /// Measure the policy on simulated workloads: the engine against fixed numbers
    Sim(sim::Args),
    /// Stop every write at once, in a namespace or everywhere
    Pause(pause::PauseArgs),
    /// Let writes go on
    Resume(pause::ResumeArgs),
    /// Print the CustomResourceDefinitions
    Crds(crds::Args),
    /// Print the program's version
    Version(version::Args),
}

impl Command {
    fn run(&self, console: &mut Console<'_>) -> Result<Exit, Failure> {
        match self {
            Command::Run(args) => run::run(args, console),
            Command::Recommend(args) => recommend::run(args, console),
            Command::Explain(args) => explain::run(args, console),
            Command::Record(args) => record::run(args, console),
            Command::Replay(args) => replay::run(args, console),
            Command::Demo(args) => demo::run(args, console),
            Command::Sim(args) => sim::run(args, console),
            Command::Pause(args) => pause::pause(args, console),
            Command::Resume(args) => pause::resume(args, console),
            Command::Crds(args) => crds::run(args, console),
            Command::Version(args) => version::run(args, console),
        }
    }
}

/// The whole program: reads the process's arguments, answers on its standard output and error.
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(report_panic));
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let mut out = BufWriter::new(io::stdout().lock());
    let mut err = io::stderr();
    run(std::env::args_os(), &mut Console { out: &mut out, err: &mut err, colour }).into()
}

/// Runs one command line, as [`main`] does, on a console of the caller's.
///
/// `args` begins with the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>, console: &mut Console<'_>) -> Exit {
    let done = match Program::try_parse_from(args) {
        Ok(program) => program.command.run(console),
        // Help and version come as errors, for standard output and with code 0.
        Err(error) if !error.use_stderr() => {
            write!(console.out, "{}", error.render()).map(|()| Exit::Done).map_err(Failure::from)
        }
        Err(error) => write!(console.err, "{}", error.render()).map(|()| Exit::Usage).map_err(Failure::from),
    };
    let done = done.and_then(|exit| console.out.flush().map(|()| exit).map_err(Failure::from));
    done.unwrap_or_else(|failure| {
        // Nobody is left to tell when standard error itself is gone; the exit code still says it.
        failure.write_to(console.err).unwrap_or_default();
        failure.exit()
    })
}

/// A broken invariant of our own ends the process with code 1, whichever thread met it: a daemon that goes on with half
/// of its tasks would be worse than one that is started again.
#[expect(clippy::disallowed_methods, reason = "a hook has no caller to return a code to")]
fn report_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(|l| format!(" at {}:{}", l.file(), l.line())).unwrap_or_default();
    let what = panic.payload_as_str().unwrap_or("no message");
    let mut err = io::stderr();
    writeln!(
        err,
        "error: this is a fault of probe-tuner itself{place}: {what}\n\nhint: please report it with these lines"
    )
    .unwrap_or_default();
    std::process::exit(i32::from(Exit::OurFault.code()));
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Program::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example_in_its_help() {
        for command in Program::command().get_subcommands().filter(|c| c.get_name() != "help") {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("probe-tuner "), "{} shows no example", command.get_name());
        }
    }

    struct Gone(io::ErrorKind);

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn run_into(out: &mut dyn Write) -> (Exit, String) {
        let mut err = Vec::new();
        let exit =
            run(["probe-tuner", "version"].map(OsString::from), &mut Console { out, err: &mut err, colour: false });
        (exit, String::from_utf8(err).unwrap())
    }

    #[test]
    fn output_that_cannot_be_written_is_reported() {
        let (exit, err) = run_into(&mut Gone(io::ErrorKind::StorageFull));
        assert_eq!(exit, Exit::OurFault);
        assert!(err.starts_with("error: cannot write to standard output\n"), "{err}");
    }
}
