"""A new `podway serve` takes over from an old one while clients ask all the time."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from conftest import EXAMPLES, Serve

Start = Callable[..., Serve]
ROUNDS = 3


class Load:
    """Clients of both kinds: with a connection for each request, and with one for as long as it lasts."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: Counter[object] = Counter()
        self.done = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i % 2 == 0,)) for i in range(6)]
        for thread in self.threads:
            thread.start()

    def run(self, keep: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        while not self.done.is_set():
            try:
                connection.request("GET", "/app1/index.html")
                answer = connection.getresponse()
                answer.read()
                self.answers[answer.status] += 1
                # http.client connects anew by itself after `Connection: close`.
                if not keep:
                    connection.close()
            except (OSError, http.client.HTTPException) as e:
                self.answers[repr(e)] += 1
                connection.close()

    def stop(self) -> Counter[object]:
        self.done.set()
        for thread in self.threads:
            thread.join()
        return self.answers


def test_restarts_drop_nothing(serve: Start, tmp_path: Path) -> None:
    socket = tmp_path / "podway.sock"
    # Nobody is redirected: every answer is a target's.
    folder = tmp_path / "demo"
    folder.mkdir()
    for file in (EXAMPLES / "target-type-ip").glob("*.yml"):
        text = "".join(line for line in file.read_text().splitlines(True) if "ssl-redirect" not in line)
        (folder / file.name).write_text(text)
    old = serve(folder, "--hand-over", socket, "--workers", "2")
    old.until(lambda: old.get("/app1/index.html", tls=False).status == 200)
    load = Load(old.http)
    try:
        for _ in range(ROUNDS):
            before = load.answers[200]
            old.until(lambda before=before: load.answers[200] > before + 100)
            new = serve(
                folder, "--hand-over", socket, "--workers", "2",
                "--map-port", f"80={old.http}", "--map-port", f"443={old.https}",
            )  # fmt: skip
            assert old.process.wait(60) == 0, "\n".join(old.lines)
            old.reader.join(5)
            assert any("taken over" in line for line in old.lines), old.lines
            assert any(line.endswith(" 0 cut") for line in old.lines), old.lines
            new.http, new.https = old.http, old.https
            old = new
        before = load.answers[200]
        old.until(lambda: load.answers[200] > before + 100)
    finally:
        answers = load.stop()
    assert set(answers) == {200}, answers
    # Without the socket the ports are taken, and that is told.
    other = serve(folder, "--map-port", f"80={old.http}", "--map-port", f"443={old.https}")
    assert other.process.wait(30) == 2
    other.reader.join(5)
    assert any("already in use" in line for line in other.lines), other.lines


def test_sessions_outlive_a_restart(serve: Start, tmp_path: Path) -> None:
    socket = tmp_path / "podway.sock"
    folder = tmp_path / "demo"
    folder.mkdir()
    for file in (EXAMPLES / "target-type-ip").glob("*.yml"):
        sticky = "    alb.ingress.kubernetes.io/target-group-attributes: stickiness.enabled=true\n"
        text = file.read_text().replace(
            "    alb.ingress.kubernetes.io/scheme", sticky + "    alb.ingress.kubernetes.io/scheme"
        )
        (folder / file.name).write_text(text)
    old = serve(folder, "--hand-over", socket)
    old.until(lambda: len({old.pod("/app1/index.html") for _ in range(8)}) >= 2)
    first = old.get("/app1/index.html")
    cookie = {"Cookie": first.headers["set-cookie"].split(";")[0]}
    new = serve(
        folder, "--hand-over", socket, "--map-port", f"80={old.http}", "--map-port", f"443={old.https}"
    )
    assert old.process.wait(60) == 0
    new.http, new.https = old.http, old.https
    pod = first.json()["pod"]
    # Until it is healthy here too, nobody gets it, with a cookie or without.
    new.until(lambda: {pod} < {new.pod("/app1/index.html") for _ in range(8)})
    pods = {new.pod("/app1/index.html", headers=cookie) for _ in range(8)}
    assert pods == {pod}, (pods, first)
