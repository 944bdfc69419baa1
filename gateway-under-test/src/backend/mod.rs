//! The slow service behind the gateway: a real MCP server whose tools wait for a configured time.
