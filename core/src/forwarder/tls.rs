//! TLS in front and behind. rustls stays in here and in `listener`/`upstream`: no type of it is public.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};

use super::StartError;

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
}

impl fmt::Debug for CertificatePem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificatePem").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// What an HTTPS listener needs.
#[derive(Clone)]
pub struct TlsConfig {
    pub(crate) http2: Arc<ServerConfig>,
    pub(crate) http1: Arc<ServerConfig>,
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig").finish_non_exhaustive()
    }
}

impl TlsConfig {
    /// A configuration with these certificates, the default one first.
    pub fn new(certificates: &[CertificatePem]) -> Result<Self, StartError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut resolver = ByName { default: None, named: Vec::new() };
        for pem in certificates {
            let key = Arc::new(certified(pem, &provider)?);
            resolver.default.get_or_insert_with(|| key.clone());
            let hosts = pem.hosts.iter().map(|h| h.to_ascii_lowercase()).collect();
            resolver.named.push((hosts, key));
        }
        if resolver.default.is_none() {
            return Err(StartError::Tls("an HTTPS listener needs a certificate".to_owned()));
        }
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| StartError::Tls(e.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http1 = Arc::new(config.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsConfig { http2: Arc::new(config), http1 })
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
    default: Option<Arc<CertifiedKey>>,
    named: Vec<(Vec<String>, Arc<CertifiedKey>)>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let found = name.as_deref().and_then(|name| {
            let wildcard = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
            let exact = self.named.iter().find(|(hosts, _)| hosts.iter().any(|h| h == name));
            exact.or_else(|| {
                let wildcard = wildcard.as_deref()?;
                self.named.iter().find(|(hosts, _)| hosts.iter().any(|h| h == wildcard))
            })
        });
        found.map(|(_, key)| key.clone()).or_else(|| self.default.clone())
    }
}

/// TLS to targets: no certificate is verified, no name is sent (spec: dataplane §5.8).
pub(crate) fn to_targets(alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, StartError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| StartError::Tls(e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
        .with_no_client_auth();
    config.enable_sni = false;
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    Ok(Arc::new(config))
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
