//! TLS in front and behind. rustls stays in here and in `tls_stream`/`upstream`: no type of it is public.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, CommonState, DigitallySignedStruct, ServerConfig, SignatureScheme};

use super::StartError;
use super::client_cert::{self, ClientCertificate};
use super::policy::{self, SecurityPolicy};
use super::settings::{ListenerSettings, MutualTls};

/// A certificate chain with its key, both in PEM.
#[derive(Clone)]
pub struct CertificatePem {
    /// The hosts it is for; `*.example.com` stands for one label. A client that asks for none of them gets
    /// the first certificate of the list.
    pub hosts: Vec<String>,
    /// The chain, the server's own certificate first.
    pub chain: Vec<u8>,
    /// The private key: PKCS#8, PKCS#1 or SEC1.
    pub key: Vec<u8>,
    /// What the access log calls it.
    pub arn: Option<String>,
}

impl fmt::Debug for CertificatePem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificatePem").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// What an HTTPS listener does besides showing certificates.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// Versions and cipher suites.
    pub policy: SecurityPolicy,
    /// Whether clients show certificates (mutual TLS).
    pub client_auth: ClientAuth,
}

impl Default for TlsOptions {
    fn default() -> Self {
        TlsOptions { policy: SecurityPolicy::recommended(), client_auth: ClientAuth::Off }
    }
}

/// What is done about certificates of clients (spec: dataplane §6.5).
#[derive(Clone, Debug, Default)]
pub enum ClientAuth {
    /// None is asked for.
    #[default]
    Off,
    /// One is asked for, and handed to the target as it is. Nothing is verified but that the client has
    /// its key.
    Passthrough,
    /// One is demanded, and verified.
    Verify {
        /// The certificates of the authorities that are trusted, in PEM.
        trust_store: Vec<u8>,
        /// Whether certificates pass that have expired.
        ignore_expiry: bool,
    },
}

/// What an HTTPS listener needs.
#[derive(Clone)]
pub struct TlsConfig {
    http2: Arc<ServerConfig>,
    http1: Arc<ServerConfig>,
    names: Arc<ByName>,
    verifies: bool,
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig").finish_non_exhaustive()
    }
}

impl TlsConfig {
    /// A configuration with these certificates, the default one first, and [`TlsOptions::default`].
    ///
    /// # Errors
    /// [`StartError::Tls`] for certificates and keys that cannot be used.
    pub fn new(certificates: &[CertificatePem]) -> Result<Self, StartError> {
        Self::with_options(certificates, &TlsOptions::default())
    }

    /// A configuration with these certificates, the default one first.
    ///
    /// # Errors
    /// [`StartError::Tls`] for certificates, keys and trust stores that cannot be used.
    pub fn with_options(certificates: &[CertificatePem], options: &TlsOptions) -> Result<Self, StartError> {
        let provider = options.policy.provider();
        let mut resolver = ByName { default: None, named: Vec::new() };
        for pem in certificates {
            let key = Arc::new(certified(pem, &provider)?);
            resolver.default.get_or_insert_with(|| (key.clone(), pem.arn.clone()));
            let hosts = pem.hosts.iter().map(|h| h.to_ascii_lowercase()).collect();
            resolver.named.push(Named { hosts, key, arn: pem.arn.clone() });
        }
        if resolver.default.is_none() {
            return Err(StartError::Tls("an HTTPS listener needs a certificate".to_owned()));
        }
        let wrong = |e: &dyn fmt::Display| StartError::Tls(e.to_string());
        let names = Arc::new(resolver);
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&options.policy.versions())
            .map_err(|e| wrong(&e))?;
        let builder = match &options.client_auth {
            ClientAuth::Off => builder.with_no_client_auth(),
            ClientAuth::Passthrough => {
                builder.with_client_cert_verifier(Arc::new(client_cert::AnyClient(provider)))
            }
            ClientAuth::Verify { trust_store, ignore_expiry } => builder
                .with_client_cert_verifier(client_cert::verifier(provider, trust_store, *ignore_expiry)?),
        };
        let mut config = builder.with_cert_resolver(names.clone());
        // Sessions are kept by clients, so that any number of them costs no memory here.
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(|e| wrong(&e))?;
        config.send_tls13_tickets = 1;
        // A client that offers nothing of the list would be turned away.
        config.alpn_protocols = [b"http/1.1", b"http/1.0", b"http/0.9"].map(|p| p.to_vec()).to_vec();
        let http1 = Arc::new(config.clone());
        config.alpn_protocols.insert(0, b"h2".to_vec());
        let verifies = matches!(options.client_auth, ClientAuth::Verify { .. });
        Ok(TlsConfig { http2: Arc::new(config), http1, names, verifies })
    }

    /// The configuration for one handshake, and what that will have asked for.
    pub(crate) fn for_one(&self, http2: bool) -> (Arc<ServerConfig>, Arc<Asked>) {
        let asked = Arc::new(Asked { names: self.names.clone(), host: OnceLock::new() });
        let mut config = ServerConfig::clone(if http2 { &self.http2 } else { &self.http1 });
        config.cert_resolver = asked.clone();
        (Arc::new(config), asked)
    }
}

