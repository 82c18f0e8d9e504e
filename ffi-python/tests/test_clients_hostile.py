"""Clients and proxies whose targets, callers or rules are not as they should be: nothing is left in flight,
and targets are blamed for what they did only."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import podway
import pytest

httpx = pytest.importorskip("httpx")
sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

URL = "http://shop.example.com"
Peer = Callable[[socket.socket], None]


class Recording(podway.Router):
    """A router that remembers how forwards ended."""

    __slots__ = ("outcomes",)

    outcomes: list[str]

    def report(self, decision: Any, outcome: str = "response", status: int = 200, **more: Any) -> None:
        self.outcomes.append(outcome)
        super().report(decision, outcome, status, **more)


def head(peer: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = peer.recv(65536)
        if not chunk:
            return b""
        received += chunk
    return received


def ok(peer: socket.socket) -> None:
    while asked := head(peer):
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(asked), asked))


def stalls(peer: socket.socket) -> None:
    head(peer)
    peer.recv(1)  # until the client has had enough


def half(peer: socket.socket) -> None:
    head(peer)
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")


def half_and_stalls(peer: socket.socket) -> None:
    half(peer)
    peer.recv(1)


def no_http(peer: socket.socket) -> None:
    head(peer)
    peer.sendall(b"SSH-2.0-x\r\n\r\n")


def odd_status(peer: socket.socket) -> None:
    head(peer)
    peer.sendall(b"HTTP/1.1 299 Odd\r\nContent-Length: 1\r\n\r\nx")


@pytest.fixture
def balanced() -> Iterator[Callable[..., Recording]]:
    """Makes a router whose one target is served by `peer`, with rules of its own."""
    sockets = []

    def make(peer: Peer, *rules: dict[str, Any]) -> Recording:
        listening = socket.create_server(("127.0.0.1", 0))
        sockets.append(listening)

        def answer(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                peer(connection)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=(listening.accept()[0],), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        target = {"Target": {"Id": "127.0.0.1", "Port": listening.getsockname()[1]}}
        group = {"TargetGroupArn": "arn:app", "TargetGroupName": "app", "TargetType": "ip"}
        listener = {
            "Port": 80,
            "Protocol": "HTTP",
            "DefaultActions": [{"Type": "forward", "TargetGroupArn": "arn:app"}],
            "Rules": list(rules),
        }
        model = {
            "LoadBalancers": [
                {"LoadBalancerArn": "arn:lb", "LoadBalancerName": "web", "Listeners": [listener]}
            ],
            "TargetGroups": [group | {"TargetHealthDescriptions": [target]}],
        }
        router = Recording(podway.Model.from_json(model))
        router.outcomes = []
        return router

    yield make
    for listening in sockets:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def settled(router: podway.Router) -> bool:
    return sum(target.in_flight for target in router.targets()) == 0 and router.late_reports() == 0


def broken_body() -> Iterator[bytes]:
    yield b"a"
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("peer", "arguments", "error", "outcome"),
    [
        (stalls, {}, httpx.ReadTimeout, "timed-out"),
        (half, {}, httpx.RemoteProtocolError, "closed"),
        (half_and_stalls, {}, httpx.ReadTimeout, "timed-out"),
        (no_http, {}, httpx.RemoteProtocolError, "closed"),
        (ok, {"content": broken_body}, ZeroDivisionError, "cancelled"),
        (
            ok,
            {"content": lambda: iter([b"abc"]), "headers": {"content-length": "9"}},
            Exception,  # h11's own
            "cancelled",
        ),
    ],
)
def test_what_fails_is_reported_as_what_it_is(
    balanced: Any, peer: Peer, arguments: dict[str, Any], error: type[Exception], outcome: str
) -> None:
    from podway.httpx import Transport

    router = balanced(peer)
    given = {name: value() if callable(value) else value for name, value in arguments.items()}
    transport = Transport(router, 0)
    with httpx.Client(transport=transport, timeout=2) as client, pytest.raises(error):
        client.post(URL, **given)
    assert router.outcomes == [outcome] and settled(router)


def test_a_pool_that_is_full_is_not_the_target_s_fault(balanced: Any) -> None:
    from podway.httpx import Transport

    router = balanced(half_and_stalls)
    limits = httpx.Limits(max_connections=1)
    carrying = httpx.HTTPTransport(limits=limits)
    transport = Transport(router, 0, transport=carrying)
    with httpx.Client(transport=transport, timeout=httpx.Timeout(5, pool=0.2)) as client:
        with client.stream("GET", URL), pytest.raises(httpx.PoolTimeout):
            client.get(URL)
        assert router.outcomes == ["cancelled", "response"]
    assert settled(router)


def test_cancelled_tasks_are_not_the_target_s_fault(balanced: Any) -> None:
    from podway.httpx import AsyncTransport

    router = balanced(stalls)

    async def main() -> None:
        async with httpx.AsyncClient(transport=AsyncTransport(router, 0)) as client:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.get(URL), 0.5)

        async def forward() -> None:
            with router.forward(0):
                await asyncio.sleep(3600)

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(forward(), 0.2)

    asyncio.run(main())
    assert router.outcomes == ["cancelled", "cancelled"] and settled(router)


def test_answers_of_the_load_balancer_may_be_any_text(balanced: Any) -> None:
    from podway.httpx import Transport

    redirect = {"Type": "redirect", "RedirectConfig": {"Path": "/n\u00e9w", "StatusCode": "HTTP_302"}}
    fixed = {
        "Type": "fixed-response",
        "FixedResponseConfig": {"StatusCode": "200", "ContentType": "text/plain", "MessageBody": "n\u00e9"},
    }
    rules = [
        {"Priority": str(n), "Conditions": [{"Field": "path-pattern", "Values": [path]}], "Actions": [action]}
        for n, path, action in ((1, "/old", redirect), (2, "/fixed", fixed))
    ]
    router = balanced(ok, *rules)
    with httpx.Client(transport=Transport(router, 0)) as client:
        assert client.get(f"{URL}/old").headers["location"] == f"{URL}:80/n\u00e9w"
        assert client.get(f"{URL}/fixed").text == "n\u00e9"
        told = client.head(f"{URL}/fixed")
        assert (told.headers["content-length"], told.content) == ("3", b"")
        moved = client.get(f"{URL}/old", follow_redirects=True)
        assert moved.text.startswith("GET /n%C3%A9w HTTP/1.1")
    assert settled(router)


def test_clients_of_two_listeners_follow_redirects(balanced: Any) -> None:
    from podway.httpx import Transport

    secure = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
    rule = {
        "Priority": "1",
        "Conditions": [{"Field": "path-pattern", "Values": ["*"]}],
        "Actions": [{"Type": "redirect", "RedirectConfig": secure}],
    }
    http, https = balanced(ok, rule), balanced(ok)
    mounts = {"http://": Transport(http, 0), "https://": Transport(https, 0)}
    with httpx.Client(mounts=mounts, follow_redirects=True) as client:
        assert client.get(f"{URL}/a").text.startswith("GET /a HTTP/1.1")


def asgi(app: Any, messages: list[dict[str, Any]], *headers: tuple[bytes, bytes]) -> list[dict[str, Any]]:
    """What an application sends that receives `messages`. The server tells neither the client nor the path as
    received, which it need not."""
    sent: list[dict[str, Any]] = []
    coming = iter(messages)
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/a b;c",
        "query_string": b"",
        "headers": [(b"host", b"x"), *headers],
        "client": None,
    }

    async def receive() -> dict[str, Any]:
        return next(coming)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def test_the_asgi_example_does_not_pass_on_half_a_body(balanced: Any) -> None:
    from asgi_proxy import Proxy

    ended = threading.Event()
    received = []

    def reads(peer: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := peer.recv(65536):
                received.append(chunk)
        ended.set()

    router = balanced(reads)
    body = [{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}]
    assert asgi(Proxy(router, 0), body, (b"transfer-encoding", b"chunked")) == []
    assert ended.wait(30)
    assert b"half" in b"".join(received) and b"0\r\n\r\n" not in b"".join(received)
    assert router.outcomes == ["cancelled"] and settled(router)


def test_the_asgi_example_answers_for_targets_that_do_not(balanced: Any) -> None:
    from asgi_proxy import Proxy

    whole = [{"type": "http.request", "body": b""}]
    router = balanced(no_http)
    assert [m.get("status") for m in asgi(Proxy(router, 0), whole)] == [502, None]
    assert router.outcomes == ["closed"] and settled(router)
    router = balanced(ok)
    sent = asgi(Proxy(router, 0), whole)
    assert sent[0]["status"] == 200 and sent[1]["body"].startswith(b"POST /a%20b;c HTTP/1.1")
    router = balanced(half)
    with pytest.raises(httpx.RemoteProtocolError):
        asgi(Proxy(router, 0), whole)
    assert router.outcomes == ["closed"] and settled(router)


def test_the_wsgi_example_takes_any_path_and_status(balanced: Any) -> None:
    from wsgi_proxy import Proxy

    def started(router: podway.Router, path: str) -> tuple[str, bytes]:
        told: list[str] = []
        encoded = path.encode().decode("latin-1")
        environ = {"PATH_INFO": encoded, "REQUEST_METHOD": "GET", "QUERY_STRING": "q=1"}
        body = Proxy(router, 0)(environ, lambda status, _: told.append(status))
        return told[0], b"".join(body)

    status, body = started(balanced(ok), "/a b\u20ac;c=d")
    assert status == "200 OK" and body.startswith(b"GET /a%20b%E2%82%AC;c=d?q=1 HTTP/1.1")
    assert started(balanced(odd_status), "/")[0].startswith("299 ")
    assert started(balanced(no_http), "/")[0].startswith("502 ")
