//! Rule sets as ALBs have them, requests that meet them, and what they are measured beside: the input of
//! every bench.

pub mod through_c;

use std::collections::HashMap;

use podway::model::{
    Action, ActionConfig, ForwardConfig, Listener, LoadBalancer, Model, Priority, QueryStringKeyValue, Rule,
    RuleCondition, TargetDescription, TargetGroup, TargetGroupTuple, TargetHealth, TargetHealthDescription,
    TargetHealthState, TargetType,
};
use podway::{KeyRing, ListenerId, Now, Options, Outcome, Output, Request, Router};

/// How many target groups the rules share.
pub const GROUPS: usize = 10;
/// How many healthy targets each group has.
pub const TARGETS: usize = 4;

/// What some of the rules of a set have that no place in an index can stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Every rule is a host and a literal path prefix.
    Literal,
    /// So many of a hundred rules have a header, query, source-ip or path regex condition too.
    Conditions(usize),
    /// So many of a hundred rules have a path glob with a wildcard in front of what tells it from others.
    Globs(usize),
    /// So many of a hundred rules have a path regex in place of a prefix.
    Regexes(usize),
}

/// A rule set: `rules` rules of one host and one path prefix each, spread over `hosts` hosts.
#[derive(Clone, Copy, Debug)]
pub struct RuleSet {
    /// How many rules.
    pub rules: usize,
    /// Over how many hosts.
    pub hosts: usize,
    /// What some of them have besides.
    pub mix: Mix,
}

impl RuleSet {
    /// All rules in one host.
    pub fn one_host(rules: usize) -> Self {
        RuleSet { rules, hosts: 1, mix: Mix::Literal }
    }

    /// Ten rules in each host.
    pub fn spread(rules: usize) -> Self {
        RuleSet { rules, hosts: rules.div_ceil(10), mix: Mix::Literal }
    }

    /// The same with some rules of another kind.
    #[must_use]
    pub fn with(self, mix: Mix) -> Self {
        RuleSet { mix, ..self }
    }

    /// The host of rule `i`.
    pub fn host(&self, i: usize) -> String {
        format!("h{}.example.com", i % self.hosts)
    }

    /// The path prefix of rule `i`, without its wildcard.
    pub fn prefix(&self, i: usize) -> String {
        let n = i / self.hosts;
        format!("/team{}/service{n}", n % 50)
    }

    /// The path that rule `i` is meant for.
    pub fn path(&self, i: usize) -> String {
        format!("{}/item/42", self.prefix(i))
    }

    /// The request target that rule `i` is meant for; it also meets the conditions of a mix.
    pub fn target(&self, i: usize) -> String {
        match self.mix {
            Mix::Conditions(_) => format!("{}?beta=1", self.path(i)),
            _ => self.path(i),
        }
    }

    fn rule(&self, i: usize) -> Rule {
        let prefix = self.prefix(i);
        let mut conditions =
            vec![RuleCondition::HostHeader { values: vec![self.host(i)], regex_values: vec![] }];
        let literal = || RuleCondition::PathPattern {
            values: vec![prefix.clone(), format!("{prefix}/*")],
            regex_values: vec![],
        };
        let (service, regex) = (format!("service{}", i / self.hosts), format!("^{prefix}(/|$)"));
        let path = match self.mix {
            Mix::Globs(percent) if i % 100 < percent => RuleCondition::PathPattern {
                values: vec![format!("/*/{service}"), format!("/*/{service}/*")],
                regex_values: vec![],
            },
            Mix::Regexes(percent) if i % 100 < percent => {
                RuleCondition::PathPattern { values: vec![], regex_values: vec![regex] }
            }
            Mix::Conditions(percent) if i % 100 < percent && i / 100 % 4 == 3 => {
                RuleCondition::PathPattern { values: vec![], regex_values: vec![regex] }
            }
            _ => literal(),
        };
        conditions.push(path);
        if let Mix::Conditions(percent) = self.mix
            && i % 100 < percent
        {
            conditions.extend(match (i + i / 100) % 4 {
                0 => Some(RuleCondition::HttpHeader {
                    http_header_name: "x-version".into(),
                    values: vec!["v*".into()],
                    regex_values: vec![],
                }),
                1 => Some(RuleCondition::QueryString {
                    values: vec![QueryStringKeyValue { key: Some("beta".into()), value: Some("*".into()) }],
                }),
                2 => Some(RuleCondition::SourceIp { values: vec!["10.0.0.0/8".into()] }),
                _ => None,
            });
        }
        Rule {
            rule_arn: String::new(),
            priority: Priority::Rule(i as u32 + 1),
            conditions,
            actions: vec![forward(i % GROUPS)],
            transforms: vec![],
            tags: vec![],
        }
    }

