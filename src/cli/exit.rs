//! The exit codes, which scripts rely on.

use std::process::ExitCode;

/// How a command ended, as the shell sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: our own fault: a broken invariant, or output that could not be written.
    OurFault,
    /// 2: wrong usage, or input that cannot be read.
    Usage,
    /// 3: a command whose answer is a finding had one.
    Finding,
    /// 4: the cluster refused or could not be reached.
    Cluster,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::OurFault => 1,
            Exit::Usage => 2,
            Exit::Finding => 3,
            Exit::Cluster => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
