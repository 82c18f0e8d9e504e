//! TLS in front, cut and bent on its way: how records arrive makes no difference, what is wrong is told, and
//! what is on its way when the reader is slow gets there.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::task::{Context, Poll};
use std::time::Duration;

use podway::forwarder::{ClientAuth, SecurityPolicy, TlsConfig, TlsOptions};
use rustls::crypto::cipher::{
    InboundOpaqueMessage, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, ProtocolVersion, SupportedCipherSuite,
};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Balancer, Setup, echo, read_answer, read_request, target};
use crate::tls::{Authority, client_config, https, server_name};

/// A connection that sends a few bytes at a time, and can spoil one.
#[derive(Debug)]
struct Bent {
    stream: TcpStream,
    at_a_time: usize,
    spoil: bool,
    rests: bool,
}

impl AsyncRead for Bent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Bent {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.rests = !self.rests;
        if self.rests {
            // The other side gets its turn, so that it sees the pieces.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut piece = bytes[..bytes.len().min(self.at_a_time)].to_vec();
        if let Some(last) = piece.last_mut().filter(|_| self.spoil) {
            *last ^= 1;
        }
        Pin::new(&mut self.stream).poll_write(cx, &piece)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn connect(
    lb: &Balancer,
    config: rustls::ClientConfig,
    at_a_time: usize,
) -> io::Result<TlsStream<Bent>> {
    let stream = TcpStream::connect(lb.address).await?;
    stream.set_nodelay(true)?;
    let bent = Bent { stream, at_a_time, spoil: false, rests: false };
    TlsConnector::from(Arc::new(config)).connect(server_name("a.example.com"), bent).await
}

async fn start(authority: &Authority, setup: Setup, options: &TlsOptions) -> Balancer {
    let tls = TlsConfig::with_options(&[authority.issue("a.example.com")], options).unwrap();
    setup.start_with(Some(tls), |b| b).await
}

fn only_tls12() -> TlsOptions {
    let policy = SecurityPolicy::from_name("ELBSecurityPolicy-FS-1-2-Res-2020-10").unwrap();
    TlsOptions { policy, ..TlsOptions::default() }
}

fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, request: &str) {
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n";

async fn post<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, body: &str) -> String {
    let request =
        format!("POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    send(stream, &request).await;
    let answer = read_answer(stream, false).await;
    assert!(answer.status == 200 && answer.whole, "{}", answer.head);
    answer.body
}

#[tokio::test]
async fn records_may_come_in_any_pieces() {
    let authority = Authority::new();
    // More than a record, and more than one read takes.
    let (long, longer) = ("x".repeat(40_000), "y".repeat(300_000));
    for options in [TlsOptions::default(), only_tls12()] {
        let lb = start(&authority, https(echo().await), &options).await;
        for (at_a_time, bodies) in
            [(1, vec!["", "short"]), (7, vec!["short", &long]), (16_411, vec![&long, &longer])]
        {
            let mut stream = connect(&lb, client_config(&authority, None, &[]), at_a_time).await.unwrap();
            for body in bodies {
                assert!(post(&mut stream, body).await.ends_with(body), "{at_a_time} at a time");
            }
        }
    }
}

#[tokio::test]
async fn keys_are_changed_when_the_client_asks() {
    let authority = Authority::new();
    let lb = start(&authority, https(echo().await), &TlsOptions::default()).await;
    for at_a_time in [1, 65_536] {
        let mut stream = connect(&lb, client_config(&authority, None, &[]), at_a_time).await.unwrap();
        for body in ["one", "two", "three"] {
            assert!(post(&mut stream, body).await.ends_with(body));
            stream.get_mut().1.refresh_traffic_keys().unwrap();
        }
        assert!(post(&mut stream, "four").await.ends_with("four"));
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_in_an_alert() {
    let authority = Authority::new();
    let lb = start(&authority, https(echo().await), &only_tls12()).await;
    let mut config = client_config(&authority, None, &[]);
    config.alpn_protocols = vec![b"h3".to_vec()];
    let refused = connect(&lb, config, 65_536).await.unwrap_err();
    assert_eq!(alert(&refused), Some(AlertDescription::NoApplicationProtocol), "{refused}");
    let lb = start(&authority, https(echo().await), &TlsOptions::default()).await;
    let mut stream = connect(&lb, client_config(&authority, None, &[]), 65_536).await.unwrap();
    assert!(post(&mut stream, "good").await.ends_with("good"));
    stream.get_mut().0.spoil = true;
    send(&mut stream, GET).await;
    let refused = stream.read(&mut [0; 16]).await.unwrap_err();
    assert_eq!(alert(&refused), Some(AlertDescription::BadRecordMac), "{refused}");
}

/// A client that writes records as no TLS library would, with the keys of one that shook hands.
struct Forger {
    stream: TcpStream,
    write: (Box<dyn MessageEncrypter>, u64),
    read: (Box<dyn MessageDecrypter>, u64),
}

impl Forger {
    async fn connect(lb: &Balancer, authority: &Authority) -> Self {
        let mut config = client_config(authority, None, &[]);
        config.enable_secret_extraction = true;
        let mut stream = connect(lb, config, 65_536).await.unwrap();
        // Once there and back: nothing is on its way then.
        assert!(post(&mut stream, "good").await.ends_with("good"));
        let (bent, connection) = stream.into_inner();
        let Some(SupportedCipherSuite::Tls13(suite)) = connection.negotiated_cipher_suite() else {
            panic!("not TLS 1.3")
        };
        let parts = |secrets| match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv }
            | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
            | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
            _ => panic!("another cipher"),
        };
        let secrets = connection.dangerous_extract_secrets().unwrap();
        let ((tx, write), (rx, read)) = (secrets.tx, secrets.rx);
        let (key, iv) = parts(read);
        let read = (suite.aead_alg.decrypter(key, iv), rx);
        let (key, iv) = parts(write);
        let mut forger = Forger { stream: bent.stream, write: (suite.aead_alg.encrypter(key, iv), 0), read };
        // The cipher insists on numbers that begin at 0.
        while forger.write.1 < tx {
            forger.seal(ContentType::ApplicationData, b"");
        }
        forger
    }

    fn seal(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        let (encrypter, number) = &mut self.write;
        let (version, payload) = (ProtocolVersion::TLSv1_2, OutboundChunks::Single(payload));
        let sealed = encrypter.encrypt(OutboundPlainMessage { typ, version, payload }, *number).unwrap();
        *number += 1;
        sealed.encode()
    }

    /// Sends records, all at once.
    async fn send(&mut self, records: &[(ContentType, &[u8])]) {
        let wire = records.iter().flat_map(|(typ, payload)| self.seal(*typ, payload)).collect::<Vec<u8>>();
        self.stream.write_all(&wire).await.unwrap();
    }

    /// Reads to the end; what kinds of records there were, and of the last one the content.
    async fn read(&mut self) -> (Vec<ContentType>, Vec<u8>) {
        let (mut kinds, mut last) = (Vec::new(), Vec::new());
        let mut head = [0; 5];
        while self.stream.read_exact(&mut head).await.is_ok() {
            let mut sealed = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
            self.stream.read_exact(&mut sealed).await.unwrap();
            let (decrypter, number) = &mut self.read;
            let (typ, version) = (ContentType::ApplicationData, ProtocolVersion::TLSv1_2);
            let opened =
                decrypter.decrypt(InboundOpaqueMessage::new(typ, version, &mut sealed), *number).unwrap();
            *number += 1;
            kinds.push(opened.typ);
            last = opened.payload.to_vec();
        }
        (kinds, last)
    }
}

/// Panics within rustls so far: it is asked nothing that it cannot answer.
fn panics_of_rustls() -> usize {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let within = panic.location().is_some_and(|at| at.file().contains("rustls-"));
            SEEN.fetch_add(usize::from(within), Ordering::Relaxed);
            before(panic);
        }));
    });
    SEEN.load(Ordering::Relaxed)
}

