//! Rules by the letter of the specification, asked one after the other: what the router's index is held
//! against. Shares no code with it, and is as plain as it can be.

use std::net::{IpAddr, SocketAddr};

use podway::model::{Model, Priority};
use podway::{KeyRing, Now, Options, Output, Reason, Request, Router, Verdict};
use serde_json::{Value, json};

/// A condition in words of its own.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Condition {
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

/// A request.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Probe {
    pub method: String,
    pub target: String,
    pub host: Option<String>,
    pub headers: Vec<(String, String)>,
    pub peer: IpAddr,
}

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

/// The path is none that rules are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadUri;

/// A rule: its priority and its conditions.
pub type Rule = (u32, Vec<Condition>);

/// The priority of the first rule that holds; `Err` where no rule is asked.
pub fn scan(rules: &[Rule], probe: &Probe) -> Result<Option<u32>, BadUri> {
    let path = normalised(probe.target.split('?').next().unwrap_or_default()).ok_or(BadUri)?;
    Ok(rules
        .iter()
        .filter(|(_, conditions)| conditions.iter().all(|c| holds(c, probe, &path)))
        .map(|(priority, _)| *priority)
        .min())
}

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

/// A router with these rules: 200 for each of them, 404 by default.
pub fn router(rules: &[Rule]) -> Router {
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

/// What the router decides, as [`scan`] says it.
pub fn decided(router: &Router, probe: &Probe, output: &mut Output) -> Result<Option<u32>, BadUri> {
    let listener = router.listener("alb", 80).expect("the listener");
    let decision = asked(probe, |request| router.decide(listener, request, Now::default(), 0, output));
    match (decision.verdict, decision.priority) {
        (Verdict::Error { reason: Reason::BadUri, status: 400 }, None) => Err(BadUri),
        (Verdict::FixedResponse { status: 200 }, Some(Priority::Rule(n))) => Ok(Some(n)),
        (Verdict::FixedResponse { status: 404 }, Some(Priority::Default)) => Ok(None),
        other => panic!("unexpected decision {other:?}"),
    }
}

/// The rule that an explanation ends with.
pub fn explained(router: &Router, probe: &Probe, output: &mut Output) -> Result<Option<u32>, BadUri> {
    let listener = router.listener("alb", 80).expect("the listener");
    let why = asked(probe, |request| router.explain(listener, request, Now::default(), 0, output));
    why.request.ok_or(BadUri)?;
    let (last, before) = why.rules.split_last().expect("a rule");
    assert!(before.iter().all(|rule| !rule.matches), "only the last rule can match");
    match last.priority {
        Priority::Rule(n) if last.matches => Ok(Some(n)),
        _ => Ok(None),
    }
}
