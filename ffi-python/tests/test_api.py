from __future__ import annotations

import json
import pickle
from typing import Any

import podway
import pytest
from conftest import MODEL, VECTORS

MANIFESTS = VECTORS.parents[1] / "core" / "examples" / "target-type-ip"
FORWARD = {"method": "GET", "target": "/x", "now": (0, 0), "entropy": 0}


def test_manifests_become_a_router() -> None:
    model = podway.load(MANIFESTS)
    router = podway.Router(model)
    listener = next(item for item in router.listeners() if item.port == 443)
    decision = router.decide(
        listener.id, "GET", "/app1/index.html", host="x.example.com", peer=("192.0.2.1", 9)
    )
    assert decision.type == "forward"
    assert decision.priority == "1"
    assert decision.service == "default/app1-nginx-clusterip-service:80"
    assert decision.target is not None and decision.address is not None
    again = podway.Model.from_json(model.to_json())
    assert again.to_json() == model.to_json()


def test_several_paths_and_texts() -> None:
    files = sorted(MANIFESTS.glob("*.yml"))
    texts = [(file.name, file.read_text("utf-8")) for file in files]
    assert podway.load([str(file) for file in files]).to_json() == podway.load(MANIFESTS).to_json()
    assert podway.load(texts).to_json() == podway.load(MANIFESTS).to_json()
    assert podway.load(MANIFESTS, cluster_name="other").to_json() != podway.load(MANIFESTS).to_json()


def test_settings_of_the_controller() -> None:
    ingress = (
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\n"
        "spec: {ingressClassName: alb, defaultBackend: {service: {name: web, port: {number: 80}}}}\n---\n"
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
        "spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, nodePort: 30080}]}\n---\n"
        "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: alb}\n"
        "spec: {controller: ingress.k8s.aws/alb}\n"
    )
    source = [("web.yml", ingress)]

    def read(**arguments: Any) -> Any:
        return json.loads(podway.load(source, **arguments).to_json())

    assert read()["TargetGroups"][0]["TargetType"] == "instance"
    assert read()["LoadBalancers"][0]["Scheme"] == "internal"
    flags = {"default_target_type": "ip", "default_scheme": "internet-facing"}
    for controller in (flags, json.dumps(flags)):
        told = read(controller=controller)
        assert told["TargetGroups"][0]["TargetType"] == "ip"
        assert told["LoadBalancers"][0]["Scheme"] == "internet-facing"
    name = read(cluster_name="one")["LoadBalancers"][0]["LoadBalancerName"]
    assert read(controller={"cluster_name": "one"})["LoadBalancers"][0]["LoadBalancerName"] == name
    other = read(controller={"cluster_name": "two"}, cluster_name="one")
    assert other["LoadBalancers"][0]["LoadBalancerName"] == name, "the argument wins"
    by_path = podway.load(MANIFESTS, controller={"cluster_name": "one"})
    assert by_path.to_json() == podway.load(MANIFESTS, cluster_name="one").to_json()
    for wrong in (
        {"default_target_typ": "ip"},
        {"default_target_type": "lambda"},
        {"quotas": {"rules": 1}},
        {"cluster_name": ""},
        '{"cluster_name":',
        "[]",
    ):
        for given in (source, MANIFESTS):
            with pytest.raises(podway.ArgumentError) as refused:
                podway.load(given, controller=wrong)
            assert refused.value.code == "E_ARGUMENT"
    with pytest.raises(podway.ArgumentError, match="default_target_typ") as refused:
        podway.load(source, controller={"default_target_typ": "ip"})
    assert (refused.value.file, refused.value.line) == ("settings", 1)


def test_a_decision_is_a_value(router: podway.Router, web: int) -> None:
    hello = router.decide(web, "GET", "/hello")
    assert (hello.type, hello.status, hello.body) == ("fixed-response", 200, b"hello")
    assert hello.content_type == "text/plain"
    assert hello == router.decide(web, "GET", "/hello")
    assert hash(hello) == hash(router.decide(web, "GET", "/hello"))
    assert hello != router.decide(web, "GET", "/other")
    assert "fixed-response" in repr(hello)
    with pytest.raises(AttributeError):
        hello.status = 404  # type: ignore[misc]
    match router.decide(web, "GET", "/x"):
        case podway.Decision("forward", "app", target):
            assert target in ("10.0.0.1:8080", "10.0.0.2:8080")
        case other:
            raise AssertionError(other)


def test_reports_settle_forwards(router: podway.Router, web: int) -> None:
    decision = router.decide(web)
    assert sum(target.in_flight for target in router.targets()) == 1
    router.report(decision, "response", 200)
    assert sum(target.in_flight for target in router.targets()) == 0
    with router.forward(web) as forwarding:
        assert forwarding.decision.type == "forward"
        assert sum(target.in_flight for target in router.targets()) == 1
    assert sum(target.in_flight for target in router.targets()) == 0
    with pytest.raises(KeyError), router.forward(web):
        raise KeyError
    assert sum(target.in_flight for target in router.targets()) == 0


