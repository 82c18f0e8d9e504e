"""What carries requests: httpx transports, the proxies of examples/, health checks, over real sockets."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import podway
import podway.httpx
import pytest
from podway.health import HealthChecks

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))


class Pod:
    """A real HTTP server that says who it is; `well` is what its health check finds."""

    def __init__(self) -> None:
        pod = self
        self.well = True
        self.seen: list[tuple[str, dict[str, str]]] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == "/health":
                    self.answer(200 if pod.well else 503, b"")
                    return
                pod.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                self.answer(200, str(pod.port).encode(), "app=1; Path=/")

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                self.answer(201, self.rfile.read(length))

            def answer(self, status: int, body: bytes, cookie: str | None = None) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if cookie is not None:
                    self.send_header("Set-Cookie", cookie)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def pods() -> Iterator[list[Pod]]:
    pods = [Pod(), Pod()]
    yield pods
    for pod in pods:
        pod.stop()


@pytest.fixture
def router(pods: list[Pod]) -> podway.Router:
    fixed = {"Type": "redirect", "RedirectConfig": {"Path": "/new", "StatusCode": "HTTP_302"}}
    sticky = [
        {"Key": "stickiness.enabled", "Value": "true"},
        {"Key": "stickiness.type", "Value": "lb_cookie"},
    ]
    model = {
        "LoadBalancers": [
            {
                "LoadBalancerArn": "arn:lb",
                "LoadBalancerName": "web",
                "Listeners": [
                    {
                        "Port": 80,
                        "Protocol": "HTTP",
                        "DefaultActions": [{"Type": "forward", "TargetGroupArn": "arn:app"}],
                        "Rules": [
                            {
                                "Priority": "1",
                                "Conditions": [{"Field": "path-pattern", "Values": ["/old"]}],
                                "Actions": [fixed],
                            }
                        ],
                    }
                ],
            }
        ],
        "TargetGroups": [
            {
                "TargetGroupArn": "arn:app",
                "TargetGroupName": "app",
                "TargetType": "ip",
                "Protocol": "HTTP",
                "HealthCheckPath": "/health",
                "HealthCheckIntervalSeconds": 5,
                "HealthCheckTimeoutSeconds": 2,
                "UnhealthyThresholdCount": 2,
                "Attributes": sticky,
                "TargetHealthDescriptions": [
                    {
                        "Target": {"Id": "127.0.0.1", "Port": pod.port},
                        "TargetHealth": {"State": "healthy"},
                    }
                    for pod in pods
                ],
            }
        ],
    }
    return podway.Router(podway.Model.from_json(model), {"retry": True})


def in_flight(router: podway.Router) -> int:
    return sum(target.in_flight for target in router.targets())


def test_httpx_client_is_balanced_and_sticky(router: podway.Router, pods: list[Pod]) -> None:
    listener = router.listener("web", 80)
    with httpx.Client(transport=podway.httpx.Transport(router, listener)) as client:
        first = client.get("http://shop.example.com/a?b=1")
        assert first.status_code == 200 and "AWSALB" in client.cookies and client.cookies["app"] == "1"
        assert {client.get("http://shop.example.com/").text for _ in range(6)} == {first.text}
        seen = next(pod for pod in pods if str(pod.port) == first.text).seen[0]
        assert seen[0] == "/a?b=1" and seen[1]["host"] == "shop.example.com"
        assert client.post("http://shop.example.com/", content=b"x" * 100_000).status_code == 201
        moved = client.get("http://shop.example.com/old")
        assert (moved.status_code, moved.headers["location"]) == (302, "http://shop.example.com:80/new")
    others = {
        httpx.Client(transport=podway.httpx.Transport(router, listener)).get("http://x.example.com/").text
        for _ in range(4)
    }
    assert others == {str(pod.port) for pod in pods}
    assert in_flight(router) == 0 and router.late_reports() == 0


def test_httpx_client_reports_what_fails(router: podway.Router, pods: list[Pod]) -> None:
    for pod in pods:
        pod.stop()
    client = httpx.Client(transport=podway.httpx.Transport(router, router.listener("web", 80)))
    with pytest.raises(httpx.ConnectError):
        client.get("http://shop.example.com/")
    assert in_flight(router) == 0


def test_httpx_clients_try_a_second_target(router: podway.Router, pods: list[Pod]) -> None:
    pods[0].stop()
    listener, well = router.listener("web", 80), str(pods[1].port)
    for _ in range(2):
        with httpx.Client(transport=podway.httpx.Transport(router, listener)) as client:
            assert client.get("http://shop.example.com/").text == well
            assert client.get("http://shop.example.com/").text == well, "the cookie names the second one"
    with httpx.Client(transport=podway.httpx.Transport(router, listener)) as client:
        sent = []
        for _ in range(2):
            try:
                sent.append(client.post("http://shop.example.com/", content=b"x").status_code)
            except httpx.ConnectError:
                client.cookies.clear()
        assert sent == [201], "what is not idempotent is not sent twice"

    async def main() -> None:
        for _ in range(2):
            transport = podway.httpx.AsyncTransport(router, listener)
            async with httpx.AsyncClient(transport=transport) as client:
                assert (await client.get("http://shop.example.com/")).text == well

    asyncio.run(main())
    assert in_flight(router) == 0 and router.late_reports() == 0


def test_httpx_async_client(router: podway.Router, pods: list[Pod]) -> None:
    async def main() -> None:
        transport = podway.httpx.AsyncTransport(router, router.listener("web", 80))
        async with httpx.AsyncClient(transport=transport) as client:
            first = await client.get("http://shop.example.com/")
            again = await client.get("http://shop.example.com/")
            assert first.text == again.text and "AWSALB" in client.cookies
            assert (await client.get("http://shop.example.com/old")).status_code == 302
            async with client.stream("GET", "http://shop.example.com/") as response:
                assert in_flight(router) == 1
                await response.aread()
            assert in_flight(router) == 0

    asyncio.run(main())


def test_asgi_example(router: podway.Router, pods: list[Pod]) -> None:
    from asgi_proxy import Proxy

    async def main() -> None:
        app = Proxy(router, router.listener("web", 80))
        transport = httpx.ASGITransport(app=app, client=("192.0.2.7", 4000))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.example.com") as client:
            answer = await client.get("/x?y=1")
            assert answer.status_code == 200 and answer.text in {str(pod.port) for pod in pods}
            assert (await client.get("/")).text == answer.text
            assert (await client.post("/", content=b"hello")).text == "hello"
            assert (await client.get("/old")).headers["location"] == "http://shop.example.com:80/new"
        seen = next(pod.seen[0] for pod in pods if pod.seen)
        assert seen[0] == "/x?y=1" and seen[1]["x-forwarded-for"] == "192.0.2.7"

    asyncio.run(main())
    assert in_flight(router) == 0


def test_wsgi_example(router: podway.Router, pods: list[Pod]) -> None:
    from wsgi_proxy import Proxy

    transport = httpx.WSGITransport(app=Proxy(router, router.listener("web", 80)))
    with httpx.Client(transport=transport, base_url="http://shop.example.com") as client:
        answer = client.get("/x?y=1")
        assert answer.status_code == 200 and answer.text in {str(pod.port) for pod in pods}
        assert client.get("/").text == answer.text
        assert client.post("/", content=b"hello").text == "hello"
        assert client.get("/old").status_code == 302
    assert in_flight(router) == 0


def test_health_checks_find_what_is_ill(router: podway.Router, pods: list[Pod]) -> None:
    pods[0].well = False
    events: list[podway.HealthEvent] = []

    async def main() -> None:
        async with HealthChecks(router, on_events=events.extend) as checks:
            for _ in range(300):
                await asyncio.sleep(0.05)
                if any(event.to == "unhealthy" for event in events):
                    break
        with pytest.raises(RuntimeError):
            checks.start()

    asyncio.run(main())
    ill = [event.target for event in events if event.to == "unhealthy"]
    assert ill == [f"127.0.0.1:{pods[0].port}"]


@pytest.mark.parametrize("grpc", [False, True])
def test_health_check_over_http2(grpc: bool) -> None:
    h2 = pytest.importorskip("h2.connection")
    from h2.events import RequestReceived, StreamEnded
    from podway.health import check

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from h2.config import H2Configuration

        connection = h2.H2Connection(H2Configuration(client_side=False))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, RequestReceived):
                    assert dict(event.headers)[b":path"] == b"/health"
                if isinstance(event, StreamEnded):
                    headers = [(":status", "200" if grpc else "204")]
                    connection.send_headers(1, headers, end_stream=not grpc)
                    if grpc:
                        connection.send_headers(1, [("grpc-status", "12")], end_stream=True)
            writer.write(connection.data_to_send())

    class Probe:
        protocol = "HTTP"
        protocol_version = "GRPC" if grpc else "HTTP2"
        path = "/health"
        host = "127.0.0.1"

    async def main() -> int:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        probe: Any = Probe()
        probe.address = server.sockets[0].getsockname()
        status = await check(probe)
        server.close()
        return status

    assert asyncio.run(main()) == (12 if grpc else 204)
