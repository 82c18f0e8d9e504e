"""A running load balancer in front of servers that others have written, and how to start those."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from conftest import Serve, free_port

Start = Callable[..., Serve]

SERVICE = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: main, image: "{name}:1", ports: [{{containerPort: 8080}}]}}]}}
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
  annotations:
{annotations}
spec:
  selector: {{app: {name}}}
  ports: [{{port: 80, targetPort: 8080}}]
---
"""

INGRESS = """\
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: alb}
spec: {controller: ingress.k8s.aws/alb}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: peers
  annotations:
    alb.ingress.kubernetes.io/target-type: ip
    alb.ingress.kubernetes.io/listen-ports: '[{"HTTP": 80}, {"HTTPS": 443}]'
    alb.ingress.kubernetes.io/ssl-policy: ELBSecurityPolicy-TLS13-1-2-2021-06
    alb.ingress.kubernetes.io/healthcheck-interval-seconds: '5'
    alb.ingress.kubernetes.io/healthcheck-timeout-seconds: '2'
spec:
  ingressClassName: alb
  rules:
"""

RULE = """\
    - host: {name}.example.com
      http:
        paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: {name}, port: {{number: 80}}}}}}}}]
"""


def manifest(services: dict[str, dict[str, str]]) -> str:
    """An Ingress with a host for each Service, and the Services with these annotations."""
    text = ""
    for name, told in services.items():
        lines = "\n".join(f"    alb.ingress.kubernetes.io/{k}: '{v}'" for k, v in told.items())
        text += SERVICE.format(name=name, annotations=lines or "    {}")
    return text + INGRESS + "".join(RULE.format(name=name) for name in services)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def front(serve: Start, authority: trustme.CA, tmp_path: Path) -> Callable[..., Serve]:
    """Serves hosts `NAME.example.com`, each from the process at a port of its own."""
    issued = authority.issue_cert("*.example.com", "127.0.0.1")
    (tmp_path / "cert.pem").write_bytes(b"".join(c.bytes() for c in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def start(services: dict[str, tuple[int, dict[str, str]]], *more: str) -> Serve:
        folder = tmp_path / "manifests"
        folder.mkdir(exist_ok=True)
        (folder / "all.yml").write_text(manifest({name: a for name, (_, a) in services.items()}))
        args = [f"--endpoint={name}=127.0.0.1:{port}" for name, (port, _) in services.items()]
        lb = serve(
            folder,
            "--cert",
            tmp_path / "cert.pem",
            "--key",
            tmp_path / "key.pem",
            "--grace",
            "2",
            *args,
            *more,
        )
        lb.until(lambda: sum(" -> healthy" in line for line in lb.lines) >= len(services))
        return lb

    return start


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Callable[[str], int]]:
    """nginx with the inside of a `server` block; the port it listens on."""
    exe = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin")
    if exe is None:
        pytest.skip("nginx is not installed")
    started = []

    def start(inside: str, listen: str = "") -> int:
        port = free_port()
        folder = tmp_path / f"nginx-{port}"
        folder.mkdir()
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{ worker_connections 1024; }}\n"
            f"http {{ access_log off; {temporary} keepalive_requests 1000000; client_max_body_size 100m;\n"
            f"server {{ listen 127.0.0.1:{port} {listen}; {inside} }} }}\n"
        )
        command = [exe, "-p", str(folder), "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]
        started.append(subprocess.Popen(command))
        return port

    yield start
    for process in started:
        process.terminate()
        process.wait(10)
