//! Decisions look at no headers but those that `header_names` tells: what Node leaves out of a call, and
//! what an embedder may leave out.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;

use podway::model::Model;
use podway::{KeyRing, Now, Options, Output, Request, RequestView, Router};
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW: Now = Now { mono_ms: 0, unix_s: 1_767_225_600 };
/// Of these rules and requests are made. `host` is no name that a condition reads through the headers.
const NAMES: [&str; 6] = ["X-A", "x-b", "User-Agent", "Cookie", "accept", "Origin"];

/// Remembers which headers were asked for.
struct Watched<'a> {
    request: Request<'a>,
    asked: RefCell<BTreeSet<String>>,
}

impl<'a> Watched<'a> {
    fn new(request: Request<'a>) -> Self {
        Watched { request, asked: RefCell::default() }
    }
}

impl RequestView for Watched<'_> {
    fn method(&self) -> &[u8] {
        self.request.method()
    }

    fn target(&self) -> &[u8] {
        self.request.target()
    }

    fn host(&self) -> Option<&[u8]> {
        RequestView::host(&self.request)
    }

    fn any_header(&self, name: &str, visit: impl FnMut(&[u8]) -> bool) -> bool {
        self.asked.borrow_mut().insert(name.to_owned());
        self.request.any_header(name, visit)
    }

    fn peer(&self) -> SocketAddr {
        self.request.peer()
    }
}

#[derive(Clone, Debug)]
struct Rule {
    header: Option<&'static str>,
    path: &'static str,
    /// The groups that it forwards to, and whether a client stays in one.
    groups: Vec<usize>,
    sticky: bool,
}

fn rule() -> impl Strategy<Value = Rule> {
    (
        prop::option::of(prop::sample::select(&NAMES[..])),
        prop::sample::select(vec!["/a*", "/b*", "/*"]),
        prop::sample::subsequence(vec![0, 1, 2], 1..3),
        any::<bool>(),
    )
        .prop_map(|(header, path, groups, sticky)| Rule { header, path, groups, sticky })
}

/// Stickiness of the three groups: off, by the load balancer's cookie, by the application's.
fn groups() -> impl Strategy<Value = [u8; 3]> {
    [0..3u8, 0..3u8, 0..3u8]
}

