//! Health checks as targets see them, and what becomes of their answers (spec: dataplane §5).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::{Balancer, Setup, answers, fields, read_request, target};
use crate::tls::{Authority, acceptor};

/// A group whose targets are new, checked as often as it may be.
fn checked(targets: &[SocketAddr], more: &Value) -> Setup {
    let new = |t: &SocketAddr| {
        json!({"Target": {"Id": t.ip().to_string(), "Port": t.port()},
            "TargetHealth": {"State": "initial", "Reason": "Elb.RegistrationInProgress"}})
    };
    let mut group = json!({"HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 2,
        "HealthCheckPath": "/ping?x=1", "TargetHealthDescriptions": targets.iter().map(new).collect::<Vec<_>>()});
    for (key, value) in more.as_object().unwrap() {
        group[key] = value.clone();
    }
    Setup { group, ..Setup::new(&[]) }
}

/// The health of a target.
fn health(lb: &Balancer, target: SocketAddr) -> (String, String, String) {
    let status = lb.running.status();
    let all = status["TargetGroups"][0]["TargetHealthDescriptions"].as_array().unwrap();
    let health = &all.iter().find(|t| t["Target"]["Port"] == target.port()).expect("it")["TargetHealth"];
    let text = |key: &str| health[key].as_str().unwrap_or_default().to_owned();
    (text("State"), text("Reason"), text("Description"))
}

