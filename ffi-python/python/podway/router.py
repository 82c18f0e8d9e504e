"""The router: what is called per request is the extension's; this adds Python's words around the rest."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeAlias

from podway import _podway
from podway._podway import Decision
from podway.model import Model

Now: TypeAlias = tuple[int, int]
"""(milliseconds of a monotonic clock, seconds since 1970)."""

Text: TypeAlias = str | bytes
Headers: TypeAlias = Mapping[str, Text] | Iterable[tuple[Text, Text]]


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener; `id` is what `Router.decide` takes."""

    id: int
    load_balancer: str
    port: int
    protocol: str


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """A target group. `service` is `namespace/name:port` of the Service it was made for."""

    id: int
    name: str
    arn: str
    service: str | None


@dataclass(frozen=True, slots=True)
class ZoneHealth:
    """What is known of a zone from the targets of one group. `zone` is None for targets without one."""

    zone: str | None
    registered: int
    healthy: int
    routing_healthy: bool
    """Whether requests go to healthy targets only: false while the group fails open."""
    dns_healthy: bool
    """Whether the zone's addresses may stay in DNS as far as this group goes."""
    shifted: bool
    """Whether a zonal shift keeps requests away from its targets."""


@dataclass(frozen=True, slots=True)
class WhyUnsticky:
    """Something that keeps a request from the target of the one before it."""

    cookie: str | None
    """The cookie it is about; None for kube-proxy."""
    reason: str
    text: str
    """The same for people, with what to look at."""


@dataclass(frozen=True, slots=True)
class Target:
    """A target with its state."""

    id: int
    target_group: str
    target: str
    address: str | None
    zone: str | None
    state: str
    reason: str | None
    description: str | None
    in_flight: int
    anomalous: bool
    """Whether it fails more often than its peers."""
    mitigation_in_effect: bool
    """Whether it gets less than its share of requests for that."""
    administrative_override: str
    """`no_override`, or what a zonal shift does to it."""


@dataclass(frozen=True, slots=True)
class HealthEvent:
    """A change of a target's health. `from_` is None for a new target, `to` when it is gone."""

    target_id: int
    target_group: str
    target: str
    from_: str | None
    to: str | None
    reason: str | None
    description: str | None
    at_ms: int


