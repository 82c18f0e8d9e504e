//! Everything that can be wrong with input, told so that a program can match on it and a person can act
//! on it: a stable [`Code`], the object, the annotation, the value, what was expected, and the place in
//! the file. Imports nothing of the crate.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why an input does not become a router.
///
/// Every variant carries all the problems that were found, errors first. `Display` prints one line for
/// each: `FILE:LINE:COLUMN: message [CODE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read, or its text is not YAML or JSON of the expected shape.
    Input(Vec<Diagnostic>),
    /// The AWS Load Balancer Controller would refuse the manifests (spec: controller §0.2).
    Manifest(Vec<Diagnostic>),
    /// The ELBv2 API would refuse the model (spec: dataplane §1.8, §13.9).
    Model(Vec<Diagnostic>),
    /// An argument of a call is unusable: a cookie key of the wrong length, an unknown name.
    Argument(Vec<Diagnostic>),
}

impl Error {
    /// The problems, at least one.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Error::Input(d) | Error::Manifest(d) | Error::Model(d) | Error::Argument(d) => d,
        }
    }

    /// The code of the first problem, for callers that report one.
    pub fn code(&self) -> Code {
        self.diagnostics().first().map_or(Code::E_INTERNAL, |d| d.code)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.diagnostics().iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(d, f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<Diagnostic> for Error {
    /// Sorts a single problem into the variant its code belongs to.
    fn from(d: Diagnostic) -> Self {
        match d.code.layer() {
            Layer::Input => Error::Input(vec![d]),
            Layer::Manifest => Error::Manifest(vec![d]),
            Layer::Model => Error::Model(vec![d]),
            Layer::Argument => Error::Argument(vec![d]),
        }
    }
}

/// How much a [`Diagnostic`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The object does not become part of the model.
    Error,
    /// The model is built, but probably not as its author meant.
    Warning,
}

/// A place in an input. Lines and columns count from 1; columns count characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Location {
    /// The file as the caller named it; `-` is standard input.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One problem of an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Stable identifier.
    pub code: Code,
    /// One line for a person: lower case, no final full stop, user input in backticks.
    pub message: String,
    /// `Kind namespace/name`, empty where no object is concerned.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// The annotation's or field's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotation: Option<String>,
    /// The offending value, cut to a readable length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What would have been right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// Where in the input.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
}

impl Diagnostic {
    /// A problem with only a code and a message; the setters below add the rest.
    pub fn new(severity: Severity, code: Code, message: impl Into<String>) -> Self {
        Diagnostic {
            severity,
            code,
            message: message.into(),
            object: String::new(),
            annotation: None,
            value: None,
            expected: None,
            location: None,
        }
    }

    /// An error.
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// A warning.
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// The same problem where it hinders nothing.
    #[cfg(feature = "manifest")]
    #[must_use]
    pub(crate) fn into_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Names the object, as `Kind namespace/name`.
    #[must_use]
    pub fn object(mut self, object: impl Into<String>) -> Self {
        self.object = object.into();
        self
    }

    /// Names the annotation or field.
    #[must_use]
    pub fn annotation(mut self, annotation: impl Into<String>) -> Self {
        self.annotation = Some(annotation.into());
        self
    }

    /// Quotes the value; more than 120 characters are cut.
    #[must_use]
    pub fn value(mut self, value: impl AsRef<str>) -> Self {
        let value = value.as_ref();
        self.value = Some(match value.char_indices().nth(120) {
            Some((at, _)) => format!("{}…", &value[..at]),
            None => value.to_owned(),
        });
        self
    }

    /// Says what would have been right.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// Points into the input.
    #[must_use]
    pub fn at(mut self, location: Option<Location>) -> Self {
        self.location = location;
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            write!(f, "{location}: ")?;
        }
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.object.is_empty() {
            write!(f, "{}: ", self.object)?;
        }
        if let Some(annotation) = &self.annotation {
            write!(f, "{annotation}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        write!(f, " [{}]", self.code)
    }
}

/// Which part of the slow path a [`Code`] belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layer {
    /// Reading and parsing.
    Input,
    /// Controller semantics.
    Manifest,
    /// ELBv2 validation.
    Model,
    /// Arguments of a call.
    Argument,
}

