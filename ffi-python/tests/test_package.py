"""What comes with the package beside the library: the command, the pytest plugin, the types."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import podway
import pytest

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]
DEMO = ROOT / "core" / "examples" / "target-type-ip"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "podway", *arguments], capture_output=True, text=True, check=False
    )


def test_the_command() -> None:
    told = run("--version")
    assert (told.returncode, told.stdout.strip()) == (0, f"podway {podway.__version__}")
    route = run("route", str(DEMO), "GET", "https://shop.example.com/app1/", "-o", "json")
    assert route.returncode == 0, route.stderr
    assert json.loads(route.stdout)["Action"]["Service"] == "default/app1-nginx-clusterip-service:80"
    assert run("plan", "no/such/folder").returncode == 2
    assert run("nonsense").returncode == 2


@pytest.mark.skipif(sys.platform != "linux", reason="pods have addresses of their own on Linux only")
def test_the_command_ends_quietly_with_ctrl_c() -> None:
    ports = []
    for low in (80, 443):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports += ["--map-port", f"{low}={free.getsockname()[1]}"]
    command = [sys.executable, "-m", "podway", "serve", str(DEMO), *ports, "--dns-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as serving:
        assert serving.stdout is not None
        told = []
        for line in serving.stdout:
            told.append(line)
            if "-> healthy" in line:  # so all is there, what waits for the signal too
                break
        serving.send_signal(signal.SIGINT)
        told.append(serving.stdout.read())
    assert serving.returncode == 0, told
    assert "drained" in told[-1] and "Traceback" not in told[-1]


def test_the_console_script_is_the_command() -> None:
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="podway")
    from podway.__main__ import main

    assert script.load() is main


def test_the_plugin(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
        import re
        from podway.testing import Goes

        def test_right(podway_routes):
            routes = podway_routes({str(DEMO)!r})
            assert routes is podway_routes({str(DEMO)!r})
            app1 = "default/app1-nginx-clusterip-service:80"
            assert routes("GET https://shop.example.com/app1/") == Goes(service=app1, priority="1")
            assert routes("http://x.example.com/") == Goes(status=301, location=re.compile("^https:"))

        def test_wrong(podway_routes):
            routes = podway_routes({str(DEMO)!r})
            app2 = "default/app2-nginx-clusterip-service:80"
            assert routes("GET https://shop.example.com/app1/") == Goes(service=app2, type="forward")

        def test_misspelt(podway_routes):
            Goes(servise="x")
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*GET https://shop.example.com/app1/ (rule 1, forward)",
            "*service: 'default/app1-nginx-clusterip-service:80', expected 'default/app2-nginx-*",
            "*TypeError: a decision has no servise",
        ]
    )


def test_the_stubs_say_what_is_there() -> None:
    stubtest = pytest.importorskip("mypy.stubtest")
    assert stubtest is not None
    told = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "podway._podway"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
