//! Listeners of a group (§4): ports, certificates, policies, mutual TLS, attributes, and the redirect to
//! HTTPS that holds for the whole group.

use std::collections::{BTreeMap, BTreeSet};

use super::annotations::{Annotation, list};
use super::build::Broken;
use super::certificates;
use super::group::{Given, Member};
use super::json::{Object, array};
use super::load_balancer::pairs;
use super::objects::Objects;
use super::{Settings, yaml};
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
struct MemberPorts<'a> {
    ports: BTreeMap<u16, Protocol>,
    certificates: Vec<String>,
    ssl_policy: Option<Given<'a>>,
    mutual_authentication: BTreeMap<u16, MutualAuthentication>,
    cidrs: Set<'a>,
    prefix_lists: Set<'a>,
}

/// A set of texts, and where it was given.
#[derive(Default)]
struct Set<'a> {
    items: BTreeSet<String>,
    given: Option<Given<'a>>,
}

/// The listeners of a group by port.
pub(crate) fn ports(
    members: &[Member<'_>],
    objects: &Objects,
    settings: &Settings,
    warnings: &mut Vec<Diagnostic>,
) -> Result<BTreeMap<u16, Port>, Broken> {
    let mut all: Vec<MemberPorts<'_>> = Vec::with_capacity(members.len());
    for (i, member) in members.iter().enumerate() {
        all.push(member_ports(member, settings).map_err(|e| Broken::of(i, e))?);
    }
    let mut by_number: BTreeMap<u16, Vec<(usize, &MemberPorts<'_>)>> = BTreeMap::new();
    for (i, member) in all.iter().enumerate() {
        for number in member.ports.keys() {
            by_number.entry(*number).or_default().push((i, member));
        }
    }
    let mut out = BTreeMap::new();
    for (number, on) in by_number {
        let port = merge(number, &on, members, settings)?;
        warnings.extend(missing_certificate(number, &port, members, objects, settings));
        out.insert(number, port);
    }
    Ok(out)
}

/// Warns of an HTTPS listener that AWS would refuse for want of a certificate. Where hosts are named and
/// no certificates are known here, AWS may find one, and nothing is said.
fn missing_certificate(
    number: u16,
    port: &Port,
    members: &[Member<'_>],
    objects: &Objects,
    settings: &Settings,
) -> Option<Diagnostic> {
    if port.protocol != Protocol::Https || !port.certificates.is_empty() {
        return None;
    }
    let on = || port.members.iter().filter_map(|i| members.get(*i));
    let discoverable = settings.certificates.is_empty() && on().any(|m| !certificates::hosts(m).is_empty());
    let local = on().any(|m| {
        m.ingress.tls.iter().any(|t| {
            let is = |s: &super::objects::Secret| {
                s.meta.name == t.secret && s.meta.namespace == m.ingress.meta.namespace
            };
            objects.secrets.iter().any(is)
        })
    });
    if discoverable || local {
        return None;
    }
    let warning = on().next()?.error_at(
        "listen-ports",
        Code::W_CERTIFICATE,
        format!("the HTTPS listener on port {number} has no certificate, and no host to find one by: AWS would refuse it"),
    );
    Some(
        warning
            .into_warning()
            .expected("a `certificate-arn`, or hosts in `rules` or `tls` that a certificate covers"),
    )
}

fn member_ports<'a>(member: &Member<'a>, settings: &Settings) -> Result<MemberPorts<'a>, Diagnostic> {
    let annotations = member.annotations();
    let mut explicit: Vec<String> =
        member.params.iter().flat_map(|p| &p.certificate_arn).map(|t| t.text.clone()).collect();
    if explicit.is_empty() {
        explicit = annotations.list("certificate-arn").unwrap_or_default();
    }
    let managed = certificates::managed(member, settings)?;
    if explicit.is_empty() {
        explicit.extend(managed);
    }
    let ssl_policy = member.given("ssl-policy", "sslPolicy", |p| &p.ssl_policy);
    let of_params = |field, get: fn(&super::objects::ClassParams) -> &Vec<yaml::Text>| -> Option<Set<'a>> {
        let all = member.params.map(get)?;
        Some(Set {
            items: all.iter().map(|t| t.text.clone()).collect(),
            given: Some(member.params_field(field, all.first()?)?),
        })
    };
    let annotated = |suffix| {
        let annotation = annotations.get(suffix)?;
        let items = list(annotation.value()).into_iter().collect();
        Some(Set { items, given: Some(Given::Annotation(annotation)) })
    };
    let cidrs = of_params("inboundCIDRs", |p| &p.inbound_cidrs)
        .or_else(|| annotated("inbound-cidrs"))
        .unwrap_or_default();
    if let (Some(bad), Some(given)) =
        (cidrs.items.iter().find(|c| c.parse::<ipnet::IpNet>().is_err()), &cidrs.given)
    {
        let error = given.error(Code::E_CIDR, format!("`{bad}` is not a CIDR block"));
        return Err(error.expected("such as `10.0.0.0/8`"));
    }
    let prefix_lists = of_params("prefixListsIDs", |p| &p.prefix_lists)
        .or_else(|| annotated("security-group-prefix-lists"))
        .unwrap_or_default();
    let mutual_authentication = match annotations.json("mutual-authentication")? {
        Some((annotation, value)) => mutual_authentication(annotation, &value)?,
        None => BTreeMap::new(),
    };
    let ports = match annotations.json("listen-ports") {
        Ok(Some((annotation, value))) => listen_ports(annotation, &value)?,
        Ok(None) if explicit.is_empty() => BTreeMap::from([(80, Protocol::Http)]),
        Ok(None) => BTreeMap::from([(443, Protocol::Https)]),
        Err(mut error) => {
            error.code = Code::E_LISTEN_JSON;
            return Err(error.expected("such as `[{\"HTTP\":80},{\"HTTPS\":443}]`"));
        }
    };
    let https = ports.values().any(|p| *p == Protocol::Https);
    if explicit.is_empty() && https {
        explicit = certificates::discover(member, settings)?;
    }
    Ok(MemberPorts { ports, certificates: explicit, ssl_policy, mutual_authentication, cidrs, prefix_lists })
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
                    // `null` leaves a number at zero, which is no port.
                    let number = if port.is_null() { Some(0) } else { port.as_i64() };
                    let number = number.filter(|n| i32::try_from(*n).is_ok());
                    let number = number.ok_or_else(|| json(format!("`{port}` is not a port")))?;
                    entries.push((protocol, number));
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
    on: &[(usize, &MemberPorts<'_>)],
    members: &[Member<'_>],
    settings: &Settings,
) -> Result<Port, Broken> {
    // A disagreement of member `i` with the first that said something, told where `i` says it.
    let conflict = |i: usize, first: usize, code, what: &str, given: Option<&Given<'_>>, suffix: &str| {
        let other = members.get(first).map(Member::object).unwrap_or_default();
        let message = format!("{what} on port {number} differs from that of {other}");
        let error = match (given, members.get(i)) {
            (Some(given), _) => given.error(code, message),
            (None, Some(member)) => member.error_at(suffix, code, message),
            (None, None) => Diagnostic::error(code, message),
        };
        Broken::of(i, error)
    };
    let mut port = Port { members: on.iter().map(|(i, _)| *i).collect(), ..Port::default() };
    let Some((first, leader)) = on.first() else { return Ok(port) };
    port.protocol = leader.ports.get(&number).copied().unwrap_or_default();
    let https = port.protocol == Protocol::Https;
    // Each with the member that said it first.
    let mut cidrs: Option<(usize, &Set<'_>)> = None;
    let mut prefix_lists: Option<(usize, &Set<'_>)> = None;
    let mut policy: Option<(usize, &str)> = None;
    let mut mtls: Option<(usize, &MutualAuthentication)> = None;
    for (i, m) in on {
        if m.ports.get(&number) != Some(&port.protocol) {
            let code = Code::E_CONFLICT_PROTOCOL;
            return Err(conflict(*i, *first, code, "the protocol", None, "listen-ports"));
        }
        if !m.cidrs.items.is_empty() {
            let (whose, known) = *cidrs.get_or_insert((*i, &m.cidrs));
            if known.items != m.cidrs.items {
                let what = "the set of inbound CIDRs";
                let given = m.cidrs.given.as_ref();
                return Err(conflict(*i, whose, Code::E_CONFLICT_CIDRS, what, given, "inbound-cidrs"));
            }
        }
        if !m.prefix_lists.items.is_empty() {
            let (whose, known) = *prefix_lists.get_or_insert((*i, &m.prefix_lists));
            if known.items != m.prefix_lists.items {
                let (what, suffix) = ("the set of prefix lists", "security-group-prefix-lists");
                let given = m.prefix_lists.given.as_ref();
                return Err(conflict(*i, whose, Code::E_CONFLICT_PREFIX_LISTS, what, given, suffix));
            }
        }
        if !https {
            continue;
        }
        if let Some(given) = &m.ssl_policy {
            let (whose, known) = *policy.get_or_insert((*i, given.value()));
            if known != given.value() {
                let what = "the TLS policy";
                return Err(conflict(
                    *i,
                    whose,
                    Code::E_CONFLICT_SSL_POLICY,
                    what,
                    Some(given),
                    "ssl-policy",
                ));
            }
        }
        if let Some(own) = m.mutual_authentication.get(&number) {
            let (whose, known) = *mtls.get_or_insert((*i, own));
            if known != own {
                let (what, suffix) = ("the mutual authentication", "mutual-authentication");
                return Err(conflict(*i, whose, Code::E_CONFLICT_MTLS, what, None, suffix));
            }
        }
    }
    port.mutual_authentication = mtls.map(|(_, m)| m.clone());
    port.ssl_policy = policy.map(|(_, p)| p.to_owned());
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
    on: &[(usize, &MemberPorts<'_>)],
    members: &[Member<'_>],
) -> Result<Vec<Attribute>, Diagnostic> {
    let first = on.first().and_then(|(i, _)| members.get(*i)).and_then(|m| m.params);
    let fixed = first
        .and_then(|p| {
            p.listeners.iter().find(|l| l.protocol == protocol.as_str() && l.port == i64::from(number))
        })
        .map(|l| pairs(&l.attributes))
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
                return Err(member.error_at(suffix, code, message));
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
    warnings: &mut Vec<Diagnostic>,
) -> Result<Option<u16>, Diagnostic> {
    let mut asked: Option<(i64, Given<'_>, &Member<'_>)> = None;
    let mut conflict = None;
    for member in members {
        let Some(given) = member.given("ssl-redirect", "sslRedirectPort", |p| &p.ssl_redirect_port) else {
            continue;
        };
        let port = match (&given, given.value().parse::<i64>()) {
            (Given::Params { .. }, Ok(port)) => port,
            (Given::Params { .. }, Err(_)) => {
                // §16 H4
                let message = format!(
                    "`{}` is not a port: the controller then redirects no HTTP listener of the whole group",
                    given.value()
                );
                let warning = given.error(Code::W_IGNORED, message).into_warning();
                warnings.push(warning.expected("a port of `listen-ports`"));
                return Ok(None);
            }
            (Given::Annotation(_), _) => match member.annotations().int32("ssl-redirect")? {
                Some(port) => i64::from(port),
                None => continue,
            },
        };
        match &asked {
            Some((known, _, whose)) if *known != port => {
                let message =
                    format!("{} redirects the group to port {known}, here it is {port}", whose.object());
                conflict.get_or_insert_with(|| given.error(Code::E_CONFLICT_SSL_REDIRECT, message));
            }
            Some(_) => {}
            None => asked = Some((port, given, member)),
        }
    }
    if let Some(conflict) = conflict {
        return Err(conflict);
    }
    let Some((port, given, _)) = asked else { return Ok(None) };
    match u16::try_from(port).ok().and_then(|p| Some((p, ports.get(&p)?))) {
        Some((port, listener)) if listener.protocol == Protocol::Https => Ok(Some(port)),
        Some(_) => {
            let message = format!("the listener on port {port} is not HTTPS");
            Err(given.error(Code::E_SSLR_NOT_HTTPS, message).expected("the port of an HTTPS listener"))
        }
        None => {
            let known: Vec<String> = ports.keys().map(u16::to_string).collect();
            let message = format!("no listener of the group is on port {port}");
            Err(given
                .error(Code::E_SSLR_NO_LISTENER, message)
                .expected(format!("a port of `listen-ports`, which has {}", known.join(", "))))
        }
    }
}