async fn until(what: impl Fn() -> bool) -> bool {
    for _ in 0..600 {
        if what() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

async fn start(setup: &Setup) -> Balancer {
    setup.start_with(None, |b| b.health_checks(true)).await
}

#[tokio::test]
async fn a_check_is_a_request_of_its_own() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mine = seen.clone();
    let target = target(move |mut stream| {
        let seen = mine.clone();
        async move {
            while let Some(request) = read_request(&mut stream).await {
                seen.lock().unwrap().push(request);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
            seen.lock().unwrap().push("end".to_owned());
        }
    })
    .await;
    let lb = start(&checked(&[target], &json!({"HealthyThresholdCount": 5}))).await;
    // One is enough for a target that is new, whatever the threshold is.
    assert!(until(|| health(&lb, target).0 == "healthy").await);
    assert!(until(|| seen.lock().unwrap().len() >= 4).await);
    let all = seen.lock().unwrap().clone();
    for check in all.chunks_exact(2) {
        let (head, lower) = (&check[0], check[0].to_lowercase());
        assert_eq!(check[1], "end", "a connection for each");
        assert!(head.starts_with("GET /ping?x=1 HTTP/1.1\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        for line in [
            format!("Host: {target}"),
            "User-Agent: ELB-HealthChecker/2.0".into(),
            "Connection: close".into(),
            "Accept-Encoding: gzip, compressed".into(),
        ] {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
        }
        assert!(!lower.contains("x-forwarded") && !lower.contains("x-amzn"), "{head}");
    }
    assert!(lb.log.lock().unwrap().is_empty(), "checks are in no log");
    assert!(lb.running.metrics().contains("\nRequestCount_total{LoadBalancer=\"app/lb/1\"} 0\n"));
}

#[tokio::test]
async fn each_failure_has_its_reason() {
    let page = |status: &str| answers(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let mute = target(|mut stream| async move {
        read_request(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    // Half a head in time is no answer.
    let slow = target(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    // A head is enough, whatever becomes of the body.
    let bodiless = answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    let owing = answers("HTTP/1.1 299 Fine\r\nContent-Length: 100\r\n\r\nhalf").await;
    let wrong = |codes: &str| format!("Health checks failed with these codes: [{codes}]");
    let expected = [
        (page("404").await, "unhealthy", "Target.ResponseCodeMismatch", wrong("404")),
        (page("302").await, "unhealthy", "Target.ResponseCodeMismatch", wrong("302")),
        (page("503").await, "unhealthy", "Target.ResponseCodeMismatch", wrong("503")),
        (closed, "unhealthy", "Target.FailedHealthChecks", "Health checks failed".to_owned()),
        (
            answers("SSH-2.0\r\n").await,
            "unhealthy",
            "Target.FailedHealthChecks",
            "Health checks failed".to_owned(),
        ),
        (answers("").await, "unhealthy", "Target.FailedHealthChecks", "Health checks failed".to_owned()),
        (mute, "unhealthy", "Target.Timeout", "Request timed out".to_owned()),
        (slow, "unhealthy", "Target.Timeout", "Request timed out".to_owned()),
        (bodiless, "healthy", "", String::new()),
        (owing, "healthy", "", String::new()),
    ];
    let targets: Vec<_> = expected.iter().map(|e| e.0).collect();
    let lb = start(&checked(&targets, &json!({"Matcher": {"HttpCode": "200-299"}}))).await;
    let is = |e: &(SocketAddr, &str, &str, String)| {
        health(&lb, e.0) == (e.1.to_owned(), e.2.to_owned(), e.3.clone())
    };
    if !until(|| expected.iter().all(is)).await {
        panic!("{:?}", expected.iter().map(|e| (e, health(&lb, e.0))).collect::<Vec<_>>());
    }
    // Only the healthy are asked.
    for n in 1..=6 {
        lb.get("/").await;
        let asked = fields(&lb.logged(n).await)[5].clone();
        assert!(asked == bodiless.to_string() || asked == owing.to_string(), "{asked}");
    }
}

#[tokio::test]
async fn a_check_may_go_to_a_port_of_its_own_over_tls_that_nobody_verifies() {
    let acceptor = acceptor(&Authority::new().issue("somebody.else"));
    let secure = target(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            assert_eq!(stream.get_ref().1.server_name(), None);
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            let _ = stream.shutdown().await;
        }
    })
    .await;
    let traffic = answers("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n").await;
    let more = json!({"HealthCheckProtocol": "HTTPS", "HealthCheckPort": secure.port().to_string()});
    let lb = start(&checked(&[traffic], &more)).await;
    assert!(until(|| health(&lb, traffic).0 == "healthy").await, "{:?}", health(&lb, traffic));
    assert_eq!(lb.get("/").await.status, 500, "traffic goes to the other one");
}

/// A target that speaks HTTP/2 and answers with this; what it was asked.
async fn http2(answer: fn() -> Response<Option<HeaderMap>>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mine = seen.clone();
    let at = target(move |stream| {
        let seen = mine.clone();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let h = |n: &str| request.headers().get(n).map_or("-", |v| v.to_str().unwrap()).to_owned();
            let line =
                format!("{} {} {} {}", request.method(), request.uri(), h("content-type"), h("user-agent"));
            seen.lock().unwrap().push(line);
            let answer =
                answer().map(|trailers| Empty::<Bytes>::new().with_trailers(async move { trailers.map(Ok) }));
            async { Ok::<_, std::convert::Infallible>(answer) }
        });
        async move {
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
    (at, seen)
}

fn grpc(status: &'static str) -> Response<Option<HeaderMap>> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    Response::new(Some(trailers))
}

#[tokio::test]
async fn targets_of_http2_and_grpc_are_asked_in_their_own_words() {
    let (twelve, seen) = http2(|| grpc("12")).await;
    let (zero, _) = http2(|| grpc("0")).await;
    // Without a message the status stands in the head.
    let (head, _) = http2(|| Response::builder().header("grpc-status", "12").body(None).unwrap()).await;
    let (none, _) = http2(|| Response::new(None)).await;
    let group = json!({"ProtocolVersion": "GRPC", "HealthCheckPath": "/AWS.ALB/healthcheck",
        "Matcher": {"GrpcCode": "12"}});
    let lb = start(&checked(&[twelve, zero, head, none], &group)).await;
    let settled = || {
        [twelve, zero, head, none].map(|t| health(&lb, t).0)
            == ["healthy", "unhealthy", "healthy", "unhealthy"]
    };
    assert!(until(settled).await, "{:?}", [twelve, zero, head, none].map(|t| health(&lb, t)));
    assert_eq!(health(&lb, zero).1, "Target.ResponseCodeMismatch");
    let asked = format!("POST http://{twelve}/AWS.ALB/healthcheck application/grpc ELB-HealthChecker/2.0");
    assert_eq!(seen.lock().unwrap()[0], asked);
    let (plain, seen) = http2(|| Response::new(None)).await;
    let lb = start(&checked(&[plain], &json!({"ProtocolVersion": "HTTP2"}))).await;
    assert!(until(|| health(&lb, plain).0 == "healthy").await);
    assert_eq!(seen.lock().unwrap()[0], format!("GET http://{plain}/ping?x=1 - ELB-HealthChecker/2.0"));
}
