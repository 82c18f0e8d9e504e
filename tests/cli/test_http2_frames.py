"""HTTP/2 to the letter (RFC 9113): frames that a client must not send, and what it is told. No registry has
a conformance suite (h2spec is a Go program); these are the sections that such a suite goes through."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator

import pytest
from conftest import EXAMPLES, Serve, serving

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
NO_ERROR, PROTOCOL, INTERNAL, FLOW, TIMEOUT, CLOSED, SIZE, REFUSED, CANCEL, COMPRESSION = range(10)
CALM = 11
# The crate `h2` has one code for frames that it cannot read at all; RFC 9113 names a more exact one.
UNREADABLE = {PROTOCOL}
END_STREAM, END_HEADERS, ACK = 1, 4, 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", length: int | None = None) -> bytes:
    return (
        struct.pack(">I", len(payload) if length is None else length)[1:]
        + struct.pack(">BBI", kind, flags, stream)
        + payload
    )


def block(*fields: tuple[str, str]) -> bytes:
    """Fields as literals without indexing (RFC 7541 §6.2.2)."""
    out = b""
    for name, value in fields:
        assert len(name) < 127 and len(value) < 127
        out += b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
    return out


PSEUDO = (
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/app1/index.html"),
    (":authority", "a.example.com"),
)
POST = ((":method", "POST"), *PSEUDO[1:])
GET = block(*PSEUDO)


def get(
    stream: int, *more: tuple[str, str], fields: tuple = PSEUDO, flags: int = END_STREAM | END_HEADERS
) -> bytes:
    return frame(HEADERS, flags, stream, block(*fields, *more))


class Peer:
    """A client that sends what it is told to."""

    def __init__(self, lb: Serve, preface: bytes = PREFACE + frame(SETTINGS, 0, 0)) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        raw = socket.create_connection(("127.0.0.1", lb.https), 10)
        self.socket = context.wrap_socket(raw)
        assert self.socket.selected_alpn_protocol() == "h2"
        self.pending = b""
        self.send(preface)

    def send(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except OSError:
            pass  # It has heard enough; what it had to say is still to be read.

    def read(self, n: int) -> bytes:
        while len(self.pending) < n:
            more = self.socket.recv(65536)
            if not more:
                raise EOFError
            self.pending += more
        out, self.pending = self.pending[:n], self.pending[n:]
        return out

    def frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        try:
            while True:
                head = self.read(9)
                length = int.from_bytes(head[:3], "big")
                kind, flags, stream = struct.unpack(">BBI", head[3:])
                yield kind, flags, stream & 0x7FFFFFFF, self.read(length)
        except (EOFError, OSError):
            return

    def told(self) -> tuple[str, int]:
        """How the server refuses: for the connection, for a stream, or by going away without a word."""
        for kind, _, _, payload in self.frames():
            if kind == GOAWAY and int.from_bytes(payload[4:8], "big") != NO_ERROR:
                return "connection", int.from_bytes(payload[4:8], "big")
            if kind == RST_STREAM:
                return "stream", int.from_bytes(payload[:4], "big")
            if kind == HEADERS and payload[:1] == b"\x8c":
                return "status", 400
        return "closed", 0

    def status(self, stream: int) -> bool:
        """Whether the head of an answer comes on a stream."""
        return any(kind == HEADERS and at == stream for kind, _, at, _ in self.frames())


CONNECTION_ERRORS = {
    "5.1 DATA on an idle stream": (frame(DATA, 0, 1, b"x"), {PROTOCOL}),
    "5.1 RST_STREAM on an idle stream": (frame(RST_STREAM, 0, 1, b"\0\0\0\x08"), {PROTOCOL}),
    "5.1 WINDOW_UPDATE on an idle stream": (frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\x08"), {PROTOCOL}),
    "5.1 CONTINUATION on an idle stream": (frame(CONTINUATION, END_HEADERS, 1, GET), {PROTOCOL}),
    "5.1.1 an even stream": (get(2), {PROTOCOL}),
    "5.1.1 a stream of less than before": (get(5) + get(3), {PROTOCOL, CLOSED}),
    "4.2 a frame that is too large": (frame(DATA, 0, 1, b"x" * 16385), {SIZE}),
    "4.3 fields that cannot be decompressed": (frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff\xff"), {COMPRESSION} | UNREADABLE),
    "6.1 DATA on stream 0": (frame(DATA, 0, 0, b"x"), {PROTOCOL}),
    "6.1 padding longer than the frame": (
        frame(HEADERS, END_HEADERS, 1, block(*POST)) + frame(DATA, 8, 1, b"\x09abc"), {PROTOCOL}),
    "6.2 HEADERS on stream 0": (get(0), {PROTOCOL}),
    "6.2 a PING between HEADERS and CONTINUATION": (
        get(1, flags=END_STREAM) + frame(PING, 0, 0, b"12345678"), {PROTOCOL}),
    "6.2 other HEADERS before the end": (get(1, flags=END_STREAM) + get(3), {PROTOCOL}),
    "6.4 RST_STREAM on stream 0": (frame(RST_STREAM, 0, 0, b"\0\0\0\x08"), {PROTOCOL}),
    "6.4 RST_STREAM of 3 bytes": (get(1, fields=POST, flags=END_HEADERS) + frame(RST_STREAM, 0, 1, b"\0\0\0"), {SIZE} | UNREADABLE),
    "6.5 SETTINGS on a stream": (frame(SETTINGS, 0, 1), {PROTOCOL}),
    "6.5 SETTINGS of 5 bytes": (frame(SETTINGS, 0, 0, b"12345"), {SIZE} | UNREADABLE),
    "6.5 an acknowledgement with something in it": (frame(SETTINGS, ACK, 0, b"\0\x03\0\0\0\x01"), {SIZE} | UNREADABLE),
    "6.5.2 ENABLE_PUSH of 2": (frame(SETTINGS, 0, 0, b"\0\x02\0\0\0\x02"), {PROTOCOL}),
    "6.5.2 a window above the maximum": (frame(SETTINGS, 0, 0, b"\0\x04\x80\0\0\0"), {FLOW} | UNREADABLE),
    "6.5.2 a frame size below the minimum": (frame(SETTINGS, 0, 0, b"\0\x05\0\0\x3f\xff"), {PROTOCOL}),
    "6.5.2 a frame size above the maximum": (frame(SETTINGS, 0, 0, b"\0\x05\x01\0\0\0"), {PROTOCOL}),
    "6.6 PUSH_PROMISE of a client": (get(1) + frame(PUSH, END_HEADERS, 1, b"\0\0\0\x02" + GET), {PROTOCOL}),
    "6.7 PING on a stream": (frame(PING, 0, 1, b"12345678"), {PROTOCOL}),
    "6.7 PING of 6 bytes": (frame(PING, 0, 0, b"123456"), {SIZE} | UNREADABLE),
    "6.8 GOAWAY on a stream": (frame(GOAWAY, 0, 1, b"\0" * 8), {PROTOCOL}),
    "6.9 a window of 0 more": (frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0"), {PROTOCOL}),
    "6.9 WINDOW_UPDATE of 3 bytes": (frame(WINDOW_UPDATE, 0, 0, b"\0\0\x01"), {SIZE} | UNREADABLE),
    "6.9.1 a window of more than 2^31-1": (
        frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 2, {FLOW}),
    "6.10 CONTINUATION without a beginning": (get(1) + frame(CONTINUATION, END_HEADERS, 1, GET), {PROTOCOL}),
    "8.1 streams opened and reset without end": (
        b"".join(get(i) + frame(RST_STREAM, 0, i, b"\0\0\0\x08") for i in range(1, 8001, 2)), {CALM}),
}  # fmt: skip

# An error of the connection is as good (RFC 9113 §5.4).
STREAM_ERRORS = {
    "5.1 DATA after the end": (get(1) + frame(DATA, END_STREAM, 1, b"x"), {CLOSED, PROTOCOL}),
    "8.2 a name with upper case letters": (get(1, ("X-Upper", "a")), {PROTOCOL}),
    "8.2.2 Connection": (get(1, ("connection", "keep-alive")), {PROTOCOL}),
    "8.2.2 TE other than trailers": (get(1, ("te", "gzip")), {PROTOCOL}),
    "8.3 an unknown pseudo-field": (get(1, (":unknown", "a")), {PROTOCOL}),
    "8.3 a pseudo-field of responses": (get(1, (":status", "200")), {PROTOCOL}),
    "8.3 a pseudo-field behind the others": (get(1, fields=(*PSEUDO[:3], ("a", "b"), PSEUDO[3])), {PROTOCOL}),
    "8.3.1 no method": (get(1, fields=PSEUDO[1:]), {PROTOCOL}),
    "8.3.1 no scheme": (get(1, fields=(PSEUDO[0], *PSEUDO[2:])), {PROTOCOL}),
    "8.3.1 no path": (get(1, fields=(*PSEUDO[:2], PSEUDO[3])), {PROTOCOL}),
    "8.3.1 two methods": (get(1, fields=(PSEUDO[0], *PSEUDO)), {PROTOCOL}),
    "8.1.1 more data than told": (
        get(1, ("content-length", "1"), fields=POST, flags=END_HEADERS) + frame(DATA, END_STREAM, 1, b"abc"),
        {PROTOCOL}),
    "8.1.1 less data than told": (
        get(1, ("content-length", "9"), fields=POST, flags=END_HEADERS) + frame(DATA, END_STREAM, 1, b"abc"),
        {PROTOCOL}),
    "5.1.2 a stream too many": (
        b"".join(get(i, fields=POST, flags=END_HEADERS) for i in range(1, 261, 2)), {REFUSED, PROTOCOL}),
}  # fmt: skip


@pytest.fixture(scope="module")
def lb() -> Iterator[Serve]:
    """One for all of them: what one client does must not be felt by the next."""
    with serving() as start:
        running = start(EXAMPLES / "target-type-ip")
        running.until(lambda: running.get("/app1/index.html").status == 200)
        yield running


@pytest.mark.parametrize("case", CONNECTION_ERRORS)
def test_errors_of_the_connection(lb: Serve, case: str) -> None:
    data, codes = CONNECTION_ERRORS[case]
    peer = Peer(lb)
    peer.send(data)
    scope, code = peer.told()
    assert scope == "closed" or (scope == "connection" and code in codes), (scope, code)
    assert lb.get("/app1/index.html").status == 200, "nobody else is touched"


@pytest.mark.parametrize("case", STREAM_ERRORS)
def test_errors_of_a_stream(lb: Serve, case: str) -> None:
    data, codes = STREAM_ERRORS[case]
    peer = Peer(lb)
    peer.send(data)
    scope, code = peer.told()
    assert (scope in ("connection", "stream") and code in codes) or scope == "status", (scope, code)
    if scope == "stream" and "too many" not in case:
        peer.send(get(9))
        assert peer.status(9), "the connection lives on"


def test_what_is_unusual_and_allowed(lb: Serve) -> None:
    for case in [
        frame(0xAB, 0xFF, 0, b"unknown") + get(1),
        frame(SETTINGS, 0, 0, b"\0\xff\0\0\0\x01") + get(1),
        frame(PRIORITY, 0, 7, b"\0\0\0\x03\x10") + get(1),
        frame(HEADERS, END_STREAM, 1, GET[:5]) + frame(CONTINUATION, 0, 1, GET[5:9])
        + frame(CONTINUATION, END_HEADERS, 1, GET[9:]),
        frame(HEADERS, 8 | 5, 1, b"\x03" + GET + b"\0\0\0"),
        frame(HEADERS, 0x20 | 5, 1, b"\0\0\0\0\x0f" + GET),
        get(1, ("te", "trailers")),
        get(1, ("content-length", "3"), fields=POST, flags=END_HEADERS) + frame(DATA, 8 | 1, 1, b"\x02abc\0\0"),
        get(1, fields=POST, flags=END_HEADERS) + frame(HEADERS, 5, 1, block(("x-trailer", "a"))),
    ]:  # fmt: skip
        peer = Peer(lb)
        peer.send(case)
        assert peer.status(1), case


def test_pings_come_back_and_other_protocols_do_not_get_in(lb: Serve) -> None:
    peer = Peer(lb)
    peer.send(frame(PING, 0, 0, b"pingpong"))
    assert any(
        kind == PING and flags == ACK and payload == b"pingpong" for kind, flags, _, payload in peer.frames()
    )
    for preface in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + b" " * 30, PREFACE + get(1)):
        peer = Peer(lb, preface)
        assert peer.told()[0] in ("connection", "closed")
