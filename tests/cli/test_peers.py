"""Programs that others have written, as clients in front and as targets behind."""

from __future__ import annotations

import asyncio
import re
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import hypercorn.asyncio
import hypercorn.config
import pytest
import trustme
import websockets.sync.client
import websockets.sync.server
from conftest import Serve, free_port
from peers import authority, front, nginx  # noqa: F401

Front = Callable[..., Serve]


def run(*command: object) -> str:
    """What a program prints; skips where it is missing."""
    exe = shutil.which(str(command[0]))
    if exe is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(
        [exe, *map(str, command[1:])],
        capture_output=True,
        input="",
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done
    return done.stdout + done.stderr


@pytest.fixture
def socket_server() -> Iterator[int]:
    def answer(connection: websockets.sync.server.ServerConnection) -> None:
        assert connection.request is not None
        connection.send(str(connection.request.headers.get("X-Forwarded-Proto")))
        for message in connection:
            connection.send(message)
        connection.close(4001, "enough")

    server = websockets.sync.server.serve(answer, "127.0.0.1", 0, max_size=None)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.socket.getsockname()[1]
    server.shutdown()


@pytest.mark.parametrize("secure", [False, True])
def test_websocket(front: Front, authority: trustme.CA, socket_server: int, secure: bool) -> None:  # noqa: F811
    # Its answer to a request without an upgrade is 426.
    lb = front({"ws": (socket_server, {"success-codes": "426", "healthcheck-path": "/"})})
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode()) if secure else None
    port = lb.https if secure else lb.http
    url = f"{'wss' if secure else 'ws'}://ws.example.com:{port}/chat"
    address = ("127.0.0.1", port)
    with websockets.sync.client.connect(
        url, ssl=context, address=address, proxy=None, max_size=None
    ) as client:
        assert client.recv() == ("https" if secure else "http")
        for message in ("hello", "ä" * 1000, b"\x00\x01", b"x" * 1_000_000, ""):
            client.send(message)
            assert client.recv(timeout=20) == message
        assert client.ping().wait(20)
        client.close(4000, "done")
        assert client.close_code == 4000


HTTP2 = {"backend-protocol-version": "HTTP2", "healthcheck-path": "/"}


class App(threading.Thread):
    """hypercorn in a thread: tells the version of HTTP it was asked in and what came."""

    def __init__(self, **more: str) -> None:
        super().__init__(daemon=True)
        self.port = free_port()
        self.config = hypercorn.config.Config()
        self.config.bind = [f"127.0.0.1:{self.port}"]
        for key, value in more.items():
            setattr(self.config, key, value)
        self.start()

    def run(self) -> None:
        async def app(scope: dict, receive: Callable, send: Callable) -> None:
            if scope["type"] != "http":
                return
            length = 0
            while True:
                event = await receive()
                length += len(event.get("body", b""))
                if not event.get("more_body"):
                    break
            headers = {k.decode(): v.decode() for k, v in scope["headers"]}
            body = f"{scope['http_version']} {scope['method']} {scope['raw_path'].decode()} {length} {headers}".encode()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"b")]})
            for at in range(0, len(body), 50):
                await send({"type": "http.response.body", "body": body[at : at + 50], "more_body": True})
            await send({"type": "http.response.body", "body": b""})

        async def never() -> None:
            await asyncio.Event().wait()

        asyncio.run(hypercorn.asyncio.serve(app, self.config, shutdown_trigger=never))  # type: ignore[arg-type]


def curl(lb: Serve, folder: Path, host: str, path: str, *more: object) -> str:
    return run(
        "curl", "-sS", "--cacert", folder / "ca.pem", "--resolve", f"{host}.example.com:{lb.https}:127.0.0.1",
        "-w", " %{http_version} %{http_code}", *more, f"https://{host}.example.com:{lb.https}{path}",
    )  # fmt: skip


@pytest.mark.parametrize("secure", [False, True])
def test_http2_to_targets(front: Front, authority: trustme.CA, tmp_path: Path, secure: bool) -> None:  # noqa: F811
    more = {}
    if secure:
        issued = trustme.CA().issue_cert("pod")
        issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "pod.pem"))
        more = {"certfile": str(tmp_path / "pod.pem"), "keyfile": str(tmp_path / "pod.pem")}
    app = App(**more)
    protocol = {"backend-protocol": "HTTPS", "healthcheck-protocol": "HTTPS"} if secure else {}
    lb = front({"web": (app.port, {**HTTP2, **protocol})})
    for method in ("GET", "POST"):
        body = ["--data-binary", "x" * 100_000] if method == "POST" else []
        out = curl(lb, tmp_path, "web", "/a%20b?c=d", "--http2", *body)
        length = 100_000 if body else 0
        assert out.startswith(f"2 {method} /a%20b {length} ") and out.endswith(" 2 200"), out
        assert "'x-forwarded-proto': 'https'" in out and "web.example.com" in out, out
    # A client that speaks HTTP/1 cannot be sent there.
    assert curl(lb, tmp_path, "web", "/", "--http1.1").endswith(" 1.1 464")


def test_nginx_behind_and_the_usual_clients(front: Front, nginx: Callable[..., int], tmp_path: Path) -> None:  # noqa: F811
    page = "x" * 3000
    port = nginx(f'location / {{ return 200 "$request_method $http_host $http_x_forwarded_for {page}"; }}')
    lb = front({"web": (port, {"healthcheck-path": "/"})})
    for version in ("--http1.0", "--http1.1", "--http2"):
        out = curl(lb, tmp_path, "web", "/", version)
        assert out.startswith("GET web.example.com 127.0.0.1 xxx") and len(out) > 3000, out[:200]
        assert out.endswith({"--http1.0": " 1.1 200", "--http1.1": " 1.1 200", "--http2": " 2 200"}[version])
    out = curl(lb, tmp_path, "web", "/", "-I", "--http2")
    assert re.search(r"(?im)^server: nginx", out), "the target's own"
    load = run(
        "h2load", "-n", 2000, "-c", 10, "-m", 20, f"--connect-to=127.0.0.1:{lb.https}",
        f"https://web.example.com:{lb.https}/",
    )  # fmt: skip
    assert "Application protocol: h2" in load and "2000 2xx, 0 3xx, 0 4xx, 0 5xx" in load, load


def test_openssl_sees_what_the_policy_says(front: Front, nginx: Callable[..., int], tmp_path: Path) -> None:  # noqa: F811
    lb = front({"web": (nginx("return 200 ok;"), {"healthcheck-path": "/"})})
    base = ("openssl", "s_client", "-connect", f"127.0.0.1:{lb.https}", "-servername", "web.example.com",
            "-CAfile", tmp_path / "ca.pem", "-verify_return_error")  # fmt: skip
    out = run(*base, "-tls1_3", "-alpn", "h2,http/1.1")
    assert "Verify return code: 0" in out and "ALPN protocol: h2" in out, out
    out = run(*base, "-tls1_2", "-alpn", "http/1.1")
    assert "ECDHE" in out and "ALPN protocol: http/1.1" in out, out
    exe = shutil.which("openssl")
    assert exe
    old = subprocess.run(
        [exe, *map(str, base[1:]), "-tls1_1"], input="", capture_output=True, text=True, check=False
    )
    assert old.returncode != 0, "TLS 1.1 is no part of the policy"
