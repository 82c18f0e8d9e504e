"""A pytest plugin: load manifests once, assert where requests go, read what differs.

    def test_app1(podway_routes):
        routes = podway_routes("kube-manifests/")
        assert routes("GET https://shop.example.com/app1/") == Goes(service="default/app1:80")

Installed with the package; nothing has to be turned on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest

from podway._podway import Decision
from podway.model import Model, Path, load
from podway.router import Headers, Router

__all__ = ["Goes", "Route", "Routes"]


class Route:
    """Where one request went; its attributes are those of `podway.Decision`."""

    def __init__(self, request: str, decision: Decision) -> None:
        self.request = request
        self.decision = decision

    def __getattr__(self, name: str) -> Any:
        return getattr(self.decision, name)

    def __repr__(self) -> str:
        return f"<{self.request}: {self.decision!r}>"


class Goes:
    """What is expected of a route: attributes of `podway.Decision` with their values, text also with a
    compiled pattern that has to be found in it."""

    def __init__(self, **expected: Any) -> None:
        unknown = [name for name in expected if name.startswith("_") or not hasattr(Decision, name)]
        if unknown:
            raise TypeError(f"a decision has no {', '.join(unknown)}")
        self.expected = expected

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Route, Decision)):
            return NotImplemented
        return not self.differences(other)

    __hash__ = None  # type: ignore[assignment]  # as anything that is equal to what it merely resembles

    def differences(self, route: Route | Decision) -> list[str]:
        """What is not as expected, a line each."""
        lines = []
        for name, expected in self.expected.items():
            actual = getattr(route, name)
            if isinstance(expected, re.Pattern):
                same = isinstance(actual, str) and expected.search(actual) is not None
                said = f"a match of {expected.pattern!r}"
            else:
                same, said = actual == expected, repr(expected)
            if not same:
                lines.append(f"{name}: {actual!r}, expected {said}")
        return lines

    def __repr__(self) -> str:
        return f"Goes({', '.join(f'{name}={value!r}' for name, value in self.expected.items())})"


class Routes:
    """Asks a router as a browser would."""

    def __init__(self, router: Router, load_balancer: str | None = None) -> None:
        names = sorted({listener.load_balancer for listener in router.listeners()})
        if load_balancer is None and len(names) != 1:
            raise ValueError(f"load_balancer must be one of {', '.join(names) or 'none'}")
        self.router = router
        self._load_balancer = names[0] if load_balancer is None else load_balancer

    def __call__(
        self, request: str, *, headers: Headers = (), peer: str | tuple[Any, ...] | None = None
    ) -> Route:
        """Decides a request: `GET https://shop.example.com/app1?x=1`."""
        method, _, address = request.rpartition(" ")
        url = urlsplit(address)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"{request!r} is not `METHOD http(s)://host/path`")
        port = url.port or (443 if url.scheme == "https" else 80)
        listener = self.router.listener(self._load_balancer, port)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        decision = self.router.decide(listener, method or "GET", target, url.netloc, headers, peer)
        self.router.report(decision, "cancelled")
        return Route(request, decision)


@pytest.fixture(scope="session")
def podway_routes() -> Callable[..., Routes]:
    """Makes `Routes` of what `podway.load` takes, or of a model; the same input is loaded once."""
    made: dict[str, Routes] = {}

    def routes(
        source: Path | Sequence[Path | tuple[str, str]] | Model,
        *,
        load_balancer: str | None = None,
        **options: Any,
    ) -> Routes:
        if isinstance(source, Model):
            return Routes(Router(source), load_balancer)
        key = repr((source, load_balancer, sorted(options.items())))
        if key not in made:
            made[key] = Routes(Router(load(source, **options)), load_balancer)
        return made[key]

    return routes


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Tells a route apart from what was expected of it, field by field."""
    if isinstance(left, Goes):
        left, right = right, left
    if op != "==" or not isinstance(left, (Route, Decision)) or not isinstance(right, Goes):
        return None
    decision = left.decision if isinstance(left, Route) else left
    request = left.request if isinstance(left, Route) else "the request"
    rule = "no rule" if decision.priority is None else f"rule {decision.priority}"
    return [f"{request} ({rule}, {decision.type})", *right.differences(left)]
