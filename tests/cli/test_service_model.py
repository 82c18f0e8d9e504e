"""What `plan -o json` prints has the shapes of the public service model (botocore's), and of our own keys
only those that `core/src/elbv2/mod.rs` names."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from conftest import EXAMPLES, ROOT, run

CORPUS = ROOT / "tests" / "vectors" / "controller"
MODEL = botocore.session.get_session().get_service_model("elbv2")

# Keys of our own, by shape, with the shape of their values; `None` is checked by hand or free.
OURS: dict[str, dict[str, str | None]] = {
    "LoadBalancer": {
        "Listeners": "Listeners", "Attributes": "LoadBalancerAttributes", "Ingresses": None, "Tags": "TagList",
    },
    "Listener": {"Rules": "Rules", "Attributes": "ListenerAttributes", "Tags": "TagList"},
    "Rule": {"Tags": "TagList"},
    "TargetGroup": {
        "Attributes": "TargetGroupAttributes", "TargetHealthDescriptions": "TargetHealthDescriptions",
        "ServiceRef": None, "NodePort": None, "Tags": "TagList",
    },
}  # fmt: skip
TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "long": int, "boolean": bool, "double": (int, float), "float": (int, float),
    "timestamp": str,
}  # fmt: skip

# An empty `healthcheck-path` goes to AWS as it stands, as the controller sends it; AWS then refuses it.
REFUSED_BY_AWS = {
    "empty-healthcheck-path-is-used.yaml": ["TargetGroups[0].HealthCheckPath: '' is not within 1 and 1024"]
}


def problems(value: Any, shape: Any, at: str) -> list[str]:
    """What is wrong with a value, by the service model: types, names, enums, bounds."""
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            return [f"{at}: not an object"]
        out = []
        for key, inner in value.items():
            ours = OURS.get(shape.name, {})
            if key in shape.members:
                out += problems(inner, shape.members[key], f"{at}.{key}")
            elif key not in ours:
                out.append(f"{at}.{key}: neither the API's nor ours")
            elif name := ours[key]:
                out += problems(inner, MODEL.shape_for(name), f"{at}.{key}")
        return out + [f"{at}.{key}: required" for key in shape.required_members if key not in value]
    if kind == "list":
        if not isinstance(value, list):
            return [f"{at}: not a list"]
        return [p for i, v in enumerate(value) for p in problems(v, shape.member, f"{at}[{i}]")]
    if kind == "map":
        return [p for v in value.values() for p in problems(v, shape.value, at)]
    if not isinstance(value, TYPES[kind]) or (kind != "boolean" and isinstance(value, bool)):
        return [f"{at}: {value!r} is not of type {kind}"]
    if (enum := getattr(shape, "enum", None)) and value not in enum:
        return [f"{at}: {value!r} is none of {enum}"]
    size = len(value) if kind == "string" else value
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if kind in ("string", "integer", "long") and not (low or size) <= size <= (high or size):
        return [f"{at}: {value!r} is not within {low} and {high}"]
    return []


def check(plan: dict[str, Any]) -> list[str]:
    known = {"LoadBalancers", "TargetGroups", "RecordSets", "Diagnostics"}
    out = [f"{key}: neither the API's nor ours" for key in plan.keys() - known]
    out += problems(plan["LoadBalancers"], MODEL.shape_for("LoadBalancers"), "LoadBalancers")
    return out + problems(plan["TargetGroups"], MODEL.shape_for("TargetGroups"), "TargetGroups")


def plan(path: Path) -> tuple[Path, subprocess.CompletedProcess[str]]:
    return path, run("plan", path, "-o", "json")


@pytest.fixture(scope="module")
def plans() -> dict[str, dict[str, Any]]:
    """Of the demos and of whatever in the corpus is not refused."""
    inputs = [EXAMPLES / "target-type-ip", EXAMPLES / "target-type-instance", *sorted(CORPUS.glob("*.yaml"))]
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(plan, inputs))
    assert {p.returncode for _, p in done} <= {0, 2}
    return {path.name: json.loads(p.stdout) for path, p in done if p.returncode == 0}


def test_every_plan_has_the_shapes_of_the_api(plans: dict[str, dict[str, Any]]) -> None:
    assert len(plans) > 250
    wrong = {name: found for name, plan in plans.items() if (found := check(plan))}
    assert wrong == REFUSED_BY_AWS, json.dumps(wrong, indent=1)[:4000]


def test_the_check_sees_what_is_wrong(plans: dict[str, dict[str, Any]]) -> None:
    broken = json.loads(json.dumps(plans["target-type-ip"]))
    group = broken["TargetGroups"][0]
    group |= {"Port": "80", "TargetType": "pod", "HealthCheckIntervalSeconds": 1000, "Vpc": "x"}
    broken["LoadBalancers"][0]["Listeners"][0]["Rules"][0]["Actions"][0]["Typ"] = "forward"
    found = check(broken)
    places = sorted(p.split(":")[0].split(".", 1)[-1] for p in found)
    assert len(found) == 5, found
    assert places[-1] == "Vpc" and places[-2] == "TargetType", found
