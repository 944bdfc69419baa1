"""Initializes, lists the tools and calls a slow one, with the official SDK: mcp_client.py URL TOKEN."""

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client


async def main(url: str, token: str) -> None:
    async with create_mcp_http_client(headers={"Authorization": f"Bearer {token}"}) as http:
        # A refusal of the transport reaches a session only as a closed stream: ask for it plainly first.
        hello = {"jsonrpc": "2.0", "id": 0, "method": "ping"}
        accept = {"Accept": "application/json, text/event-stream"}
        (await http.post(url, json=hello, headers=accept)).raise_for_status()
        async with streamable_http_client(url, http_client=http) as streams:
            async with ClientSession(streams[0], streams[1]) as session:
                initialized = await session.initialize()
                tools = await session.list_tools()
                result = await session.call_tool("slow-search", {"query": "sessions"})
    said = {
        "server": initialized.server_info.name,
        "tools": [tool.name for tool in tools.tools],
        "result": result.content[0].text,
        "is_error": bool(result.is_error),
    }
    print(json.dumps(said))


asyncio.run(main(*sys.argv[1:]))
