//! The index is an optimisation of "first match by priority": on random rule sets the router decides as
//! a scan does that is written here, from the specification, and shares no code with it.

use std::net::{IpAddr, SocketAddr};

use podway::model::{Model, Priority};
use podway::{KeyRing, Now, Options, Output, Reason, Request, Router, Verdict};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A condition in this test's own words.
#[derive(Clone, Debug)]
enum Condition {
    Host(Vec<String>),
    HostRegex(Vec<String>),
    Path(Vec<String>),
    PathRegex(Vec<String>),
    Header(String, Vec<String>),
    HeaderRegex(String, Vec<String>),
    Method(Vec<String>),
    Query(Vec<(Option<String>, String)>),
    SourceIp(Vec<String>),
}

#[derive(Clone, Debug)]
struct Probe {
    method: String,
    target: String,
    host: Option<String>,
    headers: Vec<(String, String)>,
    peer: IpAddr,
}

// ------------------------------------------------------------------ what is tried

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (0..40u8).prop_map(|n| format!("h{n}.example.com")),
        2 => (0..4u8).prop_map(|n| format!("*.z{n}.example.com")),
        1 => Just("*.example.com".to_owned()),
        1 => Just("H1.Example.COM".to_owned()),
        1 => Just("h?.example.com".to_owned()),
        1 => Just("a*.z1.example.com".to_owned()),
        1 => Just("*.z1.*".to_owned()),
        1 => Just("*".to_owned()),
    ]
}

fn segment() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "ab", "api", "v1", "v2", "img", "x.png", ""])
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(segment(), 0..4).prop_map(|s| format!("/{}", s.join("/")))
}

fn path_pattern() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => path(),
        4 => path().prop_map(|p| format!("{}/*", p.trim_end_matches('/'))),
        2 => path().prop_map(|p| format!("{p}*")),
        1 => (path(), path()).prop_map(|(a, b)| format!("{a}*{b}")),
        1 => Just("*.png".to_owned()),
        1 => (segment(), segment()).prop_map(|(a, b)| format!("/*/{a}*{b}/*")),
        1 => (segment(), segment()).prop_map(|(a, b)| format!("/?/{a}*{b}?")),
        1 => Just("/?/*".to_owned()),
        1 => Just("/*".to_owned()),
        1 => Just("*".to_owned()),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let regexes = |list: &[&str]| {
        let list: Vec<String> = list.iter().map(|s| (*s).to_owned()).collect();
        prop::collection::vec(prop::sample::select(list), 1..3)
    };
    let value = || prop::sample::select(vec!["1", "2", "*", "v?", "x*y", "", "\\*"]).prop_map(str::to_owned);
    let key = || prop::sample::select(vec!["k", "K2", "k*", "?"]).prop_map(str::to_owned);
    prop_oneof![
        6 => prop::collection::vec(host(), 1..3).prop_map(Condition::Host),
        1 => regexes(&["^h[0-9]\\.", "z1", "COM$"]).prop_map(Condition::HostRegex),
        8 => prop::collection::vec(path_pattern(), 1..4).prop_map(Condition::Path),
        1 => regexes(&["^/v[0-9]+", "png$", "/API", "^/a(b|/b)$", "^/ab?/", "^/api|^/img", "(?i)^/API", "^/a{1,2}b"]).prop_map(Condition::PathRegex),
        1 => (prop::sample::select(vec!["X-A", "x-b"]), prop::collection::vec(value(), 1..3))
            .prop_map(|(n, v)| Condition::Header(n.to_owned(), v)),
        1 => (prop::sample::select(vec!["X-A", "x-b"]), regexes(&["^1$", "V."]))
            .prop_map(|(n, v)| Condition::HeaderRegex(n.to_owned(), v)),
        1 => prop::collection::vec(prop::sample::select(vec!["GET", "POST", "HEAD"]), 1..3)
            .prop_map(|v| Condition::Method(v.into_iter().map(str::to_owned).collect())),
        1 => prop::collection::vec((prop::option::of(key()), value()), 1..3).prop_map(Condition::Query),
        1 => prop::collection::vec(
                prop::sample::select(vec!["10.0.0.0/8", "192.0.2.0/25", "2001:db8::/32", "192.0.2.1/32"]), 1..3)
            .prop_map(|v| Condition::SourceIp(v.into_iter().map(str::to_owned).collect())),
    ]
}

