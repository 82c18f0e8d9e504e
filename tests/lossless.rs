//! Nothing gets lost between a model and its JSON: what is written reads back the same, and what AWS would
//! answer about it in many files reads as the same model again.

use std::path::{Path, PathBuf};

use podway::local::LocalCluster;
use podway::manifest::{Settings, Source, read_paths};
use podway::model::{
    Action, ActionConfig, Attribute, AuthenticateCognitoConfig, AuthenticateOidcConfig, Certificate,
    FixedResponseConfig, ForwardConfig, JwtClaim, JwtValidationConfig, Listener, LoadBalancer,
    LoadBalancerIpAddressType, Matcher, Model, MutualAuthentication, Priority, Protocol, ProtocolVersion,
    QueryStringKeyValue, RedirectConfig, Rewrite, Rule, RuleCondition, RuleTransform, Scheme,
    TargetDescription, TargetGroup, TargetGroupStickinessConfig, TargetGroupTuple, TargetHealth,
    TargetHealthDescription, TargetHealthState, TargetType,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The demos and the recorded corpus: whatever becomes a model.
fn models() -> Vec<(String, Model)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut inputs: Vec<PathBuf> = ["target-type-ip", "target-type-instance"]
        .iter()
        .map(|demo| root.join("../core/examples").join(demo))
        .collect();
    let corpus = std::fs::read_dir(podway_tests::vectors().join("controller")).expect("the corpus");
    inputs.extend(
        corpus.map(|e| e.expect("an entry").path()).filter(|p| p.extension().is_some_and(|e| e == "yaml")),
    );
    inputs.sort();
    let load = |path: &PathBuf| {
        let sources = read_paths(&[path]).expect("an input");
        let loaded = podway::load(&sources, &Settings::default(), &LocalCluster::default()).ok()?;
        Some((path.display().to_string(), loaded.model))
    };
    inputs.iter().filter_map(load).collect()
}

fn read(sources: &[Source]) -> Model {
    let loaded = podway::load(sources, &Settings::default(), &LocalCluster::default()).expect("a model");
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    loaded.model
}

/// As `plan -o json` prints it, and back.
fn reread(model: &Model) -> Model {
    let mut plan = serde_json::to_value(model).expect("a plan");
    plan["Diagnostics"] = json!([{"Severity": "warning", "Code": "W_QUOTA", "Message": "x"}]);
    read(&[Source::new("plan.json", serde_json::to_string_pretty(&plan).expect("JSON"))])
}

#[test]
fn plans_read_back_the_same() {
    let all = models();
    assert!(all.len() > 250, "{} models", all.len());
    for (name, model) in &all {
        assert_eq!(&reread(model), model, "{name}");
        assert_eq!(&Model::from_json(&model.to_json()).expect("a model"), model, "{name}");
    }
    println!("lossless: {} plans", all.len());
}

#[test]
fn answers_in_many_files_are_the_same_model() {
    let mut files = 0;
    for (name, model) in models() {
        let model = as_aws_has_it(model);
        let mut sources = answers(&model);
        files += sources.len();
        // Listeners before load balancers, health before target groups: the order must not matter.
        sources.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(read(&sources), model, "{name}");
        sources.reverse();
        let mut backwards = read(&sources);
        backwards.load_balancers.sort_by(|a, b| a.load_balancer_arn.cmp(&b.load_balancer_arn));
        backwards.target_groups.sort_by(|a, b| a.target_group_arn.cmp(&b.target_group_arn));
        assert_eq!(backwards, model, "{name}");
    }
    println!("lossless: {files} answers");
}