class Router(_podway.Router):
    """A compiled model with the state of its targets. May be used from many threads at once.

    `options` are those of the Rust library, by name. Routers that share `cookie_key` (32 secret bytes)
    honour each other's sticky cookies; without it each router draws its own. `now` is
    `(monotonic milliseconds, unix seconds)` everywhere, and this machine's clocks (`time.monotonic`,
    `time.time`) where it is not given.
    """

    __slots__ = ()

    def __new__(
        cls,
        model: Model,
        options: Mapping[str, Any] | None = None,
        cookie_key: bytes | None = None,
        *,
        now: Now | None = None,
    ) -> Router:
        key = secrets.token_bytes(32) if cookie_key is None else _key(cookie_key)
        return super().__new__(cls, _native(model), json.dumps(dict(options) if options else {}), key, now)

    def listeners(self) -> list[Listener]:
        """All listeners."""
        return [Listener(**item) for item in json.loads(self._listeners())]

    def explain(
        self,
        listener: int,
        method: Text | None = None,
        target: Text | None = None,
        host: Text | None = None,
        headers: Headers | None = None,
        peer: str | tuple[Any, ...] | None = None,
        *,
        now: Now | None = None,
        entropy: int | None = None,
    ) -> dict[str, Any]:
        """Decides as `decide` does and tells why: `Decision`, `Request` as rules see it, and `Rules` with
        every condition that was looked at and what it saw. Owes no report."""
        told = self._explain(listener, method, target, host, headers, peer, now, entropy)
        explanation: dict[str, Any] = json.loads(told)
        return explanation

    def why_unsticky(
        self,
        listener: int,
        method: Text | None = None,
        target: Text | None = None,
        host: Text | None = None,
        headers: Headers | None = None,
        peer: str | tuple[Any, ...] | None = None,
        *,
        history: Iterable[str] = (),
        now: Now | None = None,
    ) -> list[WhyUnsticky]:
        """What keeps this request from the target that the client had before; nothing where the cookies hold.
        `history` are values of Set-Cookie headers that the client got earlier, oldest first: with them it is
        told apart whether a cookie was never set or did not come back. Changes nothing."""
        told = self._why_unsticky(listener, method, target, host, headers, peer, _texts(history), now)
        return [WhyUnsticky(**item) for item in json.loads(told)]

    def forward(self, *args: Any, **kwargs: Any) -> Forwarding:
        """As `decide`, for `with`: what is not reported inside is reported at the end, as `cancelled`, or as
        `closed` if the block raised an `Exception` (a task that is cancelled is none)."""
        return Forwarding(self, self.decide(*args, **kwargs))

    def app_cookie(
        self,
        decision: Decision,
        headers: Headers,
        cookies: Iterable[str],
        *,
        now: Now | None = None,
        entropy: int | None = None,
    ) -> list[str]:
        """For stickiness of type `app_cookie`: given the headers of the request and the names of the cookies
        that the target's response sets, the values of the Set-Cookie headers that the load balancer adds."""
        return self._app_cookie(decision, headers, _texts(cookies), now, entropy)

    def authentication(self, listener: int, decision: Decision) -> dict[str, Any] | None:
        """The authentication action that a decision asks for, as the model has it."""
        text = self._authentication(listener, decision)
        return None if text is None else json.loads(text)

    def reload(self, model: Model, *, now: Now | None = None) -> None:
        """Swaps a model in without stopping other threads. A failure leaves everything as it was."""
        self._reload(_native(model), now)

    def set_cookie_keys(self, keys: Sequence[bytes]) -> None:
        """Replaces the keys of cookies: the first seals, the others still open what they sealed."""
        if isinstance(keys, (bytes, bytearray, memoryview)):
            raise TypeError("a list of keys is needed, not one")
        self._set_cookie_keys([_key(key) for key in keys])

    def set_target_health(
        self, target_group: str, target: str, state: str, *, now: Now | None = None
    ) -> None:
        """Sets a target's health by hand: `healthy`, `unhealthy`, `initial`, …"""
        self._set_target_health(self.find_target(target_group, target), state, now)

    def hop(
        self,
        target: int,
        client: str = "127.0.0.1",
        *,
        now: Now | None = None,
        entropy: int | None = None,
    ) -> dict[str, Any] | None:
        """What the node that is this target (its id) does with a new connection from `client`, the load
        balancer's own address: `outcome` is `forwarded` (to `pod` at `address`), `refused` or `dropped`. None
        where the target is no node with a NodePort."""
        text = self._hop(target, client, now, entropy)
        return None if text is None else json.loads(text)

    def target_groups(self) -> list[TargetGroup]:
        """All target groups."""
        return [TargetGroup(**item) for item in json.loads(self._target_groups())]

    def zone_health(self, target_group: str) -> list[ZoneHealth]:
        """The zones that a target group (by name or ARN) has targets in, with what routing and DNS fail-over
        make of them: thresholds are measured over the whole group with cross-zone balancing, per zone
        without."""
        return [ZoneHealth(**item) for item in json.loads(self._zone_health(target_group))]

    def targets(self) -> list[Target]:
        """All targets, draining ones included."""
        items: list[dict[str, Any]] = json.loads(self._targets())
        for item in items:
            item["id"] = int(item["id"])
        return [Target(**item) for item in items]

    def events(self) -> list[HealthEvent]:
        """Takes the changes of health since the last call, oldest first."""
        items: list[dict[str, Any]] = json.loads(self._events())
        for item in items:
            item["from_"] = item.pop("from")
            item["target_id"] = int(item["target_id"])
        return [HealthEvent(**item) for item in items]

    def __repr__(self) -> str:
        listeners = ", ".join(f"{item.load_balancer}:{item.port}" for item in self.listeners())
        return f"<podway.Router with {listeners or 'no listeners'}>"


def _texts(items: Iterable[str]) -> list[str]:
    """A list of texts; of one text the characters are never meant."""
    if isinstance(items, str):
        raise TypeError("a list of str is needed, not str")
    return list(items)


def _key(key: bytes) -> bytes:
    """A key's bytes; a number would make as many zeros."""
    if not isinstance(key, (bytes, bytearray, memoryview)):
        raise TypeError(f"a cookie key must be bytes, not {type(key).__name__}")
    return bytes(key)


def _native(model: Model) -> _podway.Model:
    if not isinstance(model, Model):
        raise TypeError(f"model must be a podway.Model, not {type(model).__name__}")
    return model._model


class Forwarding(AbstractContextManager["Forwarding"]):
    """A decision whose report cannot be forgotten."""

    __slots__ = ("decision", "_reported", "_router")

    decision: Decision

    def __init__(self, router: Router, decision: Decision) -> None:
        self.decision = decision
        self._router = router
        self._reported = False

    def report(self, outcome: str = "response", status: int = 200, *, now: Now | None = None) -> None:
        """As `Router.report`, but only the first one counts."""
        if not self._reported:
            self._router.report(self.decision, outcome, status, now=now)
            self._reported = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        failed = kind is not None and issubclass(kind, Exception)
        self.report("closed" if failed else "cancelled")
