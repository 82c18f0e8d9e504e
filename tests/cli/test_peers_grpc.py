"""gRPC from end to end: a client and a server of grpcio with the load balancer between them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
import trustme
from conftest import Serve
from peers import authority, front  # noqa: F401

GROUP = {"backend-protocol-version": "GRPC", "success-codes": "0,12"}


class Service(grpc.GenericRpcHandler):
    """Methods of bytes, one of each kind."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        sent = {k: v for k, v in details.invocation_metadata}

        def echo(request: bytes, context: grpc.ServicerContext) -> bytes:
            context.send_initial_metadata(
                (("x-seen", str(sent.get("x-sent"))), ("x-host", sent.get("host", "")))
            )
            context.set_trailing_metadata((("x-trailer", "told"), ("x-binary-bin", b"\x00\xff")))
            return request

        def fail(request: bytes, context: grpc.ServicerContext) -> bytes:
            context.set_trailing_metadata((("x-why", "because"),))
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: ä")
            raise AssertionError

        def count(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            for i in range(int(request)):
                yield str(i).encode()

        def total(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            return str(sum(len(r) for r in requests)).encode()

        def chat(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            for request in requests:
                yield request.upper()

        return {
            "/t.T/Echo": grpc.unary_unary_rpc_method_handler(echo),
            "/t.T/Fail": grpc.unary_unary_rpc_method_handler(fail),
            "/t.T/Count": grpc.unary_stream_rpc_method_handler(count),
            "/t.T/Total": grpc.stream_unary_rpc_method_handler(total),
            "/t.T/Chat": grpc.stream_stream_rpc_method_handler(chat),
        }.get(details.method)


@pytest.fixture
def server() -> Iterator[int]:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_concurrent_streams", 100)]
    server = grpc.server(ThreadPoolExecutor(200), options=options)
    server.add_generic_rpc_handlers((Service(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None)


def channel(lb: Serve, authority: trustme.CA, host: str) -> grpc.Channel:  # noqa: F811
    credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    name = ("grpc.ssl_target_name_override", f"{host}.example.com")
    options = [name, ("grpc.max_receive_message_length", -1), ("grpc.enable_retries", 0)]
    return grpc.secure_channel(f"127.0.0.1:{lb.https}", credentials, options)


def test_four_kinds_of_calls_with_trailers(
    front: Callable[..., Serve],
    authority: trustme.CA,
    server: int,  # noqa: F811
) -> None:
    # The prober speaks gRPC too: nothing is forwarded before the target is healthy.
    lb = front({"grpc": (server, GROUP), "checked": (server, {**GROUP, "success-codes": "12"})})
    with channel(lb, authority, "grpc") as c:
        for size in (0, 1, 100_000, 3_000_000):
            answer, call = c.unary_unary("/t.T/Echo").with_call(
                b"x" * size, timeout=20, metadata=(("x-sent", "yes"),)
            )
            assert answer == b"x" * size
            assert ("x-seen", "yes") in [(k, v) for k, v in call.initial_metadata()]
            trailing = dict(call.trailing_metadata())
            assert trailing["x-trailer"] == "told" and trailing["x-binary-bin"] == b"\x00\xff"
        assert list(c.unary_stream("/t.T/Count")(b"1000", timeout=20)) == [
            str(i).encode() for i in range(1000)
        ]
        assert c.stream_unary("/t.T/Total")(iter([b"x" * 1000] * 1000), timeout=20) == b"1000000"
        # One at a time: the second is sent when the first one's answer is there.
        turn = threading.Semaphore(1)

        def talk() -> Iterator[bytes]:
            for i in range(50):
                assert turn.acquire(timeout=20)
                yield f"a{i}".encode()

        heard = []
        for answer in c.stream_stream("/t.T/Chat")(talk(), timeout=60):
            heard.append(answer)
            turn.release()
        assert heard == [f"A{i}".encode() for i in range(50)]
        with pytest.raises(grpc.RpcError) as failed:
            c.unary_unary("/t.T/Fail")(b"", timeout=20)
        assert failed.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert failed.value.details() == "not today: ä"
        assert dict(failed.value.trailing_metadata())["x-why"] == "because"
        with pytest.raises(grpc.RpcError) as failed:
            c.unary_unary("/t.T/Nobody")(b"", timeout=20)
        assert failed.value.code() == grpc.StatusCode.UNIMPLEMENTED
        # A hundred calls at a time on one connection.
        pending = [c.unary_unary("/t.T/Echo").future(str(i).encode(), timeout=60) for i in range(100)]
        assert [p.result() for p in pending] == [str(i).encode() for i in range(100)]


def test_calls_that_stay_open_leave_room_for_others(
    front: Callable[..., Serve],
    authority: trustme.CA,  # noqa: F811
    server: int,
) -> None:
    # One thread, so that one connection to the target would have to do for all.
    lb = front({"grpc": (server, GROUP)}, "--workers", "1")
    done = threading.Event()

    def once() -> Iterator[bytes]:
        yield b"a"
        done.wait(60)

    with channel(lb, authority, "grpc") as c:
        calls = [c.stream_stream("/t.T/Chat")(once(), timeout=120) for _ in range(120)]
        # More than the target takes on one connection.
        assert [next(call) for call in calls] == [b"A"] * 120
        assert c.unary_unary("/t.T/Echo")(b"x", timeout=20) == b"x"
        done.set()
        assert [list(call) for call in calls] == [[]] * 120


def test_errors_have_a_status_of_grpc(
    front: Callable[..., Serve],
    authority: trustme.CA,
    server: int,  # noqa: F811
) -> None:
    web = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    lb = front({"grpc": (server, GROUP), "web": (web.server_port, {})})
    with channel(lb, authority, "grpc") as c:
        assert c.unary_unary("/t.T/Echo")(b"up", timeout=20) == b"up"
    with channel(lb, authority, "web") as c, pytest.raises(grpc.RpcError) as failed:
        c.unary_unary("/t.T/Echo")(b"", timeout=20)
    assert failed.value.code() == grpc.StatusCode.UNKNOWN, "464: an HTTP/1 group has no gRPC"
    with channel(lb, authority, "nobody") as c, pytest.raises(grpc.RpcError) as failed:
        c.unary_unary("/t.T/Echo")(b"", timeout=20)
    assert failed.value.code() == grpc.StatusCode.UNIMPLEMENTED, "404: no rule"
    web.shutdown()
