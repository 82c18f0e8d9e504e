"""What a decision costs from Python, beside what a user would pick instead, in one run.

    pip install werkzeug starlette
    pip install ./ffi-python -C build-args="--features bench"
    python benches/calls.py

Rows are nanoseconds a call: median and 10th to 90th percentile of 41 samples by the process's CPU time, in
plain loops whose own cost is the first row. Read the ratios; the machine's noise is in every figure.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import podway
from podway import _podway
from starlette.routing import Host, Match, Route, Router
from werkzeug.routing import Map, Rule


def bench(
    name: str, call: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]
) -> float:
    def run(n: int) -> int:
        k = len(arguments)
        began = time.process_time_ns()
        for i in range(n):
            call(*arguments[i % k])
        return time.process_time_ns() - began

    n = 64
    while run(n) < 10_000_000:
        n *= 2
    samples = sorted(run(n) / n for _ in range(41))
    print(
        f"| {name} | {samples[20]:.0f} | {samples[4]:.0f}-{samples[36]:.0f} |",
        flush=True,
    )
    return samples[20]


def model(hosts: int, paths: int) -> podway.Model:
    rules = [
        {
            "Priority": str(h * paths + p + 1),
            "Conditions": [
                {
                    "Field": "host-header",
                    "HostHeaderConfig": {"Values": [f"svc{h}.example.com"]},
                },
                {
                    "Field": "path-pattern",
                    "PathPatternConfig": {"Values": [f"/api{p}", f"/api{p}/*"]},
                },
            ],
            "Actions": [{"Type": "forward", "TargetGroupArn": f"arn:g{(h + p) % 10}"}],
        }
        for h in range(hosts)
        for p in range(paths)
    ]
    groups = [
        {
            "TargetGroupArn": f"arn:g{g}",
            "TargetGroupName": f"g{g}",
            "TargetType": "ip",
            "TargetHealthDescriptions": [
                {
                    "Target": {"Id": f"10.0.{g}.{t}", "Port": 80},
                    "TargetHealth": {"State": "healthy"},
                }
                for t in range(4)
            ],
        }
        for g in range(10)
    ]
    listener = {
        "Port": 80,
        "Protocol": "HTTP",
        "Rules": rules,
        "DefaultActions": [{"Type": "forward", "TargetGroupArn": "arn:g0"}],
    }
    balancer = {
        "LoadBalancerArn": "arn:lb",
        "LoadBalancerName": "lb",
        "Listeners": [listener],
    }
    return podway.Model.from_json({"LoadBalancers": [balancer], "TargetGroups": groups})


def main() -> None:
    print(f"| call (Python {sys.version.split()[0]}) | ns | p10-p90 |\n|---|---|---|")
    few = [
        (1, "GET", f"/api{i % 10}/users/{i}", f"svc{i % 10}.example.com")
        for i in range(64)
    ]
    bench(
        "the loop and an empty lambda, the same arguments", lambda a, b, c, d: None, few
    )
    nothing = bench(
        "PyO3 call that does nothing, the same arguments", _podway.Nothing().decide, few
    )
    ratios = []
    for hosts, paths in ((10, 10), (100, 100)):
        size = hosts * paths
        asked = [
            (f"svc{h}.example.com", f"/api{p}/users/42")
            for h in range(hosts)
            for p in range(paths)
        ]
        random.Random(7).shuffle(asked)
        router = podway.Router(model(hosts, paths))
        listener = router.listener("lb", 80)
        calls = [(listener, "GET", path, host) for host, path in asked]
        decide = bench(f"podway decide, {size} rules", router.decide, calls)
        headers = {f"x-header-{i}": "some value" for i in range(8)}
        bench(
            f"podway decide with 8 headers, {size} rules",
            router.decide,
            [(*c, headers) for c in calls],
        )

        def decide_and_report(*call: Any, router: podway.Router = router) -> None:
            router.report(router.decide(*call))

        both = bench(f"podway decide, report, {size} rules", decide_and_report, calls)
        table = Map(
            [
                Rule(f"/api{p}/<path:rest>", endpoint=p, host=f"svc{h}.example.com")
                for h in range(hosts)
                for p in range(paths)
            ],
            host_matching=True,
        )
        bound = {
            f"svc{h}.example.com": table.bind(f"svc{h}.example.com")
            for h in range(hosts)
        }

        def werkzeug(host: str, path: str, bound: dict[str, Any] = bound) -> Any:
            return bound[host].match(path)

        other = bench(
            f"werkzeug {version('werkzeug')} match, adapter ready, {size} rules",
            werkzeug,
            asked,
        )
        routes = [
            Host(
                f"svc{h}.example.com",
                app=Router(
                    [
                        Route(f"/api{p}/{{rest:path}}", lambda request: None)
                        for p in range(paths)
                    ]
                ),
            )
            for h in range(hosts)
        ]
        scopes = [
            (
                {
                    "type": "http",
                    "method": "GET",
                    "path": path,
                    "root_path": "",
                    "headers": [(b"host", host.encode())],
                },
            )
            for host, path in asked[:256]
        ]

        def starlette(scope: Any, routes: list[Host] = routes) -> Any:
            for host in routes:
                if host.matches(scope)[0] is Match.FULL:
                    for route in host.app.routes:  # type: ignore[attr-defined]
                        if route.matches(scope)[0] is Match.FULL:
                            return route
            return None

        assert starlette(*scopes[0]) is not None
        third = bench(
            f"starlette {version('starlette')} Host and Route match, {size} rules",
            starlette,
            scopes,
        )
        ratios.append(
            (size, decide / nothing, other / decide, third / decide, other / both)
        )
    for size, of_nothing, of_werkzeug, of_starlette, with_report in ratios:
        print(
            f"{size} rules: decide is {of_nothing:.2f}x the call that does nothing; werkzeug is "
            f"{of_werkzeug:.1f}x and starlette {of_starlette:.1f}x decide; werkzeug is {with_report:.1f}x "
            "decide and report"
        )


if __name__ == "__main__":
    main()
