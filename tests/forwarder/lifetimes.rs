//! How long connections live, and what ends them (spec: dataplane §3.7, §3.8, §6.4, §6.8, §6.9).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http2_front::{Client, NOTHING};
use crate::support::{Setup, echo, fields, read_answer, read_request, target};
use crate::tls::https;

/// A target that takes a WebSocket and sends back what it gets.
async fn sockets() -> std::net::SocketAddr {
    target(|mut stream| async move {
        read_request(&mut stream).await;
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut buffer = [0; 64];
        while let Ok(n) = stream.read(&mut buffer).await {
            if n == 0 || stream.write_all(&buffer[..n]).await.is_err() {
                return;
            }
        }
    })
    .await
}

const UPGRADE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

async fn upgrade(stream: &mut TcpStream) {
    stream.write_all(UPGRADE).await.unwrap();
    assert_eq!(read_answer(stream, false).await.status, 101);
}

#[tokio::test]
async fn a_websocket_lives_while_something_moves() {
    let lb = Setup::new(&[sockets().await]).with("idle_timeout.timeout_seconds", "2").start().await;
    let mut stream = lb.connect().await;
    upgrade(&mut stream).await;
    let mut buffer = [0; 16];
    // Twice as long as nothing may move.
    for _ in 0..20 {
        stream.write_all(b"ping").await.unwrap();
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 4);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(lb.log.lock().unwrap().is_empty(), "it is logged when it ends");
    let ended = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut buffer)).await;
    assert_eq!(ended.expect("it ends").unwrap_or(0), 0);
    let field = fields(&lb.logged(1).await);
    assert_eq!((field[1].as_str(), field[9].as_str(), field[10].as_str()), ("ws", "101", "101"));
    // What went through it counts.
    assert!(field[11].parse::<usize>().unwrap() >= UPGRADE.len() + 40, "{field:?}");
    assert!(field[12].parse::<usize>().unwrap() >= 40, "{field:?}");
}

#[tokio::test]
async fn a_websocket_is_cut_at_the_end_of_the_deregistration_delay() {
    let delay = json!([{"Key": "deregistration_delay.timeout_seconds", "Value": "1"}]);
    let setup = Setup { group: json!({"Attributes": delay}), ..Setup::new(&[sockets().await]) };
    let lb = setup.start_with(None, |b| b.health_checks(true)).await;
    let mut stream = lb.connect().await;
    upgrade(&mut stream).await;
    lb.running.reload(&Setup { targets: vec![echo().await], ..setup.clone() }.model()).unwrap();
    // Meanwhile it goes on.
    stream.write_all(b"ping").await.unwrap();
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 4);
    let ended = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut [0; 16])).await;
    assert_eq!(ended.expect("it is cut").unwrap_or(0), 0);
}

#[tokio::test]
async fn upgrades_go_where_they_can() {
    // An optimizer hands out slots for requests, not for connections.
    let setup = Setup { group: json!({"TargetControlPort": 3000}), ..Setup::new(&[sockets().await]) };
    let lb = setup.start().await;
    let refused = lb.ask(std::str::from_utf8(UPGRADE).unwrap()).await;
    assert_eq!((refused.status, refused.header("connection")), (501, Some("close")));
    assert_eq!(fields(&lb.logged(1).await)[5], "-");
    // A target that does not want one answers like any other.
    let lb = Setup::new(&[echo().await]).start().await;
    let mut stream = lb.connect().await;
    for _ in 0..2 {
        stream.write_all(UPGRADE).await.unwrap();
        let answer = read_answer(&mut stream, false).await;
        assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")));
        assert!(answer.body.contains("Connection: upgrade\r\nUpgrade: websocket\r\n"), "{}", answer.body);
    }
    // HTTP/1.0 has none.
    let old = std::str::from_utf8(UPGRADE).unwrap().replace("HTTP/1.1", "HTTP/1.0");
    assert!(!lb.ask(&old).await.body.contains("websocket"));
}

