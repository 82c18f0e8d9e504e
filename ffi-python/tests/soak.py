"""Threads that decide, report and probe while others swap models: no crash, nothing left behind.

python ffi-python/tests/soak.py [--seconds 600] [--threads 4]

Ends with 1 where a decision was wrong, requests were left in flight, or memory grew after the first
quarter. `tests/run.sh` runs a short form.
"""

from __future__ import annotations

import argparse
import gc
import sys
import threading
import time
from pathlib import Path
from typing import Any

import podway


def model(turn: int, targets: int) -> podway.Model:
    """Groups that come and go and change their names; one stays."""
    groups = ["stays", f"turn{turn % 3}"]
    sticky = [
        {"Key": "stickiness.enabled", "Value": "true"},
        {"Key": "stickiness.type", "Value": "lb_cookie"},
        {"Key": "deregistration_delay.timeout_seconds", "Value": "0"},
    ]
    rule = {
        "Priority": "1",
        "Conditions": [{"Field": "path-pattern", "Values": ["/turn/*"]}],
        "Actions": [{"Type": "forward", "TargetGroupArn": f"arn:{groups[1]}"}],
    }
    document: dict[str, Any] = {
        "LoadBalancers": [
            {
                "LoadBalancerArn": "arn:lb",
                "LoadBalancerName": "web",
                "Listeners": [
                    {
                        "Port": 80,
                        "Protocol": "HTTP",
                        "DefaultActions": [{"Type": "forward", "TargetGroupArn": "arn:stays"}],
                        "Rules": [rule],
                    }
                ],
            }
        ],
        "TargetGroups": [
            {
                "TargetGroupArn": f"arn:{name}",
                "TargetGroupName": f"{name}-{turn % 5}",
                "TargetType": "ip",
                "Attributes": sticky,
                "TargetHealthDescriptions": [
                    {"Target": {"Id": f"10.0.{i}.{n}", "Port": 80}, "TargetHealth": {"State": "healthy"}}
                    for n in range(1, targets + 1 + turn % 4)
                ],
            }
            for i, name in enumerate(groups)
        ],
    }
    return podway.Model.from_json(document)


def rss_kib() -> int:
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise SystemExit("soak.py reads /proc/self/status, which only Linux has")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--threads", type=int, default=4)
    arguments = parser.parse_args()
    router = podway.Router(model(0, 8))
    web = router.listener("web", 80)
    stop = threading.Event()
    counts = [0] * arguments.threads
    wrong: list[str] = []

    def decide(number: int) -> None:
        cookie = ""
        while not stop.is_set():
            path = "/turn/x" if counts[number] % 2 else "/y"
            decision = router.decide(web, "GET", path, "example.com", [("cookie", cookie), ("x", "y")])
            if decision.type != "forward" or not (decision.target_group or "").startswith(("stays", "turn")):
                wrong.append(repr(decision))
                return
            cookie = "; ".join(line.partition(";")[0] for line in decision.set_cookies)
            router.report(decision, "response" if counts[number] % 7 else "closed")
            counts[number] += 1

    def reload() -> None:
        turn = 0
        while not stop.wait(0.02):
            turn += 1
            router.reload(model(turn, 8))
            try:
                router.reload(podway.Model.from_json('{"LoadBalancers": 7}'))
                wrong.append("a broken model was taken")
            except podway.InputError:
                pass
            probes, _ = router.poll()
            for probe in probes:
                router.report_probe(probe.target_id, "status", 200)
            router.targets()
            router.events()
        counts.append(turn)

    threads = [threading.Thread(target=decide, args=(n,)) for n in range(arguments.threads)]
    threads.append(threading.Thread(target=reload))
    began = time.monotonic()
    for thread in threads:
        thread.start()
    samples: list[int] = []
    while time.monotonic() - began < arguments.seconds and not wrong:
        time.sleep(min(1.0, arguments.seconds / 20))
        samples.append(rss_kib())
    stop.set()
    for thread in threads:
        thread.join()
    gc.collect()
    router.poll()
    left = sum(target.in_flight for target in router.targets())
    settled = samples[len(samples) // 4 :] or [0]
    first, last = max(settled[: len(settled) // 4 + 1]), max(settled[-len(settled) // 4 - 1 :])
    grown = last - first
    print(
        f"soak python: {sum(counts[:-1])} decisions on {arguments.threads} threads, {counts[-1]} reloads, "
        f"{left} in flight, RSS {first} KiB after a quarter, {last} KiB at the end, {len(wrong)} wrong"
    )
    print("\n".join(wrong[:5]), end="")
    # The allocator's own breathing; a leak of one object a decision would be hundreds of times that.
    return 1 if wrong or left or grown > max(4096, first // 20) else 0


if __name__ == "__main__":
    sys.exit(main())
