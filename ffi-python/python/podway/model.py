"""Models: load balancers with their rules, target groups and targets."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from podway import _podway
from podway.errors import Diagnostic, _diagnostics

Path: TypeAlias = str | os.PathLike[str]


class Model:
    """Load balancers with their rules, target groups and targets. Immutable; may be pickled, for another
    process."""

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

    def validate(self, options: Mapping[str, Any] | None = None) -> tuple[Diagnostic, ...]:
        """Everything that the ELBv2 API would refuse, and warnings about what its documentation is of two
        minds about. Without an error among them the API would accept the model. `options` are a router's."""
        return _diagnostics(self._model.validate(json.dumps(dict(options or {}))))

    def __copy__(self) -> Model:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> Model:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.to_json(), self.diagnostics)

    def __repr__(self) -> str:
        return f"<podway.Model with {len(self.diagnostics)} diagnostics>"


def _restored(document: str, diagnostics: tuple[Diagnostic, ...]) -> Model:
    """A model out of a pickle."""
    model = Model.from_json(document)
    model.diagnostics = diagnostics
    return model


def load(
    source: Path | Sequence[Path | tuple[str, str]],
    *,
    controller: Mapping[str, Any] | str | None = None,
    cluster_name: str | None = None,
    nodes: int = 3,
    skip_broken: bool = False,
) -> Model:
    """Makes a model of Kubernetes manifests, or of what `aws elbv2 describe-*` prints.

    `source` is a file or a folder, several of them, or several `(name, text)`. Nodes and pods that the
    manifests leave to a cluster are made up: `nodes` says how many nodes. `skip_broken` leaves out members
    of a group that the controller would refuse, instead of failing.

    `controller` holds the controller's flags and gates, as a mapping or as JSON: the fields of the Rust
    library's `Settings`, such as `{"default_target_type": "ip", "quotas": {"rules_per_load_balancer": 200}}`.
    `cluster_name` (`local` unless told) is one of them with an argument of its own, which wins.
    """
    if isinstance(source, (str, os.PathLike)):
        items: list[Path | tuple[str, str]] = [source]
    else:
        items = list(source)
    texts = [item for item in items if isinstance(item, tuple)]
    paths = [item for item in items if not isinstance(item, tuple)]
    if texts and paths:
        raise TypeError("paths and (name, text) do not mix")
    settings = controller if isinstance(controller, str) else json.dumps(dict(controller or {}))
    if texts:
        return Model(_podway.load_texts(texts, settings, cluster_name, nodes, skip_broken))
    return Model(_podway.load_paths(paths, settings, cluster_name, nodes, skip_broken))