/// Lets time pass for everybody who sleeps.
async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_connection_grows_no_older_than_it_may() {
    let patient = |setup: Setup| {
        setup.with("client_keep_alive.seconds", "60").with("idle_timeout.timeout_seconds", "4000")
    };
    let lb = patient(Setup::new(&[echo().await])).start().await;
    let mut stream = lb.connect().await;
    let mut ask = async || {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        read_answer(&mut stream, false).await
    };
    for _ in 0..2 {
        assert_eq!(ask().await.header("connection"), Some("keep-alive"));
        later(25).await;
    }
    later(25).await;
    let last = ask().await;
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0);
    let mut client = Client::of(patient(https(echo().await))).await;
    assert_eq!(client.ask(Client::get("/")).await.status, 200);
    later(61).await;
    // GOAWAY, and nothing more that can be asked.
    let left = async {
        while client.sender.ready().await.is_ok() {
            let _ = client.sender.send_request(Client::get("/").body(NOTHING).unwrap()).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), left).await.expect("it is asked to leave");
}

#[tokio::test]
async fn a_handshake_takes_ten_seconds_at_most() {
    let authority = crate::tls::Authority::new();
    let tls = podway::forwarder::TlsConfig::new(&[authority.issue("a.example.com")]).unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let log = move |line: &str| drop(tell.send(line.to_owned()));
    let lb = https(echo().await).start_with(Some(tls), |b| b.connection_log(log)).await;
    for begun in [&[][..], &[0x16, 3, 1]] {
        let mut stream = lb.connect().await;
        stream.write_all(begun).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        later(9).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(told.try_recv().is_err(), "there is time left");
        later(2).await;
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0);
        assert!(told.recv().await.unwrap().contains(" Failed:UnmappedConnectionError "));
    }
}

#[tokio::test]
async fn clients_of_http_1_0_may_stay() {
    let lb = Setup::new(&[echo().await]).start().await;
    let mut stream = lb.connect().await;
    for _ in 0..3 {
        stream.write_all(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").await.unwrap();
        let answer = read_answer(&mut stream, false).await;
        assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")));
        assert!(answer.body.starts_with("GET / HTTP/1.1\r\nHost: lb.example.com\r\n"), "{}", answer.body);
    }
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n") && rest.contains("Connection: close\r\n"), "{rest}");
}

#[tokio::test]
async fn a_connection_that_the_target_ends_under_a_request_is_502() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let once = target(move |mut stream| {
        let count = counted.clone();
        async move {
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            // It takes the next one and ends: nobody can know what it has done about it.
            read_request(&mut stream).await;
            count.fetch_add(1, Ordering::Relaxed);
        }
    })
    .await;
    let lb = Setup::new(&[once]).start().await;
    assert_eq!(lb.get("/").await.status, 200);
    assert_eq!(lb.get("/").await.status, 502);
    assert_eq!(count.load(Ordering::Relaxed), 1, "it is not tried again");
    let field = fields(&lb.logged(2).await);
    assert!(field[6].parse::<f64>().unwrap() >= 0.0, "{field:?}");
    assert_eq!((field[5].clone(), field[7..11].join(" ")), (once.to_string(), "-1 -1 502 -".to_owned()));
}

