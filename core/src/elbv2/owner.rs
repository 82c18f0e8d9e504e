//! Whose attributes and whose target health an answer holds that does not say it.

use crate::error::{Code, Diagnostic, Location};
use crate::model::{Attribute, Model};

/// What kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    LoadBalancer,
    Listener,
    TargetGroup,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::LoadBalancer, Kind::Listener, Kind::TargetGroup];

    fn key(self) -> &'static str {
        match self {
            Kind::LoadBalancer => "LoadBalancerArn",
            Kind::Listener => "ListenerArn",
            Kind::TargetGroup => "TargetGroupArn",
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Kind::LoadBalancer => "load balancers",
            Kind::Listener => "listeners",
            Kind::TargetGroup => "target groups",
        }
    }
}

/// A resource that an answer may belong to.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) kind: Kind,
    pub(super) arn: String,
    /// The name by which a file's name knows it: of a listener, its load balancer's.
    pub(super) name: String,
    /// Of a listener whose load balancer has others.
    pub(super) port: Option<u16>,
    pub(super) place: Place,
}

/// Where a resource stands in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Place {
    LoadBalancer(usize),
    Listener(usize, usize),
    TargetGroup(usize),
    /// Nowhere: it belongs to a load balancer of another kind.
    LeftOut,
}

/// Where an answer comes from, and what stands beside it.
pub(super) struct Origin<'a> {
    pub(super) file: &'a str,
    /// The ARN beside it, and the kind that its key says.
    pub(super) arn: Option<(Kind, String)>,
    /// The ARNs of the resources in the same object.
    pub(super) beside: Vec<String>,
}

/// Everything in the model.
pub(super) fn candidates(model: &Model) -> Vec<Candidate> {
    let mut all = Vec::new();
    for (b, balancer) in model.load_balancers.iter().enumerate() {
        all.push(Candidate {
            kind: Kind::LoadBalancer,
            arn: balancer.load_balancer_arn.clone(),
            name: balancer.load_balancer_name.clone(),
            port: None,
            place: Place::LoadBalancer(b),
        });
        for (l, listener) in balancer.listeners.iter().enumerate() {
            all.push(Candidate {
                kind: Kind::Listener,
                arn: listener.listener_arn.clone(),
                name: balancer.load_balancer_name.clone(),
                port: (balancer.listeners.len() > 1).then_some(listener.port),
                place: Place::Listener(b, l),
            });
        }
    }
    all.extend(model.target_groups.iter().enumerate().map(|(g, group)| Candidate {
        kind: Kind::TargetGroup,
        arn: group.target_group_arn.clone(),
        name: group.target_group_name.clone(),
        port: None,
        place: Place::TargetGroup(g),
    }));
    all
}

/// The kinds of resource that have all these attributes, as far as their keys are known.
pub(super) fn kinds(attributes: &[Attribute]) -> Vec<Kind> {
    use Kind::{Listener, LoadBalancer, TargetGroup};
    // The first prefix that fits counts.
    let table: [(&[&str], &[Kind]); 4] = [
        (&["load_balancing.cross_zone."], &[LoadBalancer, TargetGroup]),
        (&["routing.http.request.", "routing.http.response.", "tcp."], &[Listener]),
        (
            &[
                "access_logs.",
                "client_keep_alive.",
                "connection_logs.",
                "deletion_protection.",
                "dns_record.",
                "health_check_logs.",
                "idle_timeout.",
                "ipv6.",
                "routing.",
                "secondary_ips.",
                "waf.",
                "zonal_shift.",
            ],
            &[LoadBalancer],
        ),
        (
            &[
                "deregistration_delay.",
                "lambda.",
                "load_balancing.algorithm.",
                "preserve_client_ip.",
                "proxy_protocol_v2.",
                "slow_start.",
                "stickiness.",
                "target_failover.",
                "target_group_health.",
                "target_health_state.",
            ],
            &[TargetGroup],
        ),
    ];
    let mut kinds = Kind::ALL.to_vec();
    for attribute in attributes {
        let row = table.iter().find(|(prefixes, _)| prefixes.iter().any(|p| attribute.key.starts_with(p)));
        if let Some((_, may)) = row {
            kinds.retain(|k| may.contains(k));
        }
    }
    kinds
}