    /// The model: one load balancer with one HTTP listener.
    pub fn model(&self) -> Model {
        let listener = Listener {
            listener_arn: "arn:80".into(),
            port: 80,
            default_actions: vec![forward(0)],
            rules: (0..self.rules).map(|i| self.rule(i)).collect(),
            ..Listener::default()
        };
        let balancer = LoadBalancer {
            load_balancer_arn: "arn:alb".into(),
            load_balancer_name: "alb".into(),
            listeners: vec![listener],
            ..LoadBalancer::default()
        };
        Model {
            load_balancers: vec![balancer],
            target_groups: (0..GROUPS).map(group).collect(),
            record_sets: vec![],
        }
    }

    /// A router over the set, and its listener.
    pub fn decider(&self) -> Decider {
        Decider::new(&self.model())
    }

    /// The requests for `count` rules, far from each other, so that one does not warm the caches for the
    /// next.
    pub fn requests(&self, count: usize) -> Vec<(String, String)> {
        (0..count).map(|n| n * 7919 % self.rules).map(|i| (self.host(i), self.target(i))).collect()
    }

    /// `matchit` behind a hash of the host: finds a route and nothing else.
    pub fn matchit(&self) -> Routes {
        let mut routes = Routes::default();
        for i in 0..self.rules {
            let router = routes.0.entry(self.host(i)).or_default();
            let prefix = self.prefix(i);
            router.insert(prefix.clone(), i).expect("a route");
            router.insert(format!("{prefix}/{{*rest}}"), i).expect("a route");
        }
        routes
    }

    /// The rules in order, asked one after the other.
    pub fn scan(&self) -> Scan {
        Scan((0..self.rules).map(|i| (self.host(i), self.prefix(i))).collect())
    }
}

/// A router with what a caller keeps for it.
pub struct Decider {
    router: Router,
    listener: ListenerId,
    output: Output,
    turn: u64,
}

impl Decider {
    /// A router over `model`, for its listener on port 80.
    pub fn new(model: &Model) -> Self {
        let keys = KeyRing::from_secret(&[7; 32]).expect("a key");
        let router = Router::new(model, Options::default(), keys, Now::default()).expect("a router");
        let listener = router.listener("alb", 80).expect("the listener");
        Decider { router, listener, output: Output::new(), turn: 0 }
    }

    /// Rule, group and target of a request.
    #[inline]
    pub fn decide(&mut self, host: &str, target: &str) -> podway::Decision {
        self.turn += 1;
        let peer = ([10, 0, 0, 9], 40_000).into();
        let headers = [("x-version", "v2")];
        let request = Request::new("GET", target, peer).host(host).headers(&headers);
        self.router.decide(self.listener, &request, Now::default(), self.turn, &mut self.output)
    }

    /// The same, and the report it owes.
    #[inline]
    pub fn decide_and_report(&mut self, host: &str, target: &str) -> podway::Decision {
        let decision = self.decide(host, target);
        self.report(&decision);
        decision
    }

    /// The report that a decision owes.
    #[inline]
    pub fn report(&self, decision: &podway::Decision) {
        self.router.report(decision, Outcome::Response(200), Now::default());
    }
}

/// Routes of `matchit` by host. The hash is a fast one: SipHash would flatter podway by 15 ns.
#[derive(Default)]
pub struct Routes(HashMap<String, matchit::Router<usize>, ahash::RandomState>);

impl Routes {
    /// The rule's number.
    #[inline]
    pub fn at(&self, host: &str, path: &str) -> Option<usize> {
        self.0.get(host).and_then(|router| router.at(path).ok()).map(|found| *found.value)
    }
}

/// Hosts and prefixes in the order of their rules.
pub struct Scan(Vec<(String, String)>);

impl Scan {
    /// The rule's number.
    #[inline]
    pub fn at(&self, host: &str, path: &str) -> Option<usize> {
        self.0.iter().position(|(h, prefix)| {
            h.eq_ignore_ascii_case(host)
                && path.strip_prefix(prefix.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('/'))
        })
    }
}

fn forward(group: usize) -> Action {
    Action::new(ActionConfig::Forward(ForwardConfig {
        target_groups: vec![TargetGroupTuple { target_group_arn: format!("arn:g{group}"), weight: None }],
        target_group_stickiness_config: None,
    }))
}

fn group(i: usize) -> TargetGroup {
    let healthy = || TargetHealth { state: TargetHealthState::Healthy, reason: None, description: None };
    let targets = (0..TARGETS).map(|t| TargetHealthDescription {
        target: TargetDescription {
            id: format!("10.0.{i}.{t}"),
            port: Some(8080),
            ..TargetDescription::default()
        },
        target_health: healthy(),
        ..TargetHealthDescription::default()
    });
    TargetGroup {
        target_group_arn: format!("arn:g{i}"),
        target_group_name: format!("g{i}"),
        target_type: TargetType::Ip,
        target_health_descriptions: targets.collect(),
        ..TargetGroup::default()
    }
}
