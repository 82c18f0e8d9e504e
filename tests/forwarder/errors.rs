//! Each status that the load balancer makes itself, from each of its causes (spec: dataplane §7.1).

use std::time::Duration;

use podway::forwarder::HookAnswer;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::{Setup, answers, echo, read_answer, read_request, target};

/// An address where nobody listens.
async fn nobody() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn s400_for_requests_that_are_none() {
    let lb = Setup::new(&[echo().await]).start().await;
    for (why, request) in [
        ("not a method", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("not a version", "GET / HTTQ/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("NUL in the path", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("no Host", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        ("above the root", "GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("a header of 16 KiB", format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(16 * 1024))),
        (
            "a head of 64 KiB",
            format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", format!("X: {}\r\n", "x".repeat(8000)).repeat(9)),
        ),
        (
            "two lengths",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_owned(),
        ),
        (
            "chunks that are none",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(),
        ),
        ("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
    ] {
        let answer = lb.ask(&request).await;
        assert_eq!(answer.status, 400, "{why}: {answer:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{why}");
        assert_eq!(answer.header("server"), Some("awselb/2.0"), "{why}");
        assert_eq!(answer.header("content-length"), Some("122"), "{why}");
    }
}

#[tokio::test]
async fn s400_for_a_client_that_breaks_off() {
    let lb = Setup::new(&[echo().await]).start().await;
    let mut stream = lb.connect().await;
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_answer(&mut stream, false).await.status, 400);
    assert!(lb.logged(1).await.contains(" 400 - "));
}

#[tokio::test]
async fn s401_403_500_561_from_hooks() {
    let action = json!([
        {"Type": "jwt-validation", "Order": 1, "JwtValidationConfig":
            {"JwksEndpoint": "https://a.example.com/k", "Issuer": "a"}},
        {"Type": "forward", "Order": 2, "TargetGroupArn": "arn:targetgroup/g/1"}]);
    let setup = Setup { default_actions: action, ..Setup::new(&[echo().await]) };
    let lb = setup.start().await;
    assert_eq!(lb.get("/").await.status, 401, "nobody is there to validate");
    let lb = setup
        .start_with(None, |b| {
            b.authenticate(|request| async move {
                match request.headers.get("authorization").and_then(|v| v.to_str().ok()) {
                    Some("good") => {
                        let mut fields = http::HeaderMap::new();
                        fields.insert("x-amzn-oidc-identity", "me".parse().unwrap());
                        HookAnswer::Continue(fields)
                    }
                    Some("idp") => HookAnswer::Refuse { status: 561, reason: "AuthInvalidGrantError".into() },
                    _ => HookAnswer::Refuse { status: 401, reason: "JWTHeaderNotPresent".into() },
                }
            })
            .firewall(|request| async move {
                match request.uri.as_str() {
                    "/blocked" => HookAnswer::Refuse { status: 403, reason: String::new() },
                    "/broken" => HookAnswer::Failed { reason: "WAFConnectionError".into() },
                    _ => HookAnswer::Continue(http::HeaderMap::new()),
                }
            })
        })
        .await;
    let ask = async |path: &str, auth: &str| {
        lb.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {auth}\r\nX-Amzn-Oidc-Identity: forged\r\n\r\n"
        ))
        .await
    };
    let answer = ask("/", "good").await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("x-amzn-oidc-identity: me") && !answer.body.contains("forged"));
    assert!(lb.logged(1).await.contains("\"waf,authenticate,forward\""));
    assert_eq!(ask("/", "bad").await.status, 401);
    assert!(lb.logged(2).await.contains("\"JWTHeaderNotPresent\""));
    assert_eq!(ask("/", "idp").await.status, 561);
    assert_eq!(ask("/blocked", "good").await.status, 403);
    assert!(lb.logged(4).await.contains(" \"waf\" "));
    assert_eq!(ask("/broken", "good").await.status, 500);
    assert!(lb.logged(5).await.contains("\"waf-failed\""));
}

#[tokio::test]
async fn a_firewall_may_fail_open() {
    let setup = Setup::new(&[echo().await]).with("waf.fail_open.enabled", "true");
    let failing = |_| async { HookAnswer::Failed { reason: "WAFConnectionError".into() } };
    let lb = setup.start_with(None, |b| b.firewall(failing)).await;
    assert_eq!(lb.get("/").await.status, 200);
    assert!(lb.logged(1).await.contains(" \"waf-failed,forward\" "));
}

