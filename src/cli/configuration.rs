//! The flags by which a command is configured.

use super::{Failure, Problem};
use crate::config::{self, Config, Flag, Mistakes};
use std::path::PathBuf;

/// Flags over the layers of configuration.
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    /// A configuration file; it needs only the keys in which it differs from the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key, as plan.warm-up=5m; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

impl ConfigArgs {
    /// Reads the configuration. `flags` are the command's own that stand for a key: flag, key, value.
    ///
    /// # Errors
    /// All mistakes at once, exit code 2.
    pub fn load(&self, flags: &[(&str, &str, Option<String>)]) -> Result<Config, Failure> {
        let own = flags.iter().filter_map(|(flag, key, value)| {
            Some(Flag { flag: (*flag).to_owned(), key: (*key).to_owned(), value: value.clone()? })
        });
        let set =
            self.set.iter().map(|(key, value)| Flag { flag: "--set".into(), key: key.clone(), value: value.clone() });
        Ok(config::load(self.config.as_deref(), set.chain(own).collect())?)
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("wanted KEY=VALUE, as plan.warm-up=5m")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Self {
        Failure::unreadable(mistakes.0.iter().map(|mistake| {
            let mut problem = Problem::new(mistake.to_string());
            if let Some(cause) = std::error::Error::source(mistake) {
                problem = problem.because(cause);
            }
            match mistake.hint() {
                Some(hint) => problem.hint(hint),
                None => problem,
            }
        }))
    }
}
