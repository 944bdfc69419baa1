//! Exit codes: what a script reads.

use std::process::ExitCode;

use super::scenario;

/// Exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: ran.
    Ok,
    /// 1: could not measure.
    CouldNotMeasure,
    /// 2: the request is invalid.
    BadRequest,
    /// 3: too little was seen to judge.
    Inconclusive,
    /// 99: a gate failed.
    GateFailed,
    /// 129: its terminal has gone, by SIGHUP or an end of file.
    HungUp,
    /// 130: interrupted by SIGINT.
    Interrupted,
    /// 143: interrupted by SIGTERM.
    Terminated,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::CouldNotMeasure => 1,
            Self::BadRequest => 2,
            Self::Inconclusive => 3,
            Self::GateFailed => 99,
            Self::HungUp => 129,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

impl From<scenario::CheckOutcome> for Exit {
    fn from(outcome: scenario::CheckOutcome) -> Self {
        match outcome {
            scenario::CheckOutcome::Fine => Self::Ok,
            scenario::CheckOutcome::Refused => Self::BadRequest,
        }
    }
}