/// The one of `all` that an answer of one of `kinds` belongs to; `what` names the answer in errors.
pub(super) fn owner(
    all: &[Candidate],
    origin: &Origin<'_>,
    kinds: &[Kind],
    what: &str,
) -> Result<Place, Diagnostic> {
    if let Some((kind, arn)) = &origin.arn {
        let named = all.iter().find(|c| c.kind == *kind && c.arn == *arn);
        return named.map(|c| c.place).ok_or_else(|| {
            refused(origin, format!("the {what} are those of `{arn}`, which is not in the input"))
                .expected(format!("the answer that describes it, or another `{}`", kind.key()))
        });
    }
    if kinds.is_empty() {
        return Err(refused(origin, format!("the {what} belong to different kinds of resources"))
            .expected("the answer of one describe call"));
    }
    let may: Vec<&Candidate> = all.iter().filter(|c| kinds.contains(&c.kind)).collect();
    let beside: Vec<&Candidate> = may.iter().filter(|c| origin.beside.contains(&c.arn)).copied().collect();
    let chosen = if let [one] = beside.as_slice() { vec![*one] } else { by_file_name(&may, origin.file) };
    let chosen = if chosen.is_empty() { may.clone() } else { chosen };
    if let [one] = chosen.as_slice() {
        return Ok(one.place);
    }
    let key = kinds.first().map_or("TargetGroupArn", |k| k.key());
    let message = if chosen.is_empty() {
        let kinds: Vec<&str> = kinds.iter().map(|k| k.plural()).collect();
        format!("there are {what} and no {} that they could belong to", kinds.join(" or "))
    } else {
        let names: Vec<String> = chosen.iter().take(5).map(|c| format!("`{}`", c.label())).collect();
        let more = if chosen.len() > 5 { ", …" } else { "" };
        format!("the {what} may be those of {}{more}: nothing tells which", names.join(", "))
    };
    Err(refused(origin, message).expected(format!("a `{key}` beside them, or the name in the file's name")))
}

impl Candidate {
    fn label(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.name),
            None => self.name.clone(),
        }
    }
}

/// Those that the nearest part of a path that names any of them names best.
fn by_file_name<'c>(may: &[&'c Candidate], file: &str) -> Vec<&'c Candidate> {
    for part in file.rsplit(['/', '\\']) {
        let id = |c: &Candidate| {
            // The random part of an ARN; a shorter text may be anything.
            c.arn.rsplit('/').next().is_some_and(|id| id.len() >= 8 && id != c.arn && part.contains(id))
        };
        let by_id: Vec<&Candidate> = may.iter().filter(|c| id(c)).copied().collect();
        if !by_id.is_empty() {
            return by_id;
        }
        let named = |c: &Candidate| {
            has_word(part, &c.name) && c.port.is_none_or(|port| has_word(part, &port.to_string()))
        };
        let by_name: Vec<&Candidate> = may.iter().filter(|c| named(c)).copied().collect();
        if let Some(longest) = by_name.iter().map(|c| c.name.len()).max() {
            return by_name.into_iter().filter(|c| c.name.len() == longest).collect();
        }
    }
    Vec::new()
}

/// Whether `word` stands in `text` with neither a letter nor a digit on either side.
fn has_word(text: &str, word: &str) -> bool {
    let free = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    !word.is_empty()
        && text.match_indices(word).any(|(at, _)| {
            let (before, after) = (text.get(..at), text.get(at + word.len()..));
            free(before.and_then(|t| t.chars().next_back())) && free(after.and_then(|t| t.chars().next()))
        })
}

pub(super) fn refused(origin: &Origin<'_>, message: String) -> Diagnostic {
    Diagnostic::error(Code::E_OBJECT, message).at(Some(whole(origin.file)))
}

/// A file as a place.
pub(super) fn whole(file: &str) -> Location {
    Location { file: file.to_owned(), line: 1, column: 1 }
}
