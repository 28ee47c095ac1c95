//! `crds`: our own kinds, for those who install without the manifests.

use super::{Console, Exit, Failure};
use crate::crd;

/// Arguments of `crds`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  probe-tuner crds | kubectl apply -f -\n  probe-tuner crds > crds.yaml")]
pub struct Args {}

/// Prints the CustomResourceDefinitions as YAML, the same as `deploy/manifests/crds/`.
///
/// # Errors
/// Those of standard output.
pub fn run(_: &Args, console: &mut Console<'_>) -> Result<Exit, Failure> {
    console.out.write_all(crd::yaml().as_bytes())?;
    Ok(Exit::Done)
}
