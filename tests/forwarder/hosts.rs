//! The Host that a target sees, row by row, and the absolute form of targets (spec: dataplane §6.3, §1.5.1).

use serde_json::json;

use crate::support::{Setup, echo};

/// The Host lines of a request as the target got it.
fn hosts(seen: &str) -> Vec<&str> {
    seen.lines().filter_map(|l| l.strip_prefix("Host: ")).collect()
}

#[tokio::test]
async fn each_row_of_the_table() {
    let target = echo().await;
    for (port, request, off, on) in [
        (80, "GET / HTTP/1.1\r\nHost: example.com", "example.com", "example.com"),
        (443, "GET / HTTP/1.1\r\nHost: example.com", "example.com", "example.com"),
        (80, "GET / HTTP/1.1\r\nHost: example.com:80", "example.com", "example.com:80"),
        (443, "GET / HTTP/1.1\r\nHost: example.com:443", "example.com", "example.com:443"),
        (8080, "GET / HTTP/1.1\r\nHost: example.com", "example.com:8080", "example.com"),
        (8080, "GET / HTTP/1.1\r\nHost: example.com:8080", "example.com:8080", "example.com:8080"),
        (80, "GET / HTTP/1.1\r\nHost: Example.COM", "example.com", "Example.COM"),
        (80, "GET http://a/ HTTP/1.1\r\nHost: b", "a", "b"),
        (80, "GET http://me:secret@a/ HTTP/1.1\r\nHost: b", "a", "b"),
        (80, "GET / HTTP/1.1\r\nHost: a\r\nHost: b", "a", "a,b"),
        (80, "GET / HTTP/1.0", "lb.example.com", "lb.example.com"),
        (80, "GET / HTTP/1.1\r\nHost: [2001:DB8::1]:80", "[2001:db8::1]", "[2001:DB8::1]:80"),
    ] {
        for (attribute, expected) in [("false", off), ("true", on)] {
            let setup = Setup { port, ..Setup::new(&[target]) };
            let lb = setup.with("routing.http.preserve_host_header.enabled", attribute).start().await;
            let answer = lb.ask(&format!("{request}\r\n\r\n")).await;
            assert_eq!(hosts(&answer.body).join(","), expected, "{port} {request}, preserved: {attribute}");
            assert!(answer.body.contains(&format!("X-Forwarded-Port: {port}\r\n")), "{}", answer.body);
        }
    }
}

#[tokio::test]
async fn a_rewritten_host_follows_the_listener_too() {
    let rules = json!([{"Priority": "1",
        "Conditions": [{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/*"]}}],
        "Transforms": [{"Type": "host-header-rewrite", "HostHeaderRewriteConfig":
            {"Rewrites": [{"Regex": "^(.*)$", "Replace": "m.$1"}]}}],
        "Actions": [{"Type": "forward", "TargetGroupArn": "arn:targetgroup/g/1"}]}]);
    for (port, attribute, expected) in
        [(80, "false", "m.a.com"), (8080, "false", "m.a.com:8080"), (8080, "true", "m.A.com")]
    {
        let setup = Setup { port, rules: rules.clone(), ..Setup::new(&[echo().await]) };
        let lb = setup.with("routing.http.preserve_host_header.enabled", attribute).start().await;
        let seen = lb.ask("GET / HTTP/1.1\r\nHost: A.com\r\n\r\n").await.body;
        assert_eq!(hosts(&seen), [expected], "{port} {attribute}");
        assert!(lb.logged(1).await.contains(" \"m.A.com\" \"-\" \"TransformSuccess\""));
    }
}

#[tokio::test]
async fn rules_see_the_first_host_or_the_authority() {
    let rules = json!([{"Priority": "1",
        "Conditions": [{"Field": "host-header", "HostHeaderConfig": {"Values": ["a.example.com"]}},
            {"Field": "path-pattern", "PathPatternConfig": {"Values": ["/p"]}}],
        "Actions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "418"}}]}]);
    let lb = Setup { rules, ..Setup::new(&[echo().await]) }.start().await;
    for (request, status) in [
        ("GET /p HTTP/1.1\r\nHost: a.example.com\r\nHost: b.example.com", 418),
        ("GET /p HTTP/1.1\r\nHost: b.example.com\r\nHost: a.example.com", 200),
        ("GET http://A.example.com:80/p?q HTTP/1.1\r\nHost: b.example.com", 418),
        ("GET http://b.example.com/p HTTP/1.1\r\nHost: a.example.com", 200),
        ("GET /p HTTP/1.0", 200),
    ] {
        assert_eq!(lb.ask(&format!("{request}\r\n\r\n")).await.status, status, "{request}");
    }
}

#[tokio::test]
async fn an_absolute_target_is_sent_on_as_a_path() {
    let lb = Setup::new(&[echo().await]).start().await;
    for (target, sent) in [
        ("http://a.example.com", "/"),
        ("http://a.example.com?x=1", "/?x=1"),
        ("HTTP://a.example.com/p", "/p"),
    ] {
        let seen = lb.ask(&format!("GET {target} HTTP/1.1\r\nHost: b\r\n\r\n")).await.body;
        assert!(seen.starts_with(&format!("GET {sent} HTTP/1.1\r\nHost: a.example.com\r\n")), "{seen}");
    }
    assert!(lb.logged(2).await.contains("\"GET http://a.example.com:80?x=1 HTTP/1.1\""));
    let seen = lb.ask("OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n").await.body;
    assert!(seen.starts_with("OPTIONS * HTTP/1.1\r\nHost: b\r\n"), "{seen}");
}

#[tokio::test]
async fn placeholders_of_redirects_are_filled_from_the_request() {
    let to = |config: serde_json::Value| {
        let mut config = config;
        config["StatusCode"] = json!("HTTP_302");
        json!([{"Type": "redirect", "RedirectConfig": config}])
    };
    for (port, config, location) in [
        (80, json!({"Path": "/new/#{path}"}), "http://h.com:80/new/a/b?x=1"),
        (80, json!({"Host": "example.#{host}"}), "http://example.h.com:80/a/b?x=1"),
        (80, json!({"Protocol": "HTTPS"}), "https://h.com:80/a/b?x=1"),
        (80, json!({"Protocol": "HTTPS", "Port": "443"}), "https://h.com:443/a/b?x=1"),
        (
            8080,
            json!({"Path": "/#{host}/#{port}/#{path}", "Query": "q=#{query}&p=#{protocol}"}),
            "http://h.com:8080/h.com/8080/a/b?q=x=1&p=http",
        ),
        (80, json!({"Path": "/", "Query": ""}), "http://h.com:80/"),
    ] {
        let setup = Setup { port, default_actions: to(config.clone()), ..Setup::new(&[]) };
        let lb = setup.start().await;
        let answer = lb.ask("GET /a/b?x=1 HTTP/1.1\r\nHost: h.com:8080\r\n\r\n").await;
        assert_eq!((answer.status, answer.header("location")), (302, Some(location)), "{config}");
        assert_eq!(answer.header("content-length"), Some("110"));
    }
}
