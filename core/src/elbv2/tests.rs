//! The answers of the describe calls, split as a shell loop would leave them.

use super::{read, recognise};
use crate::error::Code;
use crate::model::{Model, Priority, attribute};

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

fn all() -> Vec<(&'static str, &'static str)> {
    vec![
        ("rules.json", RULES),
        ("listeners.json", LISTENERS),
        ("groups.json", GROUPS),
        ("balancers.json", BALANCERS),
        ("attributes-api-v2.json", r#"{"Attributes": [{"Key": "stickiness.enabled", "Value": "true"}]}"#),
        (
            "health-api.json",
            r#"{"TargetHealthDescriptions": [{"Target": {"Id": "10.0.0.1", "Port": 8080},
                "HealthCheckPort": "8080", "TargetHealth": {"State": "unhealthy", "Reason": "Target.Timeout"}}]}"#,
        ),
        ("lb-attributes.json", r#"{"Attributes": [{"Key": "idle_timeout.timeout_seconds", "Value": "30"}]}"#),
    ]
}

#[test]
fn answers_in_any_order_make_one_model() {
    let model = read(&all()).unwrap();
    assert_eq!(model.load_balancers.len(), 1, "the network load balancer is passed over");
    let balancer = &model.load_balancers[0];
    assert_eq!(attribute(&balancer.attributes, "idle_timeout.timeout_seconds"), Some("30"));
    let listener = &balancer.listeners[0];
    assert_eq!(listener.rules.len(), 1);
    assert_eq!(listener.rules[0].priority, Priority::Rule(20));
    assert!(listener.default_rule_arn.as_ref().unwrap().ends_with("/d"));
    let group = |arn| model.target_group(arn).unwrap();
    assert_eq!(attribute(&group("arn:b").attributes, "stickiness.enabled"), Some("true"));
    assert!(group("arn:a").attributes.is_empty(), "the longer name counts");
    assert_eq!(group("arn:a").target_health_descriptions[0].target.port, Some(8080));
}

#[test]
fn one_stream_of_answers_is_as_good_as_files() {
    let text: String = [BALANCERS, LISTENERS, RULES, GROUPS].join("\n");
    let model = read(&[("-", &text)]).unwrap();
    assert_eq!(model.load_balancers[0].listeners[0].rules.len(), 1);
}

#[test]
fn what_is_written_reads_back_the_same() {
    let model = read(&all()).unwrap();
    let text = serde_json::to_string_pretty(&model).unwrap();
    assert!(recognise(&text));
    assert_eq!(read(&[("plan.json", &text)]).unwrap(), model);
    assert_eq!(serde_json::from_str::<Model>(&text).unwrap(), model);
}

#[test]
fn attributes_of_nobody_are_refused() {
    let e = read(&[("g.json", GROUPS), ("x.json", r#"{"Attributes": [{"Key": "stickiness.enabled"}]}"#)])
        .unwrap_err();
    assert_eq!(e.code(), Code::E_OBJECT);
    assert!(e.to_string().contains("x.json"), "{e}");
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
    assert!(!recognise(r#"{"kind": "List", "items": []}"#));
    assert!(recognise(GROUPS));
}
