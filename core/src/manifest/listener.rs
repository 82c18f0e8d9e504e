//! Listeners of a group (§4): ports, certificates, policies, mutual TLS, attributes, and the redirect to
//! HTTPS that holds for the whole group.

use std::collections::{BTreeMap, BTreeSet};

use super::Settings;
use super::annotations::{Annotation, list};
use super::group::Member;
use super::json::{Object, array};
use super::objects::Objects;
use crate::error::{Code, Diagnostic};
use crate::model::{Attribute, MutualAuthentication, Protocol};

/// A listener before its actions.
#[derive(Debug, Default)]
pub(crate) struct Port {
    pub(crate) protocol: Protocol,
    /// Indexes of the members that listen on it, in group order.
    pub(crate) members: Vec<usize>,
    pub(crate) certificates: Vec<String>,
    pub(crate) ssl_policy: Option<String>,
    pub(crate) mutual_authentication: Option<MutualAuthentication>,
    pub(crate) attributes: Vec<Attribute>,
}

/// What one member says of its ports.
struct MemberPorts {
    ports: BTreeMap<u16, Protocol>,
    certificates: Vec<String>,
    ssl_policy: Option<String>,
    mutual_authentication: BTreeMap<u16, MutualAuthentication>,
    cidrs: BTreeSet<String>,
    prefix_lists: BTreeSet<String>,
}

