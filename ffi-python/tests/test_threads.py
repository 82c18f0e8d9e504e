"""A router is used from many threads at once, also while it reloads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import podway


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