/// What no TLS library sends ends the connection; the request that it met has a line of its own.
#[tokio::test]
async fn forged_records_end_the_connection_and_nothing_else() {
    use rustls::ContentType::{Alert, ApplicationData, Handshake};
    assert_eq!(panics_of_rustls(), 0);
    let authority = Authority::new();
    let lb = start(&authority, https(echo().await), &TlsOptions::default()).await;
    let request: &[u8] = b"POST /begun HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 10\r\n\r\nabc";
    // The beginning of a handshake message with data after it, for which rustls has no alert; and two messages in
    // one record, of which the first is none that a client may send.
    let (begins, two): (&[u8], &[u8]) = (&[24], &[20, 0, 0, 0, 24, 0, 0, 1, 0]);
    let forged: [(&[_], _); 2] = [
        (&[(Handshake, begins), (ApplicationData, b"x")], None),
        (&[(Handshake, two)], Some(AlertDescription::UnexpectedMessage)),
    ];
    for (records, alert) in forged {
        for in_a_request in [false, true] {
            let mut forger = Forger::connect(&lb, &authority).await;
            if in_a_request {
                forger.send(&[(ApplicationData, request)]).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            forger.send(records).await;
            let (kinds, last) = forger.read().await;
            let told = alert.map(|alert| (vec![Alert], vec![2, alert.into()]));
            assert_eq!((kinds, last), told.unwrap_or_default(), "{records:?}, in a request: {in_a_request}");
        }
    }
    // Four that were good, and two that had begun.
    for request in 1..=6 {
        lb.logged(request).await;
    }
    assert_eq!(panics_of_rustls(), 0);
    let mut stream = connect(&lb, client_config(&authority, None, &[]), 65_536).await.unwrap();
    assert!(post(&mut stream, "still there").await.ends_with("still there"));
}

#[tokio::test]
async fn a_handshake_of_several_records() {
    let authority = Authority::new();
    let options = TlsOptions { client_auth: ClientAuth::Passthrough, ..TlsOptions::default() };
    let setup = Setup { mutual: Some(json!({"Mode": "passthrough"})), ..https(echo().await) };
    let lb = start(&authority, setup, &options).await;
    // Some 25 KB: a record holds 16.
    let mut client = authority.issue("client.example.com");
    let once = client.chain.clone();
    for _ in 0..60 {
        client.chain.extend_from_slice(&once);
    }
    for at_a_time in [1_000, 65_536] {
        let mut stream =
            connect(&lb, client_config(&authority, Some(&client), &[]), at_a_time).await.unwrap();
        send(&mut stream, GET).await;
        let answer = read_answer(&mut stream, false).await;
        assert_eq!(answer.status, 200, "{}", answer.head);
        assert!(answer.body.contains("X-Amzn-Mtls-Clientcert: -----BEGIN"));
    }
}

#[tokio::test]
async fn a_session_that_is_taken_up_again_knows_its_host() {
    let authority = Authority::new();
    for (options, version) in
        [(TlsOptions::default(), ProtocolVersion::TLSv1_3), (only_tls12(), ProtocolVersion::TLSv1_2)]
    {
        let lb = start(&authority, https(echo().await), &options).await;
        let config = client_config(&authority, None, &[]);
        for request in 1..=2 {
            let mut stream = connect(&lb, config.clone(), 65_536).await.unwrap();
            assert!(post(&mut stream, "").await.contains("a.example.com"));
            assert_eq!(stream.get_ref().1.protocol_version(), Some(version));
            let line = lb.logged(request).await;
            let certificate = if request == 1 { "arn:certificate/a.example.com" } else { "session-reused" };
            assert!(line.contains(&format!("\"a.example.com\" \"{certificate}\"")), "{line}");
        }
    }
}

/// More than a reader with small buffers has on its way at a time.
const MUCH: usize = 300_000;

/// Answers with `MUCH`, of which it keeps the last byte until `ends`.
async fn much(ends: bool) -> std::net::SocketAddr {
    target(move |mut stream| async move {
        while read_request(&mut stream).await.is_some() {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {MUCH}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&[b'm'; MUCH - 1]).await.unwrap();
            if ends {
                stream.write_all(b"m").await.unwrap();
            } else {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
        }
    })
    .await
}

/// Reads a head and `length` bytes after it.
async fn read_slowly<S: AsyncRead + Unpin>(stream: &mut S, length: usize) {
    let mut bytes = Vec::new();
    let mut sip = [0; 8 * 1024];
    loop {
        let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
        if head.is_some_and(|head| bytes.len() >= head + length) {
            return;
        }
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut sip));
        let n = read.await.unwrap_or_else(|_| panic!("stuck after {}", bytes.len())).unwrap();
        assert!(n > 0, "ended after {}", bytes.len());
        bytes.extend_from_slice(&sip[..n]);
        // Whoever sends has filled the buffers again.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_slow_reader_gets_all_that_the_target_has_sent() {
    let authority = Authority::new();
    for ends in [true, false] {
        let lb = start(&authority, https(much(ends).await), &TlsOptions::default()).await;
        // What is accepted has the buffers of the socket that listens.
        for socket in lb.running.sockets(lb.listener).unwrap() {
            socket2::SockRef::from(&socket).set_send_buffer_size(8 * 1024).unwrap();
        }
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        let stream = socket.connect(lb.address).await.unwrap();
        let config = Arc::new(client_config(&authority, None, &[]));
        let mut stream =
            TlsConnector::from(config).connect(server_name("a.example.com"), stream).await.unwrap();
        for _ in 0..if ends { 3 } else { 1 } {
            send(&mut stream, GET).await;
            read_slowly(&mut stream, if ends { MUCH } else { MUCH - 1 }).await;
        }
    }
}

