//! What can go wrong, and what clients see of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Setup, answers, echo, read_answer, read_request, target};

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_for_the_client() {
    for cut in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let lb = Setup::new(&[answers(cut).await]).start().await;
        let answer = lb.get("/").await;
        assert_eq!((answer.status, answer.whole), (200, false), "{cut}");
    }
}

#[tokio::test]
async fn a_target_may_answer_before_it_has_read_everything() {
    let hasty = target(|mut stream| async move {
        let mut buffer = [0; 100];
        let _ = stream.read(&mut buffer).await;
        let _ = stream
            .write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
            .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    })
    .await;
    let lb = Setup::new(&[hasty]).start().await;
    let mut stream = lb.connect().await;
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\nabc").await.unwrap();
    let answer = read_answer(&mut stream, false).await;
    assert_eq!((answer.status, answer.body.as_str()), (413, "big"));
}

#[tokio::test]
async fn connections_that_targets_closed_are_not_used_again() {
    // Closes every connection after its first answer, without saying so.
    let lb = Setup::new(&[answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await]).start().await;
    for _ in 0..20 {
        assert_eq!(lb.get("/").await.status, 200);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn half_closed_clients_get_the_answer_that_has_begun() {
    let slow = target(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab").await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let _ = stream.write_all(b"cd").await;
    })
    .await;
    let lb = Setup::new(&[slow]).start().await;
    let mut stream = lb.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut first = [0; 15];
    stream.read_exact(&mut first).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("abcd"), "{rest}");
}

