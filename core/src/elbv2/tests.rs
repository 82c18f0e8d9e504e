//! The answers of the describe calls, split as a shell loop would leave them.

use super::{join, read, recognise};
use crate::error::Code;
use crate::model::{Model, Priority, TargetHealthState, attribute};

const BALANCERS: &str = r#"{"LoadBalancers": [
  {"LoadBalancerArn": "arn:aws:elasticloadbalancing:eu-west-1:1:loadbalancer/app/web/50dc", "DNSName": "web-1.elb",
   "LoadBalancerName": "web", "Scheme": "internet-facing", "Type": "application", "IpAddressType": "ipv4",
   "State": {"Code": "active"}, "AvailabilityZones": []},
  {"LoadBalancerArn": "arn:nlb", "LoadBalancerName": "nlb", "Type": "network", "IpAddressType": "ipv4"}]}"#;

const LISTENERS: &str = r#"{"Listeners": [{"ListenerArn":
  "arn:aws:elasticloadbalancing:eu-west-1:1:listener/app/web/50dc/f2f7", "Port": 80, "Protocol": "HTTP",
  "LoadBalancerArn": "arn:aws:elasticloadbalancing:eu-west-1:1:loadbalancer/app/web/50dc",
  "DefaultActions": [{"Type": "forward", "TargetGroupArn": "arn:a"}]}]}"#;

const RULES: &str = r#"{"Rules": [
  {"RuleArn": "arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/web/50dc/f2f7/2", "Priority": "20",
   "Conditions": [{"Field": "path-pattern", "Values": ["/b"], "PathPatternConfig": {"Values": ["/b"]}}],
   "Actions": [{"Type": "forward", "TargetGroupArn": "arn:b", "Order": 1}], "IsDefault": false},
  {"RuleArn": "arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/web/50dc/f2f7/d", "Priority": "default",
   "Conditions": [], "Actions": [{"Type": "forward", "TargetGroupArn": "arn:a"}], "IsDefault": true}]}"#;

const GROUPS: &str = r#"{"TargetGroups": [
  {"TargetGroupArn": "arn:a", "TargetGroupName": "api", "Protocol": "HTTP", "Port": 80, "TargetType": "ip"},
  {"TargetGroupArn": "arn:b", "TargetGroupName": "api-v2", "Protocol": "HTTP", "Port": 80, "TargetType": "ip"}]}"#;

const STICKY: &str = r#"{"Attributes": [{"Key": "stickiness.enabled", "Value": "true"}]}"#;

const HEALTH: &str = r#"{"TargetHealthDescriptions": [{"Target": {"Id": "10.0.0.1", "Port": 8080},
  "HealthCheckPort": "8080", "TargetHealth": {"State": "draining", "Reason": "Target.DeregistrationInProgress"}}]}"#;