#[tokio::test]
async fn what_is_missing_of_an_answer_is_waited_for_as_long_as_for_a_request() {
    let owing = target(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    let setup = Setup::new(&[owing]).with("idle_timeout.timeout_seconds", "1");
    let answer = setup.start().await.get("/").await;
    assert_eq!((answer.status, answer.body.as_str(), answer.whole), (200, "half", false));
    let setup = https(owing).with("idle_timeout.timeout_seconds", "1");
    let seen = Client::of(setup).await.ask(Client::get("/")).await;
    assert_eq!((seen.status, seen.body.as_str()), (200, ""), "the stream is reset");
}

#[tokio::test]
async fn ambiguous_requests_end_both_connections() {
    for (mode, ends) in [("monitor", false), ("defensive", true)] {
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = accepted.clone();
        let target = target(move |mut stream| {
            count.fetch_add(1, Ordering::SeqCst);
            async move {
                while let Some(seen) = read_request(&mut stream).await {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", seen.len());
                    stream.write_all((head + &seen).as_bytes()).await.unwrap();
                }
            }
        })
        .await;
        let setup = Setup::new(&[target]).with("routing.http.desync_mitigation_mode", mode);
        let lb = setup.start().await;
        let mut stream = lb.connect().await;
        let both = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        stream.write_all(both.as_bytes()).await.unwrap();
        let answer = read_answer(&mut stream, false).await;
        let close = if ends { "close" } else { "keep-alive" };
        assert_eq!((answer.status, answer.header("connection")), (200, Some(close)), "{mode}");
        assert!(!answer.body.contains("Content-Length"), "chunks win: {}", answer.body);
        assert_eq!(answer.body.contains("Connection: close"), ends, "{mode}: {}", answer.body);
        let field = fields(&lb.logged(1).await);
        assert_eq!((field[28].as_str(), field[29].as_str()), ("Ambiguous", "BothTeClPresent"));
        lb.get("/").await;
        assert_eq!(accepted.load(Ordering::SeqCst), if ends { 2 } else { 1 }, "{mode}");
        let counted = "DesyncMitigationMode_NonCompliant_Request_Count_total{LoadBalancer=\"app/lb/1\"} 1\n";
        lb.logged(2).await;
        assert!(lb.running.metrics().contains(counted), "{mode}");
    }
}

#[tokio::test]
async fn a_folded_line_arrives_as_a_line_of_its_own() {
    let lb = Setup::new(&[echo().await]).start().await;
    let seen =
        lb.ask("GET / HTTP/1.1\r\nHost: a\r\nX-A: one\r\n two\r\n Host: b\r\nX-B: 1\r\n\r\n").await.body;
    assert!(seen.contains("\r\nX-A: one\r\ntwo: \r\nX-B: 1\r\n"), "{seen}");
    assert!(!seen.contains("Host: b"), "nothing gets in this way: {seen}");
}

#[tokio::test]
async fn who_waits_for_100_gets_an_answer_that_needs_no_body() {
    let actions = json!([{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "403"}}]);
    let lb = Setup { default_actions: actions, ..Setup::new(&[]) }.start().await;
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    let mut stream = lb.connect().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    // Whether a body follows nobody knows, so nothing else can.
    assert!(
        text.starts_with("HTTP/1.1 403 Forbidden\r\n") && text.contains("Connection: close\r\n"),
        "{text}"
    );
    // Nobody of HTTP/1.0 waits for it.
    let lb = Setup::new(&[echo().await]).start().await;
    let old = format!("{}abc", request.replace("HTTP/1.1", "HTTP/1.0"));
    let mut stream = lb.connect().await;
    stream.write_all(old.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && !text.contains("Expect"), "{text}");
}

#[tokio::test]
async fn an_idle_connection_to_a_target_ends_with_the_idle_timeout() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let watching = target(move |mut stream| {
        let tell = tell.clone();
        async move {
            while read_request(&mut stream).await.is_some() {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
            let _ = tell.send(());
        }
    })
    .await;
    let short = |setup: Setup| setup.with("idle_timeout.timeout_seconds", "1");
    let lb = short(Setup::new(&[watching])).start().await;
    let mut client = Client::of(short(https(watching))).await;
    assert_eq!((lb.get("/").await.status, client.ask(Client::get("/")).await.status), (200, 200));
    for _ in 0..2 {
        let ended = tokio::time::timeout(Duration::from_secs(40), told.recv()).await;
        assert_eq!(ended.expect("it is closed"), Some(()));
    }
}

#[tokio::test]
async fn clients_over_http2_are_told_of_the_end_of_the_deregistration_delay() {
    let delay = json!([{"Key": "deregistration_delay.timeout_seconds", "Value": "1"}]);
    let silent = target(|mut stream| async move {
        read_request(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    let setup = Setup { group: json!({"Attributes": delay}), ..https(silent) };
    let mut client = Client::with(setup.clone(), |b| b.health_checks(true)).await;
    let asked = client.sender.send_request(Client::get("/").body(NOTHING).unwrap());
    tokio::time::sleep(Duration::from_millis(300)).await;
    client.lb.running.reload(&Setup { targets: vec![echo().await], ..setup }.model()).unwrap();
    assert_eq!(asked.await.unwrap().status(), 502);
    assert_eq!(fields(&client.lb.logged(1).await)[5], silent.to_string());
    assert_eq!(client.ask(Client::get("/")).await.status, 200, "the connection goes on");
}
