//! What the user reads when a command cannot be done.

use super::Exit;
use std::error::Error;
use std::io;

/// One thing that is wrong: what and where, why, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl Problem {
    /// A problem: a lower-case fragment without a full stop that names the file, key or object and the value found.
    pub fn new(message: impl Into<String>) -> Self {
        Problem { message: message.into(), causes: Vec::new(), hint: None }
    }

    /// Adds a cause; the nearest comes first.
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Adds an error and its sources as causes, each once: many errors repeat their source in their own text.
    pub fn because(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            if self.causes.last().is_none_or(|above| !above.contains(&text)) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// Sets the next step to take.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn write_to(&self, out: &mut dyn io::Write) -> io::Result<()> {
        writeln!(out, "error: {}", self.message)?;
        for cause in &self.causes {
            for (i, line) in cause.lines().enumerate() {
                writeln!(out, "{}{line}", if i == 0 { "  cause: " } else { "         " })?;
            }
        }
        match &self.hint {
            Some(hint) => writeln!(out, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Why a command ended early: an exit code and what to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    problems: Vec<Problem>,
}

impl Failure {
    /// Wrong usage or unreadable input, all problems at once.
    pub fn unreadable(problems: impl IntoIterator<Item = Problem>) -> Self {
        Failure { exit: Exit::Usage, problems: problems.into_iter().collect() }
    }

    /// The cluster refused or could not be reached.
    pub fn cluster(problem: Problem) -> Self {
        Failure { exit: Exit::Cluster, problems: vec![problem] }
    }

    /// Our own fault.
    pub fn ours(problem: Problem) -> Self {
        Failure { exit: Exit::OurFault, problems: vec![problem] }
    }

    /// A file that could not be opened or read: its user's to mend.
    pub fn file(path: &std::path::Path, error: &io::Error) -> Self {
        Failure::unreadable([Problem::new(format!("{}: cannot be read", path.display())).because(error)])
    }

    /// The same failure with another next step for its last problem.
    #[must_use]
    pub fn hint(mut self, hint: &str) -> Self {
        if let Some(last) = self.problems.pop() {
            self.problems.push(last.hint(hint));
        }
        self
    }

    /// The code for the shell.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Writes the problems, parted by blank lines.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&self, out: &mut dyn io::Write) -> io::Result<()> {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                writeln!(out)?;
            }
            problem.write_to(out)?;
        }
        out.flush()
    }
}

/// An error of standard output (files go through [`Failure::file`]). A reader that has gone away is no failure.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure { exit: Exit::Done, problems: Vec::new() };
        }
        Failure::ours(Problem::new("cannot write to standard output").because(&error))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_failure_reads_as_error_causes_and_hint() {
        let failure = Failure::unreadable([
            Problem::new("web.csv:3: latency_ms \"-4\" is negative")
                .cause("it was recorded so")
                .hint("record it again"),
            Problem::new("web.csv:9: ok \"yes\""),
        ]);
        let mut text = Vec::new();
        failure.write_to(&mut text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "error: web.csv:3: latency_ms \"-4\" is negative\n  cause: it was recorded so\n\nhint: record it again\n\n\
             error: web.csv:9: ok \"yes\"\n"
        );
    }
}