fn model(rules: &[Rule], groups: &[u8]) -> Model {
    let forward = |rule: &Rule| {
        let targets: Vec<Value> =
            rule.groups.iter().map(|g| json!({"TargetGroupArn": format!("arn:{g}"), "Weight": 1})).collect();
        json!([{"Type": "forward", "ForwardConfig": {"TargetGroups": targets,
            "TargetGroupStickinessConfig": {"Enabled": rule.sticky, "DurationSeconds": 60}}}])
    };
    let rules: Vec<Value> = (1..)
        .zip(rules)
        .map(|(priority, rule)| {
            let mut conditions =
                vec![json!({"Field": "path-pattern", "PathPatternConfig": {"Values": [rule.path]}})];
            conditions.extend(rule.header.map(|name| {
                json!({"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": name, "Values": ["*1*"]}})
            }));
            let priority = priority.to_string();
            json!({"Priority": priority, "Conditions": conditions, "Actions": forward(rule)})
        })
        .collect();
    let groups: Vec<Value> = groups
        .iter()
        .enumerate()
        .map(|(i, kind)| {
            let attributes = match kind {
                0 => json!([]),
                1 => json!([{"Key": "stickiness.enabled", "Value": "true"}]),
                _ => json!([{"Key": "stickiness.enabled", "Value": "true"},
                            {"Key": "stickiness.type", "Value": "app_cookie"},
                            {"Key": "stickiness.app_cookie.cookie_name", "Value": "SID"}]),
            };
            let targets: Vec<Value> = (1..4)
                .map(|n| {
                    json!({"Target": {"Id": format!("10.0.{i}.{n}"), "Port": 80},
                           "TargetHealth": {"State": "healthy"}})
                })
                .collect();
            json!({"TargetGroupArn": format!("arn:{i}"), "TargetGroupName": format!("g{i}"), "TargetType": "ip",
                   "Attributes": attributes, "TargetHealthDescriptions": targets})
        })
        .collect();
    serde_json::from_value(json!({
        "LoadBalancers": [{"LoadBalancerArn": "arn:alb", "LoadBalancerName": "alb", "Listeners": [{
            "Port": 80, "Protocol": "HTTP", "Rules": rules,
            "DefaultActions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]}]}],
        "TargetGroups": groups}))
    .expect("a model")
}

fn router(model: &Model) -> Router {
    let keys = KeyRing::from_secret(&[7; 32]).expect("a key");
    Router::new(model, Options { retry: true, ..Options::default() }, keys, NOW).expect("a router")
}

#[test]
fn the_names_are_those_of_conditions_and_of_stickiness() {
    let rule = |header, groups: &[usize]| Rule { header, path: "/*", groups: groups.to_vec(), sticky: false };
    let names = |rules: &[Rule], groups: &[u8]| router(&model(rules, groups)).header_names();
    assert_eq!(names(&[rule(None, &[0])], &[0, 0, 0]), Vec::<String>::new());
    assert_eq!(names(&[rule(Some("X-A"), &[0])], &[0, 0, 0]), ["x-a"]);
    assert_eq!(names(&[rule(Some("X-A"), &[1])], &[0, 1, 0]), ["cookie", "x-a"]);
    assert_eq!(names(&[rule(None, &[2])], &[0, 0, 2]), ["cookie"]);
    let within = Rule { sticky: true, ..rule(None, &[0, 1]) };
    assert_eq!(names(&[within], &[0, 0, 0]), ["cookie"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_other_header_is_looked_at(
        rules in prop::collection::vec(rule(), 1..6),
        groups in groups(),
        requests in prop::collection::vec(
            (prop::sample::select(vec!["/a", "/b", "/c"]),
             prop::collection::vec((prop::sample::select(&NAMES[..]), prop::sample::select(vec!["1", "2", "SID=x"])), 0..6)),
            1..20),
    ) {
        let model = model(&rules, &groups);
        // Two of a kind: one is given every header, one only those that it names.
        let (all, few) = (router(&model), router(&model));
        let names = all.header_names();
        let listener = all.listener("alb", 80).expect("the listener");
        let (mut output, mut other) = (Output::new(), Output::new());
        let mut jar = String::new();
        for (turn, (path, headers)) in (0..).zip(&requests) {
            let mut headers: Vec<(&str, &str)> = headers.clone();
            let sent = jar.clone();
            headers.push(("Cookie", &sent));
            let peer: SocketAddr = ([192, 0, 2, 9], 40_000).into();
            let watched = Watched::new(Request::new("GET", path, peer).host("x").headers(&headers));
            let kept: Vec<(&str, &str)> = headers.iter().copied()
                .filter(|(name, _)| names.contains(&name.to_lowercase())).collect();
            let short = Request::new("GET", path, peer).host("x").headers(&kept);

            let decision = all.decide(listener, &watched, NOW, turn, &mut output);
            let same = few.decide(listener, &short, NOW, turn, &mut other);
            prop_assert_eq!(decision, same);
            prop_assert_eq!(all.describe(&decision, &output), few.describe(&same, &other));
            let set: Vec<String> = output.set_cookies().map(str::to_owned).collect();
            let why = all.why_unsticky(listener, &watched, &[], NOW);
            prop_assert_eq!(why, few.why_unsticky(listener, &short, &[], NOW));
            let again = all.retry(listener, &watched, &decision, NOW, turn, &mut output);
            prop_assert_eq!(again, few.retry(listener, &short, &same, NOW, turn, &mut other));
            for asked in watched.asked.borrow().iter() {
                prop_assert!(names.contains(asked), "{} is looked at, told are {:?}", asked, names);
            }

            // On the way back: what the documentation of `app_cookie` says, and Node hands over.
            let watched = Watched::new(watched.request);
            all.app_cookie(&decision, &watched, |name| name == "SID", NOW, turn, &mut output);
            for asked in watched.asked.borrow().iter() {
                prop_assert!(["cookie", "origin", "user-agent"].contains(&asked.as_str()), "{}", asked);
            }
            let set = set.iter().map(String::as_str).chain(output.set_cookies());
            let pairs: Vec<&str> = set.filter_map(|cookie| cookie.split(';').next()).collect();
            jar = pairs.join("; ");
        }
    }
}
