"""`podway serve` watched from outside: the status page in a real browser, the metrics, the logs."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import EXAMPLES, Serve, free_port

Start = Callable[..., Serve]


def fetch(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_metrics_status_and_log(serve: Start, tmp_path: Path) -> None:
    admin, log = free_port(), tmp_path / "access.log"
    lb = serve(EXAMPLES / "target-type-ip", "--admin-port", str(admin), "--access-log", str(log))
    lb.until(lambda: lb.get("/app1/index.html").status == 200)
    lb.until(lambda: "HTTPCode_Target_2XX_Count_total" in fetch(admin, "/metrics")[1])
    metrics = fetch(admin, "/metrics")[1]
    assert re.search(r'^RequestCount_total\{LoadBalancer="app/[^"]+"\} [1-9]', metrics, re.M), metrics
    assert metrics.endswith("# EOF\n")
    status = json.loads(fetch(admin, "/status.json")[1])
    assert [g["TargetGroupName"] for g in status["TargetGroups"]]
    assert fetch(admin, "/", "POST")[0] == 405
    assert fetch(admin, "/other")[0] == 404
    lb.until(lambda: log.exists() and "/app1/index.html" in log.read_text())
    assert re.match(r"https \d{4}-\d\d-\d\dT[\d:.]+Z app/", log.read_text())
    assert lb.stop() == 0


def test_status_page_in_a_browser(serve: Start, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed: the status page was not looked at")
    admin = free_port()
    lb = serve(EXAMPLES / "target-type-ip", "--admin-port", str(admin))
    lb.until(lambda: lb.get("/app1/index.html").status == 200)
    lb.until(lambda: '"healthy"' in fetch(admin, "/status.json")[1])
    # The page as the browser has it after its script has run.
    page = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}",
         "--virtual-time-budget=3000", "--dump-dom", f"http://127.0.0.1:{admin}/"],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout
    assert "Listener HTTPS:443" in page, page
    assert "path-pattern: /app1" in page, page
    assert "app1-nginx" in page or "k8s-" in page, page
    assert '<span class="healthy">healthy</span>' in page, page
    assert "of" in page and "as of" in page
    assert lb.stop() == 0
