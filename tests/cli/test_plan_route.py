"""`podway plan`, `podway route` and `podway explain`: what they print for programs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from conftest import EXAMPLES, run

HTTPS = "https://target-type-ip.example.com/app1/index.html"


def plan(demo: str) -> dict:
    done = run("plan", EXAMPLES / demo, "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_plan_of_the_ip_demo() -> None:
    p = plan("target-type-ip")
    (lb,) = p["LoadBalancers"]
    assert (lb["LoadBalancerName"], lb["Scheme"]) == ("target-type-ip", "internet-facing")
    assert [(x["Port"], x["Protocol"]) for x in lb["Listeners"]] == [(80, "HTTP"), (443, "HTTPS")]
    http, https = lb["Listeners"]
    assert http["DefaultActions"][0]["RedirectConfig"]["Port"] == "443"
    assert [r["Priority"] for r in http["Rules"]] == ["default"]
    values = [r["Conditions"][0]["PathPatternConfig"]["Values"] for r in https["Rules"][:-1]]
    assert values == [["/app1", "/app1/*"], ["/app2", "/app2/*"]]
    groups = {g["ServiceRef"]["Name"]: g for g in p["TargetGroups"]}
    app1 = groups["app1-nginx-clusterip-service"]
    assert app1["TargetType"] == "ip" and app1["HealthCheckPath"] == "/app1/index.html"
    assert app1["HealthCheckIntervalSeconds"] == 15 and app1["Matcher"] == {"HttpCode": "200"}
    assert all(t["Target"]["Id"].startswith("127.16.") for t in app1["TargetHealthDescriptions"])
    assert {r["Name"] for r in p["RecordSets"]} == {"target-type-ip.example.com"}


def test_plan_of_the_instance_demo() -> None:
    for group in plan("target-type-instance")["TargetGroups"]:
        assert group["TargetType"] == "instance"
        ports = {t["Target"]["Port"] for t in group["TargetHealthDescriptions"]}
        assert ports == {group["Port"]} and 30000 <= group["Port"] <= 32767
        assert len(group["TargetHealthDescriptions"]) == 3, "every node is a target"


def test_plan_reads_its_own_output_back() -> None:
    p = run("plan", EXAMPLES / "target-type-ip", "-o", "json").stdout
    again = run("plan", "-", "-o", "json", stdin=p)
    assert again.returncode == 0, again.stderr
    ours, theirs = json.loads(p), json.loads(again.stdout)
    assert ours["LoadBalancers"] == theirs["LoadBalancers"]
    assert ours["TargetGroups"] == theirs["TargetGroups"]
    assert ours["RecordSets"] == theirs["RecordSets"]


@pytest.mark.parametrize("demo", ["target-type-ip", "target-type-instance"])
def test_plan_for_people(demo: str) -> None:
    done = run("plan", EXAMPLES / demo)
    assert done.returncode == 0 and demo in done.stdout and "/app1" in done.stdout
    assert "\x1b[" not in done.stdout, "no colour where there is no terminal"
    assert max(map(len, done.stdout.splitlines())) <= 120
    mermaid = run("plan", EXAMPLES / demo, "-o", "mermaid")
    assert mermaid.stdout.startswith("flowchart"), mermaid.stdout[:80]


def route(demo: str, *args: str) -> list[dict]:
    done = run("route", EXAMPLES / demo, *args, "-o", "json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_route_in_ip_mode_has_one_hop() -> None:
    (r,) = route("target-type-ip", "GET", HTTPS, "--source-ip", "203.0.113.9")
    assert r["LoadBalancer"] == "target-type-ip"
    assert r["Listener"] == {"Port": 443, "Protocol": "HTTPS"}
    assert r["Rule"] == {"Priority": "1"}
    action = r["Action"]
    assert action["Type"] == "forward" and action["FailOpen"] is False
    assert action["Service"] == "default/app1-nginx-clusterip-service:80"
    assert [h["Kind"] for h in action["Hops"]] == ["target"]
    assert r["Upstream"]["Path"] == "/app1/index.html"
    assert r["Upstream"]["Headers"]["X-Forwarded-For"] == "203.0.113.9"


def test_route_in_instance_mode_has_two_hops() -> None:
    (r,) = route("target-type-instance", "GET", HTTPS.replace("-ip.", "-instance."))
    assert [h["Kind"] for h in r["Action"]["Hops"]] == ["target", "kube-proxy"]
    node, pod = (h["Address"] for h in r["Action"]["Hops"])
    assert node.startswith("127.18.") and pod.startswith("127.16.")


def test_route_redirects_and_defaults() -> None:
    (r,) = route("target-type-ip", "GET", "http://target-type-ip.example.com/x?y=1")
    assert r["Action"]["Type"] == "redirect" and r["Action"]["StatusCode"] == "301"
    assert r["Action"]["Location"] == "https://target-type-ip.example.com:443/x?y=1"
    (r,) = route("target-type-ip", "GET", "https://target-type-ip.example.com/")
    assert r["Rule"] == {"Priority": "default"}
    assert r["Action"]["Service"].startswith("default/app3")


def test_route_is_fair_and_repeatable() -> None:
    args = ("GET", HTTPS, "--count", "100", "--seed", "7")
    first, again = route("target-type-ip", *args), route("target-type-ip", *args)
    assert first == again
    spread = Counter(r["Action"]["Target"]["Id"] for r in first)
    assert max(spread.values()) - min(spread.values()) <= 1
    sick = next(iter(spread))
    rest = route("target-type-ip", *args, "--unhealthy", f"{sick}:80")
    assert sick not in {r["Action"]["Target"]["Id"] for r in rest}


@pytest.mark.parametrize(("drops", "kind"), [("false", "fixed-response"), ("true", "redirect")])
def test_route_drops_what_the_load_balancer_drops(tmp_path: Path, drops: str, kind: str) -> None:
    rule = {
        "Priority": "1",
        "Conditions": [{"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X_Env", "Values": ["1"]}}],
        "Actions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "418"}}],
    }
    redirect = {"Type": "redirect", "RedirectConfig": {"Path": "/other", "StatusCode": "HTTP_301"}}
    arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/lb/0123456789abcdef"
    listener = {"Port": 80, "Protocol": "HTTP", "DefaultActions": [redirect], "Rules": [rule]}
    attribute = {"Key": "routing.http.drop_invalid_header_fields.enabled", "Value": drops}
    lb = {"LoadBalancerArn": arn, "LoadBalancerName": "lb", "DNSName": "lb.example.com", "Type": "application",
          "Scheme": "internal", "Attributes": [attribute], "Listeners": [listener]}  # fmt: skip
    (tmp_path / "lb.json").write_text(json.dumps({"LoadBalancers": [lb], "TargetGroups": []}))
    done = run("route", tmp_path / "lb.json", "GET", "http://lb.example.com/", "-H", "X_Env: 1", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Action"]["Type"] == kind


def explain(*args: str) -> dict:
    done = run("explain", *args, "-o", "json", "--seed", "7")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_explain_tells_every_rule_up_to_the_one_that_matches() -> None:
    url = "https://target-type-ip.example.com/app2/%69ndex.html?a=1"
    why = explain(EXAMPLES / "target-type-ip", "GET", url)
    assert why["Request"] == {
        "Method": "GET",
        "Host": "target-type-ip.example.com",
        "Path": "/app2/index.html",
        "Query": "a=1",
        "SourceIp": "192.0.2.1",
    }
    first, second = why["Rules"]
    assert (first["Priority"], first["Matches"]) == ("1", False)
    (condition,) = first["Conditions"]
    assert condition["Field"] == "path-pattern" and condition["Saw"] == ["/app2/index.html"]
    assert condition["PathPatternConfig"] == {"Values": ["/app1", "/app1/*"]}
    assert "MatchedValue" not in condition
    assert second["Matches"] and second["Conditions"][0]["MatchedValue"] == "/app2/*"
    assert why["NotReached"] == 0
    route = run("route", EXAMPLES / "target-type-ip", "GET", url, "-o", "json", "--seed", "7")
    assert {k: v for k, v in why.items() if k not in ("Request", "Rules", "NotReached")} == json.loads(route.stdout)


def test_explain_tells_the_hops() -> None:
    why = explain(EXAMPLES / "target-type-instance", "GET", "https://x.example.com/app1/")
    assert [hop["Kind"] for hop in why["Action"]["Hops"]] == ["target", "kube-proxy"]
    assert why["NotReached"] == 1


def test_explain_where_no_rule_is_asked() -> None:
    why = explain(EXAMPLES / "target-type-ip", "TRACE", "https://target-type-ip.example.com/app1/")
    assert why["Rules"] == [] and "Request" not in why
    assert why["Action"]["Reason"] == "MethodNotAllowed"


def test_explain_for_people() -> None:
    url = "https://target-type-ip.example.com/nowhere"
    done = run("explain", EXAMPLES / "target-type-ip", "GET", url)
    assert done.returncode == 0, done.stderr
    for part in ("path /app1 | /app1/*", "/nowhere", "does not match", "default", "app3-nginx-clusterip-service:80"):
        assert part in done.stdout
    done = run("explain", EXAMPLES / "target-type-ip", "GET", "not-a-url")
    assert done.returncode == 2 and "is not a URL" in done.stderr
