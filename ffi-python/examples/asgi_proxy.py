"""A load balancer as an ASGI application: podway decides, httpx carries.

pip install podway httpx uvicorn
MANIFESTS=core/examples/target-type-ip LOAD_BALANCER=target-type-ip PORT=443 \
    uvicorn --app-dir ffi-python/examples asgi_proxy:app
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import podway
from podway.health import HealthChecks

# A load balancer waits for a minute.
TIMEOUT = httpx.Timeout(60).as_dict()
HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"te", b"upgrade"}


class Proxy:
    def __init__(self, router: podway.Router, listener: int) -> None:
        self.router = router
        self.listener = listener
        self.transport = httpx.AsyncHTTPTransport()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.lifespan(receive, send)
        elif scope["type"] == "http":
            await self.http(scope, receive, send)

    async def lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        async with HealthChecks(self.router):
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def http(self, scope: Any, receive: Any, send: Any) -> None:
        # Not every server tells the path as received.
        path = scope.get("raw_path") or quote(scope["path"], "/:@!$&'()*+,;=~").encode()
        target = path + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        client = scope.get("client") or ("127.0.0.1", 0)
        with self.router.forward(
            self.listener, scope["method"], target, None, scope["headers"], client
        ) as forwarding:
            decision = forwarding.decision
            if decision.type != "forward":
                await answer(send, decision)
                return
            path = target if decision.uri is None else decision.uri.encode()
            headers = [(n, v) for n, v in scope["headers"] if n not in HOP_BY_HOP and n != b"host"]
            host = dict(scope["headers"]).get(b"host", b"")
            headers.append((b"host", host if decision.host is None else decision.host.encode()))
            headers.append((b"x-forwarded-for", client[0].encode()))
            url = httpx.URL(f"http://{decision.address}").copy_with(raw_path=path)
            # A request without a body gets none: an empty one in chunks would stay unread with many a target.
            bodied = {b"content-length", b"transfer-encoding"} & {name for name, _ in scope["headers"]}
            content = body(receive) if bodied else None
            extensions = {"timeout": TIMEOUT}
            request = httpx.Request(
                scope["method"], url, headers=headers, content=content, extensions=extensions
            )
            try:
                response = await self.transport.handle_async_request(request)
            except ClientGone:
                forwarding.report("cancelled")
                return
            except httpx.TransportError as error:
                late = isinstance(error, httpx.TimeoutException)
                refused = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
                forwarding.report("connect-failed" if refused else "timed-out" if late else "closed")
                status = 504 if late else 502
                await send({"type": "http.response.start", "status": status, "headers": []})
                await send({"type": "http.response.body"})
                return
            names = [line.partition("=")[0] for line in response.headers.get_list("set-cookie")]
            added = [*decision.set_cookies, *self.router.app_cookie(decision, scope["headers"], names)]
            told = [(n, v) for n, v in response.headers.raw if n.lower() not in HOP_BY_HOP]
            told += [(b"set-cookie", line.encode()) for line in added]
            await send({"type": "http.response.start", "status": response.status_code, "headers": told})
            try:
                async for chunk in response.stream:  # type: ignore[union-attr]
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            finally:
                await response.aclose()
            await send({"type": "http.response.body"})
            forwarding.report("response", response.status_code)


class ClientGone(Exception):
    """Half a body must not look like a whole one."""


async def body(receive: Any) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def answer(send: Any, decision: podway.Decision) -> None:
    named = {"location": decision.location, "content-type": decision.content_type}
    headers = [(name.encode(), value.encode()) for name, value in named.items() if value is not None]
    await send({"type": "http.response.start", "status": decision.status, "headers": headers})
    await send({"type": "http.response.body", "body": decision.body or b""})


def from_environment() -> Proxy:
    router = podway.Router(podway.load(os.environ["MANIFESTS"]))
    return Proxy(router, router.listener(os.environ["LOAD_BALANCER"], int(os.environ["PORT"])))


if "MANIFESTS" in os.environ:
    app = from_environment()
