from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, ClassVar, Literal, Self, TypeAlias, final

from typing_extensions import disjoint_base

__all__ = ["Decision", "Model", "Probe", "Router", "__version__", "command", "load_paths", "load_texts"]

_Text: TypeAlias = str | bytes
_Now: TypeAlias = tuple[int, int]
_Type: TypeAlias = Literal["forward", "redirect", "fixed-response", "error"]
_Authenticate: TypeAlias = Literal["authenticate-oidc", "authenticate-cognito", "jwt-validation"]

__version__: str

@final
class Model:
    @staticmethod
    def from_json(text: str) -> Model: ...
    def to_json(self) -> str: ...
    def validate(self, options: str) -> str: ...
    @property
    def diagnostics(self) -> str: ...

@final
class Decision:
    """Where a request goes. Immutable. Fields that do not belong to its type are None."""

    __match_args__: ClassVar[tuple[str, str, str]]
    @property
    def priority(self) -> str | None:
        """The rule that matched: its number as text, or `default`."""
    @property
    def type(self) -> _Type:
        """`forward`, `redirect`, `fixed-response` or `error`."""
    @property
    def status(self) -> int | None:
        """The status to answer with; a forward has none."""
    @property
    def reason(self) -> str | None:
        """Why it is an error."""
    @property
    def target_group(self) -> str | None:
        """The target group's name."""
    @property
    def service(self) -> str | None:
        """`namespace/name:port` of the Service that the target group was made for."""
    @property
    def target(self) -> str | None:
        """`id:port` of the target."""
    @property
    def address(self) -> str | None:
        """Where to connect to, as `address:port`."""
    @property
    def target_id(self) -> int | None:
        """The target's number in this router, for `report_probe` and for tables of one's own."""
    @property
    def fail_open(self) -> bool | None:
        """Whether too few targets were healthy, so that all were candidates."""
    @property
    def stickiness(self) -> str | None:
        """`off`, `new`, `kept`, or why the cookie could not be honoured."""
    @property
    def authenticate(self) -> _Authenticate | None:
        """What has to succeed first."""
    @property
    def location(self) -> str | None:
        """The Location of a redirect."""
    @property
    def body(self) -> bytes | None:
        """The body of a fixed response."""
    @property
    def content_type(self) -> str | None:
        """The media type of a fixed response."""
    @property
    def uri(self) -> str | None:
        """Path and query for the target, where a transform changed them."""
    @property
    def host(self) -> str | None:
        """The Host for the target, where a transform changed it."""
    @property
    def set_cookies(self) -> tuple[str, ...]:
        """The values of the Set-Cookie headers that the response must carry."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...

@final
class Probe:
    """A health check that is due. Immutable."""

    @property
    def target_id(self) -> int:
        """For `report_probe`."""
    @property
    def address(self) -> tuple[str, int]:
        """Where to connect to."""
    @property
    def protocol(self) -> Literal["HTTP", "HTTPS"]:
        """HTTP or HTTPS."""
    @property
    def protocol_version(self) -> Literal["HTTP1", "HTTP2", "GRPC"]:
        """HTTP1, HTTP2 or GRPC."""
    @property
    def path(self) -> str:
        """Path and query."""
    @property
    def host(self) -> str:
        """The Host header."""
    @property
    def timeout_ms(self) -> int:
        """Milliseconds for the whole check."""

@disjoint_base
class Router:
    """A compiled model with the state of its targets."""

    def __new__(cls, model: Model, options: str, cookie_key: bytes, now: _Now | None = None) -> Self: ...
    def listener(self, load_balancer: str, port: int) -> int:
        """The id of the listener of a load balancer, by name or ARN, on a port. It holds for the router's
        life."""
    def decide(
        self,
        listener: int,
        method: _Text | None = None,
        target: _Text | None = None,
        host: _Text | None = None,
        headers: Mapping[str, _Text] | Iterable[tuple[_Text, _Text]] | None = None,
        peer: str | tuple[Any, ...] | None = None,
        *,
        now: _Now | None = None,
        entropy: int | None = None,
    ) -> Decision:
        """Decides where a request goes. A forward owes one `report`."""
    def retry(
        self,
        failed: Decision,
        listener: int,
        method: _Text | None = None,
        target: _Text | None = None,
        host: _Text | None = None,
        headers: Mapping[str, _Text] | Iterable[tuple[_Text, _Text]] | None = None,
        peer: str | tuple[Any, ...] | None = None,
        *,
        now: _Now | None = None,
        entropy: int | None = None,
    ) -> Decision | None:
        """Another target of the same group, after the connection to that of `failed` (reported as
        `connect-failed`) could not be made; None without the option `retry`, for methods that are not
        idempotent, and where there is no other target. The new decision owes a report of its own."""
    def report(
        self,
        decision: Decision,
        outcome: str = "response",
        status: int = 200,
        *,
        now: _Now | None = None,
    ) -> None:
        """Settles a forward: owed exactly once for each, whatever became of the request."""
    def poll(self, *, now: _Now | None = None) -> tuple[list[Probe], int | None]:
        """The health checks that are due, and when to call again (monotonic milliseconds)."""
    def report_probe(
        self, target_id: int, result: str = "status", status: int = 0, *, now: _Now | None = None
    ) -> None:
        """Takes a probe's result: `status` (with its number), `timed-out`, `failed`, or `internal-error` for
        a check that could not be made by no fault of the target."""
    def find_target(self, target_group: str, target: str) -> int:
        """The id of a target, by its group's name and its own `id:port`."""
    def late_reports(self) -> int:
        """How many reports came for a registration that was gone, or for one with nothing in flight. A report
        that comes twice while its target serves others is taken for one of theirs."""
    def header_names(self) -> list[str]:
        """The names of the headers that a decision may look at, in lower case and sorted."""
    def start_zonal_shift(self, load_balancer: str, zone: str, *, now: _Now | None = None) -> None:
        """Shifts the traffic of a load balancer, by name or ARN, away from a zone until it is cancelled."""
    def cancel_zonal_shift(self, load_balancer: str, *, now: _Now | None = None) -> None:
        """Ends all zonal shifts of a load balancer, by name or ARN."""
    def _explain(
        self,
        listener: int,
        method: _Text | None,
        target: _Text | None,
        host: _Text | None,
        headers: Mapping[str, _Text] | Iterable[tuple[_Text, _Text]] | None,
        peer: str | tuple[Any, ...] | None,
        now: _Now | None,
        entropy: int | None,
    ) -> str: ...
    def _why_unsticky(
        self,
        listener: int,
        method: _Text | None,
        target: _Text | None,
        host: _Text | None,
        headers: Mapping[str, _Text] | Iterable[tuple[_Text, _Text]] | None,
        peer: str | tuple[Any, ...] | None,
        history: list[str],
        now: _Now | None,
    ) -> str: ...
    def _listeners(self) -> str: ...
    def _app_cookie(
        self,
        decision: Decision,
        headers: Mapping[str, _Text] | Iterable[tuple[_Text, _Text]],
        cookies: list[str],
        now: _Now | None,
        entropy: int | None,
    ) -> list[str]: ...
    def _authentication(self, listener: int, decision: Decision) -> str | None: ...
    def _reload(self, model: Model, now: _Now | None) -> None: ...
    def _set_cookie_keys(self, keys: list[bytes]) -> None: ...
    def _set_target_health(self, target_id: int, state: str, now: _Now | None) -> None: ...
    def _hop(self, target: int, client: str, now: _Now | None, entropy: int | None) -> str | None: ...
    def _target_groups(self) -> str: ...
    def _zone_health(self, target_group: str) -> str: ...
    def _targets(self) -> str: ...
    def _events(self) -> str: ...

def load_paths(
    paths: Sequence[str | PathLike[str]],
    controller: str,
    cluster_name: str | None,
    nodes: int,
    skip_broken: bool,
) -> Model: ...
def load_texts(
    texts: Sequence[tuple[str, str]],
    controller: str,
    cluster_name: str | None,
    nodes: int,
    skip_broken: bool,
) -> Model: ...
def command(arguments: Sequence[str]) -> int: ...
