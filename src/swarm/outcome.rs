//! Outcome of one request.

use std::time::Instant;

/// So much of an answer is kept to be judged.
pub(super) const READ_MOST: usize = 1 << 20;

/// Outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// With the answer that was asked for.
    Success,
    /// With an error, a masked one included; its text.
    Failure(String),
    /// Nothing came in time; the same as a text.
    NoAnswer(String),
    /// The load ended first: neither success nor failure.
    CutOff,
}

/// Failure of a request.
pub(super) enum RequestFailure {
    /// The answer, or a connection that broke.
    Failed(String),
    /// Nothing came in time.
    NoAnswer(String),
}

impl From<String> for RequestFailure {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

/// One request that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedRequest {
    pub sent: Instant,
    /// When it was over.
    pub done: Instant,
    pub status: RequestStatus,
    /// Text of the failure, if it is one.
    pub failure: Option<String>,
}

/// Outcome of a request, without its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestStatus {
    /// With the answer that was asked for.
    Succeeded,
    /// With another one, or none because the connection broke.
    Failed,
    /// Nothing came in time.
    Unanswered,
    /// The scan has asked the user to stop.
    CutOff,
}

impl RequestOutcome {
    pub(super) fn failure(&self) -> Option<&str> {
        match self {
            Self::Failure(text) | Self::NoAnswer(text) => Some(text),
            Self::Success | Self::CutOff => None,
        }
    }
}

impl RequestStatus {
    pub(super) fn of(outcome: &RequestOutcome) -> Self {
        match outcome {
            RequestOutcome::Success => Self::Succeeded,
            RequestOutcome::NoAnswer(_) => Self::Unanswered,
            RequestOutcome::Failure(_) => Self::Failed,
            RequestOutcome::CutOff => Self::CutOff,
        }
    }
}
