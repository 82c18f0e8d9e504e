//! HTTP/2 connections to targets: one for each target, shared by all requests of a worker. A request keeps
//! the client's `:authority`, whatever the address of the target is (spec: dataplane §6.3).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use super::body::{BoxError, ClientBody};
use super::upstream::{ConnectError, Connector};

/// Where a connection leads, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) address: SocketAddr,
    pub(crate) source: Option<IpAddr>,
    pub(crate) https: bool,
}

/// The place of one connection. Whoever finds it empty connects; the others wait for that.
type Place = Arc<tokio::sync::Mutex<Option<Shared>>>;

struct Shared {
    sender: SendRequest<ClientBody>,
    last: Instant,
}

/// The connections of one worker.
#[derive(Default)]
pub(crate) struct Http2Pool(Mutex<HashMap<Key, Place>>);

impl Http2Pool {
    /// Sends a request and waits for the head of its answer. A [`ConnectError`] is somewhere in the error if
    /// there was no connection.
    pub(crate) async fn send(
        &self,
        key: Key,
        connector: &Connector,
        mut request: Request<ClientBody>,
    ) -> Result<Response<Incoming>, BoxError> {
        let mut again = true;
        loop {
            let mut sender = self.sender(key, connector).await?;
            let mut failed = match sender.try_send_request(request).await {
                Ok(answer) => return Ok(answer),
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

    async fn sender(&self, key: Key, connector: &Connector) -> Result<SendRequest<ClientBody>, ConnectError> {
        let place = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(key).or_default().clone()
        };
        let mut place = place.lock().await;
        if let Some(shared) = place.as_mut().filter(|s| !s.sender.is_closed()) {
            shared.last = Instant::now();
            return Ok(shared.sender.clone());
        }
        *place = None;
        let stream = connector.connect(key.address, key.https).await?;
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake(stream)
            .await
            .map_err(|e| ConnectError::Failed(std::io::Error::other(e)))?;
        // Ends when the target ends it, or when nobody holds a sender any more.
        tokio::spawn(connection);
        *place = Some(Shared { sender: sender.clone(), last: Instant::now() });
        Ok(sender)
    }

    /// Lets go of connections that are closed or were not needed for long. Streams that are open go on.
    pub(crate) fn sweep(&self, idle: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, place| match place.try_lock() {
            Ok(place) => place.as_ref().is_some_and(|s| !s.sender.is_closed() && s.last.elapsed() < idle),
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
