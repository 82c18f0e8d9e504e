"""A router is used from many threads at once, also while it reloads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import podway
from conftest import MODEL


def test_deciding_while_reloading(router: podway.Router, model: podway.Model, web: int) -> None:
    stop = Event()

    def decide() -> int:
        count = 0
        while not stop.is_set():
            decision = router.decide(web, "GET", "/x")
            assert decision.type == "forward"
            router.report(decision)
            count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        deciding = [pool.submit(decide) for _ in range(4)]
        try:
            for _ in range(50):
                router.reload(model)
        finally:
            stop.set()
        assert all(future.result() > 0 for future in deciding)
    assert sum(target.in_flight for target in router.targets()) == 0


def test_names_are_there_while_targets_come_and_go() -> None:
    def named(name: str) -> podway.Model:
        group = MODEL["TargetGroups"][0] | {
            "TargetGroupArn": f"arn:{name}",
            "TargetGroupName": name,
            "Attributes": [{"Key": "deregistration_delay.timeout_seconds", "Value": "0"}],
        }
        forward = [{"Type": "forward", "TargetGroupArn": f"arn:{name}"}]
        listener = {"Port": 80, "Protocol": "HTTP", "DefaultActions": forward}
        balancer = MODEL["LoadBalancers"][0] | {"Listeners": [listener]}
        return podway.Model.from_json({"LoadBalancers": [balancer], "TargetGroups": [group]})

    models = [named("one"), named("two")]
    router, stop = podway.Router(models[0]), Event()

    def decide() -> int:
        count = 0
        while not stop.is_set():
            decision = router.decide(0)
            assert decision.target_group in ("one", "two"), decision
            assert decision.target == decision.address and decision.target is not None
            router.report(decision)
            count += 1
        return count

    with ThreadPoolExecutor(3) as pool:
        deciding = [pool.submit(decide) for _ in range(3)]
        try:
            for n in range(60):
                router.reload(models[n % 2])
                router.poll()
        finally:
            stop.set()
        assert all(future.result() > 0 for future in deciding)
    assert sum(target.in_flight for target in router.targets()) == 0
