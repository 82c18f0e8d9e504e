//! HTTP/2 connections to targets, shared by the requests of a worker: one for each target, and more where
//! that has as many streams as targets usually allow. A request keeps the client's `:authority`, whatever the
//! address of the target is (spec: dataplane §6.3).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use super::body::{BoxError, ClientBody};
use super::upstream::{ConnectError, Connector};

/// Streams at a time on one connection. RFC 9113 asks targets to allow no fewer; one that does lets requests
/// wait.
const STREAMS: usize = 100;

/// Where a connection leads, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) address: SocketAddr,
    pub(crate) source: Option<IpAddr>,
    pub(crate) https: bool,
}

/// The connections to one target. Whoever finds none with room connects; the others wait for that.
type Place = Arc<tokio::sync::Mutex<Vec<Shared>>>;

struct Shared {
    sender: SendRequest<ClientBody>,
    open: Arc<AtomicUsize>,
    /// How long it may be without a stream.
    until: Instant,
}

/// An open stream: takes room on its connection.
pub(crate) struct Stream(Arc<AtomicUsize>);

impl Stream {
    fn on(shared: &mut Shared, idle: Duration) -> Self {
        shared.until = Instant::now() + idle;
        shared.open.fetch_add(1, Ordering::Relaxed);
        Stream(shared.open.clone())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connections of one worker.
#[derive(Default)]
pub(crate) struct Http2Pool(Mutex<HashMap<Key, Place>>);

impl Http2Pool {
    /// Sends a request and waits for the head of its answer; the stream is to be kept until the body ends. A
    /// [`ConnectError`] is somewhere in the error if there was no connection. `idle` is how long the
    /// connection may wait for another one.
    pub(crate) async fn send(
        &self,
        key: Key,
        connector: &Connector,
        idle: Duration,
        mut request: Request<ClientBody>,
    ) -> Result<(Response<Incoming>, Stream), BoxError> {
        let mut again = true;
        loop {
            let (mut sender, stream) = self.sender(key, connector, idle).await?;
            let mut failed = match sender.try_send_request(request).await {
                Ok(answer) => return Ok((answer, stream)),
                Err(failed) => failed,
            };
            match failed.take_message() {
                // The target was about to close, and has not seen it.
                Some(unsent) if again => request = unsent,
                _ => return Err(failed.into_error().into()),
            }
            again = false;
        }
    }

    async fn sender(
        &self,
        key: Key,
        connector: &Connector,
        idle: Duration,
    ) -> Result<(SendRequest<ClientBody>, Stream), ConnectError> {
        let place = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(key).or_default().clone()
        };
        let mut place = place.lock().await;
        place.retain(|s| !s.sender.is_closed());
        if let Some(shared) = place.iter_mut().find(|s| s.open.load(Ordering::Relaxed) < STREAMS) {
            return Ok((shared.sender.clone(), Stream::on(shared, idle)));
        }
        let stream = connector.connect(key.address, key.https).await?;
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake(stream)
            .await
            .map_err(|e| ConnectError::Failed(std::io::Error::other(e)))?;
        // Ends when the target ends it, or when nobody holds a sender any more.
        tokio::spawn(connection);
        let mut shared = Shared { sender: sender.clone(), open: Arc::default(), until: Instant::now() };
        let stream = Stream::on(&mut shared, idle);
        place.push(shared);
        Ok((sender, stream))
    }

    /// Lets go of connections that are closed or were not needed for long.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, place| match place.try_lock() {
            Ok(mut place) => {
                place.retain(|s| {
                    let used = s.open.load(Ordering::Relaxed) > 0 || now < s.until;
                    used && !s.sender.is_closed()
                });
                !place.is_empty()
            }
            // Somebody is connecting.
            Err(_) => true,
        });
    }
}

impl std::fmt::Debug for Http2Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http2Pool").finish_non_exhaustive()
    }
}