fn rule() -> impl Strategy<Value = Vec<Condition>> {
    prop::collection::vec(condition(), 1..4)
}

fn probe() -> impl Strategy<Value = Probe> {
    let text = || prop::sample::select(vec!["1", "2", "vx", "xzy", "", "*"]);
    let pair = (prop::sample::select(vec!["k", "K2", "k9", "q"]), prop::option::of(text()))
        .prop_map(|(k, v)| v.map_or(k.to_owned(), |v| format!("{k}={v}")));
    (
        prop::sample::select(vec!["GET", "POST", "HEAD", "get"]),
        prop_oneof![8 => path(), 1 => path().prop_map(|p| format!("/./x/..{p}")),
                    1 => path().prop_map(|p| p.replace('a', "%61")), 1 => Just("/../x".to_owned())],
        prop::collection::vec(pair, 0..3),
        prop::option::weighted(
            0.95,
            prop_oneof![
                6 => (0..40u8).prop_map(|n| format!("h{n}.example.com")),
                2 => (0..4u8).prop_map(|n| format!("abc.Z{n}.example.com")),
                1 => Just("h1.example.com:8443".to_owned()),
                1 => Just("example.com".to_owned()),
            ],
        ),
        prop::collection::vec((prop::sample::select(vec!["x-a", "X-B", "x-c"]), text()), 0..3),
        prop::sample::select(vec!["10.1.2.3", "192.0.2.1", "192.0.2.200", "2001:db8::5", "::ffff:10.0.0.1"]),
    )
        .prop_map(|(method, path, pairs, host, headers, peer)| Probe {
            method: method.to_owned(),
            target: if pairs.is_empty() { path } else { format!("{path}?{}", pairs.join("&")) },
            host,
            headers: headers.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
            peer: peer.parse().expect("an address"),
        })
}

// ------------------------------------------------------------------ the naive scan

/// `*` any run, `?` one byte, a backslash takes the next byte literally where `escapes`.
fn glob(pattern: &[u8], subject: &[u8], fold: bool, escapes: bool) -> bool {
    let same = |a: u8, b: u8| if fold { a.eq_ignore_ascii_case(&b) } else { a == b };
    match (pattern.first(), subject.first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some(b'*'), _) => {
            glob(&pattern[1..], subject, fold, escapes)
                || (!subject.is_empty() && glob(pattern, &subject[1..], fold, escapes))
        }
        (Some(b'\\'), _) if escapes && pattern.len() > 1 => {
            subject.first().is_some_and(|s| same(pattern[1], *s))
                && glob(&pattern[2..], &subject[1..], fold, escapes)
        }
        (Some(b'?'), Some(_)) => glob(&pattern[1..], &subject[1..], fold, escapes),
        (Some(p), Some(s)) => same(*p, *s) && glob(&pattern[1..], &subject[1..], fold, escapes),
        (Some(_), None) => false,
    }
}

fn regex(pattern: &str, subject: &[u8], fold: bool) -> bool {
    regex::bytes::RegexBuilder::new(pattern)
        .unicode(false)
        .case_insensitive(fold)
        .build()
        .expect("a regex")
        .is_match(subject)
}

/// The path that rules see; `None` where it climbs above the root.
fn normalised(path: &str) -> Option<String> {
    let mut decoded = String::new();
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        decoded.push_str(&rest[..at]);
        let byte = rest.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte {
            Some(b) if b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&b) => {
                decoded.push(char::from(b));
                rest = &rest[at + 3..];
            }
            _ => {
                decoded.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    decoded.push_str(rest);
    let mut out: Vec<&str> = Vec::new();
    let segments: Vec<&str> = decoded.split('/').skip(1).collect();
    for (i, segment) in segments.iter().enumerate() {
        let last = i + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    out.pop()?;
                }
                if last {
                    out.push("");
                }
            }
            other => out.push(other),
        }
    }
    Some(format!("/{}", out.join("/")))
}

