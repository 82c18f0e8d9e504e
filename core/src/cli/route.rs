//! `podway route`: where a request goes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};
use serde_json::{Map, Value, json};

use super::input::{self, InputArgs};
use super::{misused, refuse};
use crate::forwarder::headers::{Arrival, is_valid_name, to_target};
use crate::forwarder::metrics::Metrics;
use crate::forwarder::settings::Settings as WireSettings;
use crate::model::{Model, Priority, Protocol, RuleCondition, TargetHealth, TargetHealthState};
use crate::{
    Decision, Hop, KeyRing, KubeProxy, ListenerInfo, Now, Options, Outcome, Output, Request, Router, Verdict,
};

/// Arguments of `route` and `explain`.
#[derive(Debug, Args)]
pub(super) struct RouteArgs {
    /// Manifests (files, folders, `-`), then the method and the URL of the request
    #[arg(required = true, num_args = 3.., value_names = ["PATH", "METHOD", "URL"])]
    arguments: Vec<String>,
    #[command(flatten)]
    input: InputArgs,
    /// A header line of the request
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The client's address
    #[arg(long, value_name = "IP", default_value = "192.0.2.1")]
    source_ip: IpAddr,
    /// How many requests, one after the other
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u64,
    /// Makes draws repeatable
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// A target (id or id:port) that fails its health checks; all others are healthy
    #[arg(long, value_name = "TARGET")]
    unhealthy: Vec<String>,
    /// Which load balancer the request comes to, where the host does not tell
    #[arg(long, value_name = "NAME")]
    load_balancer: Option<String>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// The moment of repeatable runs: 2026-01-01T00:00:00Z.
const SEEDED: u64 = 1_767_225_600;

pub(super) fn run(args: &RouteArgs) -> ExitCode {
    answer(args, |route, asked, now, entropy| route.one(asked, now, entropy), people)
}

/// `podway explain`: the same answer with the rules that led to it.
pub(super) fn explain(args: &RouteArgs) -> ExitCode {
    answer(args, |route, asked, now, entropy| route.explained(asked, now, entropy), super::explain::people)
}

/// Answers each request with `one`; all together are shown to people by `show`.
fn answer(
    args: &RouteArgs,
    one: impl Fn(&mut Route, &Asked, Now, u64) -> Result<Value, u16>,
    show: impl Fn(&[Value]),
) -> ExitCode {
    let (mut route, asked, now, seed) = match prepare(args) {
        Ok(prepared) => prepared,
        Err(code) => return code,
    };
    let mut all = Vec::new();
    for i in 0..args.count {
        match one(&mut route, &asked, now, seed.wrapping_add(i)) {
            Ok(answer) if args.output == Format::Json => anstream::println!("{answer}"),
            Ok(answer) => all.push(answer),
            Err(status) => {
                return misused(format!("the load balancer would refuse the request with {status}"));
            }
        }
    }
    if args.output == Format::Table {
        show(&all);
    }
    ExitCode::SUCCESS
}

/// Reads what the arguments name: a router, the request, the moment and the first seed.
fn prepare(args: &RouteArgs) -> Result<(Route, Asked, Now, u64), ExitCode> {
    let mut arguments = args.arguments.clone();
    let (Some(url), Some(method)) = (arguments.pop(), arguments.pop()) else {
        return Err(misused("a request is a METHOD and a URL"));
    };
    let url = match url.parse::<Uri>() {
        Ok(uri) if uri.authority().is_some() && matches!(uri.scheme_str(), Some("http" | "https")) => uri,
        _ => {
            return Err(misused(format!(
                "`{url}` is not a URL; expected such as `https://example.com/path`"
            )));
        }
    };
    let headers = header_lines(&args.headers)
        .map_err(|line| misused(format!("`{line}` is not a header line; expected `Name: value`")))?;
    let paths: Vec<PathBuf> = arguments.iter().map(PathBuf::from).collect();
    let mut loaded = input::read(&paths, &args.input).map_err(|error| refuse(&error))?;
    input::tell(&loaded.diagnostics);
    set_health(&mut loaded.model, &args.unhealthy)
        .map_err(|unknown| misused(format!("no target `{unknown}`; `podway plan` lists them")))?;
    let now = match args.seed {
        Some(_) => Now { mono_ms: 0, unix_s: SEEDED },
        None => crate::forwarder::ForwarderClock::new().now(),
    };
    let router = KeyRing::from_secret(&[0; 32])
        .and_then(|keys| Router::new(&loaded.model, Options::default(), keys, now))
        .map_err(|error| refuse(&error))?;
    let listener = listener(&router, &loaded.model, &url, args.load_balancer.as_deref()).map_err(misused)?;
    let wire =
        WireSettings::of(&loaded.model, &router, &std::collections::HashMap::new(), &Metrics::default());
    let drops = wire.listener(listener.id).is_some_and(|l| l.drop_invalid);
    // What is dropped on its way in matches no rule.
    let headers = headers.into_iter().filter(|(name, _)| !drops || is_valid_name(name.as_bytes())).collect();
    let asked = Asked { method, url, headers, peer: SocketAddr::new(args.source_ip, 40_000) };
    let route = Route { wire, model: loaded.model, router, listener, output: Output::new() };
    Ok((route, asked, now, args.seed.unwrap_or_else(crate::forwarder::random)))
}

/// A request as it was asked for.
struct Asked {
    method: String,
    url: Uri,
    headers: Vec<(String, String)>,
    peer: SocketAddr,
}

impl Asked {
    /// Path and query.
    fn target(&self) -> &str {
        self.url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
    }

