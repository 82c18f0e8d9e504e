//! Statuses whose causes take time, or a client that does half a thing (spec: dataplane §6.9, §7.1).

use std::time::Duration;

use podway::forwarder::HookAnswer;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Setup, read_answer, read_request, target};

const SHORT: Duration = Duration::from_millis(300);

/// Answers after so many milliseconds.
async fn slow(milliseconds: u64) -> std::net::SocketAddr {
    target(move |mut stream| async move {
        while read_request(&mut stream).await.is_some() {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
                return;
            }
        }
    })
    .await
}

/// A target whose queue is full: the system drops what knocks on, as a packet filter would.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn s504_for_connections_that_take_too_long() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(SHORT, tokio::net::TcpStream::connect(address)).await {
        waiting.push(stream);
    }
    let lb = Setup::new(&[address]).start_with(None, |b| b.connect_timeout(SHORT)).await;
    assert_eq!(lb.get("/").await.status, 504);
    assert!(lb.logged(1).await.contains(&format!("{address} -1 -1 -1 504 - ")));
    let metrics = lb.running.metrics();
    assert!(metrics.contains(
        "TargetConnectionErrorCount_total{LoadBalancer=\"app/lb/1\",TargetGroup=\"targetgroup/g/1\"} 1"
    ));
}

#[tokio::test]
async fn s504_for_handshakes_that_take_too_long() {
    let mute = target(|mut stream| async move {
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
    })
    .await;
    let setup = Setup { group: json!({"Protocol": "HTTPS"}), ..Setup::new(&[mute]) };
    let lb = setup.start_with(None, |b| b.connect_timeout(SHORT)).await;
    assert_eq!(lb.get("/").await.status, 504);
    assert!(lb.logged(1).await.contains(" -1 -1 -1 504 - "));
    let metrics = lb.running.metrics();
    assert!(metrics.contains(
        "TargetTLSNegotiationErrorCount_total{LoadBalancer=\"app/lb/1\",TargetGroup=\"targetgroup/g/1\"} 1"
    ));
}

#[tokio::test]
async fn s502_at_the_end_of_the_deregistration_delay() {
    let delay = json!([{"Key": "deregistration_delay.timeout_seconds", "Value": "1"}]);
    let (patient, other) = (slow(60_000).await, slow(0).await);
    let setup = Setup { group: json!({"Attributes": delay}), ..Setup::new(&[patient]) };
    // Without health checks nobody asks the router what has drained.
    let lb = setup.start_with(None, |b| b.health_checks(true)).await;
    let mut stream = lb.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(SHORT).await;
    lb.running.reload(&Setup { targets: vec![other], ..setup.clone() }.model()).unwrap();
    assert_eq!(read_answer(&mut stream, false).await.status, 502);
    let line = lb.logged(1).await;
    assert!(line.contains(&format!(" {patient} ")) && line.contains(" -1 -1 502 - "), "{line}");
    assert_eq!(lb.get("/").await.status, 200);
}

#[tokio::test]
async fn s460_for_clients_that_end_their_side_while_the_target_works() {
    // A client that has closed and one that has only closed its sending side look the same from here; the
    // load balancer takes both for gone. It cannot wait for the answer to find out: the log's -1 for the
    // target's time says that it did not.
    let lb = Setup::new(&[slow(5000).await]).start().await;
    let mut stream = lb.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(SHORT).await;
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or_default(), 0, "nobody is there to be answered");
    let line = lb.logged(1).await;
    assert!(line.contains(" -1 -1 460 - "), "{line}");
}

#[tokio::test]
async fn s507_for_a_redirect_that_gets_too_long() {
    let redirect = json!([{"Type": "redirect", "RedirectConfig": {"StatusCode": "HTTP_301",
        "Host": "other.example.com", "Path": "/#{path}"}}]);
    let lb = Setup { default_actions: redirect, ..Setup::new(&[]) }.start().await;
    assert_eq!(lb.get(&format!("/{}", "x".repeat(7 * 1024))).await.status, 301);
    assert_eq!(lb.get(&format!("/{}", "x".repeat(9 * 1024))).await.status, 507);
    lb.logged(2).await;
    let metrics = lb.running.metrics();
    for expected in ["HTTP_Redirect_Count_total", "HTTP_Redirect_Url_Limit_Exceeded_Count_total"] {
        assert!(metrics.contains(&format!("{expected}{{LoadBalancer=\"app/lb/1\"}} 1\n")), "{metrics}");
    }
}

#[tokio::test]
async fn s562_from_a_hook_whose_keys_cannot_be_had() {
    let action = json!([
        {"Type": "jwt-validation", "Order": 1, "JwtValidationConfig":
            {"JwksEndpoint": "https://a.example.com/k", "Issuer": "a"}},
        {"Type": "forward", "Order": 2, "TargetGroupArn": "arn:targetgroup/g/1"}]);
    let setup = Setup { default_actions: action, ..Setup::new(&[slow(0).await]) };
    let answer = |status, reason: &str| HookAnswer::Refuse { status, reason: reason.to_owned() };
    let lb = setup
        .start_with(None, |b| {
            b.authenticate(move |request| async move {
                if request.uri == "/slow" {
                    answer(500, "JWKSRequestTimeout")
                } else {
                    answer(562, "JWKSRequestFailed")
                }
            })
        })
        .await;
    let page = lb.get("/").await;
    assert_eq!((page.status, page.body.contains("<title>562</title>")), (562, true), "{page:?}");
    assert!(lb.logged(1).await.contains("\"JWKSRequestFailed\""));
    assert_eq!(lb.get("/slow").await.status, 500);
}