fn holds(condition: &Condition, probe: &Probe, path: &str) -> bool {
    let any_line = |name: &str, test: &dyn Fn(&[u8]) -> bool| {
        probe.headers.iter().any(|(n, v)| n.eq_ignore_ascii_case(name) && test(v.trim().as_bytes()))
    };
    match condition {
        Condition::Host(values) => probe.host.as_ref().is_some_and(|host| {
            let name = host.split(':').next().unwrap_or_default();
            values.iter().any(|v| glob(v.as_bytes(), name.as_bytes(), true, false))
        }),
        Condition::HostRegex(values) => {
            probe.host.as_ref().is_some_and(|host| values.iter().any(|v| regex(v, host.as_bytes(), true)))
        }
        Condition::Path(values) => values.iter().any(|v| glob(v.as_bytes(), path.as_bytes(), false, false)),
        Condition::PathRegex(values) => values.iter().any(|v| regex(v, path.as_bytes(), false)),
        Condition::Header(name, values) => {
            any_line(name, &|line| values.iter().any(|v| glob(v.as_bytes(), line, true, false)))
        }
        Condition::HeaderRegex(name, values) => {
            any_line(name, &|line| values.iter().any(|v| regex(v, line, true)))
        }
        Condition::Method(values) => values.contains(&probe.method),
        Condition::Query(values) => {
            let Some((_, query)) = probe.target.split_once('?') else { return false };
            query.split('&').filter(|pair| !pair.is_empty()).any(|pair| {
                let (k, v) = pair.split_once('=').unwrap_or((pair, ""));
                values.iter().any(|(key, value)| {
                    key.as_ref().is_none_or(|key| glob(key.as_bytes(), k.as_bytes(), true, true))
                        && glob(value.as_bytes(), v.as_bytes(), true, true)
                })
            })
        }
        Condition::SourceIp(values) => {
            let peer = match probe.peer {
                IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(probe.peer, IpAddr::V4),
                IpAddr::V4(_) => probe.peer,
            };
            values.iter().any(|v| v.parse::<ipnet::IpNet>().expect("a CIDR").contains(&peer))
        }
    }
}

/// The index of the first rule in the order of priorities; `Err` where no rule is asked.
fn scan(rules: &[(u32, Vec<Condition>)], probe: &Probe) -> Result<Option<u32>, ()> {
    let path = normalised(probe.target.split('?').next().unwrap_or_default()).ok_or(())?;
    Ok(rules
        .iter()
        .filter(|(_, conditions)| conditions.iter().all(|c| holds(c, probe, &path)))
        .map(|(priority, _)| *priority)
        .min())
}

// ------------------------------------------------------------------ the router

fn condition_json(condition: &Condition) -> Value {
    match condition {
        Condition::Host(v) => json!({"Field": "host-header", "HostHeaderConfig": {"Values": v}}),
        Condition::HostRegex(v) => json!({"Field": "host-header", "HostHeaderConfig": {"RegexValues": v}}),
        Condition::Path(v) => json!({"Field": "path-pattern", "PathPatternConfig": {"Values": v}}),
        Condition::PathRegex(v) => json!({"Field": "path-pattern", "PathPatternConfig": {"RegexValues": v}}),
        Condition::Header(n, v) => {
            json!({"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": n, "Values": v}})
        }
        Condition::HeaderRegex(n, v) => {
            json!({"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": n, "RegexValues": v}})
        }
        Condition::Method(v) => {
            json!({"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": v}})
        }
        Condition::Query(v) => {
            let pairs: Vec<_> = v
                .iter()
                .map(|(k, v)| match k {
                    Some(k) => json!({"Key": k, "Value": v}),
                    None => json!({"Value": v}),
                })
                .collect();
            json!({"Field": "query-string", "QueryStringConfig": {"Values": pairs}})
        }
        Condition::SourceIp(v) => json!({"Field": "source-ip", "SourceIpConfig": {"Values": v}}),
    }
}

