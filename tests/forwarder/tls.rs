//! TLS in front: SNI, policies, mutual TLS, HTTP/2 (spec: dataplane §6.5, §6.7).

use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use podway::forwarder::{CertificatePem, ClientAuth, SecurityPolicy, TlsConfig, TlsOptions};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::support::{Balancer, Setup, echo, read_answer};

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("Test authority")
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    pub(crate) fn issue(&self, name: &str) -> CertificatePem {
        self.issue_until(name, 4096)
    }

    /// A certificate that is good until the end of a year.
    pub(crate) fn issue_until(&self, name: &str, year: i32) -> CertificatePem {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 12, 31);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "A, Inc");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        CertificatePem {
            hosts: vec![name.to_owned()],
            chain: certificate.pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
            arn: Some(format!("arn:certificate/{name}")),
        }
    }
}

pub(crate) fn client_config(
    authority: &Authority,
    client: Option<&CertificatePem>,
    alpn: &[&[u8]],
) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&authority.pem()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match client {
        Some(pem) => builder
            .with_client_auth_cert(
                CertificateDer::pem_slice_iter(&pem.chain).map(Result::unwrap).collect(),
                PrivateKeyDer::from_pem_slice(&pem.key).unwrap(),
            )
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    config
}

pub(crate) fn server_name(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).unwrap()
}

pub(crate) async fn connect(
    lb: &Balancer,
    authority: &Authority,
    name: &str,
    client: Option<&CertificatePem>,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let config = client_config(authority, client, alpn);
    let stream = TcpStream::connect(lb.address).await?;
    TlsConnector::from(Arc::new(config)).connect(server_name(name), stream).await
}

async fn get(stream: &mut TlsStream<TcpStream>) -> String {
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a.example.com\r\nX-Amzn-Mtls-Clientcert-Subject: forged\r\n\r\n")
        .await
        .unwrap();
    read_answer(stream, false).await.body
}

pub(crate) fn https(target: std::net::SocketAddr) -> Setup {
    Setup { protocol: "HTTPS", port: 443, ..Setup::new(&[target]) }
}