fn all() -> Vec<(&'static str, &'static str)> {
    vec![
        ("rules.json", RULES),
        ("listeners.json", LISTENERS),
        ("groups.json", GROUPS),
        ("balancers.json", BALANCERS),
        ("attributes-api-v2.json", STICKY),
        ("health-api.json", HEALTH),
        ("lb-web.json", r#"{"Attributes": [{"Key": "idle_timeout.timeout_seconds", "Value": "30"}]}"#),
    ]
}

fn refusal(documents: &[(&str, &str)]) -> String {
    let e = read(documents).unwrap_err();
    assert_eq!(e.code(), Code::E_OBJECT, "{e}");
    e.to_string()
}

#[test]
fn answers_in_any_order_make_one_model() {
    let described = read(&all()).unwrap();
    let model = &described.model;
    assert_eq!(model.load_balancers.len(), 1);
    let balancer = &model.load_balancers[0];
    assert_eq!(attribute(&balancer.attributes, "idle_timeout.timeout_seconds"), Some("30"));
    let listener = &balancer.listeners[0];
    assert_eq!(listener.rules.len(), 1);
    assert_eq!(listener.rules[0].priority, Priority::Rule(20));
    assert!(listener.default_rule_arn.as_ref().unwrap().ends_with("/d"));
    let group = |arn| model.target_group(arn).unwrap();
    assert_eq!(attribute(&group("arn:b").attributes, "stickiness.enabled"), Some("true"));
    assert!(group("arn:a").attributes.is_empty(), "the longer name counts");
    let target = &group("arn:a").target_health_descriptions[0];
    assert_eq!((target.target.port, target.target_health.state), (Some(8080), TargetHealthState::Draining));
    let mut backwards = all();
    backwards.reverse();
    assert_eq!(read(&backwards).unwrap().model, *model);
}

#[test]
fn other_kinds_of_load_balancer_are_left_out_aloud() {
    let net = "arn:aws:elasticloadbalancing:eu-west-1:1:loadbalancer/net/nlb/77";
    let documents = [
        ("balancers.json", BALANCERS.to_owned()),
        (
            "more.json",
            format!(
                r#"{{"Listeners": [{{"ListenerArn": "arn:l", "LoadBalancerArn": "{net}", "Port": 1, "Protocol": "TLS"}}],
                "TargetGroups": [{{"TargetGroupArn": "arn:t", "TargetGroupName": "tcp", "Protocol": "TCP"}},
                                 {{"TargetGroupArn": "arn:u", "TargetGroupName": "fn", "TargetType": "lambda"}}]}}"#
            ),
        ),
        ("health-tcp.json", HEALTH.to_owned()),
        (
            "nlb.json",
            r#"{"Attributes": [{"Key": "load_balancing.cross_zone.enabled", "Value": "true"}]}"#.to_owned(),
        ),
    ];
    let documents: Vec<(&str, &str)> = documents.iter().map(|(n, t)| (*n, t.as_str())).collect();
    let described = read(&documents).unwrap();
    assert_eq!(described.model.load_balancers.len(), 1);
    assert_eq!(described.model.target_groups.len(), 1, "a Lambda group belongs to us");
    assert!(described.model.target_groups[0].target_health_descriptions.is_empty(), "not its health");
    let told: Vec<String> = described.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].contains("1 listener, 1 target group of Network or Gateway"), "{told:?}");
}

#[test]
fn a_transform_on_a_default_rule_is_kept_for_validation() {
    let rules = RULES.replace(
        r#""Conditions": [], "Actions""#,
        r#""Transforms": [{"Type": "url-rewrite", "UrlRewriteConfig":
            {"Rewrites": [{"Regex": "a", "Replace": "b"}]}}], "Conditions": [], "Actions""#,
    );
    let model = read(&[("l", LISTENERS), ("r", &rules), ("g", GROUPS)]).unwrap().model;
    assert_eq!(model.load_balancers[0].load_balancer_name, "web", "the ARN tells the name");
    assert_eq!(model.load_balancers[0].listeners[0].default_transforms.len(), 1);
    assert!(!model.validate(&crate::Options::default()).is_empty());
}

#[test]
fn one_stream_of_answers_is_as_good_as_files() {
    let text: String = ["\u{feff}", BALANCERS, LISTENERS, RULES, GROUPS].join("\n");
    let model = read(&[("-", &text)]).unwrap().model;
    assert_eq!(model.load_balancers[0].listeners[0].rules.len(), 1);
}

#[test]
fn what_is_written_reads_back_the_same() {
    let model = read(&all()).unwrap().model;
    let text = serde_json::to_string_pretty(&model).unwrap();
    assert!(recognise(&text));
    assert_eq!(read(&[("plan.json", &text)]).unwrap().model, model);
    assert_eq!(serde_json::from_str::<Model>(&text).unwrap(), model);
}

