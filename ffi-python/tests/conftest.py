from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import podway
import pytest

VECTORS = Path(__file__).parents[2] / "tests" / "vectors"

MODEL: dict[str, Any] = {
    "LoadBalancers": [
        {
            "LoadBalancerArn": "arn:lb",
            "LoadBalancerName": "web",
            "Listeners": [
                {
                    "ListenerArn": "arn:listener",
                    "Port": 80,
                    "Protocol": "HTTP",
                    "DefaultActions": [{"Type": "forward", "TargetGroupArn": "arn:app"}],
                    "Rules": [
                        {
                            "Priority": "5",
                            "Conditions": [{"Field": "path-pattern", "Values": ["/hello"]}],
                            "Actions": [
                                {
                                    "Type": "fixed-response",
                                    "FixedResponseConfig": {
                                        "StatusCode": "200",
                                        "ContentType": "text/plain",
                                        "MessageBody": "hello",
                                    },
                                }
                            ],
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
            "TargetHealthDescriptions": [
                {"Target": {"Id": f"10.0.0.{n}", "Port": 8080}, "TargetHealth": {"State": "healthy"}}
                for n in (1, 2)
            ],
        }
    ],
}


def cases() -> list[dict[str, Any]]:
    """Every routing vector, in the order of the files."""
    files = sorted((VECTORS / "routing").glob("*.json"))
    return [case for file in files for case in json.loads(file.read_text("utf-8"))["cases"]]


@pytest.fixture
def model() -> podway.Model:
    return podway.Model.from_json(MODEL)


@pytest.fixture
def router(model: podway.Model) -> podway.Router:
    return podway.Router(model, now=(0, 1_767_225_600))


@pytest.fixture
def web(router: podway.Router) -> int:
    return router.listener("web", 80)


_ran: set[str] = set()
_missed: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Counts the vectors, for the line at the end."""
    if "test_vectors.py::test_vector[" in report.nodeid and report.when == "call":
        (_ran if report.passed else _missed).add(report.nodeid)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _ran or _missed:
        terminalreporter.write_line(f"vectors python: {len(_ran)} passed, {len(_missed)} failed")
