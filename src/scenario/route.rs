//! Routes of the gateway, by name.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

/// A tool of the slow service behind the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tool {
    /// `get-system-time`
    GetSystemTime,
    /// `convert-time`
    ConvertTime,
    /// `echo`
    Echo,
    /// `slow-search`
    SlowSearch,
    /// `slow-report`
    SlowReport,
}

impl Tool {
    pub const ALL: [Self; 5] = [Self::GetSystemTime, Self::ConvertTime, Self::Echo, Self::SlowSearch, Self::SlowReport];

    /// The name that a `tools/call` gives.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GetSystemTime => "get-system-time",
            Self::ConvertTime => "convert-time",
            Self::Echo => "echo",
            Self::SlowSearch => "slow-search",
            Self::SlowReport => "slow-report",
        }
    }

    /// Arguments that the tool accepts, as JSON.
    #[must_use]
    pub const fn arguments(self) -> &'static str {
        match self {
            Self::GetSystemTime => r#"{"timezone":"UTC"}"#,
            Self::ConvertTime => {
                r#"{"time":"2026-01-22T12:00:00","source_timezone":"UTC","target_timezone":"Europe/Berlin"}"#
            }
            Self::Echo => r#"{"message":"hello"}"#,
            Self::SlowSearch => r#"{"query":"idle in transaction"}"#,
            Self::SlowReport => r#"{"topic":"connection pools"}"#,
        }
    }
}

/// One thing that a user does, as it is written among the `tasks` of a class.
///
/// ```
/// use rbac_bench::scenario::route::TaskRoute;
/// let route: TaskRoute = "POST /rpc tools/call slow-search".parse().unwrap();
/// assert_eq!(route.label(), "POST /rpc tools/call");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskRoute {
    /// `GET /health`, which touches no database.
    Health,
    /// `GET /ready`
    Ready,
    /// `GET /tools`
    Tools,
    /// `GET /servers`
    Servers,
    /// `GET /admin/`
    Admin,
    /// `GET /servers/{id}/sse`, a stream that is read for a second.
    ServerStream,
    /// `GET /metrics/prometheus`
    Metrics,
    /// `POST /rpc tools/list`
    RpcToolsList,
    /// `POST /rpc ping`
    RpcPing,
    /// `POST /rpc tools/call <tool>`, which waits for the service behind the gateway.
    RpcToolsCall(Tool),
}

impl TaskRoute {
    /// Every route, each tool's call apart.
    pub const ALL: [Self; 14] = [
        Self::Health,
        Self::Ready,
        Self::Tools,
        Self::Servers,
        Self::Admin,
        Self::ServerStream,
        Self::Metrics,
        Self::RpcToolsList,
        Self::RpcPing,
        Self::RpcToolsCall(Tool::GetSystemTime),
        Self::RpcToolsCall(Tool::ConvertTime),
        Self::RpcToolsCall(Tool::Echo),
        Self::RpcToolsCall(Tool::SlowSearch),
        Self::RpcToolsCall(Tool::SlowReport),
    ];

    /// The names of [`Self::ALL`], in the same order.
    const NAMES: [&str; 14] = {
        let mut names = [""; 14];
        let mut index = 0;
        while index < names.len() {
            names[index] = Self::ALL[index].name();
            index += 1;
        }
        names
    };

    /// The name in a scenario file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RpcToolsCall(Tool::GetSystemTime) => "POST /rpc tools/call get-system-time",
            Self::RpcToolsCall(Tool::ConvertTime) => "POST /rpc tools/call convert-time",
            Self::RpcToolsCall(Tool::Echo) => "POST /rpc tools/call echo",
            Self::RpcToolsCall(Tool::SlowSearch) => "POST /rpc tools/call slow-search",
            Self::RpcToolsCall(Tool::SlowReport) => "POST /rpc tools/call slow-report",
            plain => plain.label(),
        }
    }

    /// The route's name in the record, where the calls of all tools are one route: they share its code.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Health => "GET /health",
            Self::Ready => "GET /ready",
            Self::Tools => "GET /tools",
            Self::Servers => "GET /servers",
            Self::Admin => "GET /admin/",
            Self::ServerStream => "GET /servers/{id}/sse",
            Self::Metrics => "GET /metrics/prometheus",
            Self::RpcToolsList => "POST /rpc tools/list",
            Self::RpcPing => "POST /rpc ping",
            Self::RpcToolsCall(_) => "POST /rpc tools/call",
        }
    }

    /// The tool that is called, if one is.
    #[must_use]
    pub const fn tool(self) -> Option<Tool> {
        match self {
            Self::RpcToolsCall(tool) => Some(tool),
            _ => None,
        }
    }
}

/// Errors of a [`TaskRoute`] or a [`Tool`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RouteError {
    #[error("unknown route `{0}`")]
    Route(String),
    #[error("unknown tool `{0}`")]
    Tool(String),
}

impl FromStr for TaskRoute {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        Self::ALL.into_iter().find(|route| route.name() == text).ok_or_else(|| RouteError::Route(text.to_owned()))
    }
}

impl FromStr for Tool {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        Self::ALL.into_iter().find(|tool| tool.name() == text).ok_or_else(|| RouteError::Tool(text.to_owned()))
    }
}

impl fmt::Display for TaskRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for TaskRoute {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for TaskRoute {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // Serde's own form of the message carries what is allowed, from which the hint is made.
        text.parse().ok().ok_or_else(|| de::Error::unknown_variant(&text, &Self::NAMES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_and_reading_a_route_is_the_identity() {
        for route in TaskRoute::ALL {
            assert_eq!(route.to_string().parse(), Ok(route));
            assert!(route.name().starts_with(route.label()));
        }
        for tool in Tool::ALL {
            assert_eq!(tool.name().parse(), Ok(tool));
            assert_eq!(TaskRoute::RpcToolsCall(tool).name(), format!("POST /rpc tools/call {tool}"));
        }
    }

    #[test]
    fn a_route_of_another_service_is_refused() {
        for text in ["", "GET", "get /tools", "GET /tools/", "POST /rpc tools/call", "POST /rpc tools/call rm"] {
            assert_eq!(text.parse::<TaskRoute>(), Err(RouteError::Route(text.to_owned())));
        }
    }
}
