//! Where a command writes.

use super::Failure;
use std::io::Write;

/// Standard output, standard error, and whether colours are wanted.
pub struct Console<'a> {
    /// Data, buffered: a command that tells its progress flushes.
    pub out: &'a mut dyn Write,
    /// Everything else.
    pub err: &'a mut dyn Write,
    /// Whether standard output is a terminal whose user does not refuse colours (`NO_COLOR`).
    pub colour: bool,
}

impl Console<'_> {
    /// Prints one JSON document on a line of its own. Its type carries `"version": 1`.
    ///
    /// # Errors
    /// Those of standard output.
    pub fn json(&mut self, document: &impl serde::Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.out, document).map_err(std::io::Error::from)?;
        Ok(writeln!(self.out)?)
    }
}

/// Colours, where they are wanted.
#[derive(Clone, Copy)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    /// In the style of an escape sequence's parameters.
    pub(super) fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }
}
