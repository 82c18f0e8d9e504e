//! A WebSocket after its upgrade: bytes both ways until one side ends, nothing moves for the idle
//! timeout, the target is gone, or the load balancer goes down.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
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

/// Runs to the end of the tunnel. How it ends makes no difference to the load balancer.
pub(crate) async fn run(client: OnUpgrade, target: OnUpgrade, mut ends: Ends, clock: Clock) {
    let upgraded = tokio::time::timeout(ends.idle, async { tokio::try_join!(client, target) }).await;
    let Ok(Ok((client, target))) = upgraded else { return };
    let (client_read, client_write) = tokio::io::split(TokioIo::new(client));
    let (target_read, target_write) = tokio::io::split(TokioIo::new(target));
    let last = AtomicU64::new(clock.now().mono_ms);
    let moved = || last.store(clock.now().mono_ms, Ordering::Relaxed);
    let both = async {
        let _ =
            tokio::join!(pump(client_read, target_write, &moved), pump(target_read, client_write, &moved));
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
}

async fn pump<R, W>(mut from: R, mut to: W, moved: &impl Fn()) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        let Some(bytes) = buffer.get(..read).filter(|b| !b.is_empty()) else {
            return to.shutdown().await;
        };
        moved();
        to.write_all(bytes).await?;
        to.flush().await?;
    }
}
