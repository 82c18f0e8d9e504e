"""What nobody should do, and what happens then: an error of Python, and a router that goes on."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import podway
import pytest
from conftest import MODEL, VECTORS

DEMO = VECTORS.parents[1] / "core" / "examples" / "target-type-ip"
LATEST = 2**64 - 1


@pytest.mark.parametrize("key", [32, [1] * 32, "x" * 32, None])  # None: a key of its own
def test_a_cookie_key_is_bytes(router: podway.Router, model: podway.Model, key: Any) -> None:
    if key is not None:
        with pytest.raises(TypeError, match="a cookie key must be bytes"):
            podway.Router(model, cookie_key=key)
    with pytest.raises(TypeError, match="a cookie key must be bytes"):
        router.set_cookie_keys([key])
    for alike in (bytearray(32), memoryview(bytes(32))):
        podway.Router(model, cookie_key=alike)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a list of keys"):
        router.set_cookie_keys(b" " * 32)  # type: ignore[arg-type]


def test_the_end_of_time() -> None:
    """A moment that cannot be put off any further: nothing panics, and nothing waits for ever."""
    three = [
        {"Target": {"Id": f"10.0.0.{n}", "Port": 8080}, "TargetHealth": {"State": "healthy"}}
        for n in (1, 2, 3)
    ]
    group = MODEL["TargetGroups"][0] | {"TargetHealthDescriptions": three}
    model = podway.Model.from_json(MODEL | {"TargetGroups": [group]})
    for mono_ms in (LATEST, LATEST - 1, 2**63):
        now = (mono_ms, LATEST)
        for made in ((0, 0), now):
            router = podway.Router(model, now=made)
            for _ in range(3):
                probes, _later = router.poll(now=now)
                for probe in probes:
                    router.report_probe(probe.target_id, "status", 200, now=now)
            router.set_target_health("app", "10.0.0.1:8080", "draining", now=now)
            router.reload(model, now=now)
            router.poll(now=now)
            assert router.decide(router.listener("web", 80), now=now).type == "forward"


def test_headers_that_decide_while_they_are_read(router: podway.Router, model: podway.Model) -> None:
    web = router.listener("web", 80)

    class Headers(Mapping[str, str]):
        def __getitem__(self, name: str) -> str:
            router.report(router.decide(web, headers={"a": "b"}))
            return "v"

        def __iter__(self) -> Iterator[str]:
            router.reload(model)
            router.report(router.decide(web, headers=[("a", "b")]))
            return iter(("x", "y"))

        def __len__(self) -> int:
            return 2

    router.report(router.decide(web, headers=Headers()))

    class Failing(Headers):
        def __getitem__(self, name: str) -> str:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        router.decide(web, headers=Failing())
    assert sum(target.in_flight for target in router.targets()) == 0 and router.late_reports() == 0


def test_mappings_with_several_values_tell_them_by_items(router: podway.Router, web: int) -> None:
    class Several(dict[str, Any]):
        def items(self) -> Any:
            return [(name, line) for name, lines in super().items() for line in lines]

    seen = router.explain(web, headers=Several(host=["first.example.com", "second.example.com"]))
    assert seen["Request"]["Host"] == "first.example.com"


def test_models_are_copied_and_pickled(model: podway.Model) -> None:
    assert copy.copy(model) is model and copy.deepcopy({"a": model})["a"] is model
    told = podway.load(DEMO, nodes=0)
    assert told.diagnostics
    for one in (model, told):
        again = pickle.loads(pickle.dumps(one))
        assert (again.to_json(), again.diagnostics) == (one.to_json(), one.diagnostics)
        assert podway.Router(again).listeners() == podway.Router(one).listeners()


@pytest.mark.parametrize("what", ["decision", "router", "probe"])
def test_what_has_a_state_is_not_pickled(router: podway.Router, web: int, what: str) -> None:
    probe = router.poll(now=(100_000, 0))[0][0]
    one = {"decision": router.decide(web), "router": router, "probe": probe}[what]
    for made in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot pickle"):
            made(one)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_the_children_of_a_fork_do_not_choose_alike(model: podway.Model) -> None:
    group = MODEL["TargetGroups"][0] | {
        "Attributes": [{"Key": "load_balancing.algorithm.type", "Value": "weighted_random"}]
    }
    router = podway.Router(podway.Model.from_json(MODEL | {"TargetGroups": [group]}))
    web = router.listener("web", 80)

    def choices() -> bytes:
        return "".join((router.decide(web).target or "?")[-6] for _ in range(100)).encode()

    choices()
    told = []
    for _ in range(2):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(writing, choices())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        told.append(os.read(reading, 1000))
        os.close(reading)
        os.close(writing)
    assert len(told[0]) == len(told[1]) == 100 and told[0] != told[1]


def test_a_decision_outlives_its_router_and_a_reload(model: podway.Model) -> None:
    router = podway.Router(model)
    decision = router.decide(router.listener("web", 80))
    renamed = MODEL["TargetGroups"][0] | {"TargetGroupName": "renamed"}
    router.reload(podway.Model.from_json(MODEL | {"TargetGroups": [renamed]}))
    later = router.decide(router.listener("web", 80))
    assert (decision.target_group, later.target_group) == ("app", "renamed")
    assert {target.target_group for target in router.targets()} == {"renamed"}
    assert router.find_target("renamed", "10.0.0.1:8080") in {target.id for target in router.targets()}
    del router
    assert decision.address is not None and decision.address.startswith("10.0.0.")


def test_reports_of_another_router_and_twice(model: podway.Model) -> None:
    first, second = podway.Router(model), podway.Router(model)
    decision = first.decide(first.listener("web", 80))
    second.report(decision)
    assert second.late_reports() == 1
    first.report(decision)
    first.report(decision)
    assert first.late_reports() == 1


def test_huge_requests_are_decided(router: podway.Router, web: int) -> None:
    huge = "a" * 100_000_000
    router.report(router.decide(web, host=huge))
    router.report(router.decide(web, headers=[("a", "b")] * 1_000_000))
    assert router.decide(web, "GET", "/%41" + huge).reason == "BadUri"
    assert sum(target.in_flight for target in router.targets()) == 0


def health_checks(router: podway.Router, check: Any, **more: Any) -> list[dict[str, Any]]:
    """Runs health checks until the first target is unhealthy; gives back what the loop was told."""
    from podway.health import HealthChecks

    told: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with HealthChecks(router, check=check, **more):
            for _ in range(600):
                if any(target.state == "unhealthy" for target in router.targets()):
                    return
                await asyncio.sleep(0.05)

    asyncio.run(main())
    return told


def quick() -> podway.Router:
    group = MODEL["TargetGroups"][0] | {
        "HealthCheckIntervalSeconds": 5,
        "HealthCheckTimeoutSeconds": 2,
        "UnhealthyThresholdCount": 2,
    }
    return podway.Router(podway.Model.from_json(MODEL | {"TargetGroups": [group]}))


@pytest.mark.parametrize("status", [-1, 2**16, None, "200", asyncio.CancelledError()])
def test_a_check_that_makes_no_sense_has_failed(status: Any) -> None:
    async def check(_: podway.Probe) -> Any:
        if isinstance(status, BaseException):
            raise status
        return status

    router = quick()
    assert health_checks(router, check) == []
    assert "unhealthy" in {target.state for target in router.targets()}


def test_health_checks_go_on_whatever_is_done_with_events() -> None:
    def on_events(events: Any) -> None:
        raise ZeroDivisionError

    async def check(_: podway.Probe) -> int:
        return 500

    router = quick()
    router.set_target_health("app", "10.0.0.1:8080", "initial")
    told = health_checks(router, check, on_events=on_events)
    assert "unhealthy" in {target.state for target in router.targets()}
    assert told and all(isinstance(context["exception"], ZeroDivisionError) for context in told)


def test_cancelled_health_checks_leave_nothing_behind() -> None:
    from podway.health import HealthChecks

    begun = 0

    async def check(_: podway.Probe) -> int:
        nonlocal begun
        begun += 1
        await asyncio.sleep(3600)
        return 200

    async def main() -> set[asyncio.Task[Any]]:
        async def serve() -> None:
            async with HealthChecks(quick(), check=check):
                await asyncio.sleep(3600)

        task = asyncio.create_task(serve())
        for _ in range(600):
            if begun:
                break
            await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]

    assert asyncio.run(main()) == set() and begun > 0


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200),  # and the connection stays open
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", None),
        (b"HTTP/1.1 200 OK\r\nX: y\r\n", None),
        (b"HTTP/1.1 -20 x\r\n\r\n", None),
        (b"HTTP/1.1 99999 x\r\n\r\n", None),
        (b"SSH-2.0-x\r\n", None),
        (b"", None),
    ],
)
def test_a_health_check_over_http1(answer: bytes, expected: int | None) -> None:
    from podway.health import check

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if expected is None:
            writer.close()

    class Probe:
        protocol, protocol_version, path, host = "HTTP", "HTTP1", "/", "127.0.0.1"

    async def main() -> int:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        probe: Any = Probe()
        probe.address = server.sockets[0].getsockname()
        try:
            return await asyncio.wait_for(check(probe), 30)
        finally:
            server.close()

    if expected is None:
        with pytest.raises((ValueError, ConnectionError)):
            asyncio.run(main())
    else:
        assert asyncio.run(main()) == expected
