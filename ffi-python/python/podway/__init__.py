"""The routing brain of an AWS Application Load Balancer as a library.

>>> import podway
>>> model = podway.load("kube-manifests/")
>>> router = podway.Router(model)
>>> router.decide(router.listener("my-alb", 443), "GET", "/app1", host="shop.example.com")

`podway.health` runs the health checks with asyncio, `podway.httpx` sends a client's requests straight to the
chosen targets, `podway.testing` (a pytest plugin) asserts on routes.
"""

from __future__ import annotations

from podway._podway import Decision, Probe, __version__
from podway.errors import (
    ArgumentError,
    Diagnostic,
    InputError,
    ManifestError,
    ModelError,
    NotFoundError,
    PodwayError,
)
from podway.model import Model, load
from podway.router import (
    Forwarding,
    HealthEvent,
    Listener,
    Router,
    Target,
    TargetGroup,
    WhyUnsticky,
    ZoneHealth,
)

__all__ = [
    "ArgumentError",
    "Decision",
    "Diagnostic",
    "Forwarding",
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
    "TargetGroup",
    "WhyUnsticky",
    "ZoneHealth",
    "__version__",
    "load",
]