#[tokio::test]
async fn s405_for_trace() {
    let lb = Setup::new(&[echo().await]).start().await;
    assert_eq!(lb.ask("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 405);
}

#[tokio::test]
async fn s408_for_clients_that_stall() {
    let lb = Setup::new(&[echo().await]).with("idle_timeout.timeout_seconds", "1").start().await;
    for half in ["GET / HT", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"] {
        let answer = lb.ask(half).await;
        assert_eq!(answer.status, 408, "{half}: {answer:?}");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    // Between requests there is nothing to answer.
    let mut stream = lb.connect().await;
    assert_eq!(read_answer(&mut stream, false).await.status, 0);
}

#[tokio::test]
async fn s414_for_a_request_line_of_16_kib() {
    let lb = Setup::new(&[echo().await]).start().await;
    let path = "x".repeat(16 * 1024);
    assert_eq!(lb.get(&format!("/{path}")).await.status, 414);
    assert_eq!(lb.get(&format!("/?{path}")).await.status, 414);
    assert_eq!(lb.get(&format!("/{}", "x".repeat(15 * 1024))).await.status, 200);
}

#[tokio::test]
async fn s460_for_clients_that_leave() {
    let slow = target(|mut stream| async move {
        read_request(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    })
    .await;
    let lb = Setup::new(&[slow]).start().await;
    let mut stream = lb.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(stream);
    let line = lb.logged(1).await;
    assert!(line.contains(" 460 - "), "{line}");
}

#[tokio::test]
async fn s463_for_31_addresses() {
    let lb = Setup::new(&[echo().await]).start().await;
    let ask = async |n: usize| {
        let list = vec!["10.0.0.1"; n].join(", ");
        lb.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {list}\r\n\r\n")).await.status
    };
    assert_eq!(ask(31).await, 463);
    assert_eq!(ask(30).await, 200);
}

#[tokio::test]
async fn s464_for_http1_clients_of_http2_targets() {
    for version in ["HTTP2", "GRPC"] {
        let setup = Setup { group: json!({"ProtocolVersion": version}), ..Setup::new(&[nobody().await]) };
        assert_eq!(setup.start().await.get("/").await.status, 464, "{version}");
    }
}

#[tokio::test]
async fn s500_for_transforms_without_a_result() {
    let rules = json!([{"Priority": "1",
        "Conditions": [{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/bad*"]}}],
        "Transforms": [{"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": [{"Regex": "^/bad", "Replace": "nowhere"}]}}],
        "Actions": [{"Type": "forward", "TargetGroupArn": "arn:targetgroup/g/1"}]}]);
    let lb = Setup { rules, ..Setup::new(&[echo().await]) }.start().await;
    assert_eq!(lb.get("/bad").await.status, 500);
    assert!(lb.logged(1).await.contains("TransformInvalidPath"));
}

#[tokio::test]
async fn s501_for_codings_we_do_not_take() {
    let lb = Setup::new(&[echo().await]).start().await;
    for coding in ["gzip, chunked", "deflate"] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n");
        assert_eq!(lb.ask(&request).await.status, 501, "{coding}");
    }
}

#[tokio::test]
async fn s502_for_targets_that_fail() {
    for (why, target) in [
        ("refused", nobody().await),
        ("closed", answers("").await),
        ("closed in the head", answers("HTTP/1.1 200 OK\r\nConte").await),
        ("no HTTP", answers("SSH-2.0-OpenSSH\r\n\r\n").await),
        ("two lengths", answers("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab").await),
        ("a coding", answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab").await),
        ("a head of 33 K", answers(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(33 * 1024))).await),
        ("an upgrade that nobody wanted", answers("HTTP/1.1 101 Switching Protocols\r\n\r\n").await),
    ] {
        let lb = Setup::new(&[target]).start().await;
        let answer = lb.get("/").await;
        assert_eq!(answer.status, 502, "{why}: {answer:?}");
        assert_eq!(answer.header("content-length"), Some("122"), "{why}");
        let line = lb.logged(1).await;
        let times = if why == "refused" { " -1 -1 -1 502 - " } else { " -1 -1 502 - " };
        assert!(line.contains(times), "{why}: {line}");
    }
}

#[tokio::test]
async fn s502_for_tls_that_fails() {
    let setup = Setup {
        group: json!({"Protocol": "HTTPS"}),
        ..Setup::new(&[answers("HTTP/1.1 400 No\r\n\r\n").await])
    };
    let lb = setup.start().await;
    // The target waits for a whole request and gets half a handshake.
    let plain = target(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    })
    .await;
    drop(lb);
    let lb = Setup { targets: vec![plain], ..setup }.start().await;
    assert_eq!(lb.get("/").await.status, 502);
    assert!(lb.running.metrics().contains(
        "TargetTLSNegotiationErrorCount_total{LoadBalancer=\"app/lb/1\",TargetGroup=\"targetgroup/g/1\"} 1"
    ));
}

#[tokio::test]
async fn s503_for_nobody_to_ask() {
    let lb = Setup::new(&[]).start().await;
    let answer = lb.get("/").await;
    assert_eq!((answer.status, answer.header("content-length")), (503, Some("162")));
    assert!(lb.logged(1).await.contains(" - -1 -1 -1 503 - "));
}

#[tokio::test]
async fn s504_for_targets_that_say_nothing() {
    let silent = target(|mut stream| async move {
        read_request(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    })
    .await;
    let lb = Setup::new(&[silent]).with("idle_timeout.timeout_seconds", "1").start().await;
    let answer = lb.get("/").await;
    assert_eq!((answer.status, answer.header("content-length")), (504, Some("132")));
    assert!(lb.logged(1).await.contains(" -1 -1 504 - "));
}

#[tokio::test]
async fn s505_for_versions_to_come() {
    let lb = Setup::new(&[echo().await]).start().await;
    assert_eq!(lb.ask("GET / HTTP/3.0\r\nHost: a\r\n\r\n").await.status, 505);
    assert_eq!(lb.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.status, 505);
}

#[tokio::test]
async fn every_page_carries_what_the_listener_inserts() {
    let lb = Setup::new(&[])
        .on_listener("routing.http.response.x_frame_options.header_value", "DENY")
        .on_listener("routing.http.response.server.enabled", "false")
        .start()
        .await;
    for answer in [lb.get("/").await, lb.ask("GET / HTTP/3.0\r\n\r\n").await] {
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("server"), None);
    }
}