fn router(rules: &[(u32, Vec<Condition>)]) -> Router {
    let answer =
        |code: &str| json!([{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": code}}]);
    let rules: Vec<Value> = rules
        .iter()
        .map(|(priority, conditions)| {
            json!({
                "Priority": priority.to_string(),
                "Conditions": conditions.iter().map(condition_json).collect::<Vec<_>>(),
                "Actions": answer("200"),
            })
        })
        .collect();
    let model: Model = serde_json::from_value(json!({"LoadBalancers": [{
        "LoadBalancerArn": "arn:alb", "LoadBalancerName": "alb",
        "Listeners": [{"ListenerArn": "arn:80", "Port": 80, "Protocol": "HTTP",
                       "DefaultActions": answer("404"), "Rules": rules}]}]}))
    .expect("a model");
    let keys = KeyRing::from_secret(&[7; 32]).expect("a key");
    Router::new(&model, Options::default(), keys, Now::default()).expect("a router")
}

/// Calls with the probe as a request.
fn asked<T>(probe: &Probe, call: impl FnOnce(&Request<'_>) -> T) -> T {
    let headers: Vec<(&str, &str)> = probe.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let mut request =
        Request::new(&probe.method, &probe.target, SocketAddr::new(probe.peer, 40_000)).headers(&headers);
    if let Some(host) = &probe.host {
        request = request.host(host);
    }
    call(&request)
}

fn decided(router: &Router, probe: &Probe, output: &mut Output) -> Result<Option<u32>, ()> {
    let listener = router.listener("alb", 80).expect("the listener");
    let decision = asked(probe, |request| router.decide(listener, request, Now::default(), 0, output));
    match (decision.verdict, decision.priority) {
        (Verdict::Error { reason: Reason::BadUri, status: 400 }, None) => Err(()),
        (Verdict::FixedResponse { status: 200 }, Some(Priority::Rule(n))) => Ok(Some(n)),
        (Verdict::FixedResponse { status: 404 }, Some(Priority::Default)) => Ok(None),
        other => panic!("unexpected decision {other:?}"),
    }
}

/// The rule that an explanation ends with.
fn explained(router: &Router, probe: &Probe, output: &mut Output) -> Result<Option<u32>, ()> {
    let listener = router.listener("alb", 80).expect("the listener");
    let why = asked(probe, |request| router.explain(listener, request, Now::default(), 0, output));
    why.request.ok_or(())?;
    let (last, before) = why.rules.split_last().expect("a rule");
    assert!(before.iter().all(|rule| !rule.matches), "only the last rule can match");
    match last.priority {
        Priority::Rule(n) if last.matches => Ok(Some(n)),
        _ => Ok(None),
    }
}

/// Priorities are a shuffled, gappy sequence: neither position nor insertion order may matter.
fn with_priorities(rules: Vec<Vec<Condition>>, seed: u32) -> Vec<(u32, Vec<Condition>)> {
    let n = rules.len() as u32;
    let step =
        (1..).map(|i| (seed.wrapping_mul(2).wrapping_add(i) % 9973) | 1).find(|s| gcd(*s, n.max(1)) == 1);
    let step = u64::from(step.unwrap_or(1));
    rules
        .into_iter()
        .enumerate()
        .map(|(i, rule)| ((i as u64 * step % u64::from(n)) as u32 * 3 + 1, rule))
        .collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn few_rules_decide_as_the_scan(
        rules in prop::collection::vec(rule(), 1..40), seed in any::<u32>(),
        probes in prop::collection::vec(probe(), 1..60),
    ) {
        agree(&with_priorities(rules, seed), &probes)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 6, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn many_rules_decide_as_the_scan(
        rules in prop::collection::vec(rule(), 1500..2000), seed in any::<u32>(),
        probes in prop::collection::vec(probe(), 30..60),
    ) {
        agree(&with_priorities(rules, seed), &probes)?;
    }
}

fn agree(rules: &[(u32, Vec<Condition>)], probes: &[Probe]) -> Result<(), TestCaseError> {
    let router = router(rules);
    let mut output = Output::new();
    for probe in probes {
        let (index, naive) = (decided(&router, probe, &mut output), scan(rules, probe));
        prop_assert_eq!(index, naive, "{:?}", probe);
        prop_assert_eq!(explained(&router, probe, &mut output), naive, "explained: {:?}", probe);
    }
    Ok(())
}