def test_health(router: podway.Router, web: int) -> None:
    probes, later = router.poll(now=(100_000, 0))
    assert {probe.address for probe in probes} == {("10.0.0.1", 8080), ("10.0.0.2", 8080)}
    assert later is not None and "10.0.0.1" in repr(sorted(probes, key=repr)[0])
    router.set_target_health("app", "10.0.0.1:8080", "unhealthy")
    assert {router.decide(web).target for _ in range(10)} == {"10.0.0.2:8080"}
    event = router.events()[-1]
    assert (event.target, event.from_, event.to) == ("10.0.0.1:8080", "healthy", "unhealthy")
    assert router.events() == []


def test_reload_is_all_or_nothing(router: podway.Router, web: int) -> None:
    with pytest.raises(podway.PodwayError):
        router.reload(podway.Model.from_json(_with_bad_regex()))
    assert router.decide(web, "GET", "/hello").status == 200
    router.reload(podway.Model.from_json({"LoadBalancers": [], "TargetGroups": []}))
    assert router.decide(web).reason == "NoListener"


def _with_bad_regex() -> dict[str, Any]:
    rule = {
        "Priority": "1",
        "Conditions": [{"Field": "path-pattern", "PathPatternConfig": {"RegexValues": ["("]}}],
        "Actions": [{"Type": "forward", "TargetGroupArn": "arn:app"}],
    }
    balancer = MODEL["LoadBalancers"][0]
    listener = balancer["Listeners"][0] | {"Rules": [rule]}
    return MODEL | {"LoadBalancers": [balancer | {"Listeners": [listener]}]}


def test_keys_are_shared_and_rotated(model: podway.Model) -> None:
    sticky = MODEL["TargetGroups"][0] | {
        "Attributes": [
            {"Key": "stickiness.enabled", "Value": "true"},
            {"Key": "stickiness.type", "Value": "lb_cookie"},
        ]
    }
    model = podway.Model.from_json(MODEL | {"TargetGroups": [sticky]})
    old, new = bytes([1]) * 32, bytes([2]) * 32
    first, second = podway.Router(model, cookie_key=old), podway.Router(model, cookie_key=old)
    made = first.decide(first.listener("web", 80))
    assert made.stickiness == "new"
    cookie = {"Cookie": made.set_cookies[0].partition(";")[0]}
    listener = second.listener("web", 80)
    kept = second.decide(listener, headers=cookie)
    assert (kept.stickiness, kept.target) == ("kept", made.target)
    second.set_cookie_keys([new, old])
    assert second.decide(listener, headers=cookie).stickiness == "kept"
    second.set_cookie_keys([new])
    assert second.decide(listener, headers=cookie).stickiness == "unknown-key"


def test_errors_tell_code_and_place(tmp_path: Any) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: web\n  annotations:\n"
        "    kubernetes.io/ingress.class: alb\n    alb.ingress.kubernetes.io/scheme: public\n"
        "spec:\n  defaultBackend: {service: {name: web, port: {number: 80}}}\n"
    )
    with pytest.raises(podway.ManifestError) as refused:
        podway.load(broken)
    error = refused.value
    assert isinstance(error, podway.PodwayError) and isinstance(error, ValueError)
    assert (error.code, error.file, error.line) == ("E_SCHEME", str(broken), 7)
    assert error.column is not None and error.column > 0
    assert "`public`" in str(error) and error.diagnostics[0].severity == "error"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    with pytest.raises(podway.InputError) as missing:
        podway.load(tmp_path / "missing.yml")
    assert missing.value.code == "E_READ"
    latin = tmp_path / "latin.yml"
    latin.write_bytes("metadata: {name: caf\u00e9}\n".encode("latin-1"))
    with pytest.raises(podway.InputError, match="is not UTF-8 text") as not_utf_8:
        podway.load(latin)
    assert not_utf_8.value.code == "E_READ" and str(latin) in str(not_utf_8.value)
    with pytest.raises(podway.InputError) as broken_json:
        podway.Model.from_json('{\n "LoadBalancers": 7}')
    assert (broken_json.value.code, broken_json.value.line) == ("E_OBJECT", 2)