/// Shows a client its certificate, and knows then for which host it asked: the connection itself does not
/// tell.
#[derive(Debug)]
pub(crate) struct Asked {
    names: Arc<ByName>,
    /// The SNI, where there is a certificate for it.
    host: OnceLock<String>,
}

impl ResolvesServerCert for Asked {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(name) = hello.server_name().filter(|name| self.names.find(name).is_some()) {
            self.host.get_or_init(|| name.to_owned());
        }
        self.names.resolve(hello)
    }
}

/// What a handshake found out.
#[derive(Clone, Debug)]
pub(crate) struct TlsFacts {
    pub(crate) protocol: &'static str,
    /// As OpenSSL calls it.
    pub(crate) cipher: String,
    pub(crate) key_exchange: Option<String>,
    /// The SNI, where there is a certificate for it.
    pub(crate) domain: Option<String>,
    /// The ARN, or `session-reused`.
    pub(crate) certificate: Option<String>,
    pub(crate) client: Option<Box<ClientCertificate>>,
}

impl TlsFacts {
    pub(crate) fn of(connection: &CommonState, asked: &Asked, config: &TlsConfig) -> Self {
        let reused = connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        let domain = asked.host.get();
        let named = domain.and_then(|n| config.names.find(n));
        let arn = named.map(|n| n.arn.clone()).or_else(|| config.names.default.as_ref().map(|d| d.1.clone()));
        TlsFacts {
            protocol: match connection.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher: connection
                .negotiated_cipher_suite()
                .map_or_else(|| "-".to_owned(), |s| policy::openssl_name(s.suite())),
            key_exchange: connection
                .negotiated_key_exchange_group()
                .map(|g| format!("{:?}", g.name()).to_ascii_lowercase()),
            domain: domain.cloned(),
            certificate: if reused { Some("session-reused".to_owned()) } else { arn.flatten() },
            client: connection
                .peer_certificates()
                .and_then(|c| ClientCertificate::of(c, config.verifies))
                .map(Box::new),
        }
    }

    /// The fields that a listener makes of it (spec: dataplane §6.5).
    pub(crate) fn headers<'f>(&'f self, settings: &'f ListenerSettings) -> Vec<(&'f str, &'f str)> {
        let mut fields: Vec<(&str, &str)> = Vec::new();
        let names = &settings.names;
        if settings.tls_headers {
            fields.push((&names.version, self.protocol));
            fields.push((&names.cipher_suite, &self.cipher));
        }
        let Some(client) = &self.client else { return fields };
        match settings.mutual_tls {
            MutualTls::Off => {}
            MutualTls::Passthrough => fields.push((&names.clientcert, &client.chain)),
            MutualTls::Verify => fields.extend([
                (names.validity.as_str(), client.validity.as_str()),
                (&names.leaf, &client.leaf),
                (&names.serial_number, &client.serial_number),
                (&names.issuer, &client.issuer),
                (&names.subject, &client.subject),
            ]),
        }
        fields
    }
}

