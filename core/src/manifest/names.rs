//! Names with the controller's hashes (§8.2, §10.1), and made-up ARNs and DNS names of the same shape as
//! AWS's.

use sha2::{Digest, Sha256};

/// Lower-case hex of the SHA-256 of the parts, one behind the other.
pub(crate) fn hash(parts: &[&str]) -> String {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update(part.as_bytes());
    }
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('0');
    sha.finalize().iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// The first `n` characters that a name may have.
fn san(text: &str, n: usize) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).take(n).collect()
}

fn cut(hash: &str) -> &str {
    hash.get(..10).unwrap_or(hash)
}

/// The name of a load balancer whose manifests name none.
pub(crate) fn load_balancer(
    cluster: &str,
    group: &str,
    implicit: Option<(&str, &str)>,
    scheme: &str,
) -> String {
    let h = hash(&[cluster, group, scheme]);
    match implicit {
        Some((namespace, name)) => format!("k8s-{}-{}-{}", san(namespace, 8), san(name, 8), cut(&h)),
        None => format!("k8s-{}-{}", san(group, 17), cut(&h)),
    }
}

/// What the name of a target group is hashed from.
pub(crate) struct TargetGroupName<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) group: &'a str,
    pub(crate) ingress_namespace: &'a str,
    pub(crate) ingress_name: &'a str,
    pub(crate) service_namespace: &'a str,
    pub(crate) service_name: &'a str,
    pub(crate) service_uid: &'a str,
    pub(crate) port: &'a str,
    pub(crate) target_port: i64,
    pub(crate) target_type: &'a str,
    pub(crate) protocol: &'a str,
    pub(crate) version: &'a str,
    pub(crate) control_port: Option<i32>,
}

impl TargetGroupName<'_> {
    pub(crate) fn name(&self) -> String {
        let control = self.control_port.map(|p| p.to_string()).unwrap_or_default();
        let h = hash(&[
            self.cluster,
            self.group,
            self.ingress_namespace,
            self.ingress_name,
            self.service_uid,
            self.port,
            &self.target_port.to_string(),
            self.target_type,
            self.protocol,
            self.version,
            &control,
        ]);
        format!("k8s-{}-{}-{}", san(self.service_namespace, 8), san(self.service_name, 8), cut(&h))
    }
}

/// An ARN like AWS's, made of what identifies the resource.
pub(crate) fn arn(resource: &str, identity: &[&str]) -> String {
    let id = hash(identity);
    format!("arn:aws:elasticloadbalancing:local:000000000000:{resource}/{}", id.get(..16).unwrap_or(&id))
}

/// A DNS name like AWS's.
pub(crate) fn dns_name(name: &str, internal: bool, identity: &[&str]) -> String {
    let digits: String = hash(identity).bytes().take(10).map(|b| char::from(b'0' + b % 10)).collect();
    let prefix = if internal { "internal-" } else { "" };
    format!("{prefix}{}-{digits}.local.elb.amazonaws.com", name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_balancer_names() {
        let implicit = |cluster, ns, name, scheme| {
            load_balancer(cluster, &format!("{ns}/{name}"), Some((ns, name)), scheme)
        };
        assert_eq!(implicit("cluster-dummy", "ns-1", "ing-1", "internal"), "k8s-ns1-ing1-b7e914000d");
        assert_eq!(implicit("demo", "default", "web", "internet-facing"), "k8s-default-web-2d5e8838df");
        assert_eq!(
            load_balancer("demo", "my-team.awesome-group", None, "internal"),
            "k8s-myteamawesomegrou-e834ae91d1"
        );
    }

    #[test]
    fn target_group_names() {
        let base = TargetGroupName {
            cluster: "demo",
            group: "default/web",
            ingress_namespace: "default",
            ingress_name: "web",
            service_namespace: "default",
            service_name: "web-svc",
            service_uid: "11111111-2222-3333-4444-555555555555",
            port: "80",
            target_port: 8080,
            target_type: "ip",
            protocol: "HTTP",
            version: "HTTP1",
            control_port: None,
        };
        assert_eq!(base.name(), "k8s-default-websvc-ab5842a3d9");
        assert_eq!(
            TargetGroupName { control_port: Some(3000), ..base }.name(),
            "k8s-default-websvc-6b844ea168"
        );
        let grpc = TargetGroupName {
            group: "my-team.awesome-group",
            port: "grpc",
            target_port: 1,
            version: "GRPC",
            control_port: None,
            ..base
        };
        assert_eq!(grpc.name(), "k8s-default-websvc-2929abfcac");
        let dummy = TargetGroupName {
            cluster: "cluster-dummy",
            group: "ns-1/ing-1",
            ingress_namespace: "ns-1",
            ingress_name: "ing-1",
            service_namespace: "ns-1",
            service_name: "svc-1",
            service_uid: "",
            port: "http",
            target_port: 32768,
            target_type: "instance",
            ..base
        };
        assert_eq!(dummy.name(), "k8s-ns1-svc1-9889425938");
    }
}