#[tokio::test]
async fn a_goodbye_before_the_answer_is_460_and_after_its_beginning_nothing() {
    let authority = Authority::new();
    let slow = target(|mut stream| async move {
        let Some(request) = read_request(&mut stream).await else { return };
        if request.starts_with("GET /begun ") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nbeg").await.unwrap();
        }
        // Long enough for the goodbye to be there.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let _ = stream.write_all(b"run").await;
    })
    .await;
    let lb = start(&authority, https(slow), &TlsOptions::default()).await;
    let mut stream = connect(&lb, client_config(&authority, None, &[]), 65_536).await.unwrap();
    send(&mut stream, "GET /begun HTTP/1.1\r\nHost: a.example.com\r\n\r\n").await;
    let mut begun = [0; 512];
    let n = stream.read(&mut begun).await.unwrap();
    assert!(begun[..n].starts_with(b"HTTP/1.1 200 OK\r\n"));
    stream.shutdown().await.unwrap();
    let mut rest = begun[..n].to_vec();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"\r\n\r\nbegrun"), "{}", String::from_utf8_lossy(&rest));
    let mut stream = connect(&lb, client_config(&authority, None, &[]), 65_536).await.unwrap();
    send(&mut stream, GET).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Only TLS ends; the connection beneath stays as it is.
    stream.get_mut().1.send_close_notify();
    stream.flush().await.unwrap();
    let line = lb.logged(2).await;
    assert!(line.contains(" -1 -1 460 - "), "{line}");
}
