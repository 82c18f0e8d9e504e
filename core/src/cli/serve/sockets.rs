//! The sockets that a run listens on besides what it opens itself: taken over from the run before, and
//! given to the next one. Where there is no such thing as a Unix socket, every run opens its own.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use super::{Failure, ServeArgs};

#[cfg(unix)]
use super::handover::{self, Handed};

/// See the module.
pub(super) struct Sockets {
    secret: Option<[u8; 32]>,
    #[cfg(unix)]
    handed: Option<Handed>,
    #[cfg(unix)]
    kept: Vec<(String, std::os::fd::OwnedFd)>,
}

/// A process that asks for everything.
#[cfg(unix)]
pub(super) type Asking = std::os::unix::net::UnixStream;
#[cfg(not(unix))]
pub(super) type Asking = std::convert::Infallible;

impl Sockets {
    /// Takes over what the last run has, if one is there to be asked.
    pub(super) fn new(args: &ServeArgs) -> Result<Self, Failure> {
        #[cfg(not(unix))]
        {
            let _ = args;
            Ok(Sockets { secret: None })
        }
        #[cfg(unix)]
        {
            let handed = match &args.hand_over {
                Some(path) => Handed::take(path).map_err(|e| failed(path, &e))?,
                None => None,
            };
            Ok(Sockets { secret: handed.as_ref().map(|h| h.secret), handed, kept: Vec::new() })
        }
    }

    /// The key of the stickiness cookies.
    pub(super) fn secret(&mut self) -> Result<[u8; 32], Failure> {
        let secret = match self.secret {
            Some(secret) => secret,
            None => crate::forwarder::secret()?,
        };
        self.secret = Some(secret);
        Ok(secret)
    }

    /// What was handed over for a listener.
    pub(super) fn listener(&mut self, name: &str) -> Vec<TcpListener> {
        #[cfg(unix)]
        return self.handed.as_mut().map(|h| h.tcp(name)).unwrap_or_default();
        #[cfg(not(unix))]
        {
            let _ = name;
            Vec::new()
        }
    }

    /// A TCP socket that listens, ready for tokio.
    pub(super) fn tcp(&mut self, name: &str, address: SocketAddr) -> io::Result<TcpListener> {
        let handed = self.listener(name).into_iter().find(|s| s.local_addr().is_ok_and(|a| a == address));
        let socket = match handed {
            Some(socket) => socket,
            None => TcpListener::bind(address)?,
        };
        socket.set_nonblocking(true)?;
        #[cfg(unix)]
        self.kept.push((name.to_owned(), socket.try_clone()?.into()));
        Ok(socket)
    }

    /// A UDP socket, ready for tokio.
    pub(super) fn udp(&mut self, name: &str, address: SocketAddr) -> io::Result<UdpSocket> {
        #[cfg(unix)]
        let handed = self.handed.as_mut().and_then(|h| h.udp(name));
        #[cfg(not(unix))]
        let handed: Option<UdpSocket> = None;
        let handed = handed.filter(|s| s.local_addr().is_ok_and(|a| a == address));
        let socket = match handed {
            Some(socket) => socket,
            None => UdpSocket::bind(address)?,
        };
        socket.set_nonblocking(true)?;
        #[cfg(unix)]
        self.kept.push((name.to_owned(), socket.try_clone()?.into()));
        #[cfg(not(unix))]
        let _ = name;
        Ok(socket)
    }
}

#[cfg(unix)]
fn failed(path: &std::path::Path, error: &io::Error) -> Failure {
    Failure::Said(format!("cannot take over through `{}`: {error}", path.display()))
}

/// Waits for processes that ask.
pub(super) struct Waiting {
    #[cfg(unix)]
    at: Option<tokio::net::UnixListener>,
}

#[cfg(unix)]
impl Sockets {
    /// Tells the last run that this one serves.
    pub(super) fn ready(&mut self) -> Result<(), Failure> {
        match self.handed.take() {
            Some(handed) => {
                handed.ready().map_err(|e| Failure::Said(format!("the process before is gone: {e}")))
            }
            None => Ok(()),
        }
    }

    /// Begins to wait for the next run.
    #[allow(clippy::unused_self)] // who waits is ready
    pub(super) fn wait(&self, args: &ServeArgs) -> Result<Waiting, Failure> {
        let Some(path) = &args.hand_over else { return Ok(Waiting { at: None }) };
        let listener = handover::wait_at(path).and_then(tokio::net::UnixListener::from_std);
        Ok(Waiting { at: Some(listener.map_err(|e| failed(path, &e))?) })
    }

    /// Gives everything away; returns when it is served by the other process.
    pub(super) async fn give(&self, to: Asking, listeners: Vec<(String, TcpListener)>) -> io::Result<()> {
        let mut all: Vec<_> = listeners.into_iter().map(|(name, socket)| (name, socket.into())).collect();
        for (name, kept) in &self.kept {
            all.push((name.clone(), kept.try_clone()?));
        }
        let secret = self.secret.unwrap_or_default();
        tokio::task::spawn_blocking(move || handover::give(to, &all, secret)).await?
    }
}

#[cfg(unix)]
impl Waiting {
    pub(super) async fn next(&mut self) -> Asking {
        loop {
            let Some(listener) = &self.at else { return std::future::pending().await };
            match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
    }
}

#[cfg(not(unix))]
impl Sockets {
    pub(super) fn ready(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    pub(super) fn wait(&self, _: &ServeArgs) -> Result<Waiting, Failure> {
        Ok(Waiting {})
    }

    pub(super) async fn give(&self, to: Asking, _: Vec<(String, TcpListener)>) -> io::Result<()> {
        match to {}
    }
}

#[cfg(not(unix))]
impl Waiting {
    pub(super) async fn next(&mut self) -> Asking {
        std::future::pending().await
    }
}