#[tokio::test]
async fn each_name_gets_its_certificate_and_the_target_is_told() {
    let authority = Authority::new();
    let tls =
        TlsConfig::new(&[authority.issue("a.example.com"), authority.issue("*.wild.example.com")]).unwrap();
    let setup = https(echo().await).with("routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "true");
    let lb = setup.start_with(Some(tls), |b| b).await;
    for name in ["a.example.com", "b.wild.example.com"] {
        let seen = get(&mut connect(&lb, &authority, name, None, &[]).await.unwrap()).await;
        assert!(seen.contains("X-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n"), "{seen}");
        assert!(seen.contains("X-Amzn-Tls-Version: TLSv1.3\r\nX-Amzn-Tls-Cipher-Suite: TLS_AES_"), "{seen}");
    }
    let line = lb.logged(2).await;
    assert!(line.starts_with("https ") && line.contains(" TLSv1.3 "), "{line}");
    assert!(line.contains("\"b.wild.example.com\" \"arn:certificate/*.wild.example.com\""), "{line}");
    assert!(
        connect(&lb, &authority, "other.example.com", None, &[]).await.is_err(),
        "the default one is for another name"
    );
    let plain = lb.get("/").await;
    assert_eq!(plain.status, 400, "plain HTTP on the HTTPS port");
}

#[tokio::test]
async fn clients_without_a_trusted_certificate_stay_outside() {
    let (authority, other) = (Authority::new(), Authority::new());
    let options = TlsOptions {
        client_auth: ClientAuth::Verify { trust_store: authority.pem(), ignore_expiry: false },
        ..TlsOptions::default()
    };
    let tls = TlsConfig::with_options(&[authority.issue("a.example.com")], &options).unwrap();
    let setup = Setup { mutual: Some(json!({"Mode": "verify"})), ..https(echo().await) };
    let lb = setup.start_with(Some(tls), |b| b).await;
    let client = authority.issue("client.example.com");
    let seen = get(&mut connect(&lb, &authority, "a.example.com", Some(&client), &[]).await.unwrap()).await;
    assert!(seen.contains("X-Amzn-Mtls-Clientcert-Subject: CN=client.example.com,O=A\\, Inc\r\n"), "{seen}");
    assert!(seen.contains("X-Amzn-Mtls-Clientcert-Issuer: CN=Test authority"), "{seen}");
    assert!(seen.contains("X-Amzn-Mtls-Clientcert-Leaf: -----BEGIN%20CERTIFICATE-----%0A"), "{seen}");
    assert!(
        seen.contains("X-Amzn-Mtls-Clientcert-Validity: NotBefore=") && !seen.contains("forged"),
        "{seen}"
    );
    let stranger = other.issue("stranger.example.com");
    for client in [None, Some(&stranger)] {
        // In TLS 1.3 the client learns of it with its first read.
        if let Ok(mut stream) = connect(&lb, &authority, "a.example.com", client, &[]).await {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(read_answer(&mut stream, false).await.status, 0);
        }
    }
    assert!(
        lb.running.metrics().contains("ClientTLSNegotiationErrorCount_total{LoadBalancer=\"app/lb/1\"} 2")
    );
}

#[tokio::test]
async fn passthrough_hands_any_certificate_on_under_the_name_one_likes() {
    let (authority, other) = (Authority::new(), Authority::new());
    let options = TlsOptions { client_auth: ClientAuth::Passthrough, ..TlsOptions::default() };
    let tls = TlsConfig::with_options(&[authority.issue("a.example.com")], &options).unwrap();
    let setup = Setup { mutual: Some(json!({"Mode": "passthrough"})), ..https(echo().await) }
        .on_listener("routing.http.request.x_amzn_mtls_clientcert.header_name", "X-Client");
    let lb = setup.start_with(Some(tls), |b| b).await;
    let client = other.issue("client.example.com");
    let seen = get(&mut connect(&lb, &authority, "a.example.com", Some(&client), &[]).await.unwrap()).await;
    assert!(seen.contains("\r\nX-Client: -----BEGIN%20CERTIFICATE-----%0A"), "{seen}");
    let seen = get(&mut connect(&lb, &authority, "a.example.com", None, &[]).await.unwrap()).await;
    assert!(!seen.contains("BEGIN"), "{seen}");
}

#[tokio::test]
async fn nobody_else_may_tell_what_the_handshake_was() {
    let authority = Authority::new();
    let setup = |on: bool| {
        let setup = https(([127, 0, 0, 1], 1).into())
            .on_listener("routing.http.request.x_amzn_tls_version.header_name", "X-My-Version");
        if on {
            setup.with("routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "true")
        } else {
            setup
        }
    };
    let names = ["x-amzn-tls-cipher-suite", "x-amzn-mtls-clientcert-subject", "x-my-version"];
    for (on, alpn) in [(true, "h2"), (true, "http/1.1"), (false, "h2"), (false, "http/1.1")] {
        let tls = TlsConfig::new(&[authority.issue("a.example.com")]).unwrap();
        let setup = Setup { targets: vec![echo().await], ..setup(on) };
        let lb = setup.start_with(Some(tls), |b| b).await;
        let mut stream = connect(&lb, &authority, "a.example.com", None, &[alpn.as_bytes()]).await.unwrap();
        let seen = if alpn == "h2" {
            let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
            let (mut sender, connection) = handshake.await.unwrap();
            tokio::spawn(connection);
            let mut request = http::Request::builder().uri("https://a.example.com/");
            for name in names {
                request = request.header(name, "forged");
            }
            let request = request.body(Full::new(hyper::body::Bytes::new())).unwrap();
            let body = sender.send_request(request).await.unwrap().into_body();
            String::from_utf8_lossy(&body.collect().await.unwrap().to_bytes()).into_owned()
        } else {
            let forged: String = names.iter().map(|n| format!("{n}: forged\r\n")).collect();
            let request = format!("GET / HTTP/1.1\r\nHost: a.example.com\r\n{forged}\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            crate::support::read_answer(&mut stream, false).await.body
        };
        let seen = seen.to_ascii_lowercase();
        assert_eq!(seen.matches("forged").count(), if on { 0 } else { 3 }, "{alpn}: {seen}");
        assert_eq!(seen.contains("x-my-version: tlsv1.3"), on, "{alpn}: {seen}");
        assert_eq!(seen.contains("x-amzn-tls-cipher-suite: tls_aes"), on, "{alpn}: {seen}");
    }
}

#[tokio::test]
async fn a_policy_is_kept() {
    let authority = Authority::new();
    let policy = SecurityPolicy::from_name("ELBSecurityPolicy-FS-1-2-Res-2020-10").unwrap();
    let options = TlsOptions { policy, ..TlsOptions::default() };
    let tls = TlsConfig::with_options(&[authority.issue("a.example.com")], &options).unwrap();
    let lb = https(echo().await).start_with(Some(tls), |b| b).await;
    let stream = connect(&lb, &authority, "a.example.com", None, &[]).await.unwrap();
    assert_eq!(stream.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_2));
}

#[tokio::test]
async fn http2_in_front() {
    let authority = Authority::new();
    let tls = TlsConfig::new(&[authority.issue("a.example.com")]).unwrap();
    let lb = https(echo().await).start_with(Some(tls), |b| b).await;
    let stream = connect(&lb, &authority, "a.example.com", None, &[b"h2"]).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut ask = async |method: &str, content_type: &str, body: &'static str| {
        let request = http::Request::builder()
            .method(method)
            .uri("https://a.example.com/x?y=z")
            .header("content-type", content_type)
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(Full::new(hyper::body::Bytes::from_static(body.as_bytes())))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts, String::from_utf8_lossy(&body).into_owned())
    };
    let (parts, seen) = ask("POST", "text/plain", "hello").await;
    assert_eq!(parts.status, 200);
    assert!(seen.starts_with("POST /x?y=z HTTP/1.1\r\n") && seen.ends_with("hello"), "{seen}");
    assert!(seen.contains("cookie: a=1; b=2") && seen.contains("Host: a.example.com"), "{seen}");
    let (parts, _) = ask("POST", "application/grpc", "").await;
    assert_eq!(parts.status, 464, "gRPC to an HTTP/1 group");
    assert_eq!(parts.headers["grpc-status"], "2");
    let line = lb.logged(1).await;
    assert!(
        line.starts_with("h2 ") && line.contains("\"POST https://a.example.com:443/x?y=z HTTP/2.0\""),
        "{line}"
    );
    assert!(lb.logged(2).await.starts_with("grpcs "));
}