def test_a_second_target_after_a_failed_connection(model: podway.Model) -> None:
    router = podway.Router(model, {"retry": True})
    web = router.listener("web", 80)
    failed = router.decide(web, "GET", "/x")
    router.report(failed, "connect-failed")
    again = router.retry(failed, web, "GET", "/x")
    assert again is not None and again.target != failed.target
    router.report(again)
    assert sum(target.in_flight for target in router.targets()) == 0
    assert router.retry(failed, web, "POST", "/x") is None
    assert router.retry(router.decide(web, "GET", "/hello"), web, "GET", "/hello") is None
    assert podway.Router(model).retry(failed, web, "GET", "/x") is None


def test_groups_zones_and_headers(router: podway.Router, web: int) -> None:
    (group,) = router.target_groups()
    assert (group.name, group.arn, group.service) == ("app", "arn:app", None)
    router.set_target_health("app", "10.0.0.1:8080", "unhealthy")
    for name in ("app", "arn:app"):
        (zone,) = router.zone_health(name)
        assert (zone.zone, zone.registered, zone.healthy) == (None, 2, 1)
        assert zone.routing_healthy and zone.dns_healthy and not zone.shifted
    assert router.header_names() == []
    (why,) = router.why_unsticky(web, "GET", "/x", history=["AWSALB=x; Path=/"])
    assert (why.cookie, why.reason) == (None, "off") and "stickiness" in why.text


def test_a_model_is_validated(model: podway.Model) -> None:
    assert [d.code for d in model.validate() if d.severity == "error"] == []
    twice = MODEL["LoadBalancers"][0]["Listeners"][0]
    wrong = podway.Model.from_json(
        MODEL | {"LoadBalancers": [MODEL["LoadBalancers"][0] | {"Listeners": [twice, twice]}]}
    )
    assert "DuplicateListener" in {d.code for d in wrong.validate()}
    with pytest.raises(podway.ArgumentError):
        model.validate({"strikt": True})


