//! Clients over HTTP/2 that fall silent, and do not answer when they are asked to leave.

use std::time::Duration;

use podway::forwarder::TlsConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Balancer, echo, read_request, target};
use crate::tls::{Authority, connect, https};

/// An empty SETTINGS.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

async fn start(target: std::net::SocketAddr) -> (Authority, Balancer) {
    let authority = Authority::new();
    let tls = TlsConfig::new(&[authority.issue("a.example.com")]).unwrap();
    let setup = https(target).with("idle_timeout.timeout_seconds", "1");
    let lb = setup.start_with(Some(tls), |b| b).await;
    (authority, lb)
}

/// Says hello and then `more`, reads and answers nothing; how many bytes came before the end.
async fn silent(lb: &Balancer, authority: &Authority, more: &[u8]) -> usize {
    let mut stream = connect(lb, authority, "a.example.com", None, &[b"h2"]).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&SETTINGS).await.unwrap();
    stream.write_all(more).await.unwrap();
    let mut came = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut came)).await;
    let _ = ended.expect("the connection ends");
    came.len()
}

#[tokio::test]
async fn who_does_not_answer_a_ping_is_left() {
    let (authority, lb) = start(echo().await).await;
    assert!(silent(&lb, &authority, b"").await > 0, "it was asked to leave");
}

#[tokio::test]
async fn who_takes_no_more_of_an_answer_is_left() {
    let much = target(|mut stream| async move {
        while read_request(&mut stream).await.is_some() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n").await;
            let _ = stream.write_all(&[b'm'; 300_000]).await;
        }
    })
    .await;
    let (authority, lb) = start(much).await;
    // GET https://a.example.com/ on stream 1, in headers of HPACK's static table.
    let mut request = vec![0, 0, 18, 1, 5, 0, 0, 0, 1, 0x82, 0x84, 0x87, 0x41, 13];
    request.extend_from_slice(b"a.example.com");
    let came = silent(&lb, &authority, &request).await;
    // As much as the windows of a client allow that says nothing.
    assert!((65_535..100_000).contains(&came), "{came}");
    assert!(lb.logged(1).await.contains("a.example.com"), "the request has its line");
}

#[tokio::test]
async fn as_many_streams_as_the_load_balancer_takes() {
    let (authority, lb) = start(echo().await).await;
    let mut stream = connect(&lb, &authority, "a.example.com", None, &[b"h2"]).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&SETTINGS).await.unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "SETTINGS come first");
    let mut settings = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    stream.read_exact(&mut settings).await.unwrap();
    let most = settings.chunks_exact(6).find(|s| s[..2] == [0, 3]).expect("a limit");
    assert_eq!(most[2..], 128u32.to_be_bytes());
}