#[tokio::test]
async fn certificates_that_have_expired_pass_where_that_is_wanted() {
    let authority = Authority::new();
    let expired = authority.issue_until("client.example.com", 2001);
    for ignore_expiry in [false, true] {
        let verify = ClientAuth::Verify { trust_store: authority.pem(), ignore_expiry };
        let options = TlsOptions { client_auth: verify, ..TlsOptions::default() };
        let tls = TlsConfig::with_options(&[authority.issue("a.example.com")], &options).unwrap();
        let setup = Setup { mutual: Some(json!({"Mode": "verify"})), ..https(echo().await) };
        let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let sink = lines.clone();
        let log = move |line: &str| sink.lock().unwrap().push(line.to_owned());
        let lb = setup.start_with(Some(tls), |b| b.connection_log(log)).await;
        let mut status = 0;
        if let Ok(mut stream) = connect(&lb, &authority, "a.example.com", Some(&expired), &[]).await {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            status = read_answer(&mut stream, false).await.status;
        }
        assert_eq!(status, if ignore_expiry { 200 } else { 0 });
        let line = lines.lock().unwrap()[0].clone();
        let told = if ignore_expiry { " Success TID_" } else { " Failed:ClientCertExpired TID_" };
        assert!(line.contains(told), "{line}");
    }
}

/// What a target that speaks TLS accepts connections with, with this certificate.
pub(crate) fn acceptor(pem: &CertificatePem) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            CertificateDer::pem_slice_iter(&pem.chain).map(Result::unwrap).collect(),
            PrivateKeyDer::from_pem_slice(&pem.key).unwrap(),
        )
        .unwrap();
    Arc::new(config).into()
}

/// A target that speaks TLS and HTTP/1, with this certificate.
async fn secure(pem: &CertificatePem) -> std::net::SocketAddr {
    let acceptor = acceptor(pem);
    crate::support::target(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut bytes = [0; 4096];
            while tokio::io::AsyncReadExt::read(&mut stream, &mut bytes).await.is_ok_and(|n| n > 0) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn targets_certificates_are_verified_only_on_request() {
    let (authority, other) = (Authority::new(), Authority::named("Another authority"));
    let target = secure(&authority.issue("127.0.0.1")).await;
    let expired = secure(&authority.issue_until("somebody.else", 2001)).await;
    let group = json!({"Protocol": "HTTPS"});
    for (target, roots, status) in [
        (target, None, 200),
        (expired, None, 200),
        (target, Some(&authority), 200),
        (expired, Some(&authority), 502),
        (target, Some(&other), 502),
    ] {
        let setup = Setup { group: group.clone(), ..Setup::new(&[target]) };
        let verifying = |b: podway::forwarder::Builder| match roots {
            Some(roots) => b.verify_targets(&roots.pem()),
            None => b,
        };
        let lb = setup.start_with(None, verifying).await;
        for _ in 0..2 {
            assert_eq!(lb.get("/").await.status, status);
        }
        let line = lb.logged(1).await;
        assert_eq!(line.contains(" -1 -1 -1 502 - "), status == 502, "{line}");
    }
}

#[tokio::test]
async fn websockets_over_tls() {
    let authority = Authority::new();
    let switching =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello";
    let tls = TlsConfig::new(&[authority.issue("a.example.com")]).unwrap();
    let lb = https(crate::support::answers(switching).await).start_with(Some(tls), |b| b).await;
    let mut stream = connect(&lb, &authority, "a.example.com", None, &[]).await.unwrap();
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut text = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 101 ") && text.ends_with("\r\n\r\nhello"), "{text}");
    drop(stream);
    assert!(lb.logged(1).await.starts_with("wss "));
}