/// The model without what AWS does not know, with ARNs as AWS makes them, in the order of the ARNs.
fn as_aws_has_it(mut model: Model) -> Model {
    model.record_sets.clear();
    for (b, balancer) in model.load_balancers.iter_mut().enumerate() {
        (balancer.ingresses, balancer.tags) = (Vec::new(), Vec::new());
        let id = format!("app/{}/{b:016x}", balancer.load_balancer_name);
        for group in &mut model.target_groups {
            for arn in group.load_balancer_arns.iter_mut().filter(|a| **a == balancer.load_balancer_arn) {
                *arn = format!("arn:aws:elasticloadbalancing:eu-west-1:1:loadbalancer/{id}");
            }
        }
        balancer.load_balancer_arn = format!("arn:aws:elasticloadbalancing:eu-west-1:1:loadbalancer/{id}");
        for (l, listener) in balancer.listeners.iter_mut().enumerate() {
            let id = format!("{id}/{l:016x}");
            let rule =
                |n: usize| format!("arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/{id}/{n:016x}");
            listener.listener_arn = format!("arn:aws:elasticloadbalancing:eu-west-1:1:listener/{id}");
            listener.tags.clear();
            listener.default_rule_arn = Some(rule(0));
            for (n, r) in listener.rules.iter_mut().enumerate() {
                r.rule_arn = rule(n + 1);
            }
        }
    }
    for group in &mut model.target_groups {
        (group.service_ref, group.node_port, group.tags) = (None, None, Vec::new());
    }
    model.load_balancers.sort_by(|a, b| a.load_balancer_arn.cmp(&b.load_balancer_arn));
    model.target_groups.sort_by(|a, b| a.target_group_arn.cmp(&b.target_group_arn));
    model
}

/// What the describe calls would answer about a model: load balancers and target groups in one file each,
/// listeners a file a load balancer, rules a file a listener, and a file for whatever has no ARN.
fn answers(model: &Model) -> Vec<Source> {
    let mut out = Vec::new();
    let mut file = |name: String, answer: Value| out.push(Source::new(name, answer.to_string()));
    let plan = serde_json::to_value(model).expect("a plan");
    let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
    let mut balancers = list(&plan["LoadBalancers"]);
    for balancer in &mut balancers {
        let (arn, name) = (balancer["LoadBalancerArn"].clone(), balancer["LoadBalancerName"].clone());
        let object = balancer.as_object_mut().expect("an object");
        object.insert("VpcId".into(), json!("vpc-1"));
        let attributes = object.remove("Attributes").unwrap_or_default();
        file(
            format!("lb-attributes/{}.json", arn.to_string().replace(['/', '"'], "_")),
            json!({"Attributes": attributes}),
        );
        let mut listeners = list(&object.remove("Listeners").unwrap_or_default());
        for listener in &mut listeners {
            let object = listener.as_object_mut().expect("an object");
            object.insert("LoadBalancerArn".into(), arn.clone());
            let (rules, port) = (object.remove("Rules"), object["Port"].clone());
            file(format!("rules-{name}-{port}.json"), json!({"Rules": rules}));
            if let Some(attributes) = object.remove("Attributes") {
                file(
                    format!("listener-{name}-{port}.json"),
                    json!({"ListenerArn": object["ListenerArn"], "Attributes": attributes}),
                );
            }
        }
        file(format!("listeners-{name}.json"), json!({"Listeners": listeners}));
    }
    file("balancers.json".into(), json!({"LoadBalancers": balancers}));
    let mut groups = list(&plan["TargetGroups"]);
    for group in &mut groups {
        let object = group.as_object_mut().expect("an object");
        let (attributes, health) = (object.remove("Attributes"), object.remove("TargetHealthDescriptions"));
        let (arn, name) = (object["TargetGroupArn"].clone(), object["TargetGroupName"].clone());
        file(
            format!("{}/attributes.json", name.as_str().unwrap_or_default()),
            json!({"Attributes": attributes}),
        );
        file("health.json".into(), json!({"TargetGroupArn": arn, "TargetHealthDescriptions": health}));
    }
    file("groups.json".into(), json!({"TargetGroups": groups}));
    out
}

// ------------------------------------------------------------------ any model at all

fn text() -> impl Strategy<Value = String> {
    "[ -~äß\u{1f600}]{0,8}"
}

fn some_text() -> impl Strategy<Value = Option<String>> {
    of(text())
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 0..3)
}

fn attributes() -> impl Strategy<Value = Vec<Attribute>> {
    vec((text(), text()).prop_map(|(k, v)| Attribute::new(k, v)), 0..3)
}

