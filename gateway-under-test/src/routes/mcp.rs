//! `POST /mcp` and `POST /servers/{id}/mcp`: the gateway as an MCP server (streamable HTTP) that federates the tools of
//! the service behind it.
//!
//! The protocol is the official SDK's; the answers are those of `catalogue` and `tool_call`. Each
//! request stands alone, as any replica may get it.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::ACCEPT;
use axum::http::request::Parts;
use axum::middleware::map_request;
use axum::routing::{MethodRouter, post_service};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ErrorCode, GetPromptRequestParams, GetPromptResponse,
    GetPromptResult, Implementation, ListPromptsResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde::de::DeserializeOwned;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::catalogue::{self, List, PromptCall};
use super::tool_call;
use crate::error::GatewayError;
use crate::rbac::Caller;
use crate::request::LARGEST_BODY;
use crate::settings::Masks;
use crate::worker::Worker;

/// JSON-RPC's code for a denial, ContextForge's since 1.0.
pub(crate) const ACCESS_DENIED: i32 = -32003;

/// The protocol's side of a route: the whole gateway, or one virtual server.
#[derive(Clone, Copy, Debug)]
struct Federation;

/// Answers of the whole gateway, or of the virtual server in the path.
pub(super) fn service() -> MethodRouter<Arc<Worker>> {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(LARGEST_BODY);
    let service = StreamableHttpService::new(|| Ok(Federation), Arc::new(NeverSessionManager::default()), config);
    post_service(service).layer(map_request(accept_json))
}

/// The protocol wants clients to accept an event stream too. These answers are always JSON, so that a client that
/// accepts JSON is answered, as ContextForge answers it.
async fn accept_json(mut request: Request) -> Request {
    let json = |accept: &HeaderValue| accept.to_str().is_ok_and(|it| it.contains("application/json") || it == "*/*");
    if request.headers().get(ACCEPT).is_none_or(json) {
        let both = HeaderValue::from_static("application/json, text/event-stream");
        request.headers_mut().insert(ACCEPT, both);
    }
    request
}

/// Caller of an MCP request, and its virtual server.
struct McpRequest<'a> {
    caller: &'a Caller,
    server: Option<&'a str>,
}

impl<'a> McpRequest<'a> {
    fn of(context: &'a RequestContext<RoleServer>) -> Result<Self, ErrorData> {
        let parts = context.extensions.get::<Parts>();
        let caller = parts.and_then(|parts| parts.extensions.get::<Caller>());
        // The guard of the route has put it there.
        let caller = caller.ok_or_else(|| ErrorData::internal_error("no caller", None))?;
        let path = parts.map_or("", |parts| parts.uri.path());
        let server = path.strip_prefix("/servers/").and_then(|rest| rest.strip_suffix("/mcp"));
        Ok(Self { caller, server })
    }

    /// The user, if they have the permission, and there is such a server for them.
    async fn permitted_here(&self, permission: &str) -> Result<crate::rbac::User, ErrorData> {
        let user = self.permitted(permission).await?;
        if let Some(server) = self.server {
            catalogue::find_server(self.caller, &user, server).await.map_err(|error| self.refusal(&error))?;
        }
        Ok(user)
    }

    async fn list<T: DeserializeOwned>(&self, list: List) -> Result<T, ErrorData> {
        if self.server.is_some() {
            self.permitted_here(list.permission()).await?;
        }
        match catalogue::list(self.caller, list, self.server).await {
            Ok(listed) => parsed(&listed),
            // ContextForge's list handlers answer whatever fails with an empty list.
            Err(error) if self.caller.worker.settings.masks == Masks::On && error.fault().is_some() => {
                self.caller.worker.record(&error);
                parsed(list.empty())
            }
            Err(error) => Err(self.refusal(&error)),
        }
    }

    async fn permitted(&self, permission: &str) -> Result<crate::rbac::User, ErrorData> {
        self.caller.require_permission(permission).await.map_err(|error| self.refusal(&error))
    }

    /// The protocol's error for ours, counted where it is the gateway's fault.
    fn refusal(&self, error: &GatewayError) -> ErrorData {
        self.caller.worker.record(error);
        match error {
            GatewayError::Forbidden | GatewayError::Unauthorized(_) => {
                ErrorData::new(ErrorCode(ACCESS_DENIED), "Access denied", None)
            }
            GatewayError::NotFound => ErrorData::resource_not_found(error.to_string(), None),
            GatewayError::Invalid(why) => ErrorData::invalid_params(why.clone(), None),
            other => ErrorData::internal_error(other.to_string(), None),
        }
    }
}

/// The SDK's type for a result as JSON. Since protocol 2026-07-28 a result says that it is complete, and a list or a
/// resource for how long it may be cached; the SDK leaves both out for older clients.
fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, ErrorData> {
    let wrong = |error: serde_json::Error| ErrorData::internal_error(error.to_string(), None);
    let mut result: Value = serde_json::from_str(text).map_err(wrong)?;
    if let Value::Object(result) = &mut result {
        for (key, value) in [("resultType", json!("complete")), ("ttlMs", json!(0)), ("cacheScope", json!("private"))] {
            result.entry(key).or_insert(value);
        }
    }
    serde_json::from_value(result).map_err(wrong)
}

impl ServerHandler for Federation {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_resources().enable_prompts().build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("rbac-bench-gateway", env!("CARGO_PKG_VERSION")))
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        McpRequest::of(&context)?.list(List::Tools).await
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let asked = McpRequest::of(&context)?;
        let McpRequest { caller, server } = asked;
        let user = asked.permitted_here("tools.execute").await?;
        let no_such_tool = || ErrorData::invalid_params("no such tool", None);
        if let Some(server) = server {
            let offered = catalogue::offers(caller, &user, server, &request.name).await;
            if !offered.map_err(|error| asked.refusal(&error))? {
                return Err(no_such_tool());
            }
        }
        let params = json!({ "name": request.name, "arguments": request.arguments.unwrap_or_default() });
        let params = to_raw_value(&params).map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        match tool_call::call(&caller.worker, &caller.session, &user, &params).await {
            Ok(Some(result)) => parsed::<CallToolResult>(result.get()).map(CallToolResponse::from),
            Ok(None) => Err(no_such_tool()),
            Err(error) => Err(asked.refusal(&error)),
        }
    }

    async fn list_resources(
        &self,
        _page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        McpRequest::of(&context)?.list(List::Resources).await
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let asked = McpRequest::of(&context)?;
        if asked.server.is_some() {
            asked.permitted_here(List::Resources.permission()).await?;
        }
        let read = catalogue::read_resource(asked.caller, &request.uri, asked.server).await;
        let text = read.map_err(|error| asked.refusal(&error))?;
        parsed::<ReadResourceResult>(&text).map(ReadResourceResponse::from)
    }

    async fn list_prompts(
        &self,
        _page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        McpRequest::of(&context)?.list(List::Prompts).await
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let asked = McpRequest::of(&context)?;
        if asked.server.is_some() {
            asked.permitted_here(List::Prompts.permission()).await?;
        }
        let call = PromptCall { name: request.name, arguments: request.arguments.unwrap_or_default() };
        let got =
            catalogue::get_prompt(asked.caller, &call, asked.server).await.map_err(|error| asked.refusal(&error))?;
        parsed::<GetPromptResult>(&got.to_string()).map(GetPromptResponse::from)
    }
}
