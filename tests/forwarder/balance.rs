//! The `tower::Service`: a client that balances for itself.

use std::collections::HashSet;

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use podway::forwarder::{Balance, BalancedBody};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tower_service::Service;

use crate::support::{Balancer, Setup, echo, read_request, target};

type Http = Client<HttpConnector, Full<Bytes>>;

fn client(lb: &Balancer) -> Balance<Http> {
    lb.running.balance(lb.listener, Client::builder(TokioExecutor::new()).build_http())
}

fn get(path: &str) -> http::request::Builder {
    Request::get(format!("http://Shop.example.com{path}"))
}

async fn ask(client: &mut Balance<Http>, request: http::request::Builder) -> (Response<()>, String) {
    let response = client.call(request.body(Full::default()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (Response::from_parts(parts, ()), String::from_utf8_lossy(&body).into_owned())
}

/// A target that answers with its name.
async fn named(name: &'static str) -> std::net::SocketAddr {
    target(move |mut stream| async move {
        while read_request(&mut stream).await.is_some() {
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn requests_go_straight_to_targets_in_turn() {
    let lb = Setup::new(&[named("one").await, named("two").await, named("three").await]).start().await;
    let mut client = client(&lb);
    let mut seen = Vec::new();
    for _ in 0..30 {
        seen.push(ask(&mut client, get("/")).await.1);
    }
    for name in ["one", "two", "three"] {
        assert_eq!(seen.iter().filter(|s| *s == name).count(), 10, "{seen:?}");
    }
    assert!(lb.log.lock().unwrap().is_empty(), "the listener was not asked");
}

#[tokio::test]
async fn the_target_sees_the_clients_request_and_nothing_else() {
    let rules = json!([{"Priority": "1",
        "Conditions": [{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/old/*"]}}],
        "Transforms": [{"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": [{"Regex": "^/old/(.*)$", "Replace": "/new/$1"}]}}],
        "Actions": [{"Type": "forward", "TargetGroupArn": "arn:targetgroup/g/1"}]}]);
    let lb = Setup { rules, ..Setup::new(&[echo().await]) }.start().await;
    let mut client = client(&lb);
    let (_, seen) = ask(&mut client, get("/a%20b?c=d").header("x-a", "b")).await;
    assert!(seen.starts_with("GET /a%20b?c=d HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("host: Shop.example.com\r\n") && seen.contains("x-a: b\r\n"), "{seen}");
    assert!(!seen.to_ascii_lowercase().contains("x-forwarded"), "{seen}");
    let (_, seen) = ask(&mut client, get("/old/x").header("host", "other.example.com")).await;
    assert!(
        seen.starts_with("GET /new/x HTTP/1.1\r\n") && seen.contains("host: other.example.com\r\n"),
        "{seen}"
    );
}

#[tokio::test]
async fn answers_of_the_rules_come_back_without_a_target() {
    let rule = |priority: &str, path: &str, action: serde_json::Value| {
        json!({"Priority": priority, "Actions": [action],
            "Conditions": [{"Field": "path-pattern", "PathPatternConfig": {"Values": [path]}}]})
    };
    let rules = json!([
        rule(
            "1",
            "/fixed",
            json!({"Type": "fixed-response", "FixedResponseConfig":
            {"StatusCode": "418", "ContentType": "text/plain", "MessageBody": "tea"}})
        ),
        rule(
            "2",
            "/moved",
            json!({"Type": "redirect", "RedirectConfig":
            {"StatusCode": "HTTP_302", "Path": "/there"}})
        )
    ]);
    let lb = Setup { rules, ..Setup::new(&[]) }.start().await;
    let mut client = client(&lb);
    let (parts, body) = ask(&mut client, get("/fixed")).await;
    assert_eq!((parts.status().as_u16(), body.as_str()), (418, "tea"));
    let (parts, _) = ask(&mut client, get("/moved")).await;
    assert_eq!(parts.headers()["location"], "http://Shop.example.com:80/there");
    let response = client.call(get("/").body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 503, "no target");
    assert!(matches!(response.body(), BalancedBody::Own(_)));
}

#[tokio::test]
async fn a_cookie_jar_is_what_stickiness_needs() {
    let sticky = json!([{"Key": "stickiness.enabled", "Value": "true"},
        {"Key": "stickiness.type", "Value": "lb_cookie"}]);
    let targets = [named("one").await, named("two").await, named("three").await];
    let lb = Setup { group: json!({"Attributes": sticky}), ..Setup::new(&targets) }.start().await;
    let mut client = client(&lb);
    let (parts, first) = ask(&mut client, get("/")).await;
    let cookie = parts.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    for _ in 0..10 {
        let (parts, body) = ask(&mut client, get("/").header("cookie", &cookie)).await;
        assert_eq!(body, first);
        assert!(parts.headers().contains_key("set-cookie"), "renewed");
    }
    let mut others = HashSet::new();
    for _ in 0..6 {
        others.insert(ask(&mut client, get("/")).await.1);
    }
    assert_eq!(others.len(), 3);
}

#[tokio::test]
async fn a_request_is_in_flight_until_its_body_is_gone() {
    let least = json!([{"Key": "load_balancing.algorithm.type", "Value": "least_outstanding_requests"}]);
    let targets = [named("one").await, named("two").await];
    let lb = Setup { group: json!({"Attributes": least}), ..Setup::new(&targets) }.start().await;
    let mut client = client(&lb);
    let held = client.call(get("/").body(Full::default()).unwrap()).await.unwrap();
    let mut seen = HashSet::new();
    for _ in 0..10 {
        seen.insert(ask(&mut client, get("/")).await.1);
    }
    assert_eq!(seen.len(), 1, "the other target has fewer requests: {seen:?}");
    let body = String::from_utf8_lossy(&held.into_body().collect().await.unwrap().to_bytes()).into_owned();
    assert!(!seen.contains(&body));
    for _ in 0..10 {
        seen.insert(ask(&mut client, get("/")).await.1);
    }
    assert_eq!(seen.len(), 2, "both are idle now");
}

#[tokio::test]
async fn errors_of_the_client_are_the_callers() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let lb = Setup::new(&[nobody]).start().await;
    let mut client = client(&lb);
    let failed = client.call(get("/").body(Full::default()).unwrap()).await;
    assert!(failed.is_err_and(|e| e.is_connect()));
}