#[tokio::test]
async fn too_many_connections_are_turned_away() {
    let setup = Setup::new(&[echo().await]);
    let lb = setup.start_with(None, |b| b.max_connections(2)).await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = lb.connect().await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(read_answer(&mut stream, false).await.status, 200);
        kept.push(stream);
    }
    assert_eq!(lb.get("/").await.status, 0);
    assert!(lb.running.metrics().contains("RejectedConnectionCount_total{LoadBalancer=\"app/lb/1\"} 1"));
    drop(kept);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(lb.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_swapped_a_hundred_times_a_second_lose_nothing() {
    let setup = Setup::new(&[echo().await, echo().await]);
    let lb = Arc::new(setup.start().await);
    let stop = Arc::new(AtomicBool::new(false));
    let (good, bad) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (lb, stop, good, bad) = (lb.clone(), stop.clone(), good.clone(), bad.clone());
            tokio::spawn(async move {
                let mut stream = lb.connect().await;
                while !stop.load(Ordering::Relaxed) {
                    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
                    let ok = read_answer(&mut stream, false).await.status == 200;
                    (if ok { &good } else { &bad }).fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    // One of the targets comes and goes; the other one stays.
    for i in 0..100 {
        let mut next = setup.clone();
        next.targets.truncate(1 + i % 2);
        lb.running.reload(&next.model()).unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let (good, bad) = (good.load(Ordering::Relaxed), bad.load(Ordering::Relaxed));
    assert!(good > 100 && bad == 0, "{good} good, {bad} bad");
}

#[tokio::test]
async fn endless_chunks_are_passed_on_and_held_nowhere() {
    let read = Arc::new(AtomicUsize::new(0));
    let count = read.clone();
    let sink = target(move |mut stream| {
        let count = count.clone();
        async move {
            let mut buffer = vec![0; 65536];
            while let Ok(n) = stream.read(&mut buffer).await {
                if n == 0 {
                    return;
                }
                count.fetch_add(n, Ordering::Relaxed);
            }
        }
    })
    .await;
    let lb = Setup::new(&[sink]).start().await;
    let mut stream = lb.connect().await;
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    for _ in 0..1000 {
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    drop(stream);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(read.load(Ordering::Relaxed) >= 1000 * 0x8000, "{}", read.load(Ordering::Relaxed));
}

#[tokio::test]
async fn sockets_are_handed_over_without_a_gap() {
    let setup = Setup::new(&[echo().await]);
    let old = setup.start().await;
    let sockets = old.running.sockets(old.listener).unwrap();
    let address = old.address;
    // A client connects before the new one is there and speaks after the old one has gone.
    let new = setup.start().await;
    let adopted = new.running.adopt(new.listener, sockets, None).unwrap();
    assert_eq!(adopted, address);
    let drained = tokio::spawn(old.running.shutdown(Duration::from_secs(5)));
    for _ in 0..50 {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(read_answer(&mut stream, false).await.status, 200);
    }
    assert_eq!(drained.await.unwrap().cut, 0);
}

#[tokio::test]
async fn requests_finish_while_the_rest_goes() {
    let slow = target(|mut stream| async move {
        read_request(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    })
    .await;
    let lb = Setup::new(&[slow]).start().await;
    let mut stream = lb.connect().await;
    let mut idle = lb.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(read_answer(&mut idle, false).await.status, 200);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let drained = tokio::spawn(lb.running.shutdown(Duration::from_secs(5)));
    let answer = read_answer(&mut stream, false).await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")));
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0, "nothing was asked on it");
    let drained = drained.await.unwrap();
    assert_eq!((drained.connections, drained.requests, drained.cut), (2, 1, 0));
}

#[tokio::test]
async fn a_client_that_ends_its_side_within_a_head_is_told() {
    let lb = Setup::new(&[echo().await]).start().await;
    let mut stream = lb.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = read_answer(&mut stream, false).await;
    assert_eq!((answer.status, answer.header("connection")), (400, Some("close")));
    // The one that is gone altogether has its line too; the one that has said nothing has none.
    for begun in [&b"GET / HT"[..], b""] {
        let mut stream = lb.connect().await;
        stream.write_all(begun).await.unwrap();
        stream.set_zero_linger().unwrap();
    }
    for n in 1..=2 {
        let line = lb.logged(n).await;
        assert!(
            line.contains(" - -1 -1 -1 400 - ") && line.contains("\"- http://lb.example.com:80- -\""),
            "{line}"
        );
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(lb.log.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn who_is_slow_is_not_silent() {
    // A byte now and then, for longer than anybody may be silent: both ways.
    let trickling = target(|mut stream| async move {
        let mut request = Vec::new();
        while !request.ends_with(b"last") {
            let mut piece = [0; 64];
            let n = stream.read(&mut piece).await.unwrap();
            assert!(n > 0);
            request.extend_from_slice(&piece[..n]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n").await.unwrap();
        for byte in b"drop by drop" {
            tokio::time::sleep(Duration::from_millis(250)).await;
            stream.write_all(&[*byte]).await.unwrap();
        }
    })
    .await;
    let lb = Setup::new(&[trickling]).with("idle_timeout.timeout_seconds", "2").start().await;
    let mut stream = lb.connect().await;
    for piece in "POST / HTTP/1.1\r\n|Host: a\r\n|Content-Length: 12\r\n|\r\n|dr|op| |by| |last".split('|') {
        stream.write_all(piece.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let answer = read_answer(&mut stream, false).await;
    assert_eq!((answer.status, answer.body.as_str(), answer.whole), (200, "drop by drop", true));
}

#[tokio::test]
async fn slow_bodies_keep_nobody_waiting() {
    let lb = Setup::new(&[echo().await]).with("idle_timeout.timeout_seconds", "1").start().await;
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = lb.connect().await;
        stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nslow").await.unwrap();
        slow.push(stream);
    }
    for _ in 0..50 {
        assert_eq!(lb.get("/").await.status, 200);
    }
    for mut stream in slow {
        assert_eq!(read_answer(&mut stream, false).await.status, 408);
    }
}

#[tokio::test]
async fn a_target_may_end_its_side_and_be_answered_no_more() {
    // It says how long its answer is and then only listens; the answer is whole all the same.
    let half = target(|mut stream| async move {
        while read_request(&mut stream).await.is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            stream.shutdown().await.unwrap();
        }
    })
    .await;
    let lb = Setup::new(&[half]).start().await;
    for _ in 0..5 {
        assert_eq!(lb.get("/").await.body, "ok");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Without an answer it has failed.
    let mute = target(|mut stream| async move {
        read_request(&mut stream).await;
        stream.shutdown().await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    assert_eq!(Setup::new(&[mute]).start().await.get("/").await.status, 502);
}