macro_rules! codes {
    ($($layer:ident { $($(#[$doc:meta])* $name:ident)* })*) => {
        /// A stable identifier of a problem. `E_…` codes are the controller's (spec: controller, each
        /// named in its section), `W_…` codes are warnings, the others are the ELBv2 API's own names
        /// (spec: dataplane §13.9).
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Code { $($($(#[$doc])* $name,)*)* }

        impl Code {
            /// Every code there is.
            pub const ALL: &'static [Code] = &[$($(Code::$name,)*)*];

            /// The code as text, as it stands in JSON and in messages.
            pub const fn as_str(self) -> &'static str {
                match self { $($(Code::$name => stringify!($name),)*)* }
            }

            /// The part of the slow path that raises it.
            pub const fn layer(self) -> Layer {
                match self { $($(Code::$name => Layer::$layer,)*)* }
            }
        }
    };
}

codes! {
    Input {
        /// A file or folder could not be read.
        E_READ
        /// The text is not valid YAML or JSON.
        E_SYNTAX
        /// The text is a template (Helm `{{`), not a manifest.
        E_TEMPLATE
        /// A known object lacks a field or has one of the wrong type.
        E_OBJECT
        /// Nothing in the input becomes a load balancer.
        E_NO_INGRESS
    }
    Manifest {
        /// Not a boolean of the controller's grammar (§1.2).
        E_ANN_BOOL
        /// Not a base-10 integer in range (§1.2).
        E_ANN_INT
        /// Not a JSON document of the expected shape (§1.5).
        E_ANN_JSON
        /// Not a `key=value` list (§1.3).
        E_ANN_MAP
        /// An IngressClass that cannot be used (§2.4).
        E_CLASS_INVALID
        /// Two default IngressClasses (§2.3).
        E_CLASS_MULTI_DEFAULT
        /// A group name outside the grammar (§3.1).
        E_GROUP_NAME
        /// A group order outside −1000..1000 (§3.3).
        E_GROUP_ORDER
        /// A deleting member asks for deletion protection (§3.4).
        E_DELETION_PROTECTED
        /// One port, HTTP in one member and HTTPS in another (§3.6).
        E_CONFLICT_PROTOCOL
        /// Different CIDR sets on one port (§3.6).
        E_CONFLICT_CIDRS
        /// Different prefix lists on one port (§3.6).
        E_CONFLICT_PREFIX_LISTS
        /// Different explicit TLS policies on one port (§3.6).
        E_CONFLICT_SSL_POLICY
        /// Different mutual authentication on one port (§3.6).
        E_CONFLICT_MTLS
        /// More than one redirect port in a group (§4.7).
        E_CONFLICT_SSL_REDIRECT
        /// Two default backends on one port (§4.11).
        E_MULTI_DEFAULT_BACKEND
        /// Differing explicit names in a group (§3.6).
        E_CONFLICT_NAME
        /// Differing schemes in a group.
        E_CONFLICT_SCHEME
        /// Differing IP address types in a group.
        E_CONFLICT_IPTYPE
        /// Differing subnets in a group.
        E_CONFLICT_SUBNETS
        /// Differing security groups in a group.
        E_CONFLICT_SGS
        /// Differing customer-owned pools in a group.
        E_CONFLICT_COIP
        /// Differing IPAM pools in a group.
        E_CONFLICT_IPAM
        /// Differing minimum capacity in a group.
        E_CONFLICT_CAPACITY
        /// Differing WAFv2 web ACLs in a group.
        E_CONFLICT_WAFV2
        /// Differing WAF classic web ACLs in a group.
        E_CONFLICT_WAF
        /// Differing Shield settings in a group.
        E_CONFLICT_SHIELD
        /// Differing management of backend security groups.
        E_CONFLICT_MANAGE_SG
        /// Subnets from IngressClassParams and from annotations in one group.
        E_CONFLICT_SUBNET_SOURCE
        /// One load balancer attribute, two values (§10.5).
        E_CONFLICT_LB_ATTR
        /// One listener attribute, two values (§4.8).
        E_CONFLICT_LISTENER_ATTR
        /// One tag, two values (§10.6).
        E_CONFLICT_TAG
        /// A frontend NLB setting on which members of a group disagree (§10.8).
        E_CONFLICT_NLB
        /// A frontend NLB setting that cannot be (§10.8).
        E_FRONTEND_NLB
        /// `listen-ports` is not the expected JSON (§4.1).
        E_LISTEN_JSON
        /// `listen-ports` names no port.
        E_LISTEN_EMPTY
        /// A listener port outside 1..65535.
        E_LISTEN_PORT
        /// A listener protocol other than HTTP and HTTPS.
        E_LISTEN_PROTO
        /// Not a CIDR (§4.4).
        E_CIDR
        /// No certificate for a host (§4.5.2).
        E_CERT_NOT_FOUND
        /// A managed certificate without a host (§4.5.3).
        E_CERT_NO_HOST
        /// `ssl-redirect` names a port that no member listens on (§4.7).
        E_SSLR_NO_LISTENER
        /// `ssl-redirect` names a port that is not HTTPS.
        E_SSLR_NOT_HTTPS
        /// `mutual-authentication` is an empty array (§4.9).
        E_MTLS_EMPTY
        /// A mutual authentication port outside 1..65535.
        E_MTLS_PORT
        /// An unknown mutual authentication mode.
        E_MTLS_MODE
        /// A trust store missing, or given where none may be.
        E_MTLS_TRUSTSTORE
        /// `ignoreClientCertificateExpiry` where it may not be.
        E_MTLS_IGNORE
        /// `advertiseTrustStoreCaNames` where it may not be, or unknown.
        E_MTLS_ADVERTISE
        /// A path type the controller does not know (§5.2).
        E_PATHTYPE
        /// A wildcard in an Exact or Prefix path (§5.3).
        E_PATH_WILDCARD
        /// Host values and host regexes in one rule (§5.4).
        E_HOST_MIXED
        /// Path values and path regexes in one rule (§5.4).
        E_PATH_MIXED
        /// Authentication and JWT validation on one rule (§5.6).
        E_AUTH_AND_JWT
        /// An unknown action type (§6.1).
        E_ACTION_TYPE
        /// A forward without target groups.
        E_FWD_MISSING
        /// A forward with both schemas.
        E_FWD_BOTH
        /// A tuple naming a Service and a target group.
        E_TUPLE_BOTH
        /// A tuple naming nothing.
        E_TUPLE_MISSING
        /// A tuple with a Service and no port.
        E_TUPLE_PORT
        /// A tuple without weight among several.
        E_TUPLE_WEIGHT
        /// A redirect without status code.
        E_REDIRECT_CODE
        /// A fixed response without status code.
        E_FIXED_CODE
        /// `use-annotation` without its annotation (§7.3).
        E_ACTION_MISSING
        /// A condition without its config, or an empty one (§6.3).
        E_COND_CONFIG
        /// An unknown transform (§6.4).
        E_TRANSFORM_TYPE
        /// A transform without rewrites.
        E_TRANSFORM_CONFIG
        /// An unknown `auth-type` (§6.5).
        E_AUTH_TYPE
        /// Authentication without its identity provider.
        E_AUTH_IDP_MISSING
        /// The OIDC Secret cannot be read.
        E_OIDC_SECRET
        /// The OIDC Secret has no client id.
        E_OIDC_CLIENT_ID
        /// The OIDC Secret has no client secret.
        E_OIDC_CLIENT_SECRET
        /// `jwt-validation` without `jwksEndpoint` (§6.6).
        E_JWT_JWKS
        /// `jwt-validation` without `issuer`.
        E_JWT_ISSUER
        /// An incomplete additional claim.
        E_JWT_CLAIM
        /// A resource backend (§7.1).
        E_BACKEND_RESOURCE
        /// A Service that does not exist where it is not tolerated (§7.2).
        E_SVC_MISSING
        /// A Service port that does not exist (§7.4).
        E_SVC_PORT
        /// A target group port of 0 (§8.3).
        E_TG_PORT_EMPTY
        /// An unknown `backend-protocol` (§8.4).
        E_BACKEND_PROTO
        /// An unknown `backend-protocol-version`.
        E_BACKEND_PROTO_VERSION
        /// An unknown `target-type` (§8.5).
        E_TARGET_TYPE
        /// Target type ip while it is switched off.
        E_IP_DISABLED
        /// An IPv6 Service behind an IPv4 load balancer (§8.6).
        E_IPV6_LB
        /// An unknown `healthcheck-protocol` (§8.7).
        E_HC_PROTO
        /// `healthcheck-port` names no Service port.
        E_HC_PORT
        /// `healthcheck-port` names a port with a named targetPort in ip mode.
        E_HC_PORT_NAMED
        /// A target control port with target type instance (§8.9).
        E_CONTROL_PORT_INSTANCE
        /// A target group named in an action that is not known (§6.1).
        E_TG_NAME
        /// A TargetGroupBinding without target type (§9.1).
        E_TGB_TYPE
        /// A Service that is neither NodePort nor LoadBalancer in instance mode (§9.2).
        E_TGB_SVC_TYPE
        /// A node without a usable providerID (§9.2).
        E_NODE_PROVIDER_ID
        /// A load balancer name longer than 32 bytes (§10.1).
        E_LB_NAME_LEN
        /// An unknown scheme (§10.2).
        E_SCHEME
        /// An unknown IP address type.
        E_IPTYPE
        /// Backend security groups managed while the feature is off (§10.3).
        E_BACKEND_SG_OFF
        /// An explicit, empty list of subnets (§1.4).
        E_SUBNETS_EMPTY
        /// An empty customer-owned pool (§1.4).
        E_COIP_EMPTY
        /// A capacity key other than `CapacityUnits` (§10.7).
        E_CAPACITY_KEY
        /// A capacity that is not a number.
        E_CAPACITY_VALUE
        /// A tag whose key is managed elsewhere (§10.6).
        E_TAG_EXTERNAL
        /// An annotation that looks misspelt.
        W_ANNOTATION_UNKNOWN
        /// An attribute key that looks misspelt.
        W_ATTRIBUTE_UNKNOWN
        /// A mapping key that stands twice.
        W_DUPLICATE_KEY
        /// An object that stands twice; the last one counts.
        W_DUPLICATE_OBJECT
        /// An Ingress that no class picks up.
        W_NOT_MANAGED
        /// An IngressClass that is not in the input, taken as the controller's Helm chart makes it.
        W_CLASS_ASSUMED
        /// An object that the controller's webhooks would not let into the cluster.
        W_ADMISSION
        /// A path that exists on no listener because of a group-wide redirect.
        W_SSL_REDIRECT_HIDES
        /// A rule that can never match.
        W_RULE_SHADOWED
        /// A rule the controller's optimizer drops.
        W_RULE_DROPPED
        /// A quota that AWS would enforce.
        W_QUOTA
        /// No certificate for an HTTPS listener.
        W_CERTIFICATE
        /// A redirect to a port that no listener is on.
        W_REDIRECT
        /// One name that would lead to two load balancers.
        W_RECORD_CONFLICT
        /// A frontend NLB, which is checked and not run.
        W_FRONTEND_NLB
        /// A health check that probably does not fit its Service.
        W_HEALTH_CHECK
        /// An apiVersion that is removed, unknown or missing; the object is read as the current one.
        W_API_VERSION
        /// Text that looks like an unexpanded placeholder.
        W_PLACEHOLDER
        /// Authentication that an HTTP listener drops.
        W_AUTH_ON_HTTP
        /// A condition whose field the controller ignores.
        W_CONDITION_IGNORED
        /// A Service that does not exist; the rule answers 503.
        W_SVC_MISSING
        /// An action annotation that does not exist; the rule answers 503.
        W_ACTION_MISSING
        /// Two target groups of one name, made unique (§16 H13).
        W_TG_NAME_COLLISION
        /// Stickiness in target type instance pins a node, not a pod.
        W_STICKY_INSTANCE
        /// A target that AWS would not accept or could not reach.
        W_TARGET
        /// A setting that is read and has no effect, or a resource that has no place in a model.
        W_IGNORED
        /// An answer of the API that stops before its last page.
        W_PARTIAL
    }
    Model {
        /// The API's general refusal.
        ValidationError
        /// Two rules with one priority.
        PriorityInUse
        /// An action list the API refuses.
        InvalidLoadBalancerAction
        /// An attribute combination the API refuses.
        InvalidConfigurationRequest
        /// A target the API refuses.
        InvalidTarget
        /// A change to the default rule.
        OperationNotPermitted
        /// Two listeners on one port.
        DuplicateListener
        /// Two target groups of one name.
        DuplicateTargetGroupName
        /// Two load balancers of one name.
        DuplicateLoadBalancerName
        /// An action names a target group that is not there.
        TargetGroupNotFound
        /// One target group behind two load balancers.
        TargetGroupAssociationLimit
        /// More actions than the API accepts.
        TooManyActions
        /// More rules than the quota.
        TooManyRules
        /// More targets than the quota.
        TooManyTargets
        /// More target groups than the quota.
        TooManyUniqueTargetGroupsPerLoadBalancer
        /// A listener protocol that cannot be used.
        UnsupportedProtocol
        /// An HTTPS listener without certificate.
        CertificateNotFound
    }
    Argument {
        /// A cookie key of the wrong length, or a key id that stands twice.
        E_COOKIE_KEY
        /// A name or id that is not there.
        E_NOT_FOUND
        /// An argument outside its range.
        E_ARGUMENT
        /// A defect of this library; please report it.
        E_INTERNAL
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_says_where_what_and_what_was_expected() {
        let d = Diagnostic::error(Code::E_SCHEME, "unknown scheme `public`")
            .object("Ingress default/web")
            .annotation("alb.ingress.kubernetes.io/scheme")
            .value("public")
            .expected("`internal` or `internet-facing`")
            .at(Some(Location { file: "web.yml".into(), line: 7, column: 5 }));
        assert_eq!(
            d.to_string(),
            "web.yml:7:5: Ingress default/web: alb.ingress.kubernetes.io/scheme: unknown scheme `public`; \
             expected `internal` or `internet-facing` [E_SCHEME]"
        );
    }

    #[test]
    fn a_code_sorts_its_problem_into_a_variant() {
        assert!(matches!(Error::from(Diagnostic::error(Code::E_READ, "x")), Error::Input(_)));
        assert!(matches!(Error::from(Diagnostic::error(Code::E_CIDR, "x")), Error::Manifest(_)));
        assert!(matches!(Error::from(Diagnostic::error(Code::PriorityInUse, "x")), Error::Model(_)));
    }

    #[test]
    fn json_has_the_location_beside_the_message() {
        let d = Diagnostic::warning(Code::W_QUOTA, "x").at(Some(Location {
            file: "a.yml".into(),
            line: 1,
            column: 2,
        }));
        let json = serde_json::to_value(&d).unwrap();
        assert_eq!(json["File"], "a.yml");
        assert_eq!(json["Line"], 1);
        assert_eq!(json["Severity"], "warning");
        assert_eq!(serde_json::from_value::<Diagnostic>(json).unwrap(), d);
    }
}
