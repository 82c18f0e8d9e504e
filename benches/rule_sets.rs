//! Rule sets as ALBs have them, and requests that meet them: the input of every bench.

use podway::model::Model;
use podway::{KeyRing, ListenerId, Now, Options, Router};
use serde_json::{Value, json};

/// How many target groups the rules share.
pub const GROUPS: usize = 10;
/// How many healthy targets each group has.
pub const TARGETS: usize = 4;

/// A rule set: `rules` rules of one host and one path prefix each, spread over `hosts` hosts, of which
/// `mixed_percent` carry a condition that no index helps with, in place of the prefix or beside it.
#[derive(Clone, Copy, Debug)]
pub struct RuleSet {
    /// How many rules.
    pub rules: usize,
    /// Over how many hosts.
    pub hosts: usize,
    /// How many of a hundred rules have a header, query, source-ip or glob condition too.
    pub mixed_percent: usize,
}

impl RuleSet {
    /// The host of rule `i`.
    pub fn host(&self, i: usize) -> String {
        format!("h{}.example.com", i % self.hosts)
    }

    /// The path prefix of rule `i`, without its wildcard.
    pub fn prefix(&self, i: usize) -> String {
        format!("/team{}/service{}", i / self.hosts % 50, i / self.hosts)
    }

    /// The model: one load balancer with one HTTP listener.
    pub fn model(&self) -> Model {
        let rules: Vec<Value> = (0..self.rules).map(|i| self.rule(i)).collect();
        let groups: Vec<Value> = (0..GROUPS).map(group).collect();
        serde_json::from_value(json!({
            "LoadBalancers": [{
                "LoadBalancerArn": "arn:alb", "LoadBalancerName": "alb",
                "Listeners": [{"ListenerArn": "arn:80", "Port": 80, "Protocol": "HTTP",
                               "DefaultActions": [forward(0)], "Rules": rules}]}],
            "TargetGroups": groups,
        }))
        .expect("a model")
    }

    fn rule(&self, i: usize) -> Value {
        let prefix = self.prefix(i);
        let mut conditions = vec![
            json!({"Field": "host-header", "HostHeaderConfig": {"Values": [self.host(i)]}}),
            json!({"Field": "path-pattern",
                   "PathPatternConfig": {"Values": [prefix, format!("{prefix}/*")]}}),
        ];
        if i % 100 < self.mixed_percent {
            conditions.push(match i % 3 {
                0 => json!({"Field": "http-header", "HttpHeaderConfig":
                            {"HttpHeaderName": "x-version", "Values": ["v*"]}}),
                1 => json!({"Field": "query-string", "QueryStringConfig":
                            {"Values": [{"Key": "beta", "Value": "*"}]}}),
                _ => json!({"Field": "source-ip", "SourceIpConfig": {"Values": ["10.0.0.0/8"]}}),
            });
        }
        json!({"Priority": (i + 1).to_string(), "Conditions": conditions, "Actions": [forward(i % GROUPS)]})
    }

    /// The request target that rule `i` is meant for; it also meets the mixed conditions.
    pub fn target(&self, i: usize) -> String {
        format!("{}/item/42?beta=1", self.prefix(i))
    }

    /// A router over the set, and its listener.
    pub fn router(&self) -> (Router, ListenerId) {
        let keys = KeyRing::from_secret(&[7; 32]).expect("a key");
        let router = Router::new(&self.model(), Options::default(), keys, Now::default()).expect("a router");
        let listener = router.listener("alb", 80).expect("the listener");
        (router, listener)
    }
}

fn forward(group: usize) -> Value {
    json!({"Type": "forward", "TargetGroupArn": format!("arn:g{group}")})
}

fn group(i: usize) -> Value {
    let targets: Vec<Value> = (0..TARGETS)
        .map(|t| json!({"Target": {"Id": format!("10.0.{i}.{t}"), "Port": 8080}, "TargetHealth": {"State": "healthy"}}))
        .collect();
    json!({"TargetGroupArn": format!("arn:g{i}"), "TargetGroupName": format!("g{i}"), "TargetType": "ip",
           "TargetHealthDescriptions": targets})
}
