//! Certificates of clients (mutual TLS): asked for, verified, and told to the target in header fields
//! (spec: dataplane §6.5).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::StartError;
use super::tls::roots_of;

/// A client's certificate, as header fields have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    /// The whole chain in PEM, URL-encoded.
    pub(crate) chain: String,
    /// The client's own certificate in PEM, URL-encoded.
    pub(crate) leaf: String,
    pub(crate) validity: String,
    pub(crate) serial_number: String,
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) verified: bool,
}

impl ClientCertificate {
    pub(crate) fn of(chain: &[CertificateDer<'_>], verified: bool) -> Option<Self> {
        let leaf = chain.first()?;
        let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
        let time = |t: x509_parser::time::ASN1Time| {
            let t = t.to_datetime();
            format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
                t.year(),
                u8::from(t.month()),
                t.day(),
                t.hour(),
                t.minute(),
                t.second()
            )
        };
        let validity = parsed.validity();
        Some(ClientCertificate {
            chain: chain.iter().map(|c| pem(c)).collect(),
            leaf: pem(leaf),
            validity: format!(
                "NotBefore={};NotAfter={}",
                time(validity.not_before),
                time(validity.not_after)
            ),
            serial_number: serial_number(parsed.raw_serial()),
            issuer: rfc2253(parsed.issuer()),
            subject: rfc2253(parsed.subject()),
            verified,
        })
    }
}

/// In hexadecimal, without the zero that DER puts before a number whose first bit is set.
fn serial_number(raw: &[u8]) -> String {
    let number = match raw {
        [0, number @ ..] if !number.is_empty() => number,
        all => all,
    };
    number.iter().map(|b| format!("{b:02X}")).collect()
}

/// PEM in URL encoding, in which `+`, `=` and `/` stand for themselves.
fn pem(certificate: &CertificateDer<'_>) -> String {
    let encoded = STANDARD.encode(certificate);
    let mut out = String::from("-----BEGIN%20CERTIFICATE-----%0A");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push_str("%0A");
        rest = after;
    }
    out.push_str("-----END%20CERTIFICATE-----%0A");
    out
}

/// A name with its parts in reverse, as RFC 2253 wants it; nothing in it can end a header line.
fn rfc2253(name: &x509_parser::x509::X509Name<'_>) -> String {
    let parts: Vec<String> = name
        .iter()
        .map(|rdn| {
            let attributes: Vec<String> = rdn
                .iter()
                .map(|attribute| {
                    let oid = attribute.attr_type();
                    let known = x509_parser::objects::oid2abbrev(oid, x509_parser::objects::oid_registry());
                    let key = known.map_or_else(|_| oid.to_id_string(), str::to_owned);
                    format!("{key}={}", escape(attribute.as_str().unwrap_or_default()))
                })
                .collect();
            attributes.join("+")
        })
        .collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(",")
}

fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => out.extend(['\\', c]),
            '#' | ' ' if i == 0 => out.extend(['\\', c]),
            ' ' if i == last => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            c => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    out.push_str(&format!("\\{byte:02X}"));
                }
            }
        }
    }
    out
}

/// Asks for a certificate and takes any, or none. That the client has the key to it is verified.
#[derive(Debug)]
pub(crate) struct AnyClient(pub(crate) Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
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

/// Demands a certificate that an authority of the trust store has signed.
pub(crate) fn verifier(
    provider: Arc<CryptoProvider>,
    trust_store: &[u8],
    ignore_expiry: bool,
) -> Result<Arc<dyn ClientCertVerifier>, StartError> {
    let roots = Arc::new(roots_of(trust_store)?);
    let inner = WebPkiClientVerifier::builder_with_provider(roots, provider)
        .build()
        .map_err(|e| StartError::Tls(format!("the trust store: {e}")))?;
    Ok(Arc::new(Verifier { inner, ignore_expiry }))
}

/// As many certificates may a client show, its own included (spec: dataplane §12).
const MAX_CHAIN: usize = 4;

/// Verifies a certificate, one that has expired as of its last day where that is wanted.
#[derive(Debug)]
struct Verifier {
    inner: Arc<dyn ClientCertVerifier>,
    ignore_expiry: bool,
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if chain.len() >= MAX_CHAIN {
            return Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        let expired = match self.inner.verify_client_cert(leaf, chain, now) {
            Err(rustls::Error::InvalidCertificate(
                bad @ (CertificateError::Expired | CertificateError::ExpiredContext { .. }),
            )) if self.ignore_expiry => bad,
            other => return other,
        };
        let last = X509Certificate::from_der(leaf).ok().map(|(_, c)| c.validity().not_after.timestamp());
        let Some(last) = last.and_then(|t| u64::try_from(t).ok()) else {
            return Err(rustls::Error::InvalidCertificate(expired));
        };
        let then = UnixTime::since_unix_epoch(std::time::Duration::from_secs(last));
        self.inner.verify_client_cert(leaf, chain, then)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
