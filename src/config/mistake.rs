//! What is wrong in a configuration, in words that say where, what was found and what is wanted.

use std::fmt;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a file.
    File {
        /// Its path as given.
        path: String,
        /// The line, counted from 1.
        line: usize,
    },
    /// In an environment variable of this name.
    Environment(String),
    /// In a flag, as `--listen`.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line } => write!(f, "{path}:{line}"),
            Place::Environment(name) => write!(f, "environment variable {name}"),
            Place::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One mistake.
#[derive(Debug, thiserror::Error)]
pub enum Mistake {
    /// The file cannot be opened or read.
    #[error("{path}: cannot be read")]
    File {
        /// Its path as given.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is too long to be a configuration.
    #[error("{path}: longer than {} bytes, wanted a configuration file", super::FILE_LIMIT)]
    Long {
        /// Its path as given.
        path: String,
    },
    /// The file is not text.
    #[error("{path}:{line}: bytes that are no UTF-8, wanted text")]
    Encoding {
        /// Its path as given.
        path: String,
        /// The line, counted from 1.
        line: usize,
    },
    /// The file is no TOML.
    #[error("{place}: not TOML: {found}")]
    Syntax {
        /// Where it ends to be.
        place: Place,
        /// What the parser says.
        found: String,
    },
    /// No such key.
    #[error("{place}: {key}: no such key")]
    Unknown {
        /// Where.
        place: Place,
        /// The key as found, with its tables.
        key: String,
        /// The nearest key that there is.
        nearest: Option<String>,
    },
    /// A value that is not what is wanted.
    #[error("{place}: {key}: found {found}, wanted {wanted}")]
    Value {
        /// Where.
        place: Place,
        /// The key with its tables.
        key: String,
        /// The value as found.
        found: String,
        /// What is wanted.
        wanted: String,
        /// How a right one is written.
        hint: String,
    },
}

impl Mistake {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Mistake::File { .. } | Mistake::Long { .. } => {
                Some("name the file with --config, or leave it out for the defaults".into())
            }
            Mistake::Encoding { .. } => Some("save the file as UTF-8".into()),
            Mistake::Syntax { .. } => None,
            Mistake::Unknown { nearest: Some(nearest), .. } => Some(format!("did you mean {nearest}?")),
            Mistake::Unknown { nearest: None, .. } => Some("config/default.toml has every key".into()),
            Mistake::Value { hint, .. } => Some(hint.clone()),
        }
    }

    /// Files first, by line; then the environment, then flags.
    pub(super) fn order(&self) -> Option<&Place> {
        match self {
            Mistake::File { .. } | Mistake::Long { .. } | Mistake::Encoding { .. } => None,
            Mistake::Syntax { place, .. } | Mistake::Unknown { place, .. } | Mistake::Value { place, .. } => {
                Some(place)
            }
        }
    }
}

/// All mistakes of a configuration, at least one when it is an error.
#[derive(Debug, Default)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.0.iter().enumerate() {
            write!(f, "{}{mistake}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