/// The word of the connection log for a handshake that failed (spec: dataplane §8.6).
pub(crate) fn failure(error: &std::io::Error) -> &'static str {
    use rustls::CertificateError as Bad;
    let rustls = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    match rustls {
        Some(rustls::Error::InvalidCertificate(bad)) => match bad {
            Bad::Expired | Bad::ExpiredContext { .. } => "ClientCertExpired",
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => "ClientCertNotYetValid",
            Bad::UnknownIssuer => "ClientCertUntrusted",
            Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => "ClientCertPurposeInvalid",
            // Ours says so of a chain that is too long, and of nothing else.
            Bad::ApplicationVerificationFailure => "ClientCertMaxChainDepthExceeded",
            Bad::Revoked => "ClientCertCrlHit",
            _ => "ClientCertInvalid",
        },
        Some(rustls::Error::NoCertificatesPresented) => "ClientCertRejected",
        _ => "UnmappedConnectionError",
    }
}

fn certified(pem: &CertificatePem, provider: &CryptoProvider) -> Result<CertifiedKey, StartError> {
    let wrong = |what: &str, why: &dyn fmt::Display| StartError::Tls(format!("the {what}: {why}"));
    let chain = CertificateDer::pem_slice_iter(&pem.chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| wrong("certificate is not PEM", &e))?;
    if chain.is_empty() {
        return Err(wrong("certificate is not PEM", &"no `BEGIN CERTIFICATE` in it"));
    }
    let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(|e| wrong("private key is not PEM", &e))?;
    let certified = CertifiedKey::from_der(chain, key, provider)
        .map_err(|e| wrong("certificate and its key cannot be used", &e))?;
    Ok(certified)
}

#[derive(Debug)]
struct ByName {
    default: Option<(Arc<CertifiedKey>, Option<String>)>,
    named: Vec<Named>,
}

#[derive(Debug)]
struct Named {
    hosts: Vec<String>,
    key: Arc<CertifiedKey>,
    arn: Option<String>,
}

impl ByName {
    fn find(&self, name: &str) -> Option<&Named> {
        let name = name.to_ascii_lowercase();
        let exact = self.named.iter().find(|n| n.hosts.contains(&name));
        exact.or_else(|| {
            let wildcard = name.split_once('.').map(|(_, rest)| format!("*.{rest}"))?;
            self.named.iter().find(|n| n.hosts.contains(&wildcard))
        })
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello.server_name().and_then(|name| self.find(name)).map(|n| n.key.clone());
        found.or_else(|| self.default.as_ref().map(|(key, _)| key.clone()))
    }
}

/// TLS to targets: no certificate is verified, no name is sent (spec: dataplane §5.8), unless there are
/// `roots` (PEM) to verify with.
pub(crate) fn to_targets(alpn: &[&[u8]], roots: Option<&[u8]>) -> Result<Arc<ClientConfig>, StartError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| StartError::Tls(e.to_string()))?;
    let mut config = match roots {
        Some(pem) => builder.with_root_certificates(roots_of(pem)?).with_no_client_auth(),
        None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
            .with_no_client_auth(),
    };
    config.enable_sni = false;
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    Ok(Arc::new(config))
}

/// Authorities, out of PEM.
pub(crate) fn roots_of(pem: &[u8]) -> Result<rustls::RootCertStore, StartError> {
    let mut store = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|e| StartError::Tls(format!("the trust store: {e}")))?;
        store.add(certificate).map_err(|e| StartError::Tls(format!("the trust store: {e}")))?;
    }
    if store.is_empty() {
        return Err(StartError::Tls("the trust store has no `BEGIN CERTIFICATE` in it".to_owned()));
    }
    Ok(store)
}

/// Accepts every certificate, as the load balancer does towards its targets. Signatures are still
/// checked, so that the peer is at least the owner of what it shows.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
