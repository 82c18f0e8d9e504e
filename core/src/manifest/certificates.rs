//! Certificates of HTTPS listeners (§4.5): found by host among those that are known, or made for an
//! Ingress; and the lists of known ones that `aws acm` prints.

use std::collections::BTreeSet;

use super::group::Member;
use super::{KnownCertificate, Settings, names};
use crate::error::{Code, Diagnostic, Error};

/// The hosts of an Ingress that a certificate must cover.
pub(crate) fn hosts<'a>(member: &Member<'a>) -> BTreeSet<&'a str> {
    let ingress = member.ingress;
    let of_rules = ingress.rules.iter().map(|r| r.host.text.as_str()).filter(|h| !h.is_empty());
    of_rules.chain(ingress.tls.iter().flat_map(|t| &t.hosts).map(|h| h.text.as_str())).collect()
}

/// §4.5.2. Without any known certificate there is nothing to search: a local run makes one of its own.
pub(crate) fn discover(member: &Member<'_>, settings: &Settings) -> Result<Vec<String>, Diagnostic> {
    if settings.certificates.is_empty() {
        return Ok(Vec::new());
    }
    let allowed = &settings.allowed_certificate_authority_arns;
    let usable = |c: &&KnownCertificate| {
        allowed.is_empty() || c.certificate_authority_arn.as_ref().is_some_and(|a| allowed.contains(a))
    };
    let mut arns = BTreeSet::new();
    for host in hosts(member) {
        let mut found = false;
        let usable = settings.certificates.iter().filter(usable);
        for certificate in usable.filter(|c| c.domains.iter().any(|d| covers(d, host))) {
            found = true;
            arns.insert(certificate.arn.clone());
        }
        if !found {
            let rule = member.ingress.rules.iter().map(|r| &r.host);
            let mut all = rule.chain(member.ingress.tls.iter().flat_map(|t| &t.hosts));
            let at = all.find(|t| t.text == host).and_then(|t| t.at.location());
            return Err(member
                .error(Code::E_CERT_NOT_FOUND, format!("no known certificate covers the host `{host}`"))
                .value(host)
                .expected("a certificate with that name, or with a `*` in the place of its first label")
                .at(at));
        }
    }
    Ok(arns.into_iter().collect())
}

/// Equal, or a wildcard in the place of the first label.
fn covers(domain: &str, host: &str) -> bool {
    domain == host
        || domain
            .strip_prefix("*.")
            .is_some_and(|rest| host.split_once('.').is_some_and(|(_, host_rest)| host_rest == rest))
}

/// §4.5.3: the certificate that the controller would ask ACM for; here it gets an ARN that is made up.
pub(crate) fn managed(member: &Member<'_>, settings: &Settings) -> Result<Option<String>, Diagnostic> {
    let annotations = member.annotations();
    // A value that is no boolean counts as false.
    let wanted = annotations.text("create-acm-cert").and_then(super::annotations::parse_bool) == Some(true);
    let own = annotations.list("certificate-arn").is_some_and(|l| !l.is_empty());
    if !settings.enable_certificate_management || !wanted || own {
        return Ok(None);
    }
    let all = hosts(member);
    if all.is_empty() {
        return Err(member
            .error_at("create-acm-cert", Code::E_CERT_NO_HOST, "a certificate is to be made for no host")
            .expected("a host in `rules` or `tls`"));
    }
    let authority = annotations.text("acm-pca-arn").filter(|a| !a.is_empty());
    let authority = authority.or(settings.default_pca_arn.as_deref());
    let kind = if authority.is_some() { "private" } else { "amazon_issued" };
    let mut identity = vec![settings.cluster_name.as_str(), "/", kind, "/"];
    let key = member.ingress.meta.key();
    identity.push(&key);
    let hash = names::hash(&identity);
    let id = hash.get(..32).unwrap_or(&hash);
    Ok(Some(format!("arn:aws:acm:local:000000000000:certificate/{id}")))
}

impl KnownCertificate {
    /// Reads the JSON of `aws acm list-certificates`, `describe-certificate`, or a list of objects with
    /// `arn` and `domains`. Certificates that are not issued are passed over.
    ///
    /// # Errors
    /// `E_SYNTAX` for text that is not JSON, `E_OBJECT` for JSON of another shape.
    ///
    /// ```
    /// use podway::manifest::KnownCertificate;
    /// let known = KnownCertificate::from_json("acm.json", r#"{"CertificateSummaryList": [
    ///     {"CertificateArn": "arn:aws:acm:eu-west-1:111122223333:certificate/a", "DomainName": "*.example.com"}]}"#)?;
    /// assert_eq!(known[0].domains, ["*.example.com"]);
    /// # Ok::<(), podway::Error>(())
    /// ```
    pub fn from_json(name: &str, text: &str) -> Result<Vec<Self>, Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Document {
            List {
                #[serde(rename = "CertificateSummaryList")]
                certificates: Vec<Certificate>,
            },
            One {
                #[serde(rename = "Certificate")]
                certificate: Box<Certificate>,
            },
            Plain(Vec<Certificate>),
        }
        #[derive(serde::Deserialize)]
        struct Certificate {
            #[serde(alias = "CertificateArn")]
            arn: String,
            #[serde(rename = "DomainName", default)]
            domain: Option<String>,
            #[serde(alias = "SubjectAlternativeNameSummaries", alias = "SubjectAlternativeNames", default)]
            domains: Vec<String>,
            #[serde(rename = "Status", default)]
            status: Option<String>,
            #[serde(alias = "CertificateAuthorityArn", default)]
            certificate_authority_arn: Option<String>,
        }
        let document: Document = serde_json::from_str(text).map_err(|e| {
            let code = if e.is_data() { Code::E_OBJECT } else { Code::E_SYNTAX };
            Diagnostic::error(code, format!("`{name}` is not a list of certificates"))
                .expected("the output of `aws acm list-certificates`, or a list of `arn` and `domains`")
        })?;
        let all = match document {
            Document::List { certificates } | Document::Plain(certificates) => certificates,
            Document::One { certificate } => vec![*certificate],
        };
        let issued = all.into_iter().filter(|c| c.status.as_deref().is_none_or(|s| s == "ISSUED"));
        Ok(issued
            .map(|c| {
                let mut domains = c.domains;
                domains.extend(c.domain.filter(|d| !domains.contains(d)));
                KnownCertificate {
                    arn: c.arn,
                    domains,
                    certificate_authority_arn: c.certificate_authority_arn,
                }
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        assert!(covers("*.example.com", "a.example.com"));
        assert!(covers("*.example.com", "*.example.com"));
        assert!(!covers("*.example.com", "a.b.example.com"));
        assert!(!covers("*.example.com", "example.com"));
    }

    #[test]
    fn lists_of_certificates() {
        let pending = r#"{"CertificateSummaryList": [{"CertificateArn": "a", "DomainName": "x", "Status": "PENDING_VALIDATION"}]}"#;
        assert_eq!(KnownCertificate::from_json("f", pending).unwrap(), []);
        let one = r#"{"Certificate": {"CertificateArn": "a", "DomainName": "x", "SubjectAlternativeNames": ["x", "y"]}}"#;
        assert_eq!(KnownCertificate::from_json("f", one).unwrap()[0].domains, ["x", "y"]);
        assert_eq!(KnownCertificate::from_json("f", "[").unwrap_err().code(), Code::E_SYNTAX);
        assert_eq!(KnownCertificate::from_json("f", "{}").unwrap_err().code(), Code::E_OBJECT);
    }
}
