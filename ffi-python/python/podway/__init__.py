"""The routing brain of an AWS Application Load Balancer as a library.

>>> import podway
>>> model = podway.load("kube-manifests/")
>>> router = podway.Router(model)
>>> router.decide(router.listener("my-alb", 443), "GET", "/app1", host="shop.example.com")
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from random import getrandbits
from types import TracebackType
from typing import Any, TypeAlias

from podway import _podway
from podway._podway import Decision, Probe, __version__
from podway.errors import (
    ArgumentError,
    Diagnostic,
    InputError,
    ManifestError,
    ModelError,
    NotFoundError,
    PodwayError,
    _diagnostics,
)

__all__ = [
    "ArgumentError",
    "Decision",
    "Diagnostic",
    "HealthEvent",
    "InputError",
    "Listener",
    "ManifestError",
    "Model",
    "ModelError",
    "NotFoundError",
    "PodwayError",
    "Probe",
    "Router",
    "Target",
    "__version__",
    "load",
]

Now: TypeAlias = tuple[int, int]
"""(milliseconds of a monotonic clock, seconds since 1970)."""

Text: TypeAlias = str | bytes
Path: TypeAlias = str | os.PathLike[str]
Headers: TypeAlias = Mapping[str, Text] | Iterable[tuple[Text, Text]]


def _now() -> Now:
    return (time.monotonic_ns() // 1_000_000, int(time.time()))


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener; `id` is what `Router.decide` takes."""

    id: int
    load_balancer: str
    port: int
    protocol: str


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


class Model:
    """Load balancers with their rules, target groups and targets. Immutable."""

    __slots__ = ("_model", "diagnostics")

    _model: _podway.Model
    diagnostics: tuple[Diagnostic, ...]
    """Warnings, and with `skip_broken` the errors of what was left out."""

    def __init__(self, model: _podway.Model) -> None:
        if not isinstance(model, _podway.Model):
            raise TypeError("a Model is made by podway.load or Model.from_json")
        self._model = model
        self.diagnostics = _diagnostics(model.diagnostics)

    @classmethod
    def from_json(cls, document: str | Mapping[str, Any]) -> Model:
        """Reads a model from one JSON document in ELBv2 shapes, as `to_json` and `podway plan -o json`
        write it."""
        text = document if isinstance(document, str) else json.dumps(document)
        return cls(_podway.Model.from_json(text))

    def to_json(self) -> str:
        """The model as JSON."""
        return self._model.to_json()

    def __repr__(self) -> str:
        return f"<podway.Model with {len(self.diagnostics)} diagnostics>"


def load(
    source: Path | Sequence[Path | tuple[str, str]],
    *,
    cluster_name: str = "local",
    nodes: int = 3,
    skip_broken: bool = False,
) -> Model:
    """Makes a model of Kubernetes manifests, or of what `aws elbv2 describe-*` prints.

    `source` is a file or a folder, several of them, or several `(name, text)`. Nodes and pods that the
    manifests leave to a cluster are made up: `nodes` says how many nodes. `skip_broken` leaves out members
    of a group that the controller would refuse, instead of failing.
    """
    if isinstance(source, (str, os.PathLike)):
        items: list[Path | tuple[str, str]] = [source]
    else:
        items = list(source)
    texts = [item for item in items if isinstance(item, tuple)]
    paths = [item for item in items if not isinstance(item, tuple)]
    if texts and paths:
        raise TypeError("paths and (name, text) do not mix")
    if texts:
        return Model(_podway.load_texts(texts, cluster_name, nodes, skip_broken))
    return Model(_podway.load_paths(paths, cluster_name, nodes, skip_broken))


