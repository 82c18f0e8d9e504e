"""A router is used from many threads at once, also while it reloads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import podway
from conftest import MODEL


def while_deciding(threads: int, decide: Callable[[], None], change: Callable[[], None]) -> None:
    """Calls `decide` on so many threads until `change` has ended; each of them got to it, and none failed."""
    stop = Event()

    def loop() -> int:
        count = 0
        while not stop.is_set():
            decide()
            count += 1
        return count

    with ThreadPoolExecutor(threads) as pool:
        deciding = [pool.submit(loop) for _ in range(threads)]
        try:
            change()
        finally:
            stop.set()
        assert all(future.result() > 0 for future in deciding)


def test_deciding_while_reloading(router: podway.Router, model: podway.Model, web: int) -> None:
    def decide() -> None:
        decision = router.decide(web, "GET", "/x")
        assert decision.type == "forward"
        router.report(decision)

    def reload() -> None:
        for _ in range(50):
            router.reload(model)

    while_deciding(4, decide, reload)
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
    router = podway.Router(models[0])

    def decide() -> None:
        decision = router.decide(0)
        assert decision.target_group in ("one", "two"), decision
        assert decision.target == decision.address and decision.target is not None
        router.report(decision)

    def exchange() -> None:
        for n in range(60):
            router.reload(models[n % 2])
            router.poll()

    while_deciding(3, decide, exchange)
    assert sum(target.in_flight for target in router.targets()) == 0
