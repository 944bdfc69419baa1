"""Initializes, lists and calls with the official SDK, in its default mode: mcp_client.py URL TOKEN."""

import asyncio
import json
import sys
import urllib.request

from mcp import ClientSession

try:
    from mcp.client import Client
    from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client
except ImportError:  # before 2.0
    Client = None
    from mcp.client.streamable_http import streamablehttp_client


def refuse_bad_token(url: str, headers: dict[str, str]) -> None:
    """A refusal of the transport reaches a session only as a closed stream: ask for it plainly first."""
    hello = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "ping"}).encode()
    headers = {**headers, "Content-Type": "application/json", "Accept": "application/json"}
    urllib.request.urlopen(urllib.request.Request(url, hello, headers)).close()


async def with_client(url: str, headers: dict[str, str]) -> dict:
    async with create_mcp_http_client(headers=headers) as http:
        async with Client(streamable_http_client(url, http_client=http)) as client:
            printed = await everything(client)
            return {**printed, "server": client.server_info.name, "protocol": client.protocol_version}


async def with_session(url: str, headers: dict[str, str]) -> dict:
    async with streamablehttp_client(url, headers=headers) as streams:
        async with ClientSession(streams[0], streams[1]) as session:
            initialized = await session.initialize()
            printed = await everything(session)
            return {**printed, "server": initialized.serverInfo.name, "protocol": initialized.protocolVersion}


async def everything(client) -> dict:
    tools = await client.list_tools()
    result = await client.call_tool("slow-search", {"query": "sessions"})
    resources = await client.list_resources()
    note = await client.read_resource(resources.resources[0].uri)
    prompts = await client.list_prompts()
    prompt = await client.get_prompt("prompt-1", {"text": "all"})
    return {
        "tools": [tool.name for tool in tools.tools],
        "result": result.content[0].text,
        "note": note.contents[0].text,
        "prompts": len(prompts.prompts),
        "prompt": prompt.messages[0].content.text,
    }


url, token = sys.argv[1:]
headers = {"Authorization": f"Bearer {token}"}
refuse_bad_token(url, headers)
print(json.dumps(asyncio.run((with_session if Client is None else with_client)(url, headers))))
