"""`podway serve`: the demos as running load balancers, met over real sockets."""

from __future__ import annotations

import re
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from conftest import EXAMPLES, Serve

Start = Callable[..., Serve]


def test_ip_demo(serve: Start) -> None:
    lb = serve(EXAMPLES / "target-type-ip")
    lb.until(lambda: lb.get("/app1/index.html").status == 200)
    assert lb.pod("/app1/index.html").startswith("app1-nginx")
    assert lb.pod("/app2/index.html").startswith("app2-nginx")
    assert lb.pod("/").startswith("app3-nginx")
    assert lb.pod("/app1x").startswith("app3-nginx"), "a prefix ends at a slash"

    redirect = lb.get("/app1/index.html?a=1&b=%20", tls=False)
    assert redirect.status == 301
    assert redirect.headers["location"] == f"https://127.0.0.1:{lb.https}/app1/index.html?a=1&b=%20"
    assert redirect.headers["server"] == "awselb/2.0"

    seen = lb.get("/app1/index.html", headers={"X-Forwarded-For": "198.51.100.7"}).json()
    headers = {k.lower(): v for k, v in seen["headers"].items()}
    assert headers["x-forwarded-for"] == "198.51.100.7, 127.0.0.1"
    assert headers["x-forwarded-proto"] == "https"
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}", headers["x-amzn-trace-id"])
    assert seen["peer"].rsplit(":", 1)[0] == "127.0.0.1", "the load balancer is the peer"

    assert lb.resolve("target-type-ip.example.com") == ["127.0.0.1"]
    assert lb.resolve("nobody.example.com") is None

    assert lb.stop() == 0
    assert any("drained" in line for line in lb.lines), lb.lines


def test_instance_demo(serve: Start) -> None:
    lb = serve(EXAMPLES / "target-type-instance")
    lb.until(lambda: lb.get("/app1/index.html").status == 200)
    seen = [lb.get("/app1/index.html").json() for _ in range(20)]
    assert all(s["pod"].startswith("app1-nginx") for s in seen)
    peers = {s["peer"].rsplit(":", 1)[0] for s in seen}
    assert all(p.startswith("127.18.") for p in peers), f"the pod sees a node: {peers}"
    assert lb.pod("/app2/index.html").startswith("app2-nginx")
    assert lb.pod("/").startswith("app3-nginx")


def demo_with_fast_checks(folder: Path) -> Path:
    """The ip demo with the shortest health check interval there is, and two pods of app1."""
    shutil.copytree(EXAMPLES / "target-type-ip", folder)
    for file in folder.glob("*.yml"):
        text = file.read_text()
        text = re.sub(r"(healthcheck-interval-seconds: )'15'", r"\1'5'", text)
        text = re.sub(r"(healthcheck-timeout-seconds: )'5'", r"\1'2'", text)
        file.write_text(text)
    return folder


def test_health_decides_who_gets_requests(serve: Start, tmp_path: Path) -> None:
    lb = serve(demo_with_fast_checks(tmp_path / "demo"))
    lb.until(lambda: len({lb.pod("/app1/index.html") for _ in range(8)}) >= 2)
    pods = {lb.get("/app1/index.html").json()["pod"]: None for _ in range(8)}
    address: dict[str, str] = {}
    for _ in range(20):
        seen = lb.get("/app1/index.html").json()
        address[seen["pod"]] = seen["address"]
    assert set(address) == set(pods)
    sick, well = sorted(address)[:2]

    control(address[sick], "unhealthy")
    lb.until(lambda: {lb.pod("/app1/index.html") for _ in range(10)} == {well})
    control(address[sick], "healthy")
    lb.until(lambda: {lb.pod("/app1/index.html") for _ in range(10)} == {sick, well})
    for name in address:
        control(address[name], "unhealthy")
    lb.until(lambda: {lb.state(a) for a in address.values()} == {"unhealthy"})
    fail_open = Counter(lb.pod("/app1/index.html") for _ in range(10))
    assert set(fail_open) == set(address), "with none healthy, all are tried"


def control(address: str, what: str) -> None:
    """Tells a made-up pod how to answer its health checks."""
    import http.client

    c = http.client.HTTPConnection(address, timeout=5)
    c.request("POST", f"/podway/{what}")
    assert c.getresponse().status == 200
    c.close()


HOST = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {name}
  annotations:
    alb.ingress.kubernetes.io/group.name: shared
    alb.ingress.kubernetes.io/target-type: ip
    alb.ingress.kubernetes.io/target-group-attributes: deregistration_delay.timeout_seconds=2
spec:
  ingressClassName: my-aws-ingress-class
  rules:
    - host: {name}.example.com
      http:
        paths:
          - path: /
            pathType: Prefix
            backend: {{service: {{name: {service}, port: {{number: 80}}}}}}
"""


def test_a_removed_ingress_costs_no_request_of_others(serve: Start, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(EXAMPLES / "target-type-ip", folder)
    for file in folder.glob("04-*.yml"):
        file.unlink()
    (folder / "10-one.yml").write_text(HOST.format(name="one", service="app1-nginx-clusterip-service"))
    (folder / "11-two.yml").write_text(HOST.format(name="two", service="app2-nginx-clusterip-service"))
    lb = serve(folder)
    get = dict(tls=False, host="one.example.com")
    lb.until(lambda: lb.pod("/", **get).startswith("app1"))
    lb.until(lambda: lb.pod("/", tls=False, host="two.example.com").startswith("app2"))
    assert lb.resolve("two.example.com")

    statuses: Counter[object] = Counter()
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            try:
                statuses[lb.get("/", **get).status] += 1  # type: ignore[arg-type]
            except OSError as e:
                statuses[repr(e)] += 1

    threads = [threading.Thread(target=load) for _ in range(4)]
    for t in threads:
        t.start()
    lb.until(lambda: statuses[200] > 50)
    (folder / "11-two.yml").unlink()
    lb.until(lambda: lb.resolve("two.example.com") is None)
    lb.until(lambda: lb.get("/", tls=False, host="two.example.com").status == 404)
    lb.until(lambda: any("drain" in line for line in lb.lines))
    before = statuses[200]
    lb.until(lambda: statuses[200] > before + 50)
    done.set()
    for t in threads:
        t.join()
    assert set(statuses) == {200}, statuses

    # A file that comes (back) is served, one that is broken changes nothing.
    (folder / "11-two.yml").write_text(HOST.format(name="two", service="app2-nginx-clusterip-service"))
    lb.until(lambda: lb.pod("/", tls=False, host="two.example.com").startswith("app2"))
    (folder / "12-broken.yml").write_text("kind: Ingress\nmetadata: [")
    lb.until(lambda: any("12-broken.yml:" in line for line in lb.lines))
    assert lb.pod("/", **get).startswith("app1")  # type: ignore[arg-type]