fn action() -> impl Strategy<Value = Action> {
    let tuple = (text(), of(0..1000))
        .prop_map(|(target_group_arn, weight)| TargetGroupTuple { target_group_arn, weight });
    let sticky = of((of(any::<bool>()), of(any::<i32>()))).prop_map(|s| {
        s.map(|(enabled, duration_seconds)| TargetGroupStickinessConfig { enabled, duration_seconds })
    });
    let forward = (vec(tuple, 0..3), sticky).prop_map(|(target_groups, target_group_stickiness_config)| {
        ActionConfig::Forward(ForwardConfig { target_groups, target_group_stickiness_config })
    });
    let redirect = (some_text(), some_text(), some_text(), some_text(), some_text(), text()).prop_map(
        |(protocol, port, host, path, query, status_code)| {
            ActionConfig::Redirect(RedirectConfig { protocol, port, host, path, query, status_code })
        },
    );
    let fixed = (some_text(), text(), some_text()).prop_map(|(message_body, status_code, content_type)| {
        ActionConfig::FixedResponse(FixedResponseConfig { message_body, status_code, content_type })
    });
    let oidc = (text(), some_text(), of(any::<i64>()), of(any::<bool>())).prop_map(|(t, o, n, b)| {
        ActionConfig::AuthenticateOidc(AuthenticateOidcConfig {
            issuer: t.clone(),
            client_id: t.clone(),
            client_secret: o.clone(),
            scope: o,
            session_timeout: n,
            authentication_request_extra_params: [(t.clone(), t)].into(),
            use_existing_client_secret: b,
            ..AuthenticateOidcConfig::default()
        })
    });
    let cognito = (text(), some_text()).prop_map(|(t, o)| {
        ActionConfig::AuthenticateCognito(AuthenticateCognitoConfig {
            user_pool_arn: t,
            on_unauthenticated_request: o,
            ..AuthenticateCognitoConfig::default()
        })
    });
    let claim =
        (text(), text(), texts()).prop_map(|(format, name, values)| JwtClaim { format, name, values });
    let jwt = (text(), text(), vec(claim, 0..2)).prop_map(|(jwks_endpoint, issuer, additional_claims)| {
        ActionConfig::JwtValidation(JwtValidationConfig { jwks_endpoint, issuer, additional_claims })
    });
    let config = prop_oneof![forward, redirect, fixed, oidc, cognito, jwt];
    (of(any::<i32>()), config).prop_map(|(order, config)| Action { order, config })
}

fn condition() -> impl Strategy<Value = RuleCondition> {
    let pair = (some_text(), some_text()).prop_map(|(key, value)| QueryStringKeyValue { key, value });
    prop_oneof![
        (texts(), texts())
            .prop_map(|(values, regex_values)| RuleCondition::HostHeader { values, regex_values }),
        (texts(), texts())
            .prop_map(|(values, regex_values)| RuleCondition::PathPattern { values, regex_values }),
        (text(), texts(), texts()).prop_map(|(http_header_name, values, regex_values)| {
            RuleCondition::HttpHeader { http_header_name, values, regex_values }
        }),
        texts().prop_map(|values| RuleCondition::HttpRequestMethod { values }),
        vec(pair, 0..3).prop_map(|values| RuleCondition::QueryString { values }),
        texts().prop_map(|values| RuleCondition::SourceIp { values }),
    ]
}

fn transform() -> impl Strategy<Value = RuleTransform> {
    let rewrites = || vec((text(), text()).prop_map(|(regex, replace)| Rewrite { regex, replace }), 0..2);
    prop_oneof![
        rewrites().prop_map(|rewrites| RuleTransform::HostHeaderRewrite { rewrites }),
        rewrites().prop_map(|rewrites| RuleTransform::UrlRewrite { rewrites }),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let parts = (text(), any::<u32>(), vec(condition(), 0..3), vec(action(), 0..3), vec(transform(), 0..2));
    parts.prop_map(|(rule_arn, priority, conditions, actions, transforms)| Rule {
        rule_arn,
        priority: Priority::Rule(priority),
        conditions,
        actions,
        transforms,
        tags: Vec::new(),
    })
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Http), Just(Protocol::Https)]
}

