"""The routing vectors, which hold in every language (tests/support/lib.rs says how they are meant)."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import Any, TypeAlias

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


Done: TypeAlias = tuple[podway.Decision, list[str]]
"""A decision with the cookies that it set."""


class Run:
    def __init__(self, case: dict[str, Any]) -> None:
        self.now = START
        self.router = new_router(case, case.get("options", {}))
        self.done: list[Done | None] = []

    def step(self, step: dict[str, Any]) -> None:
        done: Done | None = None
        match step["do"]:
            case "decide":
                done = settled(self.decide(step))
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
            case "app_cookie":
                done = self.app_cookie(step)
            case "retry":
                done = self.retry(step)
            case "why_unsticky":
                self.why_unsticky(step)
            case "zone_health":
                zones = self.router.zone_health(step["target_group"])
                same(step["expect"], [asdict(zone) for zone in zones])
            case "zonal_shift":
                if "zone" in step:
                    self.router.start_zonal_shift(step["load_balancer"], step["zone"], now=self.now)
                else:
                    self.router.cancel_zonal_shift(step["load_balancer"], now=self.now)
            case "report":
                decision = self.decided(step["step"])
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

    def decided(self, step: int) -> podway.Decision:
        done = self.done[step]
        assert done is not None
        return done[0]

    def set_by(self, steps: list[int]) -> list[str]:
        sent = [self.done[i] for i in steps]
        return [cookie for done in sent if done is not None for cookie in done[1]]

    def headers(self, given: list[list[str]], step: dict[str, Any]) -> list[tuple[str, str]]:
        headers = [(name, value) for name, value in given]
        if sent := step.get("cookies_from"):
            pairs = [cookie.partition(";")[0] for cookie in self.set_by(sent)]
            headers.append(("cookie", "; ".join(pairs)))
        return headers

    def asked(self, step: dict[str, Any]) -> tuple[Any, ...]:
        """The arguments of `decide` and of what is asked in the same way."""
        request = step["request"]
        return (
            self.router.listener(step["load_balancer"], step["port"]),
            request["method"],
            request["target"],
            request.get("host"),
            self.headers(request.get("headers", []), step),
            request["peer"],
        )

    def app_cookie(self, step: dict[str, Any]) -> Done:
        decision = self.decided(step["step"])
        headers = self.headers(step.get("headers", []), step)
        added = self.router.app_cookie(
            decision, headers, step["sets"], now=self.now, entropy=step.get("entropy", 0)
        )
        assert [shown(cookie) for cookie in added] == step["expect"]
        return decision, added

    def retry(self, step: dict[str, Any]) -> Done | None:
        failed, entropy = self.decided(step["failed"]), step.get("entropy", 0)
        decision = self.router.retry(failed, *self.asked(step), now=self.now, entropy=entropy)
        if (expect := step.get("expect")) is None:
            assert decision is None
            return None
        assert decision is not None
        for field, expected in expect.items():
            assert said(decision, field) == expected, (field, decision)
        return settled(decision)

    def why_unsticky(self, step: dict[str, Any]) -> None:
        history = self.set_by(step.get("history_from", []))
        found = self.router.why_unsticky(*self.asked(step), history=history, now=self.now)
        same(step["expect"], [asdict(why) for why in found])

    def decide(self, step: dict[str, Any]) -> podway.Decision:
        asked = self.asked(step)
        chosen: Counter[str] = Counter()
        decision = None
        repeat = step.get("repeat", 1)
        for i in range(repeat):
            decision = self.router.decide(*asked, now=self.now, entropy=step.get("entropy", 0) + i)
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


def settled(decision: podway.Decision) -> Done:
    return decision, list(decision.set_cookies)


def shown(set_cookie: str) -> str:
    """A cookie by `name=value`, with `*` for a value that is sealed."""
    name, _, value = set_cookie.partition(";")[0].partition("=")
    return f"{name}={value if value == '_remove_' else '*'}"


def same(expect: list[dict[str, Any]], told: list[dict[str, Any]]) -> None:
    assert len(told) == len(expect), told
    for wanted, item in zip(expect, told, strict=True):
        assert {key: item[key] for key in wanted} == wanted


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
