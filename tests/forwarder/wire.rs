//! What passes, and how (spec: dataplane §6).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Setup, answers, echo, read_answer, read_request, target};

#[tokio::test]
async fn the_target_sees_the_client_and_the_client_the_target() {
    let lb = Setup::new(&[echo().await]).start().await;
    let answer = lb
        .ask(
            "GET /a?b=c HTTP/1.1\r\nHost: Example.COM\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: gopher\r\n\
             Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nX-CamelCase: Kept\r\nX_Under: 1\r\n\
             X-Amzn-Trace-Id: Root=1-a-b\r\nUpgrade: h2c\r\n\r\n",
        )
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("server"), Some("echo"), "the target's own");
    assert_eq!(answer.header("connection"), Some("keep-alive"));
    let seen = &answer.body;
    assert!(seen.starts_with("GET /a?b=c HTTP/1.1\r\nHost: example.com\r\n"), "{seen}");
    for line in [
        "X-Forwarded-For: 1.1.1.1, 127.0.0.1",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Port: 80",
        "X-CamelCase: Kept",
        "X_Under: 1",
    ] {
        assert!(seen.contains(&format!("\r\n{line}\r\n")), "{line}: {seen}");
    }
    assert!(seen.contains("\r\nX-Amzn-Trace-Id: Self=1-") && seen.contains(";Root=1-a-b\r\n"), "{seen}");
    for gone in ["X-Hop", "TE:", "Upgrade", "Connection", "gopher"] {
        assert!(!seen.contains(gone), "{gone}: {seen}");
    }
}

#[tokio::test]
async fn attributes_change_what_the_target_sees() {
    let target = echo().await;
    let ask = async |setup: Setup, lines: &str| {
        let lb = setup.start().await;
        lb.ask(&format!("GET / HTTP/1.1\r\nHost: Example.COM\r\n{lines}\r\n")).await.body
    };
    let setup = || Setup::new(&[target]);
    let seen = ask(setup().with("routing.http.preserve_host_header.enabled", "true"), "").await;
    assert!(seen.contains("Host: Example.COM\r\n"));
    let seen =
        ask(setup().with("routing.http.drop_invalid_header_fields.enabled", "true"), "X_A: 1\r\nX-B: 1\r\n")
            .await;
    assert!(!seen.contains("X_A") && seen.contains("X-B"));
    let xff = "X-Forwarded-For: 1.1.1.1\r\n";
    let seen = ask(setup().with("routing.http.xff_header_processing.mode", "preserve"), xff).await;
    assert!(seen.contains("\r\nX-Forwarded-For: 1.1.1.1\r\n"));
    let seen = ask(setup().with("routing.http.xff_header_processing.mode", "remove"), xff).await;
    assert!(!seen.contains("X-Forwarded-For"));
    let seen = ask(setup().with("routing.http.xff_client_port.enabled", "true"), xff).await;
    assert!(seen.contains("X-Forwarded-For: 1.1.1.1, 127.0.0.1:"));
}

#[tokio::test]
async fn connections_live_on_in_front_and_behind() {
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    let target = target(move |mut stream| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            while read_request(&mut stream).await.is_some() {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
        }
    })
    .await;
    let lb = Setup::new(&[target]).start().await;
    let mut stream = lb.connect().await;
    for _ in 0..10 {
        stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").await.unwrap();
        assert_eq!(read_answer(&mut stream, false).await.body, "ok");
    }
    // Other clients use the same connection.
    assert_eq!(lb.get("/").await.status, 200);
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
    // Two requests at once are answered one after the other.
    stream
        .write_all(
            b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        )
        .await
        .unwrap();
    let mut both = String::new();
    stream.read_to_string(&mut both).await.unwrap();
    assert_eq!(both.matches("HTTP/1.1 200 OK").count(), 2, "{both}");
    assert!(both.contains("Connection: close"));
}

#[tokio::test]
async fn bodies_are_framed_anew() {
    let echo = echo().await;
    let lb = Setup::new(&[echo]).start().await;
    let chunks = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nX-Trailer: 1\r\n\r\n";
    let seen = lb.ask(chunks).await.body;
    assert!(seen.contains("Transfer-Encoding: chunked\r\n"), "{seen}");
    assert!(seen.ends_with("\r\n\r\n3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"), "{seen}");
    for (sent, to_11, to_10) in [
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "abc",
        ),
        ("HTTP/1.0 200 OK\r\n\r\nabc", "3\r\nabc\r\n0\r\n\r\n", "abc"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef", "abc", "abc"),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
            "a",
            "a",
        ),
    ] {
        let lb = Setup::new(&[answers(sent).await]).start().await;
        assert_eq!(lb.get("/").await.body, to_11, "{sent}");
        let old = lb.ask("GET / HTTP/1.0\r\n\r\n").await;
        assert_eq!((old.body.as_str(), old.header("connection")), (to_10, Some("close")), "{sent}");
    }
    let lb = Setup::new(&[answers("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n").await]).start().await;
    let head = lb.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(head.header("content-length"), Some("7"));
    let lb = Setup::new(&[answers("HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n").await]).start().await;
    assert_eq!(lb.get("/").await.header("etag"), Some("x"));
}

