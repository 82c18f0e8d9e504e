"""Ten thousand clients that have nothing to say, and those beside them."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import EXAMPLES, Serve

CLIENTS = 10_000
REQUEST = b"GET /app1/index.html?%d HTTP/1.1\r\nHost: a.example.com\r\n\r\n"


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """As many as allowed; the command under test inherits it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < CLIENTS + 1000:
        pytest.skip(f"only {before[1]} open files are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (CLIENTS + 1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def ask(client: socket.socket, mark: int) -> bool:
    """Whether the answer is the one to this question."""
    client.sendall(REQUEST % mark)
    head, body = b"", b""
    while b"\r\n\r\n" not in head:
        got = client.recv(65536)
        assert got, head
        head += got
    head, _, body = head.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += client.recv(65536)
    return head.startswith(b"HTTP/1.1 301 ") and f"app1/index.html?{mark}\r\n".encode() in head + b"\r\n"


def patient(folder: Path) -> Path:
    """The ip demo with a time-out that no machine is too slow for."""
    folder.mkdir()
    for file in (EXAMPLES / "target-type-ip").glob("*.yml"):
        scheme = "    alb.ingress.kubernetes.io/scheme"
        patience = "    alb.ingress.kubernetes.io/load-balancer-attributes: idle_timeout.timeout_seconds=3600\n"
        (folder / file.name).write_text(file.read_text().replace(scheme, patience + scheme))
    return folder


def test_ten_thousand_idle_connections(
    serve: Callable[..., Serve], many_descriptors: None, tmp_path: Path
) -> None:
    lb = serve(patient(tmp_path / "demo"))
    lb.until(lambda: lb.get("/app1/index.html").status == 200)
    clients = []
    try:
        for i in range(CLIENTS):
            clients.append(socket.create_connection(("127.0.0.1", lb.http), 20))
            assert ask(clients[-1], i)
        assert all(lb.get("/app1/index.html").status == 200 for _ in range(20)), "others are served"
        # Every one of them can still be used, and gets its own answer.
        for i, client in enumerate(clients):
            assert ask(client, CLIENTS + i)
    finally:
        for client in clients:
            client.close()
    lb.until(lambda: lb.get("/app1/index.html").status == 200)
    assert lb.stop() == 0