class Router:
    """A compiled model with the state of its targets. May be used from many threads at once.

    `options` are those of the Rust library, by name. Routers that share `cookie_key` (32 secret bytes)
    honour each other's sticky cookies; without it each router draws its own. `now` is
    `(monotonic milliseconds, unix seconds)` everywhere, and this machine's clocks where it is not given.
    """

    __slots__ = ("_router",)

    _router: _podway.Router

    def __init__(
        self,
        model: Model,
        options: Mapping[str, Any] | None = None,
        cookie_key: bytes | None = None,
        *,
        now: Now | None = None,
    ) -> None:
        if not isinstance(model, Model):
            raise TypeError(f"model must be a podway.Model, not {type(model).__name__}")
        self._router = _podway.Router(
            model._model,
            json.dumps(dict(options) if options else {}),
            secrets.token_bytes(32) if cookie_key is None else bytes(cookie_key),
            _now() if now is None else now,
        )

    def listener(self, load_balancer: str, port: int) -> int:
        """The id of the listener of a load balancer, by name or ARN, on a port. It holds for the router's
        life."""
        return self._router.listener(load_balancer, port)

    def listeners(self) -> list[Listener]:
        """All listeners."""
        return [Listener(**item) for item in json.loads(self._router.listeners())]

    def decide(
        self,
        listener: int,
        method: Text = "GET",
        target: Text = "/",
        host: Text | None = None,
        headers: Headers = (),
        peer: str | tuple[Any, ...] = "127.0.0.1:0",
        *,
        now: Now | None = None,
        entropy: int | None = None,
    ) -> Decision:
        """Decides where a request goes. A forward owes one `report`.

        `target` is the request target as received (`/path?query`). `str` is taken as UTF-8; give `bytes`
        for anything else. Without `host` the first `host` header counts. `peer` is who connected to the
        load balancer: `"192.0.2.1:4000"` or what a socket tells.
        """
        if isinstance(headers, Mapping):
            headers = headers.items()
        return self._router.decide(
            listener,
            method,
            target,
            host,
            tuple(headers),
            peer,
            _now() if now is None else now,
            getrandbits(64) if entropy is None else entropy,
        )

    def report(
        self, decision: Decision, outcome: str = "response", status: int = 200, *, now: Now | None = None
    ) -> None:
        """Settles a forward: owed exactly once for each, whatever became of the request. `outcome` is
        `response` (with its status), `connect-failed`, `timed-out`, `closed` or `cancelled`."""
        self._router.report(decision, outcome, status, _now() if now is None else now)

    def forward(self, *args: Any, **kwargs: Any) -> Forwarding:
        """As `decide`, for `with`: what is not reported inside is reported at the end, as `cancelled`, or as
        `closed` if the block raised."""
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
        if isinstance(headers, Mapping):
            headers = headers.items()
        return self._router.app_cookie(
            decision,
            tuple(headers),
            list(cookies),
            _now() if now is None else now,
            getrandbits(64) if entropy is None else entropy,
        )

    def authentication(self, listener: int, decision: Decision) -> dict[str, Any] | None:
        """The authentication action that a decision asks for, as the model has it."""
        text = self._router.authentication(listener, decision)
        return None if text is None else json.loads(text)

    def poll(self, *, now: Now | None = None) -> tuple[list[Probe], int | None]:
        """The health checks that are due, and when to call again (monotonic milliseconds; None: nothing is
        waited for)."""
        return self._router.poll(_now() if now is None else now)

    def report_probe(
        self, target_id: int, result: str = "status", status: int = 0, *, now: Now | None = None
    ) -> None:
        """Takes a probe's result: `status` (with the HTTP status or the grpc-status), `timed-out` or
        `failed`."""
        self._router.report_probe(target_id, result, status, _now() if now is None else now)

    def reload(self, model: Model, *, now: Now | None = None) -> None:
        """Swaps a model in without stopping other threads. A failure leaves everything as it was."""
        if not isinstance(model, Model):
            raise TypeError(f"model must be a podway.Model, not {type(model).__name__}")
        self._router.reload(model._model, _now() if now is None else now)

    def set_cookie_keys(self, keys: Sequence[bytes]) -> None:
        """Replaces the keys of cookies: the first seals, the others still open what they sealed."""
        self._router.set_cookie_keys([bytes(key) for key in keys])

    def find_target(self, target_group: str, target: str) -> int:
        """The id of a target, by its group's name and its own `id:port`."""
        return self._router.find_target(target_group, target)

    def set_target_health(
        self, target_group: str, target: str, state: str, *, now: Now | None = None
    ) -> None:
        """Sets a target's health by hand: `healthy`, `unhealthy`, `initial`, …"""
        target_id = self._router.find_target(target_group, target)
        self._router.set_target_health(target_id, state, _now() if now is None else now)

    def targets(self) -> list[Target]:
        """All targets, draining ones included."""
        return [Target(**{**item, "id": int(item["id"])}) for item in json.loads(self._router.targets())]

    def events(self) -> list[HealthEvent]:
        """Takes the changes of health since the last call, oldest first."""
        return [
            HealthEvent(
                **{key: value for key, value in item.items() if key not in ("from", "target_id")},
                from_=item["from"],
                target_id=int(item["target_id"]),
            )
            for item in json.loads(self._router.events())
        ]


class Forwarding(AbstractContextManager["Forwarding"]):
    """A decision whose report cannot be forgotten."""

    __slots__ = ("decision", "_reported", "_router")

    decision: Decision

    def __init__(self, router: Router, decision: Decision) -> None:
        self.decision = decision
        self._router = router
        self._reported = False

    def report(self, outcome: str = "response", status: int = 200, *, now: Now | None = None) -> None:
        """As `Router.report`."""
        self._router.report(self.decision, outcome, status, now=now)
        self._reported = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._reported:
            self.report("cancelled" if kind is None else "closed")
