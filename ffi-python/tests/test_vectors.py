"""The routing vectors, which hold in every language (tests/support/lib.rs says how they are meant)."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import podway
import pytest
from conftest import VECTORS, cases

START = (0, 1_767_225_600)
FIELDS = {
    "priority",
    "type",
    "target_group",
    "target",
    "status",
    "reason",
    "location",
    "body",
    "content_type",
    "uri",
    "host",
    "authenticate",
    "fail_open",
    "stickiness",
    "set_cookies",
}


def said(decision: podway.Decision, field: str) -> Any:
    assert field in FIELDS, f"unknown expectation {field}"
    value = getattr(decision, field)
    if field == "set_cookies":
        return len(value)
    return value.decode() if isinstance(value, bytes) else value


def written(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Run:
    def __init__(self, case: dict[str, Any]) -> None:
        self.now = START
        self.router = new_router(case, case.get("options", {}))
        self.done: list[podway.Decision | None] = []

    def step(self, step: dict[str, Any]) -> None:
        done = None
        match step["do"]:
            case "decide":
                done = self.decide(step)
            case "health":
                self.router.set_target_health(
                    step["target_group"], step["target"], step["state"], now=self.now
                )
            case "probe":
                self.probe(step)
            case "advance":
                self.advance(step["ms"])
                self.router.poll(now=self.now)
            case "target":
                found = [
                    t
                    for t in self.router.targets()
                    if (t.target_group, t.target) == (step["target_group"], step["target"])
                ]
                if (expect := step.get("expect")) is None:
                    assert not found
                else:
                    assert {key: getattr(found[0], key) for key in expect} == expect
            case "probes":
                self.advance(step["ms"])
                probes, _ = self.router.poll(now=self.now)
                due = [{"address": written(p.address), "host": p.host, "path": p.path} for p in probes]
                assert sorted(due, key=lambda p: p["address"]) == step["expect"]
            case "hop":
                self.hop(step)
            case "report":
                decision = self.done[step["step"]]
                assert decision is not None
                self.router.report(decision, step["outcome"], step.get("status", 200), now=self.now)
            case "reload":
                self.router.reload(podway.Model.from_json(step["model"]), now=self.now)
            case other:
                raise AssertionError(f"unknown step {other}")
        self.done.append(done)

    def advance(self, ms: int) -> None:
        mono = self.now[0] + ms
        self.now = (mono, self.now[1] + mono // 1000 - self.now[0] // 1000)

    def hop(self, step: dict[str, Any]) -> None:
        target = self.router.find_target(step["target_group"], step["target"])
        chosen: Counter[str] = Counter()
        for i in range(step.get("repeat", 1)):
            hop = self.router.hop(target, step["client"], now=self.now, entropy=step.get("entropy", 0) + i)
            assert hop is not None
            expect = step.get("expect", {})
            assert {key: hop[key] for key in expect} == expect
            chosen[hop["pod"] or "-"] += 1
        compare(step, chosen)

    def decide(self, step: dict[str, Any]) -> podway.Decision:
        request = step["request"]
        listener = self.router.listener(step["load_balancer"], step["port"])
        headers = [tuple(header) for header in request.get("headers", [])]
        if step.get("cookies_from"):
            sent = [self.done[i] for i in step["cookies_from"]]
            cookies = [c.partition(";")[0] for d in sent if d is not None for c in d.set_cookies]
            headers.append(("cookie", "; ".join(cookies)))
        chosen: Counter[str] = Counter()
        decision = None
        repeat = step.get("repeat", 1)
        for i in range(repeat):
            decision = self.router.decide(
                listener,
                request["method"],
                request["target"],
                request.get("host"),
                headers,
                request["peer"],
                now=self.now,
                entropy=step.get("entropy", 0) + i,
            )
            for field, expected in step.get("expect", {}).items():
                assert said(decision, field) == expected, (field, decision)
            chosen[decision.target or "-"] += 1
            reports = step.get("report", {})
            outcome = reports.get(decision.target, reports.get("*"))
            if isinstance(outcome, int):
                self.router.report(decision, "response", outcome, now=self.now)
            elif outcome is not None:
                self.router.report(decision, outcome, now=self.now)
        compare(step, chosen)
        assert decision is not None
        return decision

    def probe(self, step: dict[str, Any]) -> None:
        target_id = self.router.find_target(step["target_group"], step["target"])
        result = step["result"]
        if isinstance(result, int):
            self.router.report_probe(target_id, "status", result, now=self.now)
        else:
            self.router.report_probe(target_id, result, now=self.now)
        if expect := step.get("expect"):
            target = next(t for t in self.router.targets() if t.id == target_id)
            assert (target.state, target.reason, target.description) == (
                expect["state"],
                expect.get("reason"),
                expect.get("description"),
            )


def compare(step: dict[str, Any], chosen: Counter[str]) -> None:
    counts = step.get("counts")
    if counts is not None:
        for name in counts.keys() | chosen.keys():
            off = abs(counts.get(name, 0) - chosen[name])
            assert off <= step.get("within", 0) * step.get("repeat", 1), chosen


def new_router(case: dict[str, Any], options: dict[str, Any]) -> podway.Router:
    if "model" in case:
        model = podway.Model.from_json(case["model"])
    else:
        model = podway.load(VECTORS / case["manifests"])
    return podway.Router(model, options, bytes([7]) * 32, now=START)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["id"])
def test_vector(case: dict[str, Any]) -> None:
    if rejects := case.get("rejects"):
        with pytest.raises((podway.InputError, podway.ModelError)) as refused:
            new_router(case, case.get("options", {}) | {"strict": True})
        assert set(rejects) <= {d.code for d in refused.value.diagnostics}
        return
    run = Run(case)
    for step in case["steps"]:
        run.step(step)


def test_every_vector_is_run(request: pytest.FixtureRequest) -> None:
    files = list((VECTORS / "routing").glob("*.json"))
    count = sum(len(json.loads(file.read_text("utf-8"))["cases"]) for file in files)
    assert count == len(cases()) > 200
    items = [item for item in request.session.items if item.name.startswith("test_vector[")]
    if len(request.session.items) > 1:
        assert len(items) in (0, count)
