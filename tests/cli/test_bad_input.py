"""Bad input and bad usage: one clear sentence, the place where there is one, exit code 2, no backtrace."""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path

import pytest
from conftest import EXAMPLES, run


def refused(*args: str | Path) -> str:
    done = run(*args)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert "panicked" not in done.stderr and "RUST_BACKTRACE" not in done.stderr
    assert done.stdout == ""
    return done.stderr


def test_a_path_that_does_not_exist() -> None:
    assert "no/such/folder" in refused("plan", "no/such/folder")


def test_a_folder_with_no_ingress(tmp_path: Path) -> None:
    (tmp_path / "service.yml").write_text("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n")
    assert "E_NO_INGRESS" in refused("serve", tmp_path)


def test_an_empty_folder(tmp_path: Path) -> None:
    assert str(tmp_path) in refused("plan", tmp_path)


@pytest.mark.parametrize("verb", [["plan"], ["route", "GET", "http://a/"]])
def test_a_file_that_is_not_utf_8(tmp_path: Path, verb: list[str]) -> None:
    """A name in Latin-1, in a folder and as a path of its own."""
    file = tmp_path / "web.yml"
    file.write_bytes("kind: Ingress\nmetadata: {name: caf\u00e9}\n".encode("latin-1"))
    for path in (tmp_path, file):
        message = refused(verb[0], path, *verb[1:])
        assert "E_READ" in message and f"`{file}` is not UTF-8 text" in message


def test_a_yaml_syntax_error(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text("apiVersion: v1\nkind: [Ingress\nmetadata:\n  name: x\n")
    message = refused("plan", file)
    assert re.search(r"web\.yml:[234]:\d+: ", message) and "E_SYNTAX" in message


def test_a_missing_service_answers_503_and_warns(tmp_path: Path) -> None:
    """The controller tolerates it, so podway does; the warning says where."""
    demo = tmp_path / "demo"
    shutil.copytree(EXAMPLES / "target-type-ip", demo)
    for file in demo.glob("*.yml"):
        file.write_text(file.read_text().replace("app2-nginx-clusterip-service", "app9-nginx-clusterip-service", 1)
                        if file.name.startswith("04") else file.read_text())  # fmt: skip
    done = run("plan", demo, "-o", "json")
    assert done.returncode == 0
    assert re.search(r"04-[^:]*:\d+:\d+: ", done.stderr), done.stderr
    assert "app9-nginx-clusterip-service" in done.stderr
    routed = run("route", demo, "GET", "https://target-type-ip.example.com/app2", "-o", "json")
    assert '"503"' in routed.stdout


def test_a_missing_service_port(tmp_path: Path) -> None:
    demo = tmp_path / "demo"
    shutil.copytree(EXAMPLES / "target-type-ip", demo)
    for file in demo.glob("04-*.yml"):
        file.write_text(re.sub(r"number: 80\b", "number: 8123", file.read_text(), count=1))
    message = refused("plan", demo)
    assert "E_SVC_PORT" in message and re.search(r"04-[^:]*\.yml:\d+:\d+: ", message)


def test_a_bad_annotation(tmp_path: Path) -> None:
    demo = tmp_path / "demo"
    shutil.copytree(EXAMPLES / "target-type-ip", demo)
    for file in demo.glob("04-*.yml"):
        file.write_text(file.read_text().replace("internet-facing", "public"))
    message = refused("plan", demo)
    assert "E_SCHEME" in message and "`internet-facing`" in message
    assert re.search(r"04-[^:]*\.yml:\d+:\d+: Ingress default/", message)


def test_a_template(tmp_path: Path) -> None:
    (tmp_path / "ingress.yaml").write_text("kind: Ingress\nmetadata:\n  name: {{ .Release.Name }}\n")
    assert "E_TEMPLATE" in refused("plan", tmp_path)


def test_a_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", EXAMPLES / "target-type-ip", "--map-port", f"80={port}", "--map-port", "443=0",
                   "--dns-port", "0")  # fmt: skip
    assert done.returncode == 2, done
    assert str(port) in done.stderr and "in use" in done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["plan"],
        ["route", str(EXAMPLES / "target-type-ip"), "GET"],
        ["route", str(EXAMPLES / "target-type-ip"), "GET", "not a url"],
        ["serve", str(EXAMPLES / "target-type-ip"), "--map-port", "eighty=1"],
        ["plan", str(EXAMPLES / "target-type-ip"), "-o", "xml"],
        ["juggle"],
    ],
)
def test_bad_usage(args: list[str]) -> None:
    assert refused(*args).strip()
