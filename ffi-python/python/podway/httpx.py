"""A client-side load balancer for httpx: requests go straight to the target that the load balancer would
choose, with its rules, its stickiness and its health.

>>> client = httpx.Client(transport=podway.httpx.Transport(router, listener))
>>> client.get("https://shop.example.com/app1/")

What the load balancer answers by itself (redirects, fixed responses, errors) is answered without a
connection. Sticky cookies are part of the response, so the client's own jar brings them back. With the option
`retry` of the router, a second target is tried where there is no connection to the first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import httpx

from podway._podway import Decision
from podway.router import Router

__all__ = ["AsyncTransport", "Transport"]


class Transport(httpx.BaseTransport):
    """For `httpx.Client`. `scheme` is how targets are reached, `transport` carries the requests there."""

    def __init__(
        self,
        router: Router,
        listener: int,
        *,
        scheme: str = "http",
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._balancer = _Balancer(router, listener, scheme)
        self._transport = transport if transport is not None else httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        decision = self._balancer.decide(request)
        if decision.type != "forward":
            return _answer(request, decision)
        try:
            return self._sent(request, decision)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            again = self._balancer.retry(request, decision)
            if again is None:
                raise
            return self._sent(request, again)

    def _sent(self, request: httpx.Request, decision: Decision) -> httpx.Response:
        report = self._balancer.reporter(decision)
        try:
            response = self._transport.handle_request(self._balancer.aimed(request, decision))
        except BaseException as error:
            report(_outcome(error), 0)
            raise
        stream = _Stream(response, report)
        return self._balancer.told(request, decision, response, stream)

    def close(self) -> None:
        self._transport.close()


class AsyncTransport(httpx.AsyncBaseTransport):
    """For `httpx.AsyncClient`."""

    def __init__(
        self,
        router: Router,
        listener: int,
        *,
        scheme: str = "http",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._balancer = _Balancer(router, listener, scheme)
        self._transport = transport if transport is not None else httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        decision = self._balancer.decide(request)
        if decision.type != "forward":
            return _answer(request, decision)
        try:
            return await self._sent(request, decision)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            again = self._balancer.retry(request, decision)
            if again is None:
                raise
            return await self._sent(request, again)

    async def _sent(self, request: httpx.Request, decision: Decision) -> httpx.Response:
        report = self._balancer.reporter(decision)
        try:
            response = await self._transport.handle_async_request(self._balancer.aimed(request, decision))
        except BaseException as error:
            report(_outcome(error), 0)
            raise
        stream = _AsyncStream(response, report)
        return self._balancer.told(request, decision, response, stream)

    async def aclose(self) -> None:
        await self._transport.aclose()


Report = Callable[[str, int], None]


class _Balancer:
    def __init__(self, router: Router, listener: int, scheme: str) -> None:
        self._router = router
        self._listener = listener
        self._scheme = scheme

    def decide(self, request: httpx.Request) -> Decision:
        return self._router.decide(
            self._listener, request.method, request.url.raw_path, None, request.headers.raw
        )

    def retry(self, request: httpx.Request, failed: Decision) -> Decision | None:
        """Another target for a request of which nothing was sent, where the router's options allow it."""
        return self._router.retry(
            failed, self._listener, request.method, request.url.raw_path, None, request.headers.raw
        )

    def reporter(self, decision: Decision) -> Report:
        """Reports the first time it is called."""
        settled = False

        def report(outcome: str, status: int) -> None:
            nonlocal settled
            if not settled:
                settled = True
                self._router.report(decision, outcome, status)

        return report

    def aimed(self, request: httpx.Request, decision: Decision) -> httpx.Request:
        """The request as it goes to the target."""
        path = request.url.raw_path if decision.uri is None else decision.uri.encode()
        url = httpx.URL(f"{self._scheme}://{decision.address}").copy_with(raw_path=path)
        headers = request.headers.copy()
        if decision.host is not None:
            headers["host"] = decision.host
        return httpx.Request(
            request.method, url, headers=headers, stream=request.stream, extensions=request.extensions
        )

    def told(
        self,
        request: httpx.Request,
        decision: Decision,
        response: httpx.Response,
        stream: httpx.SyncByteStream | httpx.AsyncByteStream,
    ) -> httpx.Response:
        """The target's response with what the load balancer adds."""
        names = [line.partition("=")[0].strip() for line in response.headers.get_list("set-cookie")]
        added = [*decision.set_cookies, *self._router.app_cookie(decision, request.headers.raw, names)]
        headers = [*response.headers.raw, *((b"set-cookie", line.encode()) for line in added)]
        return httpx.Response(
            response.status_code, headers=headers, stream=stream, extensions=response.extensions
        )


def _answer(request: httpx.Request, decision: Decision) -> httpx.Response:
    body = decision.body or b""
    headers = [(b"server", b"awselb/2.0"), (b"content-length", str(len(body)).encode())]
    if decision.location is not None:
        headers.append((b"location", decision.location.encode()))
    if decision.content_type is not None:
        headers.append((b"content-type", decision.content_type.encode()))
    content = None if request.method == "HEAD" else body
    return httpx.Response(decision.status or 500, headers=headers, content=content)


def _outcome(error: BaseException) -> str:
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout():
            return "connect-failed"
        case httpx.PoolTimeout() | httpx.LocalProtocolError() | httpx.UnsupportedProtocol():
            return "cancelled"  # the target had no part in it
        case httpx.TimeoutException():
            return "timed-out"
        case httpx.TransportError():
            return "closed"
        case _:
            return "cancelled"


class _Stream(httpx.SyncByteStream):
    """A body whose end, good or bad, is reported."""

    def __init__(self, response: httpx.Response, report: Report) -> None:
        self._response = response
        self._report = report

    def __iter__(self) -> Iterator[bytes]:
        assert isinstance(self._response.stream, httpx.SyncByteStream)
        try:
            yield from self._response.stream
        except httpx.TransportError as error:
            self._report(_outcome(error), 0)
            raise

    def close(self) -> None:
        self._report("response", self._response.status_code)
        self._response.close()


class _AsyncStream(httpx.AsyncByteStream):
    """The same for an `AsyncClient`."""

    def __init__(self, response: httpx.Response, report: Report) -> None:
        self._response = response
        self._report = report

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._response.stream, httpx.AsyncByteStream)
        try:
            async for chunk in self._response.stream:
                yield chunk
        except httpx.TransportError as error:
            self._report(_outcome(error), 0)
            raise

    async def aclose(self) -> None:
        self._report("response", self._response.status_code)
        await self._response.aclose()
