//! A WebSocket after its upgrade: bytes both ways until one side ends, nothing moves for the idle
//! timeout, the target is gone, or the load balancer goes down.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use super::clock::Clock;
use super::drain::Gone;

/// What ends a tunnel from outside.
pub(crate) struct Ends {
    pub(crate) gone: Gone,
    pub(crate) cut: watch::Receiver<bool>,
    pub(crate) idle: Duration,
}

/// One side of a tunnel: its connection, and the bytes for it that were read already.
pub(crate) struct Side<S> {
    pub(crate) stream: S,
    pub(crate) waiting: Vec<u8>,
}

/// Runs to the end of the tunnel; the bytes that came from the client and went to it. How it ends makes no
/// difference to the load balancer.
pub(crate) async fn run<S, T>(client: Side<S>, target: Side<T>, mut ends: Ends, clock: Clock) -> (u64, u64)
where
    S: AsyncRead + AsyncWrite,
    T: AsyncRead + AsyncWrite,
{
    let (client_read, client_write) = tokio::io::split(client.stream);
    let (target_read, target_write) = tokio::io::split(target.stream);
    let last = AtomicU64::new(clock.now().mono_ms);
    let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
    let moved = |count: &AtomicU64, bytes: usize| {
        count.fetch_add(bytes as u64, Ordering::Relaxed);
        last.store(clock.now().mono_ms, Ordering::Relaxed);
    };
    let both = async {
        let _ = tokio::join!(
            pump(client_read, target_write, target.waiting, |n| moved(&up, n)),
            pump(target_read, client_write, client.waiting, |n| moved(&down, n))
        );
    };
    let idle = u64::try_from(ends.idle.as_millis()).unwrap_or(u64::MAX);
    let silence = async {
        loop {
            let until = last.load(Ordering::Relaxed).saturating_add(idle);
            if clock.now().mono_ms >= until {
                return;
            }
            tokio::time::sleep_until(clock.instant(until)).await;
        }
    };
    tokio::select! {
        () = both => {}
        () = silence => {}
        () = ends.gone => {}
        _ = ends.cut.wait_for(|cut| *cut) => {}
    }
    (up.load(Ordering::Relaxed), down.load(Ordering::Relaxed))
}

async fn pump<R, W>(mut from: R, mut to: W, waiting: Vec<u8>, moved: impl Fn(usize)) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    to.write_all(&waiting).await?;
    to.flush().await?;
    moved(waiting.len());
    drop(waiting);
    let mut buffer = vec![0; 8 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        let Some(bytes) = buffer.get(..read).filter(|b| !b.is_empty()) else {
            return to.shutdown().await;
        };
        to.write_all(bytes).await?;
        to.flush().await?;
        moved(bytes.len());
    }
}
