"""The command under test, and a running load balancer to talk to over real sockets."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dns.message
import dns.query
import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "core" / "examples"
PODWAY = Path(os.environ.get("PODWAY", ROOT / "target" / "debug" / "podway"))


def run(*args: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    return subprocess.run(
        [PODWAY, *map(str, args)], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict:
        return json.loads(self.body)


@dataclass
class Serve:
    """A `podway serve` with ports of its own."""

    http: int
    https: int
    dns: int
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def get(
        self, path: str, *, tls: bool = True, host: str | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        if tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            c: http.client.HTTPConnection = http.client.HTTPSConnection(
                "127.0.0.1", self.https, timeout=10, context=context
            )
        else:
            c = http.client.HTTPConnection("127.0.0.1", self.http, timeout=10)
        try:
            sent = {"Accept": "application/json", **({"Host": host} if host else {}), **(headers or {})}
            c.request("GET", path, headers=sent)
            r = c.getresponse()
            return Answer(r.status, {k.lower(): v for k, v in r.getheaders()}, r.read())
        finally:
            c.close()

    def pod(self, path: str, **more: object) -> str:
        """The name of the pod that answers."""
        answer = self.get(path, **more)  # type: ignore[arg-type]
        assert answer.status == 200, answer
        return str(answer.json()["pod"])

    def state(self, address: str) -> str | None:
        """The last health state that was printed of a target."""
        told = [line for line in self.lines if f" {address}: " in line and " -> " in line]
        return told[-1].rsplit(" -> ", 1)[1].split()[0] if told else None

    def resolve(self, name: str) -> list[str] | None:
        """The addresses of a name; None where the name does not exist."""
        answer = dns.query.udp(dns.message.make_query(name, "A"), "127.0.0.1", port=self.dns, timeout=5)
        if answer.rcode() == dns.rcode.NXDOMAIN:
            return None
        return [str(item) for rrset in answer.answer for item in rrset]

    def until(self, what: Callable[[], object], seconds: float = 30) -> None:
        """Waits until `what` is true; its errors count as not yet."""
        end = time.monotonic() + seconds
        last: object = None
        while time.monotonic() < end:
            assert self.process.poll() is None, "\n".join(self.lines)
            try:
                last = what()
                if last:
                    return
            except (OSError, http.client.HTTPException, AssertionError) as e:
                last = e
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds} s; last: {last!r}\n" + "\n".join(self.lines))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self.reader.join(5)
        return code

    def start_reading(self) -> None:
        def read() -> None:
            assert self.process.stdout is not None
            for line in self.process.stdout:
                self.lines.append(line.rstrip())

        self.reader = threading.Thread(target=read, daemon=True)
        self.reader.start()


@pytest.fixture
def serve() -> Iterator[Callable[..., Serve]]:
    """Starts `podway serve` as often as a test needs; stops what is left."""
    with serving() as start:
        yield start


@contextmanager
def serving() -> Iterator[Callable[..., Serve]]:
    started: list[Serve] = []

    def start(*args: str | Path) -> Serve:
        ports = (free_port(), free_port(), free_port())
        process = subprocess.Popen(
            [
                PODWAY, "serve", *map(str, args),
                "--map-port", f"80={ports[0]}", "--map-port", f"443={ports[1]}", "--dns-port", str(ports[2]),
            ],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        s = Serve(*ports, process)
        s.start_reading()
        started.append(s)
        return s

    try:
        yield start
    finally:
        for s in started:
            if s.process.poll() is None:
                s.process.kill()
                s.process.wait(10)
