"""Exceptions, and the problems they carry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ArgumentError",
    "Diagnostic",
    "InputError",
    "ManifestError",
    "ModelError",
    "NotFoundError",
    "PodwayError",
]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem of an input."""

    severity: str
    code: str
    message: str
    object: str = ""
    annotation: str | None = None
    value: str | None = None
    expected: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.file is not None else ""
        return f"{place}{self.message} [{self.code}]"


class PodwayError(Exception):
    """Anything podway refuses. `diagnostics` holds every problem that was found; the other attributes tell
    the first one."""

    diagnostics: tuple[Diagnostic, ...]

    def __init__(self, message: str, diagnostics: tuple[Diagnostic, ...] = ()) -> None:
        super().__init__(message, diagnostics)
        self.diagnostics = diagnostics

    def __str__(self) -> str:
        return str(self.args[0])

    @property
    def code(self) -> str:
        """The stable code, for example `E_CIDR`."""
        return self.diagnostics[0].code if self.diagnostics else "E_INTERNAL"

    @property
    def file(self) -> str | None:
        """The file, as the caller named it."""
        return self.diagnostics[0].file if self.diagnostics else None

    @property
    def line(self) -> int | None:
        """The line, from 1."""
        return self.diagnostics[0].line if self.diagnostics else None

    @property
    def column(self) -> int | None:
        """The column, from 1."""
        return self.diagnostics[0].column if self.diagnostics else None


class InputError(PodwayError, ValueError):
    """A file could not be read, or its text is not YAML or JSON of the expected shape."""


class ManifestError(PodwayError, ValueError):
    """The AWS Load Balancer Controller would refuse the manifests."""


class ModelError(PodwayError, ValueError):
    """The model cannot be decided with, or the ELBv2 API would refuse it."""


class ArgumentError(PodwayError, ValueError):
    """An argument is outside its range."""


class NotFoundError(PodwayError, LookupError):
    """There is nothing of this name or id."""


_KINDS: dict[str, type[PodwayError]] = {
    "input": InputError,
    "manifest": ManifestError,
    "model": ModelError,
    "argument": ArgumentError,
    "not-found": NotFoundError,
}


def _diagnostics(text: str) -> tuple[Diagnostic, ...]:
    problems: list[dict[str, Any]] = json.loads(text)
    return tuple(Diagnostic(**{key.lower(): value for key, value in p.items()}) for p in problems)


def _make(kind: str, message: str, problems: str) -> PodwayError:
    """Called by the extension: the exception for a failure of the core."""
    return _KINDS[kind](message, _diagnostics(problems))
