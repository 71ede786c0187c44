//! Exit codes of every program of the suite (design decision 18; sysexits.h where a code comes from there).

use std::process::ExitCode;

/// Why a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// All is done.
    Done,
    /// It failed.
    Failed,
    /// The command line is wrong.
    Usage,
    /// `status`: the service does not run.
    NotRunning,
    /// There is no such unit.
    NoSuchUnit,
    /// A job is done, with losses that somebody should look at.
    Degraded,
    /// The input is bad.
    BadInput,
    /// A peer or source is away.
    Unavailable,
    /// A defect of the program.
    Bug,
    /// Another process holds the id, or does the same work.
    HeldElsewhere,
    /// The user may not do that.
    NotPermitted,
    /// The configuration is wrong.
    Configuration,
    /// The deadline for the stop passed.
    StopDeadline,
}

impl Exit {
    /// All codes, in their order.
    pub const ALL: [Self; 13] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::NotRunning,
        Self::NoSuchUnit,
        Self::Degraded,
        Self::BadInput,
        Self::Unavailable,
        Self::Bug,
        Self::HeldElsewhere,
        Self::NotPermitted,
        Self::Configuration,
        Self::StopDeadline,
    ];

    /// Says when a program ends so, for the reference.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "all is done",
            Self::Failed => "it failed",
            Self::Usage => "the command line is wrong",
            Self::NotRunning => "`tcsctl status`: the service does not run",
            Self::NoSuchUnit => "there is no such service",
            Self::Degraded => "a job is done, with losses that somebody should look at",
            Self::BadInput => "the input is bad",
            Self::Unavailable => "a peer or source is away",
            Self::Bug => "a defect of the program",
            Self::HeldElsewhere => "another process holds the id, or does the same work",
            Self::NotPermitted => "the user may not do that",
            Self::Configuration => "the configuration is wrong",
            Self::StopDeadline => "the deadline for the stop, or for an answer, passed",
        }
    }

    /// Returns the number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotRunning => 3,
            Self::NoSuchUnit => 4,
            Self::Degraded => 10,
            Self::BadInput => 65,
            Self::Unavailable => 69,
            Self::Bug => 70,
            Self::HeldElsewhere => 75,
            Self::NotPermitted => 77,
            Self::Configuration => 78,
            Self::StopDeadline => 124,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