#[test]
fn whose_attributes_they_are_is_found_out_or_asked() {
    let owner = |name: &str, text: &str| {
        let model = read(&[("g.json", GROUPS), (name, text)]).map_err(|e| e.to_string())?.model;
        let sticky = model.target_groups.into_iter().find(|g| !g.attributes.is_empty());
        Ok::<_, String>(sticky.map(|g| g.target_group_name))
    };
    let is = |name: &str| Ok(Some(name.to_owned()));
    assert_eq!(owner("x/api.json", STICKY), is("api"));
    assert_eq!(owner("api/attributes.json", STICKY), is("api"));
    assert_eq!(owner("api/api-v2.json", STICKY), is("api-v2"), "the file's own name comes first");
    let beside = STICKY.replacen('{', r#"{"TargetGroupArn": "arn:b", "#, 1);
    assert_eq!(owner("api.json", &beside), is("api-v2"), "what stands beside them comes first");
    let error = owner("rapid.json", STICKY).unwrap_err();
    assert!(error.starts_with("rapid.json:1:1: the attributes may be those of `api`, `api-v2`"), "{error}");
    assert!(error.contains("`TargetGroupArn` beside them"), "{error}");
    let gone = STICKY.replacen('{', r#"{"TargetGroupArn": "arn:gone", "#, 1);
    assert!(owner("api.json", &gone).unwrap_err().contains("`arn:gone`, which is not in the input"));
    let error = refusal(&[("s.json", STICKY)]);
    assert!(error.contains("there are attributes and no target groups"), "{error}");
    let mixed =
        r#"{"Attributes": [{"Key": "stickiness.enabled", "Value": ""}, {"Key": "waf.fail_open.enabled"}]}"#;
    assert!(owner("api.json", mixed).unwrap_err().contains("different kinds"));
}

#[test]
fn a_listener_is_known_by_its_load_balancer_and_port() {
    let second = LISTENERS.replace("f2f7", "f2f8").replace("\"Port\": 80", "\"Port\": 443");
    let attributes = r#"{"Attributes": [{"Key": "routing.http.response.server.enabled", "Value": "false"}]}"#;
    let documents = [("b", BALANCERS), ("l1", LISTENERS), ("l2", &second), ("web-443.json", attributes)];
    let model = read(&documents).unwrap().model;
    let with: Vec<u16> = model.load_balancers[0]
        .listeners
        .iter()
        .filter(|l| !l.attributes.is_empty())
        .map(|l| l.port)
        .collect();
    assert_eq!(with, [443]);
    let error = refusal(&[("b", BALANCERS), ("l1", LISTENERS), ("l2", &second), ("web.json", attributes)]);
    assert!(error.contains("`web:80`, `web:443`"), "{error}");
}

#[test]
fn the_same_twice_counts_once_and_a_contradiction_is_told() {
    let model =
        read(&[("a", GROUPS), ("b", GROUPS), ("l", LISTENERS), ("r", RULES), ("q", RULES)]).unwrap().model;
    assert_eq!(model.target_groups.len(), 2);
    assert_eq!(model.load_balancers[0].listeners[0].rules.len(), 1);
    let other = GROUPS.replace("\"Port\": 80", "\"Port\": 81");
    let error = refusal(&[("a", GROUPS), ("b", &other)]);
    assert_eq!(
        error,
        "b:1:1: the target group `arn:a` stands in a too, in other words; expected one answer for each resource \
         [E_OBJECT]"
    );
    let off = STICKY.replace("true", "false");
    let error = refusal(&[("g", GROUPS), ("1/api", STICKY), ("2/api", &off)]);
    assert!(error.contains("the attributes in 1/api belong to the same resource, and differ"), "{error}");
    let strays = refusal(&[("r.json", RULES)]);
    assert!(strays.contains("belongs to a listener that is not in the input"), "{strays}");
}

#[test]
fn a_page_without_the_next_one_is_told() {
    let page = GROUPS.replacen('{', r#"{"NextMarker": "abc", "#, 1);
    let told = read(&[("1.json", &page)]).unwrap().diagnostics;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].code, Code::W_PARTIAL);
    let last = r#"{"TargetGroups": [{"TargetGroupArn": "arn:c", "TargetGroupName": "c"}]}"#;
    let both = read(&[("1.json", &page), ("2.json", last)]).unwrap();
    assert!(both.diagnostics.is_empty());
    assert_eq!(both.model.target_groups.len(), 3);
}

#[test]
fn health_of_real_targets_goes_to_a_model_that_was_there() {
    let base = read(&[("g", GROUPS)]).unwrap().model;
    let joined = join(base, &[("api.json", HEALTH)]).unwrap().model;
    assert_eq!(joined.target_groups[0].target_health_descriptions.len(), 1);
}

#[test]
fn a_wrong_field_and_wrong_json_are_placed() {
    let e = read(&[("a.json", "{\"Rules\": [\n  {\"Priority\": \"first\", \"Actions\": []}]}")]).unwrap_err();
    assert_eq!(e.code(), Code::E_OBJECT);
    assert!(e.to_string().starts_with("a.json:2:"), "{e}");
    let e = read(&[("a.json", "{\"Rules\": []}\n{\"Rules\": [}")]).unwrap_err();
    assert_eq!(e.code(), Code::E_SYNTAX);
    assert!(e.to_string().starts_with("a.json:2:12"), "{e}");
}

#[test]
fn a_manifest_is_not_an_answer() {
    assert!(!recognise("kind: Ingress"));
    assert!(!recognise(r#"{"kind": "List", "items": [{"Rules": []}]}"#));
    assert!(recognise(GROUPS));
    assert!(recognise(r#"{"Rules": [}"#), "its reader says what is wrong with it");
}
