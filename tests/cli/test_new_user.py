"""What somebody tries first: the shapes of the controller's own examples, a dump of a cluster, a typing error, a
group with one broken member. The manifests are ours, their shapes are those everybody copies."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from conftest import PODWAY, run

# A game in a namespace of its own: pods as targets, open to the internet, the class that the chart installs.
GAME = """
apiVersion: v1
kind: Namespace
metadata: {name: game}
---
apiVersion: apps/v1
kind: Deployment
metadata: {namespace: game, name: board}
spec:
  replicas: 5
  selector: {matchLabels: {app.kubernetes.io/name: board}}
  template:
    metadata: {labels: {app.kubernetes.io/name: board}}
    spec: {containers: [{name: board, image: board, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {namespace: game, name: board}
spec:
  type: NodePort
  selector: {app.kubernetes.io/name: board}
  ports: [{port: 80, targetPort: 80, protocol: TCP}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  namespace: game
  name: board
  annotations:
    alb.ingress.kubernetes.io/scheme: internet-facing
    alb.ingress.kubernetes.io/target-type: ip
spec:
  ingressClassName: alb
  rules:
    - http:
        paths:
          - path: /
            pathType: Prefix
            backend: {service: {name: board, port: {number: 80}}}
"""

# An echo server with a host, tags and subnets, in target type instance.
ECHO = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: echo
  namespace: echo
  annotations:
    alb.ingress.kubernetes.io/scheme: internet-facing
    alb.ingress.kubernetes.io/subnets: subnet-0a, subnet-0b
    alb.ingress.kubernetes.io/tags: Environment=dev,Team=test
spec:
  ingressClassName: alb
  rules:
    - host: echo.example.com
      http:
        paths:
          - path: /
            pathType: Exact
            backend: {service: {name: echo, port: {number: 80}}}
---
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: echo}
spec: {type: NodePort, selector: {app: echo}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo, namespace: echo}
spec: {replicas: 1, selector: {matchLabels: {app: echo}}, template: {metadata: {labels: {app: echo}}, spec: {containers: [{name: echo, image: echo}]}}}
"""

GRPC = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: greeter
  annotations:
    alb.ingress.kubernetes.io/ssl-redirect: '443'
    alb.ingress.kubernetes.io/backend-protocol-version: GRPC
    alb.ingress.kubernetes.io/listen-ports: '[{"HTTP": 80}, {"HTTPS":443}]'
    alb.ingress.kubernetes.io/scheme: internet-facing
    alb.ingress.kubernetes.io/target-type: ip
    alb.ingress.kubernetes.io/certificate-arn: arn:aws:acm:eu-west-1:111122223333:certificate/0a1b
spec:
  ingressClassName: alb
  rules:
    - host: grpc.example.com
      http:
        paths:
          - path: /greeter.Greeter
            pathType: Prefix
            backend: {service: {name: greeter, port: {number: 50051}}}
---
apiVersion: v1
kind: Service
metadata: {name: greeter}
spec: {selector: {app: greeter}, ports: [{port: 50051, targetPort: 50051}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: greeter}
spec: {replicas: 2, selector: {matchLabels: {app: greeter}}, template: {metadata: {labels: {app: greeter}}, spec: {containers: [{name: g, image: g}]}}}
"""


def plan(text: str, *args: str) -> tuple[dict, list[str]]:
    done = run("plan", "-", "-o", "json", *args, stdin=text)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr.splitlines()


def codes(lines: list[str]) -> list[str]:
    return re.findall(r"\[([EW]_[A-Z0-9_]+)\]$", "\n".join(lines), re.MULTILINE)


def test_the_game() -> None:
    model, told = plan(GAME)
    (balancer,) = model["LoadBalancers"]
    assert balancer["LoadBalancerName"].startswith("k8s-game-board-")
    assert [listener["Port"] for listener in balancer["Listeners"]] == [80]
    (group,) = model["TargetGroups"]
    assert group["TargetType"] == "ip" and len(group["TargetHealthDescriptions"]) == 5
    assert codes(told) == ["W_CLASS_ASSUMED"]


def test_the_echo_server() -> None:
    model, told = plan(ECHO)
    (group,) = model["TargetGroups"]
    assert group["TargetType"] == "instance" and len(group["TargetHealthDescriptions"]) == 3
    assert [r["Name"] for r in model["RecordSets"]] == ["echo.example.com", "echo.example.com"]
    assert codes(told) == ["W_CLASS_ASSUMED"]
    routed = run("route", "-", "GET", "http://echo.example.com/", "-o", "json", stdin=ECHO)
    assert [hop["Kind"] for hop in json.loads(routed.stdout)["Action"]["Hops"]] == ["target", "kube-proxy"]


def test_grpc() -> None:
    model, told = plan(GRPC)
    (group,) = model["TargetGroups"]
    assert group["ProtocolVersion"] == "GRPC" and group["Matcher"] == {"GrpcCode": "12"}
    assert group["HealthCheckPath"] == "/AWS.ALB/healthcheck"
    assert codes(told) == ["W_CLASS_ASSUMED"]


def as_dumped(kind: str, version: str, name: str, rest: dict, namespace: str | None = "shop") -> dict:
    """An object as `kubectl get -o yaml` prints it: with a uid, managedFields and a status."""
    meta = {
        "name": name,
        "uid": f"00000000-0000-0000-0000-{abs(hash(name)) % 10**12:012d}",
        "resourceVersion": "12345",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [{"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {".": {}}}}],
        **({"namespace": namespace} if namespace else {}),
        **rest.pop("metadata", {}),
    }
    return {"apiVersion": version, "kind": kind, "metadata": meta, **rest}


def dump() -> dict:
    backend = {"service": {"name": "web", "port": {"name": "http"}}}
    nodes = [
        as_dumped("Node", "v1", f"ip-10-0-0-{i}", {
            "spec": {"providerID": f"aws:///eu-west-1a/i-0000000000000000{i}"},
            "status": {"addresses": [{"type": "InternalIP", "address": f"10.0.0.{i}"}],
                       "conditions": [{"type": "Ready", "status": "True"}]},
        }, namespace=None)
        for i in (1, 2)
    ]  # fmt: skip
    pods = [
        as_dumped("Pod", "v1", f"web-{i}", {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"nodeName": f"ip-10-0-0-{i}", "containers": [{"name": "web", "ports": [{"name": "http", "containerPort": 8080}]}]},
            "status": {"podIP": f"10.0.1.{i}", "conditions": [{"type": t, "status": "True"} for t in ("Ready", "ContainersReady")]},
        })
        for i in (1, 2)
    ]  # fmt: skip
    slices = [
        as_dumped("EndpointSlice", "discovery.k8s.io/v1", "web-abcde", {
            "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": [f"10.0.1.{i}"], "conditions": {"ready": True, "serving": True, "terminating": False},
                 "nodeName": f"ip-10-0-0-{i}", "targetRef": {"kind": "Pod", "namespace": "shop", "name": f"web-{i}"}}
                for i in (1, 2)
            ],
        })
    ]  # fmt: skip
    ingress = as_dumped("Ingress", "networking.k8s.io/v1", "web", {
        "metadata": {"finalizers": ["ingress.k8s.aws/resources"], "annotations": {
            "alb.ingress.kubernetes.io/target-type": "ip",
            "kubectl.kubernetes.io/last-applied-configuration": "{\"apiVersion\":\"networking.k8s.io/v1\"}\n"}},
        "spec": {"ingressClassName": "alb", "rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]},
        "status": {"loadBalancer": {"ingress": [{"hostname": "k8s-shop-web-0.eu-west-1.elb.amazonaws.com"}]}},
    })  # fmt: skip
    service = as_dumped("Service", "v1", "web", {
        "spec": {"type": "ClusterIP", "selector": {"app": "web"}, "clusterIP": "172.20.0.5",
                 "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}]},
        "status": {"loadBalancer": {}},
    })  # fmt: skip
    items = [ingress, service, *slices, *nodes, *pods]
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}


@pytest.mark.parametrize("indent", [None, 4, "\t"])
def test_a_dump_of_a_cluster(indent: int | str | None) -> None:
    model, told = plan(json.dumps(dump(), indent=indent))
    (group,) = model["TargetGroups"]
    assert [d["Target"]["Id"] for d in group["TargetHealthDescriptions"]] == ["10.0.1.1", "10.0.1.2"]
    assert [d["Target"]["Port"] for d in group["TargetHealthDescriptions"]] == [8080, 8080]
    assert codes(told) == ["W_CLASS_ASSUMED"]


def test_a_dump_without_pods_says_so() -> None:
    all_but_pods = dump()
    all_but_pods["items"] = [i for i in all_but_pods["items"] if i["kind"] != "Pod"]
    model, told = plan(json.dumps(all_but_pods))
    assert model["TargetGroups"][0]["TargetHealthDescriptions"] == []
    assert "W_TARGET" in codes(told)


def test_a_misspelt_annotation(tmp_path: Path) -> None:
    file = tmp_path / "game.yml"
    file.write_text(GAME.replace("target-type: ip", "target-typ: ip"))
    done = run("plan", file)
    assert done.returncode == 0
    (line,) = [w for w in done.stderr.splitlines() if "W_ANNOTATION_UNKNOWN" in w]
    assert line.startswith(f"{file}:31:43: warning: Ingress game/board: alb.ingress.kubernetes.io/target-typ: "), line
    assert "expected `alb.ingress.kubernetes.io/target-type`" in line


def in_a_group(text: str, name: str, order: int) -> str:
    annotation = f"  annotations:\n    alb.ingress.kubernetes.io/group.name: shop\n    alb.ingress.kubernetes.io/group.order: '{order}'\n"
    ingress = text[text.index("apiVersion: networking") :].split("---")[0]
    rest = text.replace(ingress, "")
    return f"{rest}\n---\n{ingress.replace('  annotations:', annotation.rstrip(chr(10)), 1)}"


def test_a_group_with_one_broken_member() -> None:
    broken = in_a_group(ECHO, "echo", 2).replace("pathType: Exact", "pathType: Regex")
    both = in_a_group(GAME, "board", 1) + "\n---\n" + broken
    done = run("plan", "-", stdin=both)
    assert done.returncode == 2 and done.stdout == ""
    assert "E_PATHTYPE" in done.stderr and "this holds back Ingress game/board too" in done.stderr
    done = run("plan", "-", "--skip-broken", "-o", "json", stdin=both)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["LoadBalancers"][0]["Ingresses"] == ["game/board"]
    assert "left out: Ingress echo/echo; the controller would hold back Ingress game/board too" in done.stderr


def test_a_folder_of_templates_is_one_mistake(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.yaml").write_text("kind: Ingress\nmetadata:\n  name: {{ .Release.Name }}\n")
    done = run("plan", tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "E_TEMPLATE" in line and "and so are 2 more" in line and "a.yaml:3:9" in line


def test_a_knative_service_is_no_service() -> None:
    other = "\n---\napiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {namespace: game, name: board}\nspec: {template: {}}\n"
    model, told = plan(GAME + other)
    assert len(model["TargetGroups"][0]["TargetHealthDescriptions"]) == 5
    assert codes(told) == ["W_CLASS_ASSUMED"]


def test_settings_of_the_controller(tmp_path: Path) -> None:
    certificates = tmp_path / "acm.json"
    certificates.write_text(json.dumps({"CertificateSummaryList": [
        {"CertificateArn": "arn:aws:acm:eu-west-1:111122223333:certificate/1", "DomainName": "*.example.com", "Status": "ISSUED"}]}))  # fmt: skip
    secure = ECHO.replace("  annotations:\n", "  annotations:\n    alb.ingress.kubernetes.io/listen-ports: '[{\"HTTPS\":443}]'\n", 1)
    model, _ = plan(secure, "--certificates", str(certificates), "--default-ssl-policy", "P", "--default-tags", "team=a",
                    "--default-target-type", "ip", "--max-targets-per-target-group", "1")  # fmt: skip
    (listener,) = model["LoadBalancers"][0]["Listeners"]
    assert [c["CertificateArn"][-1] for c in listener["Certificates"]] == ["1"] and listener["SslPolicy"] == "P"
    assert {"Key": "team", "Value": "a"} in model["LoadBalancers"][0]["Tags"]
    assert model["TargetGroups"][0]["TargetType"] == "ip"
    refused = run("plan", "-", "--certificates", str(certificates), stdin=secure.replace("echo.example.com", "echo.org"))
    assert refused.returncode == 2 and "E_CERT_NOT_FOUND" in refused.stderr
    _, told = plan(GAME, "--quota", "targets=4")
    assert "W_QUOTA" in codes(told)
    for wrong in (["--quota", "pods=1"], ["--feature-gates", "Nope=true"], ["--default-target-type", "pod"]):
        assert run("plan", "-", *wrong, stdin=GAME).returncode == 2


BINDING = """
---
apiVersion: elbv2.k8s.aws/v1beta1
kind: TargetGroupBinding
metadata: {name: legacy, namespace: game}
spec:
  targetGroupARN: arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/legacy/0123456789abcdef
  targetType: ip
  serviceRef: {name: board, port: 80}
"""


def test_a_target_group_that_was_made_elsewhere() -> None:
    action = json.dumps({"type": "forward", "targetGroupARN": BINDING.split("targetGroupARN: ")[1].split()[0]})
    text = GAME.replace("  annotations:\n", f"  annotations:\n    alb.ingress.kubernetes.io/actions.old: '{action}'\n", 1)
    text = text.replace("backend: {service: {name: board, port: {number: 80}}}", "backend: {service: {name: old, port: {name: use-annotation}}}")
    model, told = plan(text + BINDING)
    (group,) = model["TargetGroups"]
    assert group["TargetGroupName"] == "legacy" and len(group["TargetHealthDescriptions"]) == 5
    assert group["LoadBalancerArns"] == [model["LoadBalancers"][0]["LoadBalancerArn"]]
    routed = run("route", "-", "GET", "http://x/", "-o", "json", stdin=text + BINDING)
    assert json.loads(routed.stdout)["Action"]["TargetGroupName"] == "legacy"
    assert codes(told) == ["W_CLASS_ASSUMED"]


def test_the_plan_that_the_controller_writes_is_an_input() -> None:
    group = "default/web-web:80"
    arn = {"$ref": f"#/resources/AWS::ElasticLoadBalancingV2::TargetGroup/{group}/status/targetGroupARN"}
    forward = [{"type": "forward", "forwardConfig": {"targetGroups": [{"targetGroupARN": arn}]}}]
    elb = "AWS::ElasticLoadBalancingV2"
    stack = {"id": "default/web", "resources": {
        f"{elb}::LoadBalancer": {"LoadBalancer": {"spec": {
            "name": "k8s-default-web-2d5e8838df", "type": "application", "scheme": "internet-facing", "ipAddressType": "ipv4",
            "loadBalancerAttributes": [{"key": "idle_timeout.timeout_seconds", "value": "30"}], "tags": {"team": "a"}}}},
        f"{elb}::Listener": {"80": {"spec": {
            "port": 80, "protocol": "HTTP",
            "defaultActions": [{"type": "fixed-response", "fixedResponseConfig": {"contentType": "text/plain", "statusCode": "404"}}],
            "listenerAttributes": [{"Key": "routing.http.response.server.enabled", "Value": "false"}]}}},
        f"{elb}::ListenerRule": {"80:1": {"spec": {
            "priority": 1, "actions": forward,
            "conditions": [{"field": "source-ip", "sourceIPConfig": {"values": ["0.0.0.0/0"]}},
                           {"field": "path-pattern", "pathPatternConfig": {"values": ["/app", "/app/*"]}}]}}},
        f"{elb}::TargetGroup": {group: {"spec": {
            "name": "k8s-default-web-ab5842a3d9", "targetType": "ip", "port": 8080, "protocol": "HTTP", "protocolVersion": "HTTP1",
            "ipAddressType": "ipv4", "healthCheckConfig": {
                "port": "traffic-port", "protocol": "HTTP", "path": "/up", "matcher": {"httpCode": "200-299"},
                "intervalSeconds": 20, "timeoutSeconds": 5, "healthyThresholdCount": 3, "unhealthyThresholdCount": 4},
            "targetGroupAttributes": [{"key": "stickiness.enabled", "value": "true"}]}}},
        "K8S::ElasticLoadBalancingV2::TargetGroupBinding": {group: {"spec": {"template": {
            "metadata": {"name": "k8s-default-web-ab5842a3d9", "namespace": "default"},
            "spec": {"serviceRef": {"name": "web", "port": 80}, "targetType": "ip"}}}}},
    }}  # fmt: skip
    model, told = plan(json.dumps(stack))
    assert told == []
    (balancer,) = model["LoadBalancers"]
    assert balancer["Scheme"] == "internet-facing" and balancer["Attributes"][0]["Value"] == "30"
    (rule, default) = balancer["Listeners"][0]["Rules"]
    assert [c["Field"] for c in rule["Conditions"]] == ["source-ip", "path-pattern"] and default["IsDefault"]
    (found,) = model["TargetGroups"]
    assert rule["Actions"][0]["ForwardConfig"]["TargetGroups"][0]["TargetGroupArn"] == found["TargetGroupArn"]
    assert (found["HealthCheckPath"], found["UnhealthyThresholdCount"], found["Matcher"]) == ("/up", 4, {"HttpCode": "200-299"})
    assert found["ServiceRef"] == {"Namespace": "default", "Name": "web", "Port": "80"}
    # Beside the Service it gets the targets that the cluster would give it.
    web = """---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {replicas: 2, template: {metadata: {labels: {app: web}}}}
"""
    model, _ = plan(json.dumps(stack) + "\n" + web)
    assert len(model["TargetGroups"][0]["TargetHealthDescriptions"]) == 2
    del stack["resources"][f"{elb}::LoadBalancer"]
    refused = run("plan", "-", stdin=json.dumps(stack))
    assert refused.returncode == 2 and "E_OBJECT" in refused.stderr and "default/web" in refused.stderr


def test_endpoints_written_by_hand() -> None:
    text = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, annotations: {kubernetes.io/ingress.class: alb}}
spec: {defaultBackend: {service: {name: outside, port: {number: 80}}}}
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: NodePort, ports: [{port: 80}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: outside}
subsets: [{addresses: [{ip: 192.0.2.7}], ports: [{port: 80}]}]
"""
    routed = run("route", "-", "GET", "http://x/", "-o", "json", stdin=text)
    hops = json.loads(routed.stdout)["Action"]["Hops"]
    assert hops[1]["Address"] == "192.0.2.7:80", hops


def test_help_names_the_settings_of_the_controller() -> None:
    done = subprocess.run([PODWAY, "plan", "--help"], capture_output=True, text=True, check=True)
    assert "Settings of the controller" in done.stdout and "--feature-gates" in done.stdout
