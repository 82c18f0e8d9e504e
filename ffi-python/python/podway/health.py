"""Health checks with asyncio: does what `Router.poll` asks for, over real connections.

>>> async with podway.health.HealthChecks(router):
...     await serve()
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, TypeAlias

from podway._podway import Probe
from podway.router import HealthEvent, Router

__all__ = ["Check", "HealthChecks", "check"]

Check: TypeAlias = Callable[[Probe], Awaitable[int]]
"""Sends a probe and gives back the HTTP status or the grpc-status; raises where there is none."""

USER_AGENT = "ELB-HealthChecker/2.0"


class HealthChecks:
    """Runs the health checks of a router until it is closed.

    `check` sends one probe; `podway.health.check` unless told. `on_events` is told the changes of health as
    they are found; what it raises goes to the loop's exception handler. Used with `async with`, or `start`
    and `close`; once closed it does not start again.
    """

    def __init__(
        self,
        router: Router,
        *,
        check: Check | None = None,
        on_events: Callable[[Sequence[HealthEvent]], None] | None = None,
    ) -> None:
        self._router = router
        self._check = check if check is not None else globals()["check"]
        self._on_events = on_events
        self._turns: asyncio.Task[None] | None = None
        self._under: set[asyncio.Task[None]] = set()
        self._closed = False

    def start(self) -> None:
        """Begins, in the running loop."""
        if self._closed:
            raise RuntimeError("these health checks are closed")
        if self._turns is None:
            self._turns = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Ends; checks under way are broken off and count for nothing."""
        self._closed = True
        tasks = [task for task in (self._turns, *self._under) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> HealthChecks:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self) -> None:
        while True:
            probes, later = self._router.poll()
            for probe in probes:
                task = asyncio.create_task(self._probe(probe))
                self._under.add(task)
                task.add_done_callback(self._under.discard)
            if self._on_events is not None and (events := self._router.events()):
                try:
                    self._on_events(events)
                except Exception as error:
                    # The checks go on: what is done with their results is not their concern.
                    told = {"message": "on_events of podway.health.HealthChecks failed", "exception": error}
                    asyncio.get_running_loop().call_exception_handler(told)
            wait = 1.0 if later is None else later / 1000 - time.monotonic()
            await asyncio.sleep(min(max(wait, 0.001), 1.0))

    async def _probe(self, probe: Probe) -> None:
        try:
            status = await asyncio.wait_for(self._check(probe), probe.timeout_ms / 1000)
            # What is no status at all is refused here, as any other answer that makes no sense.
            self._router.report_probe(probe.target_id, "status", status)
        except TimeoutError:
            self._router.report_probe(probe.target_id, "timed-out")
        except (Exception, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Whatever went wrong, the target did not answer as it should.
            self._router.report_probe(probe.target_id, "failed")


async def check(probe: Probe) -> int:
    """Sends a probe. HTTP/2 and gRPC need the package `h2`."""
    secure = probe.protocol == "HTTPS"
    host, port = probe.address
    context = _context(probe.protocol_version) if secure else None
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        if probe.protocol_version == "HTTP1":
            return await _http1(probe, reader, writer)
        return await _http2(probe, reader, writer)
    finally:
        writer.close()


def _context(version: str) -> ssl.SSLContext:
    # As the load balancer does: the certificate of a target is never looked at.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1" if version == "HTTP1" else "h2"])
    return context


async def _http1(probe: Probe, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    head = (
        f"GET {probe.path} HTTP/1.1\r\nHost: {probe.host}\r\nUser-Agent: {USER_AGENT}\r\n"
        "Connection: close\r\nAccept-Encoding: gzip, compressed\r\n\r\n"
    )
    writer.write(head.encode())
    await writer.drain()
    while True:
        version, status, *_ = (await reader.readline()).split(maxsplit=2)
        if not version.startswith(b"HTTP/1.") or len(status) != 3 or not status.isdigit():
            raise ValueError("this is not HTTP/1")
        length: int | None = None
        while (line := await reader.readline()) not in (b"\r\n", b"\n"):
            if not line:
                raise ConnectionError("the target closed before it answered")
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if not status.startswith(b"1"):
            break
    # The answer counts when it is whole; some targets keep the connection all the same.
    if status in (b"204", b"304"):
        length = 0
    if length is not None:
        await _skip(reader, length)
    else:
        while await reader.read(65536):
            pass
    return int(status)


async def _skip(reader: asyncio.StreamReader, length: int) -> None:
    while length > 0:
        chunk = await reader.read(min(length, 65536))
        if not chunk:
            raise ConnectionError("the target closed before its answer was whole")
        length -= len(chunk)


async def _http2(probe: Probe, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    import h2.config
    import h2.connection
    import h2.events

    grpc = probe.protocol_version == "GRPC"
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    headers = [
        (":method", "POST" if grpc else "GET"),
        (":scheme", probe.protocol.lower()),
        (":authority", probe.host),
        (":path", probe.path),
        ("user-agent", USER_AGENT),
    ]
    if grpc:
        headers += [("content-type", "application/grpc"), ("te", "trailers")]
    connection.send_headers(1, headers, end_stream=not grpc)
    if grpc:
        # An empty message: one byte of flags and four of length.
        connection.send_data(1, bytes(5), end_stream=True)
    writer.write(connection.data_to_send())
    wanted = "grpc-status" if grpc else ":status"
    status: int | None = None
    while data := await reader.read(65536):
        for event in connection.receive_data(data):
            match event:
                case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                    status = _status(event.headers, wanted, status)
                case h2.events.DataReceived():
                    connection.acknowledge_received_data(event.flow_controlled_length, 1)
                case h2.events.StreamEnded() if status is not None:
                    return status
                case h2.events.StreamEnded() | h2.events.StreamReset():
                    raise ValueError(f"the answer has no {wanted}")
                case _:
                    pass
        writer.write(connection.data_to_send())
    raise ConnectionError("the target closed before it answered")


def _status(headers: Any, wanted: str, before: int | None) -> int | None:
    return next((int(value) for name, value in headers if name == wanted), before)
