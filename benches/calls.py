"""What a decision costs from Python, beside what a user would pick instead, in one run.

    pip install werkzeug starlette
    pip install ./ffi-python -C build-args="--features bench"
    python benches/calls.py

Rows are nanoseconds a call: median and 10th to 90th percentile of 41 samples by the process's CPU time, taken
in turn, in plain loops whose own cost is the first row. Read the ratios, which are of samples of the same
round; the machine's noise is in every figure.
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
    cases: dict[str, tuple[str, Callable[..., Any], Sequence[tuple[Any, ...]]]],
) -> Callable[[str, str], float]:
    """Measures calls in turn; gives back how one compares with another: the median of the rounds' ratios."""

    def run(
        call: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], n: int
    ) -> int:
        k = len(arguments)
        began = time.process_time_ns()
        for i in range(n):
            call(*arguments[i % k])
        return time.process_time_ns() - began

    times = {}
    for key, (_, call, arguments) in cases.items():
        n = 64
        while run(call, arguments, n) < 10_000_000:
            n *= 2
        times[key] = n
    samples: dict[str, list[float]] = {key: [] for key in cases}
    for _ in range(41):
        for key, (_, call, arguments) in cases.items():
            samples[key].append(run(call, arguments, times[key]) / times[key])
    for key, (name, _, _) in cases.items():
        ordered = sorted(samples[key])
        print(
            f"| {name} | {ordered[20]:.0f} | {ordered[4]:.0f}-{ordered[36]:.0f} |",
            flush=True,
        )
    return lambda key, beside: sorted(
        a / b for a, b in zip(samples[key], samples[beside], strict=True)
    )[20]


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
    verdicts = []
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
        # The same strings in the same order for all: where they miss the caches, they miss them for all.
        calls = [(listener, "GET", path, host) for host, path in asked]
        headers = {f"x-header-{i}": "some value" for i in range(8)}

        def decide_and_report(*call: Any, router: podway.Router = router) -> None:
            router.report(router.decide(*call))

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
        nothing = _podway.Nothing()
        ratio = bench(
            {
                "loop": (
                    f"the loop and an empty lambda, {size}",
                    lambda a, b, c, d: None,
                    calls,
                ),
                "least": (
                    f"PyO3 call that takes them and gives nothing back, {size}",
                    nothing.call,
                    calls,
                ),
                "nothing": (
                    f"PyO3 call that makes a request of them and gives an object back, {size}",
                    nothing.decide,
                    calls,
                ),
                "decide": (f"podway decide, {size} rules", router.decide, calls),
                "headers": (
                    f"podway decide with 8 headers, {size} rules",
                    router.decide,
                    [(*c, headers) for c in calls],
                ),
                "both": (
                    f"podway decide, report, {size} rules",
                    decide_and_report,
                    calls,
                ),
                "werkzeug": (
                    f"werkzeug {version('werkzeug')} match, adapter ready, {size} rules",
                    werkzeug,
                    asked,
                ),
                "starlette": (
                    f"starlette {version('starlette')} Host and Route match, {size} rules",
                    starlette,
                    scopes,
                ),
            }
        )
        verdicts.append(
            f"{size} rules: decide is {ratio('decide', 'nothing'):.2f}x the call that decides nothing, "
            f"{ratio('decide', 'least'):.2f}x the one that gives nothing back; werkzeug is "
            f"{ratio('werkzeug', 'decide'):.1f}x and starlette {ratio('starlette', 'decide'):.1f}x decide; "
            f"werkzeug is {ratio('werkzeug', 'both'):.1f}x decide and report"
        )
    print("\n".join(verdicts))


if __name__ == "__main__":
    main()
