//! The forwarder with nothing around it, to be put beside other proxies: reads rules and targets from a
//! JSON file, serves them on threads of its own, stops on SIGTERM.
//!
//! `proxy RULES.json THREADS`, where RULES.json is
//! `{"port": 8080, "tls_port": 8443, "cert": "…", "key": "…", "sticky": false,
//!   "groups": [["127.0.0.2:9000", …], …], "rules": [{"host": "a.example.com", "prefix": "/x", "group": 0}, …]}`.
//! BENCH_TLS_PORT, BENCH_CERT, BENCH_KEY and BENCH_STICKY override what the file says.

use std::sync::Arc;

use podway::forwarder::{CertificatePem, Forwarder, ForwarderClock, TlsConfig};
use podway::{KeyRing, Options, Router};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let path = arguments.get(1).ok_or("usage: proxy RULES.json [THREADS]")?;
    let threads: usize = arguments.get(2).map_or(Ok(1), |n| n.parse())?;
    let told: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let mut runtimes = (0..threads)
        .map(|_| tokio::runtime::Builder::new_current_thread().enable_all().build())
        .collect::<Result<Vec<_>, _>>()?;
    let handles: Vec<_> = runtimes.iter().map(|r| r.handle().clone()).collect();
    let first = runtimes.remove(0);
    let others: Vec<_> = runtimes
        .into_iter()
        .map(|runtime| std::thread::spawn(move || runtime.block_on(std::future::pending::<()>())))
        .collect();
    first.block_on(serve(&told, handles))?;
    drop(others);
    Ok(())
}

async fn serve(told: &Value, workers: Vec<tokio::runtime::Handle>) -> Result<(), Failure> {
    let said = |name: &str, key: &str| {
        let text = std::env::var(name).ok().or_else(|| told[key].as_str().map(str::to_owned));
        text.filter(|t| !t.is_empty())
    };
    let port = u16::try_from(told["port"].as_u64().ok_or("no port")?)?;
    let tls_port = match std::env::var("BENCH_TLS_PORT").ok().filter(|p| !p.is_empty()) {
        Some(port) => Some(port.parse()?),
        None => told["tls_port"].as_u64().map(u16::try_from).transpose()?,
    };
    let sticky = std::env::var("BENCH_STICKY").is_ok_and(|s| s == "1") || told["sticky"] == true;
    let model = serde_json::from_value(model(told, port, tls_port, sticky))?;
    let clock = ForwarderClock::new();
    let router =
        Arc::new(Router::new(&model, Options::default(), KeyRing::from_secret(&[7; 32])?, clock.now())?);
    let plain = router.listener("bench", port).ok_or("no listener")?;
    let mut builder = Forwarder::builder(router.clone(), &model, clock)
        .reuse_port(workers.len() > 1)
        .workers(workers)
        .health_checks(false)
        .bind(plain, ([127, 0, 0, 1], port).into(), None);
    if let Some(port) = tls_port {
        let (cert, key) =
            (said("BENCH_CERT", "cert").ok_or("no cert")?, said("BENCH_KEY", "key").ok_or("no key")?);
        let pem = CertificatePem {
            hosts: vec![],
            chain: std::fs::read(cert)?,
            key: std::fs::read(key)?,
            arn: None,
        };
        let secure = router.listener("bench", port).ok_or("no listener")?;
        builder = builder.bind(secure, ([127, 0, 0, 1], port).into(), Some(TlsConfig::new(&[pem])?));
    }
    let running = builder.start().await?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    terminate.recv().await;
    running.shutdown(std::time::Duration::from_millis(100)).await;
    Ok(())
}

fn model(told: &Value, port: u16, tls_port: Option<u16>, sticky: bool) -> Value {
    let mut attributes = vec![json!({"Key": "stickiness.enabled", "Value": sticky.to_string()})];
    if sticky {
        attributes.push(json!({"Key": "stickiness.type", "Value": "lb_cookie"}));
    }
    let groups: Vec<Value> = told["groups"].as_array().into_iter().flatten().enumerate().map(|(i, targets)| {
        let targets: Vec<Value> = targets.as_array().into_iter().flatten().filter_map(|t| {
            let (id, port) = t.as_str()?.rsplit_once(':')?;
            Some(json!({"Target": {"Id": id, "Port": port.parse::<u16>().ok()?}, "TargetHealth": {"State": "healthy"}}))
        }).collect();
        json!({"TargetGroupArn": format!("arn:{i}"), "TargetGroupName": format!("g{i}"), "TargetType": "ip",
            "Protocol": "HTTP", "Attributes": attributes, "TargetHealthDescriptions": targets})
    }).collect();
    let rules: Vec<Value> = told["rules"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(i, rule)| {
            let prefix = rule["prefix"].as_str().unwrap_or("/").trim_end_matches('/');
            json!({"Priority": (i + 1).to_string(), "Conditions": [
            {"Field": "host-header", "HostHeaderConfig": {"Values": [rule["host"]]}},
            {"Field": "path-pattern", "PathPatternConfig": {"Values": [format!("{prefix}/*"), prefix]}}],
            "Actions": [{"Type": "forward", "TargetGroupArn": format!("arn:{}", rule["group"])}]})
        })
        .collect();
    let listener = |port: u16, protocol: &str| {
        json!({"Port": port, "Protocol": protocol, "Rules": rules, "DefaultActions": [
            {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]})
    };
    let mut listeners = vec![listener(port, "HTTP")];
    listeners.extend(tls_port.map(|port| listener(port, "HTTPS")));
    // The others pass the Host as it came.
    let attributes = [json!({"Key": "routing.http.preserve_host_header.enabled", "Value": "true"})];
    json!({"LoadBalancers": [{"LoadBalancerArn": "arn:bench", "LoadBalancerName": "bench", "Listeners": listeners,
            "Attributes": attributes}],
        "TargetGroups": groups})
}
