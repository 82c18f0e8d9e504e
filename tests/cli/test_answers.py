"""Folders of what `aws elbv2 describe-*` prints, as PATH of the verbs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import EXAMPLES, run


def answers(folder: Path) -> dict:
    """The demo's plan as the files that a shell loop over the describe calls leaves; gives the plan back."""
    plan = json.loads(run("plan", EXAMPLES / "target-type-ip", "-o", "json").stdout)
    plan.pop("RecordSets")
    plan.pop("Diagnostics")

    def write(name: str, answer: dict) -> None:
        (folder / name).write_text(json.dumps(answer))

    split = json.loads(json.dumps(plan))
    for balancer in split["LoadBalancers"]:
        listeners = balancer.pop("Listeners")
        write("lb-attributes.json", {"Attributes": balancer.pop("Attributes")})
        for listener in listeners:
            listener["LoadBalancerArn"] = balancer["LoadBalancerArn"]
            rules = [rule | {"ListenerArn": listener["ListenerArn"]} for rule in listener.pop("Rules")]
            write(f"a-rules-{listener['Port']}.json", {"Rules": rules})
        write("listeners.json", {"Listeners": listeners})
    for group in split["TargetGroups"]:
        name = group["TargetGroupName"]
        write(f"attributes-{name}.json", {"Attributes": group.pop("Attributes")})
        health = group.pop("TargetHealthDescriptions")
        write(f"health-{name}.json", {"TargetHealthDescriptions": health})
    write("balancers.json", {"LoadBalancers": split["LoadBalancers"]})
    write("groups.json", {"TargetGroups": split["TargetGroups"]})
    write("tags.json", {"TagDescriptions": []})
    return plan


def test_a_folder_of_answers_is_the_plan_again(tmp_path: Path) -> None:
    plan = answers(tmp_path)
    done = run("plan", tmp_path, "-o", "json")
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    assert [d["Code"] for d in read["Diagnostics"]] == ["W_IGNORED"], "tags.json is told, and does no harm"
    assert read["LoadBalancers"] == plan["LoadBalancers"]
    by_name = {g["TargetGroupName"]: g for g in plan["TargetGroups"]}
    assert {g["TargetGroupName"]: g for g in read["TargetGroups"]} == by_name
    routed = run("route", tmp_path, "GET", "https://a.example.com/app1/x", "-o", "json")
    assert json.loads(routed.stdout)["Rule"] == {"Priority": "1"}, routed.stderr


def test_answers_and_manifests_stand_side_by_side(tmp_path: Path) -> None:
    name = json.loads(run("plan", EXAMPLES / "target-type-ip", "-o", "json").stdout)["TargetGroups"][0]
    health = [{"Target": {"Id": "10.0.0.7", "Port": 80}, "TargetHealth": {"State": "healthy"}}]
    file = tmp_path / f"health-{name['TargetGroupName']}.json"
    file.write_text(json.dumps({"TargetHealthDescriptions": health}))
    done = run("plan", EXAMPLES / "target-type-ip", tmp_path, "-o", "json")
    groups = json.loads(done.stdout)["TargetGroups"]
    assert [t["Target"]["Id"] for t in groups[0]["TargetHealthDescriptions"]] == ["10.0.0.7"]


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (
            "who.json",
            '{"Attributes": [{"Key": "stickiness.enabled", "Value": "true"}]}',
            "nothing tells which",
        ),
        ("broken.json", '{"TargetGroups": [}', "broken.json:1:19"),
        ("rules.json", '{"Rules": [{"Priority": "first", "Actions": []}]}', "neither a number nor `default`"),
        ("lost.json", '{"TargetGroupArn": "arn:x", "Attributes": [{"Key": "a"}]}', "not in the input"),
    ],
)
def test_an_answer_that_cannot_be_used_is_told_with_its_place(
    tmp_path: Path, file: str, text: str, said: str
) -> None:
    answers(tmp_path)
    (tmp_path / file).write_text(text)
    done = run("plan", tmp_path)
    assert done.returncode == 2
    assert said in done.stderr and file in done.stderr, done.stderr
    assert "panicked" not in done.stderr