    /// The Host header, else the URL's authority.
    fn host(&self) -> &str {
        let line = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        line.map_or_else(|| self.url.authority().map_or("", http::uri::Authority::as_str), |(_, value)| value)
    }

    fn with_request<T>(&self, call: impl FnOnce(&Request<'_>) -> T) -> T {
        let lines: Vec<(&str, &str)> = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        call(&Request::new(&self.method, self.target(), self.peer).host(self.host()).headers(&lines))
    }
}

fn header_lines(lines: &[String]) -> Result<Vec<(String, String)>, &str> {
    lines
        .iter()
        .map(|line| {
            let (name, value) = line.split_once(':').ok_or(line.as_str())?;
            HeaderName::try_from(name).map_err(|_| line.as_str())?;
            Ok((name.to_owned(), value.trim().to_owned()))
        })
        .collect()
}

/// Everything is healthy but what is named.
fn set_health<'a>(model: &mut Model, unhealthy: &'a [String]) -> Result<(), &'a str> {
    let mut found = vec![false; unhealthy.len()];
    let targets = model.target_groups.iter_mut().flat_map(|g| &mut g.target_health_descriptions);
    for description in targets {
        let name = super::output::target(description);
        let named = unhealthy.iter().position(|u| *u == description.target.id || *u == name);
        if let Some(flag) = named.and_then(|i| found.get_mut(i)) {
            *flag = true;
        }
        let state = &mut description.target_health;
        if named.is_some() {
            *state = TargetHealth {
                state: TargetHealthState::Unhealthy,
                reason: Some("Target.FailedHealthChecks".to_owned()),
                description: Some("Health checks failed".to_owned()),
            };
        } else if state.state == TargetHealthState::Initial {
            *state = TargetHealth { state: TargetHealthState::Healthy, reason: None, description: None };
        }
    }
    match unhealthy.iter().zip(found).find(|(_, found)| !found) {
        Some((unknown, _)) => Err(unknown),
        None => Ok(()),
    }
}

/// The listener a URL leads to: by port, and where several load balancers have it, by host.
fn listener(router: &Router, model: &Model, url: &Uri, named: Option<&str>) -> Result<ListenerInfo, String> {
    let https = url.scheme_str() == Some("https");
    let port = url.port_u16().unwrap_or(if https { 443 } else { 80 });
    let protocol = if https { Protocol::Https } else { Protocol::Http };
    let all = router.listeners();
    let fit: Vec<&ListenerInfo> = all
        .iter()
        .filter(|l| l.port == port && l.protocol == protocol)
        .filter(|l| named.is_none_or(|n| l.load_balancer == n))
        .collect();
    let host = url.host().unwrap_or_default().to_ascii_lowercase();
    match fit.as_slice() {
        [] => {
            let known: Vec<String> = all
                .iter()
                .map(|l| format!("{} {} of {}", l.protocol.as_str(), l.port, l.load_balancer))
                .collect();
            Err(format!("no {} listener on port {port}; there is {}", protocol.as_str(), known.join(", ")))
        }
        [one] => Ok((*one).clone()),
        several => {
            let owner = several.iter().find(|l| {
                let balancer =
                    model.load_balancers.iter().find(|b| b.load_balancer_arn == l.load_balancer_arn);
                balancer.is_some_and(|b| answers_for(b, model, &host))
            });
            owner.map(|l| (*l).clone()).ok_or_else(|| {
                let names: Vec<&str> = several.iter().map(|l| l.load_balancer.as_str()).collect();
                format!("`{host}` could be any of {}; name one with --load-balancer", names.join(", "))
            })
        }
    }
}

