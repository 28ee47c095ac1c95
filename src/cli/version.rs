//! `version`: which program this is.

use super::{Console, Exit, Failure};

/// Arguments of `version`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  probe-tuner version\n  probe-tuner version -o json")]
pub struct Args {
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
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
    program: &'static str,
    release: &'static str,
}

/// Prints the version.
///
/// # Errors
/// Those of standard output.
pub fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let document = Document { version: 1, program: "probe-tuner", release: env!("CARGO_PKG_VERSION") };
    match args.output {
        Output::Text => writeln!(console.out, "{} {}", document.program, document.release)?,
        Output::Json => console.json(&document)?,
    }
    Ok(Exit::Done)
}
