//! ELB security policies, as far as rustls speaks them: TLS 1.3 and 1.2 with AEAD suites. A policy that
//! also allows CBC suites or TLS 1.1 and older is served without them; which ones those are is told.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite as suites, kx_group};
use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion, version};

use super::StartError;

/// A security policy of an HTTPS listener.
///
/// ```
/// use podway::forwarder::SecurityPolicy;
///
/// let strict = SecurityPolicy::from_name("ELBSecurityPolicy-TLS13-1-2-Res-2021-06")?;
/// assert!(strict.is_exact());
/// let old = SecurityPolicy::from_name("ELBSecurityPolicy-2016-08")?;
/// assert_eq!(old.left_out(), ["TLS 1.0", "TLS 1.1", "CBC and RSA key exchange suites"]);
/// assert!(SecurityPolicy::from_name("ELBSecurityPolicy-TLS14").is_err());
/// # Ok::<(), podway::forwarder::StartError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityPolicy {
    name: String,
    tls12: bool,
    tls13: bool,
    chacha: bool,
    post_quantum: bool,
    fips: bool,
    left_out: Vec<&'static str>,
}

const CBC: &str = "CBC and RSA key exchange suites";

impl SecurityPolicy {
    /// What the load balancer takes when nothing is said: `ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09`, the
    /// strongest that current clients all speak.
    pub fn recommended() -> Self {
        SecurityPolicy {
            name: "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09".to_owned(),
            tls12: true,
            tls13: true,
            chacha: true,
            post_quantum: true,
            fips: false,
            left_out: Vec::new(),
        }
    }

    /// A policy by the name that AWS gives it.
    ///
    /// # Errors
    /// [`StartError::Tls`] for a name that AWS does not have, with the nearest one that it has.
    pub fn from_name(name: &str) -> Result<Self, StartError> {
        let unknown = || {
            StartError::Tls(format!(
                "there is no security policy `{name}`; AWS's recommended one is \
                 `ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09`"
            ))
        };
        let rest = name.strip_prefix("ELBSecurityPolicy-").ok_or_else(unknown)?;
        let mut policy = SecurityPolicy {
            name: name.to_owned(),
            tls12: true,
            tls13: false,
            chacha: false,
            post_quantum: false,
            fips: false,
            left_out: Vec::new(),
        };
        let old = ["TLS 1.0", "TLS 1.1"];
        match rest {
            "2016-08" | "TLS-1-0-2015-04" | "2015-05" | "FS-2018-06" => policy.left_out.extend(old),
            "TLS-1-1-2017-01" | "FS-1-1-2019-08" => policy.left_out.push("TLS 1.1"),
            "TLS-1-2-2017-01" | "TLS-1-2-Ext-2018-06" | "FS-1-2-2019-08" => {}
            "FS-1-2-Res-2019-08" => {}
            "FS-1-2-Res-2020-10" => return Ok(policy),
            _ => return policy.of_tls13(rest).ok_or_else(unknown),
        }
        policy.left_out.push(CBC);
        Ok(policy)
    }

    /// `TLS13-1-<oldest minor>[-Res|-Ext0|-Ext1|-Ext2][-FIPS][-PQ]-<date>`.
    fn of_tls13(mut self, rest: &str) -> Option<Self> {
        let rest = rest.strip_prefix("TLS13-1-")?;
        let (kind, date) = rest.rsplit_once("-20").map(|(kind, date)| (kind, format!("20{date}")))?;
        let mut words = kind.split('-');
        let oldest = words.next()?;
        let words: Vec<&str> = words.collect();
        self.tls13 = true;
        self.post_quantum = words.contains(&"PQ");
        self.fips = words.contains(&"FIPS");
        let restricted = words.contains(&"Res");
        let variant = words.iter().find(|w| w.starts_with("Ext"));
        let dates = match (self.fips, self.post_quantum) {
            (_, true) => "2025-09",
            (true, false) => "2023-04",
            (false, false) => "2021-06",
        };
        let known = |w: &&str| matches!(*w, "PQ" | "FIPS" | "Res" | "Ext0" | "Ext1" | "Ext2");
        if date != dates || !words.iter().all(known) || (restricted && variant.is_some()) {
            return None;
        }
        self.chacha = !self.fips;
        match (oldest, restricted, variant) {
            ("3", false, None) => self.tls12 = false,
            ("2", true, None) => {}
            ("2", false, _) => self.left_out.push(CBC),
            ("1", false, None) => self.left_out.extend(["TLS 1.1", CBC]),
            ("0", false, None) => self.left_out.extend(["TLS 1.0", "TLS 1.1", CBC]),
            _ => return None,
        }
        Some(self)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether every version and suite of the policy is served.
    pub fn is_exact(&self) -> bool {
        self.left_out.is_empty()
    }

    /// What the policy allows and is not served.
    pub fn left_out(&self) -> &[&'static str] {
        &self.left_out
    }

    pub(crate) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let mut all = Vec::new();
        if self.tls13 {
            all.push(&version::TLS13);
        }
        if self.tls12 {
            all.push(&version::TLS12);
        }
        all
    }