fn answers_for(balancer: &crate::model::LoadBalancer, model: &Model, host: &str) -> bool {
    let is = |name: &str| {
        let name = name.to_ascii_lowercase();
        name == host || name.strip_prefix('*').is_some_and(|suffix| host.ends_with(suffix))
    };
    let records =
        model.record_sets.iter().filter(|r| r.alias_target.dns_name.eq_ignore_ascii_case(&balancer.dns_name));
    let rules = balancer.listeners.iter().flat_map(|l| &l.rules).flat_map(|r| &r.conditions);
    is(&balancer.dns_name)
        || records.into_iter().any(|r| is(&r.name))
        || rules.into_iter().any(|c| match c {
            RuleCondition::HostHeader { values, .. } => values.iter().any(|v| is(v)),
            _ => false,
        })
}

struct Route {
    model: Model,
    router: Router,
    listener: ListenerInfo,
    wire: WireSettings,
    output: Output,
}

impl Route {
    /// Decides one request and tells it as JSON.
    fn one(&mut self, asked: &Asked, now: Now, entropy: u64) -> Result<Value, u16> {
        let decision = asked.with_request(|request| {
            let decision = self.router.decide(self.listener.id, request, now, entropy, &mut self.output);
            self.router.report(&decision, Outcome::Response(200), now);
            decision
        });
        self.told(&decision, asked, now, entropy)
    }

    /// The same, and which rules were looked at and why each held or not.
    fn explained(&mut self, asked: &Asked, now: Now, entropy: u64) -> Result<Value, u16> {
        let why = asked.with_request(|request| {
            self.router.explain(self.listener.id, request, now, entropy, &mut self.output)
        });
        let mut told = self.told(&why.decision, asked, now, entropy)?;
        if let (Value::Object(told), Ok(Value::Object(why))) = (&mut told, serde_json::to_value(&why)) {
            told.extend(why);
        }
        Ok(told)
    }

    /// A decision as JSON.
    fn told(&self, decision: &Decision, asked: &Asked, now: Now, entropy: u64) -> Result<Value, u16> {
        let mut out = Map::new();
        out.insert("LoadBalancer".into(), self.listener.load_balancer.clone().into());
        out.insert(
            "Listener".into(),
            json!({"Port": self.listener.port, "Protocol": self.listener.protocol.as_str()}),
        );
        let priority = decision.priority.map(|p: Priority| p.to_string());
        out.insert("Rule".into(), json!({"Priority": priority}));
        let mut action = self.action(decision, asked, now, entropy);
        if let Some(first) = decision.authenticate {
            let config = self.router.authentication(self.listener.id, decision);
            action = json!({"Type": first.as_str(), "Config": config, "Then": action});
        }
        out.insert("Action".into(), action);
        if matches!(decision.verdict, Verdict::Forward(_)) {
            out.insert("Upstream".into(), self.upstream(asked, now, entropy)?);
        }
        let cookies: Vec<&str> = self.output.set_cookies().collect();
        if !cookies.is_empty() {
            out.insert("SetCookie".into(), cookies.into());
        }
        Ok(out.into())
    }

    fn action(&self, decision: &Decision, asked: &Asked, now: Now, entropy: u64) -> Value {
        match decision.verdict {
            Verdict::Redirect { status } => json!({
                "Type": "redirect", "StatusCode": status.to_string(), "Location": self.output.location(),
            }),
            Verdict::FixedResponse { status } => json!({
                "Type": "fixed-response", "StatusCode": status.to_string(),
                "ContentType": self.output.content_type(),
                "MessageBody": self.output.body().map(String::from_utf8_lossy),
            }),
            Verdict::Error { status, reason } => {
                json!({"Type": "error", "StatusCode": status.to_string(), "Reason": reason.as_str()})
            }
            Verdict::Forward(forward) => {
                let group = self.router.group(forward.group);
                let target = self.router.target(forward.target);
                let id = target.as_ref().map(|t| t.target.clone());
                let mut hops = vec![json!({"Kind": "target", "Address": forward.address.to_string()})];
                let arn = group.as_ref().map(|g| g.arn.as_str()).unwrap_or_default();
                if let Some(node_port) = self.model.target_group(arn).and_then(|g| g.node_port.clone()) {
                    let node = node_port.nodes.iter().find(|n| Some(&n.id) == id.as_ref());
                    let node = node.map(|n| n.name.clone()).unwrap_or_default();
                    let proxy = KubeProxy::new(node_port);
                    hops.push(match proxy.pick(&node, asked.peer.ip(), now, entropy) {
                        Hop::Forward { endpoint, .. } => json!({
                            "Kind": "kube-proxy",
                            "Address": SocketAddr::new(endpoint.address, endpoint.port).to_string(),
                            "Pod": endpoint.pod,
                        }),
                        Hop::Refused => json!({"Kind": "kube-proxy", "Refused": true}),
                        Hop::Dropped => json!({"Kind": "kube-proxy", "Dropped": true}),
                    });
                }
                json!({
                    "Type": "forward",
                    "TargetGroupName": group.as_ref().map(|g| g.name.clone()),
                    "Service": group.and_then(|g| g.service),
                    "Target": {"Id": id, "Port": target.map(|t| t.port)},
                    "FailOpen": forward.fail_open,
                    "Hops": hops,
                })
            }
        }
    }