fn listener() -> impl Strategy<Value = Listener> {
    let certificate = (text(), of(any::<bool>()))
        .prop_map(|(certificate_arn, is_default)| Certificate { certificate_arn, is_default });
    let mtls = (text(), some_text(), of(any::<bool>())).prop_map(|(mode, ca, expiry)| MutualAuthentication {
        mode,
        trust_store_arn: ca.clone(),
        ignore_client_certificate_expiry: expiry,
        advertise_trust_store_ca_names: ca,
    });
    let plain = (any::<u16>(), protocol(), some_text(), vec(certificate, 0..2), of(mtls), attributes());
    let rules = (vec(action(), 0..2), vec(transform(), 0..2), of("[a-z]{1,4}"), vec(rule(), 0..4));
    (plain, rules).prop_map(|(plain, rules)| Listener {
        listener_arn: String::new(),
        port: plain.0,
        protocol: plain.1,
        ssl_policy: plain.2,
        certificates: plain.3,
        mutual_authentication: plain.4,
        attributes: plain.5,
        tags: Vec::new(),
        default_actions: rules.0,
        default_transforms: rules.1,
        default_rule_arn: rules.2,
        rules: rules.3,
    })
}

fn target() -> impl Strategy<Value = TargetHealthDescription> {
    use TargetHealthState::{Draining, Healthy, Initial, Unavailable, Unhealthy, Unused};
    let state = prop::sample::select(vec![Initial, Healthy, Unhealthy, Unused, Draining, Unavailable]);
    (text(), of(any::<u16>()), some_text(), state, some_text()).prop_map(|(id, port, zone, state, why)| {
        TargetHealthDescription {
            target: TargetDescription { id, port, availability_zone: zone.clone() },
            health_check_port: zone,
            target_health: TargetHealth { state, reason: why.clone(), description: why },
        }
    })
}

fn group() -> impl Strategy<Value = TargetGroup> {
    let kind = prop::sample::select(vec![TargetType::Instance, TargetType::Ip, TargetType::Lambda]);
    let version =
        prop::sample::select(vec![ProtocolVersion::Http1, ProtocolVersion::Http2, ProtocolVersion::Grpc]);
    let matcher =
        (some_text(), some_text()).prop_map(|(http_code, grpc_code)| Matcher { http_code, grpc_code });
    let plain = (text(), kind, any::<i32>(), protocol(), version, any::<bool>(), text(), matcher);
    (plain, attributes(), vec(target(), 0..4), texts(), of(any::<i32>())).prop_map(
        |(plain, attributes, targets, arns, control)| TargetGroup {
            target_group_name: plain.0,
            target_type: plain.1,
            port: plain.2,
            protocol: plain.3,
            protocol_version: plain.4,
            health_check_enabled: plain.5,
            health_check_path: plain.6,
            matcher: plain.7,
            attributes,
            target_health_descriptions: targets,
            load_balancer_arns: arns,
            target_control_port: control,
            ..TargetGroup::default()
        },
    )
}

prop_compose! {
    fn model()(
        listeners in vec(vec(listener(), 0..3), 0..3),
        groups in vec(group(), 0..3),
        names in vec(text(), 3),
        internal in any::<bool>(),
    ) -> Model {
        let balancer = |(b, listeners): (usize, Vec<Listener>)| LoadBalancer {
            load_balancer_arn: format!("arn:b{b}"),
            load_balancer_name: names[b].clone(),
            dns_name: names[b].clone(),
            scheme: if internal { Scheme::Internal } else { Scheme::InternetFacing },
            ip_address_type: LoadBalancerIpAddressType::Dualstack,
            listeners: (0..).zip(listeners).map(|(l, listener)| Listener {
                listener_arn: format!("arn:b{b}/{l}"), ..listener
            }).collect(),
            ..LoadBalancer::default()
        };
        let group = |(g, group)| TargetGroup { target_group_arn: format!("arn:g{g}"), ..group };
        Model {
            load_balancers: listeners.into_iter().enumerate().map(balancer).collect(),
            target_groups: groups.into_iter().enumerate().map(group).collect(),
            ..Model::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_model_reads_back_the_same(model in model()) {
        prop_assert_eq!(&reread(&model), &model);
    }
}