#[tokio::test]
async fn simple_requests_of_http_0_9_get_a_body() {
    let lb = Setup::new(&[echo().await]).start().await;
    let mut stream = lb.connect().await;
    stream.write_all(b"GET /old\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("GET /old HTTP/1.1\r\nHost: lb.example.com\r\n"), "{text}");
}

#[tokio::test]
async fn who_expects_100_gets_it_at_once() {
    let lb = Setup::new(&[echo().await]).start().await;
    let mut stream = lb.connect().await;
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        .await
        .unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    let answer = read_answer(&mut stream, false).await;
    assert!(answer.body.ends_with("abc") && !answer.body.contains("Expect"), "{answer:?}");
}

#[tokio::test]
async fn websockets_are_tunnels() {
    let target = target(|mut stream| async move {
        let request = read_request(&mut stream).await.unwrap();
        assert!(request.contains("Upgrade: websocket\r\n") && request.contains("Sec-WebSocket-Key: x\r\n"), "{request}");
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: y\r\n\r\nhello";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut buffer = [0; 64];
        while let Ok(n) = stream.read(&mut buffer).await {
            if n == 0 || stream.write_all(&buffer[..n]).await.is_err() {
                return;
            }
        }
    })
    .await;
    let lb = Setup::new(&[target]).start().await;
    let mut stream = lb.connect().await;
    stream
        .write_all(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\nearly")
        .await
        .unwrap();
    let mut text = Vec::new();
    let mut buffer = [0; 1024];
    while !text.ends_with(b"helloearly") {
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(n > 0, "{}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&buffer[..n]);
    }
    let head = String::from_utf8_lossy(&text).into_owned();
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert!(
        head.contains("Sec-WebSocket-Accept: y")
            && head.contains("Connection: upgrade\r\nUpgrade: websocket")
    );
    for word in ["one", "two"] {
        stream.write_all(word.as_bytes()).await.unwrap();
        let n = stream.read(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..n], word.as_bytes());
    }
    drop(stream);
    assert!(lb.logged(1).await.starts_with("ws "));
}

#[tokio::test]
async fn slow_readers_slow_their_writers() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let target = target(move |mut stream| {
        let count = count.clone();
        async move {
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await.unwrap();
            let piece = vec![b'x'; 64 * 1024];
            while stream.write_all(&piece).await.is_ok() {
                count.fetch_add(piece.len(), Ordering::SeqCst);
            }
        }
    })
    .await;
    let lb = Setup::new(&[target]).start().await;
    let mut stream = lb.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let early = written.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let late = written.load(Ordering::SeqCst);
    assert_eq!(early, late, "the target still writes");
    assert!(late < 64 * 1024 * 1024, "{late}");
    let mut buffer = vec![0; 1 << 20];
    let mut read = 0;
    while read < late {
        read += stream.read(&mut buffer).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(written.load(Ordering::SeqCst) > late);
}

#[tokio::test]
async fn large_bodies_arrive_as_they_were_sent() {
    let body: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n".as_slice(), &body].concat();
    let lb = Setup::new(&[answers(answer).await]).start().await;
    let mut stream = lb.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    assert!(all.ends_with(&body));
    let uploaded = target(|mut stream| async move {
        let mut all = Vec::new();
        let mut buffer = vec![0; 65536];
        while all.len() < 3_000_000 {
            let n = stream.read(&mut buffer).await.unwrap();
            all.extend_from_slice(&buffer[..n]);
        }
        let sum: u64 = all.iter().rev().take(3_000_000 - 1000).map(|b| u64::from(*b)).sum();
        let text = sum.to_string();
        let answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = stream.read(&mut buffer).await;
    })
    .await;
    let lb = Setup::new(&[uploaded]).start().await;
    let mut stream = lb.connect().await;
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n").await.unwrap();
    stream.write_all(&body).await.unwrap();
    assert_eq!(read_answer(&mut stream, false).await.status, 200);
}

#[tokio::test]
async fn redirects_and_fixed_responses_keep_the_connection() {
    let rules = json!([{"Priority": "1",
        "Conditions": [{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/old"]}}],
        "Actions": [{"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}}]}]);
    let setup = Setup {
        rules,
        default_actions: json!([{"Type": "fixed-response",
            "FixedResponseConfig": {"StatusCode": "404", "ContentType": "text/plain", "MessageBody": "none"}}]),
        ..Setup::new(&[])
    };
    let lb = setup.start().await;
    let mut stream = lb.connect().await;
    stream
        .write_all(b"POST /old?x=1 HTTP/1.1\r\nHost: a.com\r\nContent-Length: 5\r\n\r\nabcde")
        .await
        .unwrap();
    let answer = read_answer(&mut stream, false).await;
    assert_eq!((answer.status, answer.header("location")), (301, Some("https://a.com:443/old?x=1")));
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.com\r\n\r\n").await.unwrap();
    let answer = read_answer(&mut stream, false).await;
    assert_eq!((answer.status, answer.body.as_str()), (404, "none"));
    assert!(lb.logged(1).await.contains("\"redirect\" \"https://a.com:443/old?x=1\""));
    assert!(lb.logged(2).await.contains("\"fixed-response\""));
}