    /// What the target would see.
    fn upstream(&self, asked: &Asked, now: Now, entropy: u64) -> Result<Value, u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in &asked.headers {
            let pair =
                HeaderName::try_from(name.as_str()).ok().zip(HeaderValue::try_from(value.as_str()).ok());
            if let Some((name, value)) = pair {
                headers.append(name, value);
            }
        }
        let settings = self.wire.listener(self.listener.id).cloned().unwrap_or_default();
        let arrival = Arrival {
            settings: &settings,
            peer: asked.peer,
            bound_port: self.listener.port,
            version: Version::HTTP_11,
            authority: Some(asked.host()),
            rewritten_host: self.output.host(),
            unix_s: now.unix_s,
            entropy: u128::from(entropy.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64
                | u128::from(!entropy as u32) << 32,
        };
        to_target(&mut headers, &arrival).map_err(|refused| refused.0)?;
        let sent_host = headers.remove(http::header::HOST);
        let lines: BTreeMap<String, String> = headers
            .iter()
            .map(|(n, v)| (title_case(n.as_str()), String::from_utf8_lossy(v.as_bytes()).into_owned()))
            .collect();
        let target = asked.target();
        let (path, query) = self
            .output
            .uri()
            .unwrap_or(target)
            .split_once('?')
            .unwrap_or_else(|| (self.output.uri().unwrap_or(target), ""));
        Ok(json!({
            "Host": sent_host.as_ref().and_then(|h| h.to_str().ok()),
            "Path": path, "Query": query, "Headers": lines,
        }))
    }
}

/// `x-forwarded-for` as people write it.
fn title_case(name: &str) -> String {
    let word = |w: &str| {
        let mut chars = w.chars();
        chars.next().map_or_else(String::new, |c| c.to_ascii_uppercase().to_string() + chars.as_str())
    };
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}

/// Equal answers are counted, so that many requests are still a short table.
fn people(all: &[Value]) {
    let mut counts: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for answer in all {
        let (service, goes) = goes_to(answer);
        let row = vec![
            text(&answer["LoadBalancer"]),
            format!("{} {}", text(&answer["Listener"]["Protocol"]), answer["Listener"]["Port"]),
            text(&answer["Rule"]["Priority"]),
            service,
            goes,
        ];
        *counts.entry(row).or_default() += 1;
    }
    let mut table =
        super::output::table(&["requests", "load balancer", "listener", "rule", "service", "goes to"]);
    for (row, count) in counts {
        table.add_row(std::iter::once(count.to_string()).chain(row));
    }
    anstream::println!("{table}");
}

/// The Service an answer names, and where the request goes in words.
pub(super) fn goes_to(answer: &Value) -> (String, String) {
    let action = &answer["Action"];
    let then = if action["Then"].is_object() { &action["Then"] } else { action };
    let goes = match then["Type"].as_str() {
        Some("forward") => {
            let hops: Vec<String> =
                then["Hops"].as_array().into_iter().flatten().map(|h| text(&h["Address"])).collect();
            let open = if then["FailOpen"] == true { " (fail-open)" } else { "" };
            format!("{}{open}", hops.join(" -> "))
        }
        Some("redirect") => format!("{} {}", text(&then["StatusCode"]), text(&then["Location"])),
        Some("fixed-response") => format!("{} {}", text(&then["StatusCode"]), text(&then["MessageBody"])),
        _ => format!("{} {}", text(&then["StatusCode"]), text(&then["Reason"])),
    };
    let first =
        if action["Then"].is_object() { format!("{}, then ", text(&action["Type"])) } else { String::new() };
    (text(&then["Service"]), format!("{first}{goes}"))
}

/// Text of JSON, empty for anything else.
pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