@pytest.mark.parametrize(
    "wrong",
    [
        lambda r, w: r.decide(None),
        lambda r, w: r.decide("web"),
        lambda r, w: r.decide(w, "GET", 7),
        lambda r, w: r.decide(w, host=7),
        lambda r, w: r.decide(w, headers=7),
        lambda r, w: r.decide(w, headers=["accept"]),
        lambda r, w: r.decide(w, headers=[("a", "b", "c")]),
        lambda r, w: r.decide(w, headers=[("a", None)]),
        lambda r, w: r.decide(w, peer=("192.0.2.1",)),
        lambda r, w: r.decide(w, now=5),
        lambda r, w: r.decide(w, entropy="x"),
        lambda r, w: r.report(None),
        lambda r, w: r.retry(None, w),
        lambda r, w: r.retry(r.decide(w), None),
        lambda r, w: r.retry(r.decide(w), w, 7),
        lambda r, w: r.why_unsticky(w, 7),
        lambda r, w: r.why_unsticky(w, history=[7]),
        lambda r, w: r.why_unsticky(w, history=7),
        lambda r, w: r.why_unsticky(w, history="AWSALB=x"),
        lambda r, w: r.app_cookie(r.decide(w), {}, "SID"),
        lambda r, w: r.zone_health(7),
        lambda r, w: r.app_cookie(None, {}, []),
        lambda r, w: r.app_cookie(r.decide(w), 7, []),
        lambda r, w: r.authentication(w, None),
        lambda r, w: r.hop(None),
        lambda r, w: r.poll(now="x"),
        lambda r, w: r.report_probe(None),
        lambda r, w: r.start_zonal_shift(None, "a"),
        lambda r, w: r.find_target("a", None),
        lambda r, w: r.reload(None),
        lambda r, w: r.listener("web", "http"),
        lambda r, w: r.set_cookie_keys([None]),
        lambda r, w: podway.load(None),
        lambda r, w: podway.load([None]),
        lambda r, w: podway.load([("a", "b"), "c"]),
        lambda r, w: podway.load([("a", 5)]),
        lambda r, w: podway.load([("a", "b")], controller=7),
        lambda r, w: podway.load([("a", "b")], controller={"default_tags": {1, 2}}),
        lambda r, w: podway.load([("a", "b")], cluster_name=7),
        lambda r, w: podway.load([("a", "b")], nodes="3"),
        lambda r, w: podway.Router(None),
        lambda r, w: podway.Router(7),
        lambda r, w: podway.Model(None),
        lambda r, w: podway.Model.from_json(None),
    ],
)
def test_wrong_types(router: podway.Router, web: int, wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        wrong(router, web)


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (lambda r, w: r.listener("web", 81), podway.NotFoundError),
        (lambda r, w: r.listener("web", 70_000), OverflowError),
        (lambda r, w: r.decide(-1), OverflowError),
        (lambda r, w: r.decide(w, now=(-1, 0)), OverflowError),
        (lambda r, w: r.decide(w, entropy=2**64), OverflowError),
        (lambda r, w: r.decide(w, peer="nonsense"), podway.ArgumentError),
        (lambda r, w: r.decide(w, peer=("nonsense", 5)), podway.ArgumentError),
        (lambda r, w: r.decide(w, "GET", "/\ud800"), UnicodeEncodeError),
        (lambda r, w: r.report(r.decide(w), "fine"), podway.ArgumentError),
        (lambda r, w: r.set_target_health("app", "10.0.0.9:1", "healthy"), podway.NotFoundError),
        (lambda r, w: r.set_target_health("app", "10.0.0.1:8080", "ill"), podway.ArgumentError),
        (lambda r, w: r.report_probe(1, "fine"), podway.ArgumentError),
        (lambda r, w: r.zone_health("nobody"), podway.NotFoundError),
        (lambda r, w: r.why_unsticky(w, peer="nonsense"), podway.ArgumentError),
        (lambda r, w: r.why_unsticky(w, history=["\ud800"]), UnicodeEncodeError),
        (lambda r, w: r.listener("\ud800", 80), UnicodeEncodeError),
        (lambda r, w: r.hop(2**64), OverflowError),
        (lambda r, w: r.cancel_zonal_shift("nobody"), podway.NotFoundError),
        (lambda r, w: r.set_cookie_keys([]), podway.ArgumentError),
        (lambda r, w: r.set_cookie_keys([b"short"]), podway.ArgumentError),
        (
            lambda r, w: podway.Router(podway.Model.from_json(MODEL), cookie_key=b"short"),
            podway.ArgumentError,
        ),
        (lambda r, w: podway.Router(podway.Model.from_json(MODEL), {"strikt": True}), podway.ArgumentError),
        (lambda r, w: podway.Model.from_json('{"x":' + "[" * 200_000), podway.InputError),
        (lambda r, w: podway.Model.from_json("{}"), podway.InputError),
        (lambda r, w: podway.load([]), podway.PodwayError),
        (lambda r, w: podway.load([("a.yml", "{{ .Values.x }}")]), podway.PodwayError),
        (lambda r, w: podway.load([("a.yml", "[" * 200_000)]), podway.PodwayError),
    ],
)
def test_wrong_values(router: podway.Router, web: int, wrong: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        wrong(router, web)


def test_hostile_requests_are_decided(router: podway.Router, web: int) -> None:
    for target in (b"\xff\xfe", b"", b"/" + b"a" * 1_000_000, "/%zz", "*", "/\0", "http://"):
        decision = router.decide(web, b"\xff", target, b"\xff", [(b"\xff", b"\0" * 100_000)])
        assert decision.type in ("forward", "error")
        if decision.type == "forward":
            router.report(decision, "cancelled")
    assert router.decide(4711).reason == "NoListener"
    router.decide(web, headers={"a": "b", "c": b"d"}, peer="[2001:db8::1]:5")
    router.decide(web, headers=iter([("a", "b")]), peer=("fe80::1%eth0", 5, 0, 1))


def test_explain_tells_what_each_condition_saw(router: podway.Router, web: int) -> None:
    why = router.explain(web, "GET", "/other", peer="192.0.2.1:4000")
    assert why["Decision"]["type"] == "forward" and why["Request"]["SourceIp"] == "192.0.2.1"
    assert (why["Rules"][0]["Priority"], why["Rules"][0]["Matches"]) == ("5", False)
    assert why["Rules"][0]["Conditions"][0]["Saw"] == ["/other"]
    assert sum(target.in_flight for target in router.targets()) == 0
    with pytest.raises(TypeError):
        router.explain(web, 7)  # type: ignore[arg-type]


def test_instance_targets_hop_to_a_pod() -> None:
    router = podway.Router(podway.load(MANIFESTS.with_name("target-type-instance")))
    decision = router.decide(router.listener("target-type-instance", 443), "GET", "/app1/", "x.example.com")
    assert decision.target_id is not None
    hop = router.hop(decision.target_id, "10.0.0.9")
    assert hop is not None and hop["outcome"] == "forwarded" and hop["pod"].startswith("app1-nginx")
    ip = podway.Router(podway.load(MANIFESTS))
    pod = ip.decide(ip.listener("target-type-ip", 443), "GET", "/app1/", "x.example.com")
    assert pod.target_id is not None and ip.hop(pod.target_id, "10.0.0.9") is None
    with pytest.raises(podway.ArgumentError):
        ip.hop(pod.target_id, "nonsense")


def test_zonal_shift(router: podway.Router) -> None:
    with pytest.raises(podway.PodwayError) as refused:
        router.start_zonal_shift("web", "eu-central-1a")
    assert refused.value.code == "OperationNotPermitted"
    with pytest.raises(podway.NotFoundError):
        router.start_zonal_shift("nobody", "eu-central-1a")
    router.cancel_zonal_shift("web")
