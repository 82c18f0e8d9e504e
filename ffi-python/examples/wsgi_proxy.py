"""A load balancer as a WSGI application: podway decides, httpx carries.

python ffi-python/examples/wsgi_proxy.py core/examples/target-type-ip target-type-ip 443
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from http.client import responses
from typing import Any
from urllib.parse import quote
from wsgiref.simple_server import make_server

import httpx
import podway
from podway.httpx import Transport

# A load balancer waits for a minute.
TIMEOUT = httpx.Timeout(60).as_dict()
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade"}


class Proxy:
    """`podway.httpx.Transport` does the routing; this puts WSGI in front of it."""

    def __init__(self, router: podway.Router, listener: int) -> None:
        self.transport = Transport(router, listener)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        # WSGI tells the path decoded; some servers tell it as received, too.
        path = environ.get("RAW_URI") or quote(environ["PATH_INFO"].encode("latin-1"), "/:@!$&'()*+,;=~")
        if environ.get("QUERY_STRING") and "?" not in path:
            path += "?" + environ["QUERY_STRING"]
        headers = [
            (name[5:].replace("_", "-").lower(), value)
            for name, value in environ.items()
            if name.startswith("HTTP_")
        ]
        headers.append(("x-forwarded-for", environ.get("REMOTE_ADDR", "")))
        length = int(environ.get("CONTENT_LENGTH") or 0)
        content = environ["wsgi.input"].read(length) if length else b""
        url = httpx.URL("http://load-balancer").copy_with(raw_path=path.encode("latin-1"))
        request = httpx.Request(
            environ["REQUEST_METHOD"], url, headers=headers, content=content, extensions={"timeout": TIMEOUT}
        )
        try:
            response = self.transport.handle_request(request)
            body = response.read()
        except httpx.TransportError as error:
            late = isinstance(error, httpx.TimeoutException)
            start_response("504 Gateway Time-out" if late else "502 Bad Gateway", [])
            return [b""]
        response.close()
        told = [(n, v) for n, v in response.headers.multi_items() if n not in HOP_BY_HOP]
        told = [(n, v) for n, v in told if n not in ("content-encoding", "content-length")]
        start_response(f"{response.status_code} {responses.get(response.status_code, 'Unknown')}", told)
        return [body]


def main() -> None:
    manifests, load_balancer, port = sys.argv[1:4]
    router = podway.Router(podway.load(manifests))
    with make_server("127.0.0.1", 8080, Proxy(router, router.listener(load_balancer, int(port)))) as server:
        print("listening on http://127.0.0.1:8080")
        server.serve_forever()


if __name__ == "__main__":
    main()