    /// A provider with the policy's suites only, in the order the load balancer prefers them.
    pub(crate) fn provider(&self) -> Arc<CryptoProvider> {
        let mut cipher_suites: Vec<SupportedCipherSuite> = Vec::new();
        if self.tls13 {
            cipher_suites.extend([suites::TLS13_AES_128_GCM_SHA256, suites::TLS13_AES_256_GCM_SHA384]);
            if self.chacha {
                cipher_suites.push(suites::TLS13_CHACHA20_POLY1305_SHA256);
            }
        }
        if self.tls12 {
            cipher_suites.extend([
                suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            ]);
        }
        let mut kx_groups: Vec<&'static dyn rustls::crypto::SupportedKxGroup> = Vec::new();
        if self.post_quantum {
            kx_groups.push(kx_group::X25519MLKEM768);
        }
        if !self.fips {
            kx_groups.push(kx_group::X25519);
        }
        kx_groups.extend([kx_group::SECP256R1, kx_group::SECP384R1]);
        Arc::new(CryptoProvider { cipher_suites, kx_groups, ..aws_lc_rs::default_provider() })
    }
}

/// A suite as OpenSSL calls it, which is how the load balancer writes it.
pub(crate) fn openssl_name(suite: CipherSuite) -> String {
    let name = format!("{suite:?}");
    if let Some(rest) = name.strip_prefix("TLS13_") {
        return format!("TLS_{rest}");
    }
    let name = name.trim_start_matches("TLS_").replace("_WITH_", "-").replace('_', "-");
    let name = name.replace("AES-128", "AES128").replace("AES-256", "AES256");
    // The hash of ChaCha20 goes without saying.
    if name.contains("CHACHA20") { name.trim_end_matches("-SHA256").to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_say_what_they_leave_out() {
        let of = |name: &str| SecurityPolicy::from_name(&format!("ELBSecurityPolicy-{name}")).ok();
        for exact in
            ["TLS13-1-3-2021-06", "TLS13-1-2-Res-2021-06", "TLS13-1-2-Res-PQ-2025-09", "FS-1-2-Res-2020-10"]
        {
            assert!(of(exact).unwrap().is_exact(), "{exact}");
        }
        assert_eq!(of("TLS13-1-2-2021-06").unwrap().left_out(), [CBC]);
        assert_eq!(of("TLS13-1-0-FIPS-2023-04").unwrap().left_out(), ["TLS 1.0", "TLS 1.1", CBC]);
        assert!(!of("TLS13-1-3-2021-06").unwrap().tls12);
        for wrong in
            ["TLS13-1-2-2022-06", "TLS13-1-4-2021-06", "TLS13-1-3-Res-2021-06", "", "TLS13-1-2-Foo-2021-06"]
        {
            assert!(of(wrong).is_none(), "{wrong}");
        }
        assert_eq!(of("TLS13-1-2-Res-PQ-2025-09"), Some(SecurityPolicy::recommended()));
    }

    #[test]
    fn suites_have_the_names_of_openssl() {
        assert_eq!(openssl_name(CipherSuite::TLS13_AES_128_GCM_SHA256), "TLS_AES_128_GCM_SHA256");
        assert_eq!(
            openssl_name(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
            "ECDHE-RSA-AES128-GCM-SHA256"
        );
        assert_eq!(
            openssl_name(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
            "ECDHE-ECDSA-AES256-GCM-SHA384"
        );
        assert_eq!(
            openssl_name(CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
            "ECDHE-RSA-CHACHA20-POLY1305"
        );
    }
}
