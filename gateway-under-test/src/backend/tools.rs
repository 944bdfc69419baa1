//! Tools of the backend, for the MCP library.

use std::sync::Arc;

use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::tool::ToolCallContext;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock};
use rmcp::schemars::JsonSchema;
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, tool, tool_handler, tool_router};
use serde::Deserialize;

use super::clock;
use super::delay::Delays;

/// The tools behind one request. The library asks for a new value for each request, so a copy is two counters.
#[derive(Clone)]
pub(super) struct Tools {
    delays: Arc<Delays>,
    router: Arc<ToolRouter<Self>>,
    prefixes: Arc<[String]>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct SystemTime {
    /// IANA name such as `Europe/Dublin`; UTC unless given.
    timezone: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct ConvertTime {
    /// ISO 8601, such as `2026-01-22T09:30:00`.
    time: String,
    /// IANA name of the zone the time is in.
    source_timezone: String,
    /// IANA name of the zone wanted.
    target_timezone: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Echo {
    /// Text to repeat.
    message: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct SlowSearch {
    /// Text to search for.
    query: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct SlowReport {
    /// Subject of the report.
    topic: String,
}

#[tool_router]
impl Tools {
    pub(super) fn new(delays: Delays, prefixes: &[String]) -> Self {
        Self { delays: Arc::new(delays), router: Arc::new(Self::tool_router()), prefixes: prefixes.into() }
    }

    /// A tool's own name, whatever prefix it is called by.
    fn plain<'a>(&self, name: &'a str) -> &'a str {
        let behind = |prefix: &String| name.strip_prefix(prefix.as_str()).filter(|plain| self.router.has_route(plain));
        self.prefixes.iter().find_map(behind).unwrap_or(name)
    }

    #[tool(name = "get-system-time", description = "The time now")]
    fn get_system_time(Parameters(arguments): Parameters<SystemTime>) -> Result<String, String> {
        clock::now(arguments.timezone.as_deref().unwrap_or("UTC")).map_err(|error| error.to_string())
    }

    #[tool(name = "convert-time", description = "The same instant in another time zone")]
    fn convert_time(Parameters(arguments): Parameters<ConvertTime>) -> Result<String, String> {
        clock::convert(&arguments.time, &arguments.source_timezone, &arguments.target_timezone)
            .map_err(|error| error.to_string())
    }

    #[tool(name = "echo", description = "The message it was given")]
    fn echo(Parameters(arguments): Parameters<Echo>) -> String {
        arguments.message
    }

    #[tool(name = "slow-search", description = "A search that takes its time")]
    fn slow_search(Parameters(arguments): Parameters<SlowSearch>) -> String {
        format!("nothing found for `{}`", arguments.query)
    }

    #[tool(name = "slow-report", description = "A report that takes its time")]
    fn slow_report(Parameters(arguments): Parameters<SlowReport>) -> String {
        format!("nothing to report on `{}`", arguments.topic)
    }
}

#[tool_handler(router = self.router, name = "slow-backend")]
impl ServerHandler for Tools {
    /// Waits, then calls. A tool without a delay does not wait at all: even an empty sleep costs a turn of the timer.
    async fn call_tool(
        &self,
        mut request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        request.name = self.plain(&request.name).to_owned().into();
        let delay = self.delays.draw(&request.name);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if is_of_catalogue(&request.name) {
            let text = format!("`{}` has nothing to do", request.name);
            return Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into());
        }
        self.router.call(ToolCallContext::new(self, request, context)).await
    }
}

/// True if it is one of the data set's tools (`tool-7`), which are there to be listed.
fn is_of_catalogue(name: &str) -> bool {
    name.strip_prefix("tool-").is_some_and(|number| number.parse::<u16>().is_ok())
}