/// The listeners of a group by port.
pub(crate) fn ports(
    members: &[Member<'_>],
    objects: &Objects,
    settings: &Settings,
    warnings: &mut Vec<Diagnostic>,
) -> Result<BTreeMap<u16, Port>, Diagnostic> {
    let all: Vec<MemberPorts> =
        members.iter().map(|m| member_ports(m, settings)).collect::<Result<_, _>>()?;
    let mut numbers: BTreeSet<u16> = BTreeSet::new();
    all.iter().for_each(|m| numbers.extend(m.ports.keys()));
    let mut out = BTreeMap::new();
    for number in numbers {
        let on: Vec<(usize, &MemberPorts)> =
            all.iter().enumerate().filter(|(_, m)| m.ports.contains_key(&number)).collect();
        let port = merge(number, &on, members, settings)?;
        let secrets = members
            .iter()
            .flat_map(|m| &m.ingress.tls)
            .any(|t| objects.secrets.iter().any(|s| s.meta.name == t.secret));
        if port.protocol == Protocol::Https
            && port.certificates.is_empty()
            && !secrets
            && let Some(first) = on.first().and_then(|(i, _)| members.get(*i))
        {
            let mut warning = first.error(
                Code::W_CERTIFICATE,
                format!("the HTTPS listener on port {number} has no certificate: AWS would refuse it"),
            );
            warning.severity = crate::error::Severity::Warning;
            warnings.push(warning.expected("a `certificate-arn`, or a host that a known certificate covers"));
        }
        out.insert(number, port);
    }
    Ok(out)
}

fn member_ports(member: &Member<'_>, settings: &Settings) -> Result<MemberPorts, Diagnostic> {
    let annotations = member.annotations();
    let mut certificates = member.params.map(|p| p.certificate_arn.clone()).unwrap_or_default();
    if certificates.is_empty() {
        certificates = annotations.list("certificate-arn").unwrap_or_default();
    }
    let ports = match annotations.json("listen-ports") {
        Ok(Some((annotation, value))) => listen_ports(annotation, &value)?,
        Ok(None) if certificates.is_empty() => BTreeMap::from([(80, Protocol::Http)]),
        Ok(None) => BTreeMap::from([(443, Protocol::Https)]),
        Err(mut error) => {
            error.code = Code::E_LISTEN_JSON;
            return Err(error.expected("such as `[{\"HTTP\":80},{\"HTTPS\":443}]`"));
        }
    };
    let https = ports.values().any(|p| *p == Protocol::Https);
    if certificates.is_empty() && https {
        certificates = discover(member, settings)?;
    }
    let ssl_policy = member.params.and_then(|p| p.ssl_policy.clone());
    let ssl_policy = ssl_policy.or_else(|| annotations.text("ssl-policy").map(str::to_owned));
    let mutual_authentication = match annotations.json("mutual-authentication")? {
        Some((annotation, value)) => mutual_authentication(annotation, &value)?,
        None => BTreeMap::new(),
    };
    let mut cidrs = member.params.map(|p| p.inbound_cidrs.clone()).unwrap_or_default();
    if cidrs.is_empty()
        && let Some(annotation) = annotations.get("inbound-cidrs")
    {
        cidrs = list(annotation.value());
        if let Some(bad) = cidrs.iter().find(|c| c.parse::<ipnet::IpNet>().is_err()) {
            return Err(annotation
                .error(Code::E_CIDR, format!("`{bad}` is not a CIDR block"))
                .expected("such as `10.0.0.0/8`"));
        }
    }
    let mut prefix_lists = member.params.map(|p| p.prefix_lists.clone()).unwrap_or_default();
    if prefix_lists.is_empty() {
        prefix_lists = annotations.list("security-group-prefix-lists").unwrap_or_default();
    }
    Ok(MemberPorts {
        ports,
        certificates,
        ssl_policy,
        mutual_authentication,
        cidrs: cidrs.into_iter().collect(),
        prefix_lists: prefix_lists.into_iter().collect(),
    })
}

/// §4.1.
fn listen_ports(
    annotation: Annotation<'_>,
    value: &serde_json::Value,
) -> Result<BTreeMap<u16, Protocol>, Diagnostic> {
    let json = |why: String| {
        annotation
            .error(Code::E_LISTEN_JSON, format!("not a list of ports: {why}"))
            .expected("such as `[{\"HTTP\":80},{\"HTTPS\":443}]`")
    };
    let items = array(value).map_err(json)?;
    if items.is_empty() {
        return Err(annotation.error(Code::E_LISTEN_EMPTY, "no port to listen on"));
    }
    let mut entries: Vec<(&str, i64)> = Vec::new();
    for item in items {
        match item {
            serde_json::Value::Object(map) => {
                for (protocol, port) in map {
                    let port = port.as_i64().ok_or_else(|| json(format!("`{port}` is not a port")))?;
                    entries.push((protocol, port));
                }
            }
            serde_json::Value::Null => {}
            other => return Err(json(format!("`{other}` is not an object"))),
        }
    }
    let mut ports = BTreeMap::new();
    for (protocol, port) in entries {
        let number = u16::try_from(port).ok().filter(|p| *p > 0).ok_or_else(|| {
            annotation
                .error(Code::E_LISTEN_PORT, format!("`{port}` is not a port"))
                .expected("a number from 1 to 65535")
        })?;
        let protocol = match protocol {
            "HTTP" => Protocol::Http,
            "HTTPS" => Protocol::Https,
            other => {
                return Err(annotation
                    .error(Code::E_LISTEN_PROTO, format!("unknown listener protocol `{other}`"))
                    .expected("`HTTP` or `HTTPS`"));
            }
        };
        ports.insert(number, protocol);
    }
    Ok(ports)
}

/// §4.5.2. Without any known certificate there is nothing to search: a local run makes one of its own.
fn discover(member: &Member<'_>, settings: &Settings) -> Result<Vec<String>, Diagnostic> {
    if settings.certificates.is_empty() {
        return Ok(Vec::new());
    }
    let ingress = member.ingress;
    let mut hosts: BTreeSet<&str> =
        ingress.rules.iter().map(|r| r.host.text.as_str()).filter(|h| !h.is_empty()).collect();
    hosts.extend(ingress.tls.iter().flat_map(|t| &t.hosts).map(String::as_str));
    let mut arns = BTreeSet::new();
    for host in hosts {
        let mut found = false;
        for certificate in &settings.certificates {
            if certificate.domains.iter().any(|d| covers(d, host)) {
                found = true;
                arns.insert(certificate.arn.clone());
            }
        }
        if !found {
            return Err(member
                .error(Code::E_CERT_NOT_FOUND, format!("no certificate covers the host `{host}`"))
                .value(host));
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

/// §4.9.
fn mutual_authentication(
    annotation: Annotation<'_>,
    value: &serde_json::Value,
) -> Result<BTreeMap<u16, MutualAuthentication>, Diagnostic> {
    let items = array(value).map_err(|why| annotation.not_json(&why))?;
    if items.is_empty() {
        return Err(annotation.error(Code::E_MTLS_EMPTY, "no port to authenticate clients on"));
    }
    let mut out = BTreeMap::new();
    for item in items {
        let read = || {
            let o = Object::new(item)?;
            Ok::<_, String>((
                o.int32("port")?.unwrap_or(0),
                o.text("mode")?.unwrap_or_default(),
                o.text("trustStore")?.filter(|t| !t.is_empty()),
                o.boolean("ignoreClientCertificateExpiry")?,
                o.text("advertiseTrustStoreCaNames")?.filter(|t| !t.is_empty()),
            ))
        };
        let (port, mode, trust_store, ignore, advertise) = read().map_err(|why| annotation.not_json(&why))?;
        let Some(port) = u16::try_from(port).ok().filter(|p| *p > 0) else {
            return Err(annotation.error(Code::E_MTLS_PORT, format!("`{port}` is not a port")));
        };
        let verify = match mode.as_str() {
            "verify" => true,
            "off" | "passthrough" => false,
            other => {
                return Err(annotation
                    .error(Code::E_MTLS_MODE, format!("unknown mode `{other}`"))
                    .expected("`off`, `passthrough` or `verify`"));
            }
        };
        if verify != trust_store.is_some() {
            return Err(annotation.error(
                Code::E_MTLS_TRUSTSTORE,
                format!("mode `{mode}` {} a `trustStore`", if verify { "needs" } else { "has no use for" }),
            ));
        }
        if !verify && ignore.is_some() {
            return Err(annotation.error(
                Code::E_MTLS_IGNORE,
                format!("mode `{mode}` has no use for `ignoreClientCertificateExpiry`"),
            ));
        }
        if advertise.as_deref().is_some_and(|a| !verify || !matches!(a, "on" | "off")) {
            return Err(annotation
                .error(Code::E_MTLS_ADVERTISE, "`advertiseTrustStoreCaNames` cannot stand here")
                .expected("`on` or `off`, with mode `verify`"));
        }
        out.insert(
            port,
            MutualAuthentication {
                mode,
                trust_store_arn: trust_store,
                ignore_client_certificate_expiry: if verify { Some(ignore.unwrap_or(false)) } else { None },
                advertise_trust_store_ca_names: advertise,
            },
        );
    }
    Ok(out)
}

/// §4.3, §4.5.4, §4.8.
fn merge(
    number: u16,
    on: &[(usize, &MemberPorts)],
    members: &[Member<'_>],
    settings: &Settings,
) -> Result<Port, Diagnostic> {
    let conflict = |i: usize, code, what: &str| match members.get(i) {
        Some(member) => {
            let others: Vec<String> = on
                .iter()
                .filter(|(other, _)| *other != i)
                .filter_map(|(other, _)| members.get(*other).map(Member::object))
                .collect();
            member.error(code, format!("{what} on port {number} differs from that of {}", others.join(", ")))
        }
        None => Diagnostic::error(code, what),
    };
    let mut port = Port { members: on.iter().map(|(i, _)| *i).collect(), ..Port::default() };
    if let Some((_, first)) = on.first() {
        port.protocol = first.ports.get(&number).copied().unwrap_or_default();
    }
    let https = port.protocol == Protocol::Https;
    let (mut cidrs, mut prefix_lists): (Option<&BTreeSet<String>>, Option<&BTreeSet<String>>) = (None, None);
    for (i, m) in on {
        if m.ports.get(&number) != Some(&port.protocol) {
            return Err(conflict(*i, Code::E_CONFLICT_PROTOCOL, "the protocol"));
        }
        if !m.cidrs.is_empty() && *cidrs.get_or_insert(&m.cidrs) != &m.cidrs {
            return Err(conflict(*i, Code::E_CONFLICT_CIDRS, "the set of inbound CIDRs"));
        }
        if !m.prefix_lists.is_empty() && *prefix_lists.get_or_insert(&m.prefix_lists) != &m.prefix_lists {
            return Err(conflict(*i, Code::E_CONFLICT_PREFIX_LISTS, "the set of prefix lists"));
        }
        if !https {
            continue;
        }
        if let Some(policy) = &m.ssl_policy
            && port.ssl_policy.get_or_insert_with(|| policy.clone()) != policy
        {
            return Err(conflict(*i, Code::E_CONFLICT_SSL_POLICY, "the TLS policy"));
        }
        if let Some(mtls) = m.mutual_authentication.get(&number)
            && port.mutual_authentication.get_or_insert_with(|| mtls.clone()) != mtls
        {
            return Err(conflict(*i, Code::E_CONFLICT_MTLS, "the mutual authentication"));
        }
    }
    if https {
        port.ssl_policy.get_or_insert_with(|| settings.default_ssl_policy.clone());
        // The default certificate is not entered into what was seen: named again, it stands twice.
        let default = on.iter().find_map(|(_, m)| m.certificates.first());
        port.certificates.extend(default.cloned());
        let mut seen = BTreeSet::new();
        let mut skip_first = true;
        for arn in on.iter().flat_map(|(_, m)| &m.certificates) {
            if std::mem::take(&mut skip_first) {
                continue;
            }
            if seen.insert(arn) {
                port.certificates.push(arn.clone());
            }
        }
    }
    port.attributes = attributes(number, port.protocol, on, members)?;
    Ok(port)
}

fn attributes(
    number: u16,
    protocol: Protocol,
    on: &[(usize, &MemberPorts)],
    members: &[Member<'_>],
) -> Result<Vec<Attribute>, Diagnostic> {
    let first = on.first().and_then(|(i, _)| members.get(*i)).and_then(|m| m.params);
    let fixed: BTreeMap<String, String> = first
        .and_then(|p| p.listeners.iter().find(|l| l.0 == protocol.as_str() && l.1 == i64::from(number)))
        .map(|l| l.2.iter().cloned().collect())
        .unwrap_or_default();
    let suffix = format!("listener-attributes.{}-{number}", protocol.as_str());
    let on_port = on.iter().filter_map(|(i, _)| members.get(*i));
    merge_maps(on_port, &suffix, fixed, Code::E_CONFLICT_LISTENER_ATTR)
}

/// KEYMERGE (§1.7): maps of all members by key; two values of one key are an error, unless the parameters
/// of the first member's class fix it.
pub(crate) fn merge_maps<'a>(
    members: impl Iterator<Item = &'a Member<'a>>,
    suffix: &str,
    fixed: BTreeMap<String, String>,
    code: Code,
) -> Result<Vec<Attribute>, Diagnostic> {
    let mut merged: BTreeMap<String, (String, String)> = BTreeMap::new();
    for member in members {
        for (key, value) in member.annotations().map(suffix)?.unwrap_or_default() {
            let (known, whose) =
                merged.entry(key.clone()).or_insert_with(|| (value.clone(), member.object()));
            if *known != value && !fixed.contains_key(&key) {
                let message = format!("`{key}` is `{value}` here and `{known}` in {whose}");
                return Err(match member.annotations().get(suffix) {
                    Some(annotation) => annotation.error(code, message),
                    None => member.error(code, message),
                });
            }
        }
    }
    let mut out: BTreeMap<String, String> = merged.into_iter().map(|(k, (v, _))| (k, v)).collect();
    out.extend(fixed);
    Ok(out.into_iter().map(|(k, v)| Attribute::new(k, v)).collect())
}

/// The port that every HTTP listener of the group redirects to (§4.7).
pub(crate) fn ssl_redirect(
    members: &[Member<'_>],
    ports: &BTreeMap<u16, Port>,
) -> Result<Option<u16>, Diagnostic> {
    let mut asked: Option<(i64, Diagnostic)> = None;
    let mut conflict = None;
    for member in members {
        let annotations = member.annotations();
        let (port, error) = match member.params.and_then(|p| p.ssl_redirect_port.as_ref()) {
            Some(text) => match text.parse::<i64>() {
                Ok(port) => (port, member.error(Code::E_SSLR_NO_LISTENER, "")),
                Err(_) => return Ok(None), // §16 H4: it switches the redirect off for all
            },
            None => match (annotations.int32("ssl-redirect")?, annotations.get("ssl-redirect")) {
                (Some(port), Some(annotation)) => {
                    (i64::from(port), annotation.error(Code::E_SSLR_NO_LISTENER, ""))
                }
                _ => continue,
            },
        };
        match &asked {
            Some((known, _)) if *known != port => {
                let mut error = error;
                error.code = Code::E_CONFLICT_SSL_REDIRECT;
                error.message = format!("the group redirects to port {known} already, here it is {port}");
                conflict.get_or_insert(error);
            }
            _ => asked = Some((port, error)),
        }
    }
    if let Some(conflict) = conflict {
        return Err(conflict);
    }
    let Some((port, mut error)) = asked else { return Ok(None) };
    match u16::try_from(port).ok().and_then(|p| Some((p, ports.get(&p)?))) {
        Some((port, listener)) if listener.protocol == Protocol::Https => Ok(Some(port)),
        Some(_) => {
            error.code = Code::E_SSLR_NOT_HTTPS;
            error.message = format!("the listener on port {port} is not HTTPS");
            Err(error)
        }
        None => {
            error.message = format!("no listener of the group is on port {port}");
            Err(error.expected("a port of `listen-ports`"))
        }
    }
}
