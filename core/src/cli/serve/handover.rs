//! Restarts without a gap: a new process takes over the listening sockets of the old one, through a Unix
//! socket that both know. Who has a listening socket gets the clients that wait on it, so that none is
//! refused, whichever of the two accepts.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Deserialize, Serialize};

/// The system passes no more than 253 descriptors with one message.
const MOST: usize = 253;
/// Either side waits this long for the other: the new one makes itself ready in the meantime.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the new process says when it serves.
const READY: &[u8] = b"ready";

/// What goes along with the descriptors.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Letter {
    /// What each socket is, in the order of the descriptors.
    names: Vec<String>,
    /// Keeps stickiness cookies good.
    secret: [u8; 32],
}

/// What an old process has left.
#[derive(Debug)]
pub(super) struct Handed {
    sockets: HashMap<String, Vec<OwnedFd>>,
    pub(super) secret: [u8; 32],
    old: UnixStream,
}

impl Handed {
    /// Asks whoever serves `path`; `None` if nobody does.
    pub(super) fn take(path: &Path) -> io::Result<Option<Self>> {
        let mut old = match UnixStream::connect(path) {
            Ok(old) => old,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        old.set_read_timeout(Some(PATIENCE))?;
        let mut length = [0; 4];
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let got = rustix::net::recvmsg(
            &old,
            &mut [IoSliceMut::new(&mut length)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let mut descriptors = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                descriptors.extend(some);
            }
        }
        if got.bytes != length.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut letter = vec![0; u32::from_le_bytes(length) as usize];
        old.read_exact(&mut letter)?;
        let letter: Letter = serde_json::from_slice(&letter)?;
        let mut sockets: HashMap<String, Vec<OwnedFd>> = HashMap::new();
        for (name, descriptor) in letter.names.into_iter().zip(descriptors) {
            sockets.entry(name).or_default().push(descriptor);
        }
        Ok(Some(Handed { sockets, secret: letter.secret, old }))
    }

    /// The listening sockets of this name; none, if there were none.
    pub(super) fn tcp(&mut self, name: &str) -> Vec<TcpListener> {
        self.sockets.remove(name).into_iter().flatten().map(TcpListener::from).collect()
    }

    /// The UDP socket of this name.
    pub(super) fn udp(&mut self, name: &str) -> Option<UdpSocket> {
        self.sockets.remove(name)?.into_iter().next().map(UdpSocket::from)
    }

    /// Tells the old process that it can go.
    pub(super) fn ready(mut self) -> io::Result<()> {
        self.old.write_all(READY)
    }
}

/// Waits at `path` for a process that takes over; in the place of whoever waited there before.
pub(super) fn wait_at(path: &Path) -> io::Result<UnixListener> {
    // A new name that is moved over the old one, so that there is always somebody to be asked.
    let fresh = path.with_extension("new");
    match std::fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh)?;
    // Who can connect can take everything.
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&fresh, path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Gives the sockets away and waits until they are served. Blocks.
pub(super) fn give(stream: UnixStream, sockets: &[(String, OwnedFd)], secret: [u8; 32]) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    if sockets.len() > MOST {
        return Err(io::Error::other(format!("{} sockets cannot be handed over at once", sockets.len())));
    }
    let names = sockets.iter().map(|(name, _)| name.clone()).collect();
    let letter = serde_json::to_vec(&Letter { names, secret })?;
    let length = u32::try_from(letter.len()).map_err(io::Error::other)?.to_le_bytes();
    let descriptors: Vec<_> = sockets.iter().map(|(_, fd)| fd.as_fd()).collect();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("the sockets do not fit"));
    }
    rustix::net::sendmsg(&stream, &[IoSlice::new(&length)], &mut ancillary, SendFlags::empty())?;
    let mut stream = stream;
    stream.write_all(&letter)?;
    let mut said = [0; READY.len()];
    stream.read_exact(&mut said)?;
    if said == READY { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_arrive_with_their_names_and_the_clients_that_wait() {
        let folder = std::env::temp_dir().join(format!("podway-handover-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        assert!(Handed::take(&path).unwrap().is_none());
        let waiting = wait_at(&path).unwrap();
        waiting.set_nonblocking(false).unwrap();
        let (one, two) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let (address, other) = (one.local_addr().unwrap(), two.local_addr().unwrap());
        let client = std::net::TcpStream::connect(address).unwrap();
        let old = std::thread::spawn(move || {
            let (stream, _) = waiting.accept().unwrap();
            give(stream, &[("web 80".to_owned(), one.into()), ("dns".to_owned(), two.into())], [7; 32])
        });
        let mut handed = Handed::take(&path).unwrap().unwrap();
        assert_eq!(handed.secret, [7; 32]);
        let sockets = handed.tcp("web 80");
        assert_eq!(sockets[0].accept().unwrap().1, client.local_addr().unwrap());
        assert_eq!(handed.udp("dns").unwrap().local_addr().unwrap(), other);
        assert!(handed.tcp("nothing").is_empty());
        handed.ready().unwrap();
        old.join().unwrap().unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
