//! Manifests that are wrong in one way each.

use podway::Code::{self, *};
use podway::manifest::{KnownCertificate, Settings};
use podway::model::TargetType;

/// A set of manifests, the settings they are read with, and what is to be told.
pub(crate) struct Case {
    pub(crate) code: Code,
    pub(crate) manifests: String,
    pub(crate) settings: fn(&mut Settings),
    /// Parts of the printed line.
    pub(crate) says: &'static [&'static str],
}

/// `spec` of an Ingress with one path to the Service `app`.
pub(crate) const TO_APP: &str = "  rules:
  - http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}
";

pub(crate) const WITH_HOST: &str = "  rules:
  - host: web.example.com
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}
";

/// `spec` of an Ingress whose action is an annotation.
const BY_ANNOTATION: &str = "  rules:
  - http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: act, port: {name: use-annotation}}}}
";

pub(crate) const SERVICE: &str = "apiVersion: v1
kind: Service
metadata:
  name: app
spec: {type: NodePort, selector: {app: app}, ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30080}]}
";

const CLUSTER_IP: &str = "apiVersion: v1
kind: Service
metadata:
  name: app
spec: {selector: {app: app}, ports: [{name: http, port: 80, targetPort: web}]}
";

const CLASS: &str = "apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: corp}
spec: {controller: ingress.k8s.aws/alb, parameters: {apiGroup: elbv2.k8s.aws, kind: IngressClassParams, name: corp}}
";

/// An Ingress; annotations are written without their prefix.
pub(crate) fn ingress(name: &str, annotations: &[&str], spec: &str) -> String {
    let lines: String = annotations.iter().map(|a| format!("    alb.ingress.kubernetes.io/{a}\n")).collect();
    with_metadata(
        &format!("  name: {name}\n  annotations:\n    kubernetes.io/ingress.class: alb\n{lines}"),
        spec,
    )
}

fn with_metadata(metadata: &str, spec: &str) -> String {
    format!("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n{metadata}spec:\n{spec}")
}

fn join(parts: &[String]) -> String {
    parts.join("---\n")
}

fn web(annotations: &[&str]) -> String {
    join(&[ingress("web", annotations, TO_APP), SERVICE.to_owned()])
}

fn action(json: &str) -> String {
    ingress("web", &[&format!("actions.act: @@'{json}'")], BY_ANNOTATION)
}

/// Two members of one group with an annotation each.
fn pair(first: &str, second: &str) -> String {
    join(&[
        ingress("a", &["group.name: g", first], TO_APP),
        ingress("b", &["group.name: g", second], TO_APP),
        SERVICE.to_owned(),
    ])
}

/// An Ingress of the class `corp` with these parameters.
fn corp(params: &str, annotations: &[&str]) -> String {
    let lines: String = annotations.iter().map(|a| format!("    alb.ingress.kubernetes.io/{a}\n")).collect();
    join(&[
        CLASS.to_owned(),
        format!(
            "apiVersion: elbv2.k8s.aws/v1beta1\nkind: IngressClassParams\nmetadata: {{name: corp}}\nspec:\n{params}"
        ),
        with_metadata(
            &format!("  name: web\n  annotations:\n    x: y\n{lines}"),
            &format!("  ingressClassName: corp\n{TO_APP}"),
        ),
        SERVICE.to_owned(),
    ])
}

fn oidc(secret: &str) -> String {
    let annotations = [
        "listen-ports: '[{\"HTTPS\":443}]'",
        "auth-type: oidc",
        "auth-idp-oidc: @@'{\"issuer\":\"https://i\",\"secretName\":\"oidc\"}'",
    ];
    join(&[ingress("web", &annotations, WITH_HOST), SERVICE.to_owned(), secret.to_owned()])
}

fn secret(data: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: oidc}}\nstringData: {{{data}}}\n")
}

fn binding(spec: &str) -> String {
    join(&[
        ingress("web", &[], TO_APP),
        SERVICE.to_owned(),
        format!(
            "apiVersion: elbv2.k8s.aws/v1beta1\nkind: TargetGroupBinding\nmetadata:\n  name: @@bound\nspec: {spec}\n"
        ),
    ])
}

/// The pod behind the EndpointSlice `app-1`.
fn pod(spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: @@app-1\nspec: {{{spec}}}\nstatus: {{podIP: 10.0.0.1}}\n"
    )
}

fn none(_: &mut Settings) {}

fn case(code: Code, manifests: String, says: &'static [&'static str]) -> Case {
    Case { code, manifests, settings: none, says }
}

fn set(code: Code, settings: fn(&mut Settings), manifests: String, says: &'static [&'static str]) -> Case {
    Case { code, manifests, settings, says }
}

pub(crate) fn errors() -> Vec<Case> {
    let mut all = reading();
    all.extend(groups());
    all.extend(listeners());
    all.extend(rules());
    all.extend(target_groups());
    all.extend(load_balancers());
    all
}

fn reading() -> Vec<Case> {
    vec![
        case(E_SYNTAX, "kind: Ingress\nmetadata: {name: [web\nspec: 1\n".into(), &["web.yml:"]),
        case(
            E_TEMPLATE,
            "kind: Ingress\nmetadata:\n  name: @@{{ .Release.Name }}\n".into(),
            &["helm template"],
        ),
        case(
            E_TEMPLATE,
            "@@{{- if .Values.ingress }}\nkind: Ingress\n{{- end }}\n".into(),
            &["helm template"],
        ),
        case(E_NO_INGRESS, SERVICE.into(), &["IngressClass"]),
        case(
            E_OBJECT,
            web(&["success-codes: @@200"]),
            &["`alb.ingress.kubernetes.io/success-codes` is a number", "in quotes"],
        ),
        case(
            E_OBJECT,
            ingress("web", &[], &TO_APP.replace("number: 80", "number: @@'80'")),
            &["`number` is a text", "without quotes"],
        ),
        case(E_OBJECT, ingress("web", &[], "  rules: @@{host: a}\n"), &["`rules` is a mapping", "a list"]),
        case(
            E_OBJECT,
            ingress("web", &[], &TO_APP.replace("{service: {name: app, port: {number: 80}}}", "@@{}")),
            &["names no service"],
        ),
        case(
            E_OBJECT,
            SERVICE.replace("8080", "@@'8080'"),
            &["Service default/app", "`targetPort` is the text `8080`"],
        ),
        case(
            E_OBJECT,
            "@@apiVersion: v1\nkind: Service\nmetadata: {namespace: x}\n".into(),
            &["has no name"],
        ),
    ]
}

fn groups() -> Vec<Case> {
    let no_class = |more: &str| {
        let ingress = with_metadata("  name: web\n", &format!("  ingressClassName: @@nope\n{TO_APP}"));
        join(&[ingress, SERVICE.to_owned(), more.to_owned()])
    };
    let default = |name: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata:\n  name: {name}\n  annotations: {{ingressclass.kubernetes.io/is-default-class: 'true'}}\nspec: {{controller: ingress.k8s.aws/alb}}\n"
        )
    };
    let leaving = "  name: gone\n  deletionTimestamp: '2026-01-01T00:00:00Z'\n  finalizers: [group.ingress.k8s.aws/g]\n  annotations:\n    kubernetes.io/ingress.class: alb\n    alb.ingress.kubernetes.io/load-balancer-attributes: @@deletion_protection.enabled=true\n";
    vec![
        case(
            E_ANN_BOOL,
            web(&["shield-advanced-protection: @@'yes'"]),
            &["Ingress default/web", "`yes` is not a boolean", "`true` or `false`"],
        ),
        case(E_ANN_INT, web(&["healthcheck-interval-seconds: @@15s"]), &["`15s`", "a whole number"]),
        case(E_ANN_MAP, web(&["target-group-attributes: @@stickiness"]), &["`stickiness`", "key=value"]),
        case(E_ANN_JSON, action(r#"{"type":"forward","forwardConfig":[]}"#), &["expected an object"]),
        case(
            E_CLASS_INVALID,
            no_class(""),
            &["`nope` is not in the input", "controller: ingress.k8s.aws/alb"],
        ),
        case(
            E_CLASS_INVALID,
            corp("  namespaceSelector: {matchLabels: {team: a}}\n", &[]),
            &["Namespace `default` is not in the input"],
        ),
        case(
            E_CLASS_MULTI_DEFAULT,
            join(&[
                default("one"),
                default("@@two"),
                with_metadata("  name: web\n", TO_APP),
                SERVICE.to_owned(),
            ]),
            &["`two` is a second default"],
        ),
        case(
            E_GROUP_NAME,
            web(&["group.name: @@My_Group"]),
            &["`My_Group` is not a group name", "lower-case"],
        ),
        case(E_GROUP_ORDER, web(&["group.order: @@'1001'"]), &["-1000 to 1000"]),
        case(
            E_DELETION_PROTECTED,
            join(&[
                ingress("a", &["group.name: g"], TO_APP),
                with_metadata(leaving, TO_APP),
                SERVICE.to_owned(),
            ]),
            &["Ingress default/gone", "deletion protection", "holds back"],
        ),
    ]
}

fn listeners() -> Vec<Case> {
    const HTTPS: &str = "listen-ports: '[{\"HTTPS\":443}]'";
    let mtls =
        |json: &str| web(&[HTTPS, "certificate-arn: arn:a", &format!("mutual-authentication: @@'{json}'")]);
    let secure = |second: &str| {
        let members = |name, annotation: &str| {
            ingress(name, &["group.name: g", HTTPS, "certificate-arn: arn:a", annotation], TO_APP)
        };
        let (first, second) = second.split_once('|').unwrap_or((second, second));
        join(&[members("a", first), members("b", second), SERVICE.to_owned()])
    };
    let default_backend = "  defaultBackend: {service: {name: app, port: {number: 80}}}\n";
    vec![
        case(
            E_CONFLICT_PROTOCOL,
            pair("listen-ports: '[{\"HTTP\":80}]'", "listen-ports: @@'[{\"HTTPS\":80}]'"),
            &["port 80", "Ingress default/a"],
        ),
        case(
            E_CONFLICT_CIDRS,
            pair("inbound-cidrs: 10.0.0.0/8", "inbound-cidrs: @@10.1.0.0/16"),
            &["Ingress default/b", "Ingress default/a"],
        ),
        case(
            E_CONFLICT_PREFIX_LISTS,
            pair("security-group-prefix-lists: pl-1", "security-group-prefix-lists: @@pl-2"),
            &["prefix lists"],
        ),
        case(
            E_CONFLICT_SSL_POLICY,
            secure("ssl-policy: A|ssl-policy: @@B"),
            &["TLS policy", "Ingress default/a"],
        ),
        case(
            E_CONFLICT_MTLS,
            secure(
                "mutual-authentication: '[{\"port\":443,\"mode\":\"off\"}]'|mutual-authentication: @@'[{\"port\":443,\"mode\":\"passthrough\"}]'",
            ),
            &["mutual authentication"],
        ),
        case(
            E_CONFLICT_SSL_REDIRECT,
            pair("ssl-redirect: '443'", "ssl-redirect: @@'8443'"),
            &["443", "here it is 8443"],
        ),
        case(
            E_MULTI_DEFAULT_BACKEND,
            join(&[
                ingress("a", &["group.name: g"], default_backend),
                ingress(
                    "b",
                    &["group.name: g"],
                    &default_backend.replace("{service: {name", "@@{service: {name"),
                ),
                SERVICE.to_owned(),
            ]),
            &["port 80", "Ingress default/a"],
        ),
        case(E_LISTEN_JSON, web(&["listen-ports: @@'[80]'"]), &["`[{\"HTTP\":80},{\"HTTPS\":443}]`"]),
        case(E_LISTEN_JSON, web(&["listen-ports: @@'[{\"HTTP\":99999999999}]'"]), &["is not a port"]),
        case(E_LISTEN_EMPTY, web(&["listen-ports: @@'[]'"]), &["no port"]),
        case(E_LISTEN_PORT, web(&["listen-ports: @@'[{\"HTTP\":70000}]'"]), &["1 to 65535"]),
        case(E_LISTEN_PORT, web(&["listen-ports: @@'[{\"HTTP\":null}]'"]), &["`0` is not a port"]),
        case(E_LISTEN_PROTO, web(&["listen-ports: @@'[{\"http\":80}]'"]), &["`http`", "`HTTP` or `HTTPS`"]),
        case(E_CIDR, web(&["inbound-cidrs: @@'10.0.0.0/8, anywhere'"]), &["`anywhere`"]),
        case(
            E_CIDR,
            corp("  inboundCIDRs: [@@anywhere]\n", &[]),
            &["spec.inboundCIDRs of IngressClassParams corp"],
        ),
        set(
            E_CERT_NOT_FOUND,
            |s| {
                let other = KnownCertificate { arn: "arn:a".into(), ..KnownCertificate::default() };
                s.certificates = vec![other];
            },
            join(&[ingress("web", &[HTTPS], &WITH_HOST.replace("web.", "@@web.")), SERVICE.to_owned()]),
            &["`web.example.com`"],
        ),
        set(
            E_CERT_NO_HOST,
            |s| s.enable_certificate_management = true,
            web(&["create-acm-cert: @@'true'"]),
            &["no host"],
        ),
        case(E_SSLR_NO_LISTENER, web(&["ssl-redirect: @@'443'"]), &["port 443", "which has 80"]),
        case(E_SSLR_NOT_HTTPS, web(&["ssl-redirect: @@'80'"]), &["not HTTPS"]),
        case(
            E_SSLR_NOT_HTTPS,
            corp("  sslRedirectPort: @@'80'\n", &[]),
            &["spec.sslRedirectPort of IngressClassParams corp"],
        ),
        case(E_MTLS_EMPTY, mtls("[]"), &["no port"]),
        case(E_MTLS_PORT, mtls(r#"[{"port":0,"mode":"off"}]"#), &["`0` is not a port"]),
        case(E_MTLS_MODE, mtls(r#"[{"port":443,"mode":"on"}]"#), &["`on`", "`verify`"]),
        case(E_MTLS_TRUSTSTORE, mtls(r#"[{"port":443,"mode":"verify"}]"#), &["needs a `trustStore`"]),
        case(
            E_MTLS_IGNORE,
            mtls(r#"[{"port":443,"mode":"off","ignoreClientCertificateExpiry":false}]"#),
            &["ignoreClientCertificateExpiry"],
        ),
        case(
            E_MTLS_ADVERTISE,
            mtls(r#"[{"port":443,"mode":"verify","trustStore":"arn:t","advertiseTrustStoreCaNames":"yes"}]"#),
            &["`on` or `off`"],
        ),
        case(
            E_CONFLICT_LISTENER_ATTR,
            pair("listener-attributes.HTTP-80: a=1", "listener-attributes.HTTP-80: @@a=2"),
            &["`a` is `2` here and `1`"],
        ),
    ]
}

fn rules() -> Vec<Case> {
    let conditions = |json: &str, spec: &str| {
        join(&[ingress("web", &[&format!("conditions.app: @@'{json}'")], spec), SERVICE.to_owned()])
    };
    let regex_path = TO_APP.replace("Prefix", "ImplementationSpecific");
    let path_values = r#"[{"field":"path-pattern","pathPatternConfig":{"values":["/x"]}}]"#;
    let transforms = |json: &str| {
        join(&[ingress("web", &[&format!("transforms.app: @@'{json}'")], TO_APP), SERVICE.to_owned()])
    };
    let tuples =
        |json: &str| action(&format!(r#"{{"type":"forward","forwardConfig":{{"targetGroups":{json}}}}}"#));
    let jwt = |json: &str| web(&[&format!("jwt-validation: @@'{json}'")]);
    let both = [
        "listen-ports: '[{\"HTTPS\":443}]'",
        "certificate-arn: arn:a",
        "auth-type: cognito",
        "auth-idp-cognito: '{}'",
        "jwt-validation: @@'{\"jwksEndpoint\":\"https://j\",\"issuer\":\"https://i\"}'",
    ];
    vec![
        case(
            E_PATHTYPE,
            ingress("web", &[], &TO_APP.replace("Prefix", "@@Regex")),
            &["`Regex`", "`ImplementationSpecific`"],
        ),
        case(
            E_PATH_WILDCARD,
            ingress("web", &[], &TO_APP.replace("path: /,", "path: @@/*,")),
            &["Prefix path `/*`"],
        ),
        case(
            E_HOST_MIXED,
            conditions(r#"[{"field":"host-header","hostHeaderConfig":{"regexValues":["^a"]}}]"#, WITH_HOST),
            &["host values and host regexes"],
        ),
        case(
            E_PATH_MIXED,
            join(&[
                ingress(
                    "web",
                    &["use-regex-path-match: 'true'", &format!("conditions.app: @@'{path_values}'")],
                    &regex_path,
                ),
                SERVICE.to_owned(),
            ]),
            &["path values and path regexes"],
        ),
        case(E_AUTH_AND_JWT, web(&both), &["JWT"]),
        case(E_ACTION_TYPE, action(r#"{"type":"Forward"}"#), &["`Forward`", "`fixed-response`"]),
        case(E_FWD_MISSING, action(r#"{"type":"forward"}"#), &["`forwardConfig`"]),
        case(
            E_FWD_BOTH,
            action(r#"{"type":"forward","targetGroupARN":"arn:t","forwardConfig":{}}"#),
            &["one of them"],
        ),
        case(
            E_TUPLE_BOTH,
            tuples(r#"[{"serviceName":"app","servicePort":80,"targetGroupARN":"arn:t"}]"#),
            &["Service"],
        ),
        case(E_TUPLE_MISSING, tuples(r#"[{"weight":1}]"#), &["`serviceName`"]),
        case(E_TUPLE_PORT, tuples(r#"[{"serviceName":"app"}]"#), &["`servicePort`"]),
        case(
            E_TUPLE_WEIGHT,
            tuples(r#"[{"targetGroupARN":"arn:t"},{"targetGroupARN":"arn:u"}]"#),
            &["`weight`"],
        ),
        case(E_REDIRECT_CODE, action(r#"{"type":"redirect","redirectConfig":{}}"#), &["`HTTP_301`"]),
        case(E_FIXED_CODE, action(r#"{"type":"fixed-response"}"#), &["statusCode"]),
        set(
            E_ACTION_MISSING,
            |s| s.tolerate_non_existent_backend_action = false,
            ingress("web", &[], &BY_ANNOTATION.replace("name: act", "name: @@act")),
            &["`actions.act`"],
        ),
        case(E_COND_CONFIG, conditions(r#"[{"field":"source-ip"}]"#, TO_APP), &["`sourceIPConfig`"]),
        case(E_TRANSFORM_TYPE, transforms(r#"[{"type":"rewrite"}]"#), &["`url-rewrite`"]),
        case(E_TRANSFORM_CONFIG, transforms(r#"[{"type":"url-rewrite"}]"#), &["`urlRewriteConfig`"]),
        case(E_AUTH_TYPE, web(&["auth-type: @@basic"]), &["`basic`", "`cognito`"]),
        case(
            E_AUTH_IDP_MISSING,
            web(&["listen-ports: '[{\"HTTPS\":443}]'", "auth-type: @@oidc"]),
            &["alb.ingress.kubernetes.io/auth-idp-oidc"],
        ),
        case(E_OIDC_SECRET, oidc(""), &["`default/oidc` is not in the input", "`clientID`"]),
        set(
            E_OIDC_SECRET,
            |s| s.required_secrets_label = Some(("team".into(), "web".into())),
            oidc(&secret("clientID: a, clientSecret: b")),
            &["`team=web`"],
        ),
        case(E_OIDC_CLIENT_ID, oidc(&secret("clientSecret: b")), &["no `clientID`"]),
        case(E_OIDC_CLIENT_SECRET, oidc(&secret("clientID: a")), &["no `clientSecret`"]),
        case(E_JWT_JWKS, jwt(r#"{"issuer":"i"}"#), &["`jwksEndpoint`"]),
        case(E_JWT_ISSUER, jwt(r#"{"jwksEndpoint":"j"}"#), &["`issuer`"]),
        case(
            E_JWT_CLAIM,
            jwt(r#"{"jwksEndpoint":"j","issuer":"i","additionalClaims":[{"name":"x"}]}"#),
            &["`format`"],
        ),
        case(
            E_BACKEND_RESOURCE,
            ingress(
                "web",
                &[],
                &TO_APP.replace(
                    "{service: {name: app, port: {number: 80}}}",
                    "@@{resource: {kind: Bucket, name: b}}",
                ),
            ),
            &["resource backend"],
        ),
        set(
            E_SVC_MISSING,
            |s| s.tolerate_non_existent_backend_service = false,
            ingress("web", &[], &TO_APP.replace("name: app", "name: @@app")),
            &["`default/app` is not in the input"],
        ),
        case(
            E_SVC_MISSING,
            tuples(
                r#"[{"serviceName":"app","servicePort":80,"weight":1},{"targetGroupARN":"arn:t","weight":1}]"#,
            ),
            &["`default/app`"],
        ),
        case(
            E_SVC_PORT,
            join(&[ingress("web", &[], &TO_APP.replace("number: 80", "number: @@81")), SERVICE.to_owned()]),
            &["`default/app` has no port `81`", "80 (http)"],
        ),
        case(
            E_TG_NAME,
            action(r#"{"type":"forward","targetGroupName":"elsewhere"}"#),
            &["`elsewhere`", "TargetGroupBinding"],
        ),
    ]
}

fn target_groups() -> Vec<Case> {
    let node = |id: &str| {
        let spec = format!(
            "spec: {{providerID: '{id}'}}\nstatus: {{conditions: [{{type: Ready, status: 'True'}}]}}"
        );
        join(&[web(&[]), format!("apiVersion: v1\nkind: Node\nmetadata:\n  name: @@kind-worker\n{spec}\n")])
    };
    let ip = |annotation: &str, service: &str| {
        join(&[ingress("web", &["target-type: ip", annotation], TO_APP), service.to_owned()])
    };
    vec![
        case(
            E_TG_PORT_EMPTY,
            join(&[ingress("web", &[], &TO_APP.replace("number: 80", "number: @@80")), CLUSTER_IP.to_owned()]),
            &["no NodePort", "type NodePort or LoadBalancer"],
        ),
        case(E_BACKEND_PROTO, web(&["backend-protocol: @@http"]), &["`http`", "`HTTP` or `HTTPS`"]),
        case(E_BACKEND_PROTO_VERSION, web(&["backend-protocol-version: @@HTTP3"]), &["`GRPC`"]),
        case(E_TARGET_TYPE, web(&["target-type: @@pod"]), &["`instance` or `ip`"]),
        case(E_TARGET_TYPE, corp("  targetType: @@pod\n", &["target-type: nonsense"]), &["spec.targetType of IngressClassParams corp"]),
        set(E_IP_DISABLED, |s| s.enable_ip_target_type = false, web(&["target-type: @@ip"]), &["switched off"]),
        set(
            E_IP_DISABLED,
            |s| {
                s.enable_ip_target_type = false;
                s.default_target_type = TargetType::Ip;
            },
            web(&[]),
            &["`EnableIPTargetType`"],
        ),
        case(
            E_IPV6_LB,
            join(&[
                ingress("web", &[], &TO_APP.replace("name: app", "name: @@app")),
                SERVICE.replace("spec: {", "spec: {ipFamilies: [IPv6], "),
            ]),
            &["`dualstack`"],
        ),
        case(E_HC_PROTO, web(&["healthcheck-protocol: @@TCP"]), &["`TCP`"]),
        case(E_HC_PORT, web(&["healthcheck-port: @@admin"]), &["no port named `admin`"]),
        case(E_HC_PORT_NAMED, ip("healthcheck-port: @@http", CLUSTER_IP), &["`web`"]),
        case(E_CONTROL_PORT_INSTANCE, web(&["target-control-port.app.80: @@'3000'"]), &["target type ip"]),
        case(E_TGB_TYPE, binding("{targetGroupARN: arn:t, serviceRef: {name: app, port: 80}}"), &["`spec.targetType`"]),
        case(
            E_TGB_SVC_TYPE,
            join(&[
                ingress("web", &["target-type: ip"], TO_APP),
                CLUSTER_IP.replace("name: app\n", "name: @@app\n"),
                "apiVersion: elbv2.k8s.aws/v1beta1\nkind: TargetGroupBinding\nmetadata: {name: b}\nspec: {targetType: instance, targetGroupARN: arn:t, serviceRef: {name: app, port: 80}}\n".to_owned(),
            ]),
            &["ClusterIP", "NodePort"],
        ),
        case(E_NODE_PROVIDER_ID, node("kind://docker/kind/kind-worker"), &["Node kind-worker", "has no targets"]),
    ]
}

fn load_balancers() -> Vec<Case> {
    let subnets = join(&[
        corp("  group: {name: g}\n  subnets: {ids: [subnet-1]}\n", &[]),
        ingress("x", &["group.name: g", "group.order: '1'", "subnets: @@subnet-2"], TO_APP),
    ]);
    vec![
        case(
            E_CONFLICT_NAME,
            pair("load-balancer-name: one", "load-balancer-name: @@two"),
            &["`two` here and `one` in Ingress default/a"],
        ),
        case(
            E_CONFLICT_SCHEME,
            pair("scheme: internal", "scheme: @@internet-facing"),
            &["Ingress default/a"],
        ),
        case(
            E_CONFLICT_IPTYPE,
            pair("ip-address-type: ipv4", "ip-address-type: @@dualstack"),
            &["`dualstack`"],
        ),
        case(E_CONFLICT_SUBNETS, pair("subnets: subnet-1", "subnets: @@subnet-2"), &["other subnets"]),
        case(
            E_CONFLICT_SGS,
            pair("security-groups: 'sg-1,sg-2'", "security-groups: @@'sg-2,sg-1'"),
            &["Ingress default/a"],
        ),
        case(E_CONFLICT_COIP, pair("customer-owned-ipv4-pool: a", "customer-owned-ipv4-pool: @@b"), &["`b`"]),
        case(E_CONFLICT_IPAM, pair("ipam-ipv4-pool-id: a", "ipam-ipv4-pool-id: @@b"), &["`b`"]),
        case(
            E_CONFLICT_CAPACITY,
            pair(
                "minimum-load-balancer-capacity: CapacityUnits=1",
                "minimum-load-balancer-capacity: @@CapacityUnits=2",
            ),
            &["`CapacityUnits` is `2` here"],
        ),
        case(E_CONFLICT_WAFV2, pair("wafv2-acl-arn: arn:a", "wafv2-acl-arn: @@arn:b"), &["`arn:b`"]),
        case(E_CONFLICT_WAF, pair("waf-acl-id: a", "web-acl-id: @@b"), &["`b`"]),
        case(
            E_CONFLICT_SHIELD,
            pair("shield-advanced-protection: 'true'", "shield-advanced-protection: @@'false'"),
            &["says otherwise"],
        ),
        case(
            E_CONFLICT_MANAGE_SG,
            join(&[
                ingress(
                    "a",
                    &[
                        "group.name: g",
                        "security-groups: sg-1",
                        "manage-backend-security-group-rules: 'true'",
                    ],
                    TO_APP,
                ),
                ingress("b", &["group.name: g", "manage-backend-security-group-rules: @@'false'"], TO_APP),
                SERVICE.to_owned(),
            ]),
            &["says otherwise"],
        ),
        case(E_CONFLICT_SUBNET_SOURCE, subnets, &["IngressClassParams"]),
        case(
            E_CONFLICT_LB_ATTR,
            pair("load-balancer-attributes: a=1", "load-balancer-attributes: @@a=2"),
            &["`a` is `2` here"],
        ),
        case(
            E_CONFLICT_TAG,
            pair("tags: team=a", "tags: @@team=b"),
            &["`team` is `b` here and `a` in Ingress default/a"],
        ),
        case(
            E_CONFLICT_NLB,
            pair("enable-frontend-nlb: 'true'", "enable-frontend-nlb: @@'false'"),
            &["says otherwise"],
        ),
        case(
            E_FRONTEND_NLB,
            web(&["enable-frontend-nlb: 'true'", "frontend-nlb-eip-allocations: @@eipalloc-1"]),
            &["internal", "internet-facing"],
        ),
        case(
            E_LB_NAME_LEN,
            web(&["load-balancer-name: @@a-name-of-more-than-thirty-two-bytes"]),
            &["36 bytes", "at most 32"],
        ),
        case(E_SCHEME, web(&["scheme: @@Internal"]), &["`Internal`", "`internet-facing`"]),
        case(
            E_SCHEME,
            corp("  scheme: @@public\n", &["scheme: internal"]),
            &["spec.scheme of IngressClassParams corp"],
        ),
        case(E_IPTYPE, web(&["ip-address-type: @@ipv6"]), &["`dualstack`"]),
        set(
            E_BACKEND_SG_OFF,
            |s| s.enable_backend_security_group = false,
            web(&["security-groups: sg-1", "manage-backend-security-group-rules: @@'true'"]),
            &["--enable-backend-security-group"],
        ),
        case(E_SUBNETS_EMPTY, web(&["subnets: @@''"]), &["empty"]),
        case(E_COIP_EMPTY, web(&["customer-owned-ipv4-pool: @@''"]), &["empty"]),
        case(E_CAPACITY_KEY, web(&["minimum-load-balancer-capacity: @@Units=1"]), &["`CapacityUnits`"]),
        case(E_CAPACITY_VALUE, web(&["minimum-load-balancer-capacity: @@CapacityUnits=many"]), &["`many`"]),
        set(
            E_TAG_EXTERNAL,
            |s| s.external_managed_tags = ["owner".to_owned()].into(),
            web(&["tags: @@owner=me"]),
            &["`owner`", "managed elsewhere"],
        ),
    ]
}

pub(crate) fn warnings() -> Vec<Case> {
    let group = |first: &[&str], second: &[&str]| {
        let mut a = vec!["group.name: g"];
        a.extend(first);
        let mut b = vec!["group.name: g", "group.order: '1'"];
        b.extend(second);
        join(&[ingress("a", &a, WITH_HOST), ingress("b", &b, WITH_HOST), SERVICE.to_owned()])
    };
    let two_paths = "  rules:
  - http:
      paths:
      - {path: /a, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}
      - {path: @@/a/b, pathType: ImplementationSpecific, backend: {service: {name: app, port: {number: 80}}}}
";
    let redirect =
        r#"{"type":"redirect","redirectConfig":{"protocol":"HTTPS","port":"443","statusCode":"HTTP_301"}}"#;
    let loops = r#"{"type":"redirect","redirectConfig":{"host":"b.example.com","statusCode":"HTTP_301"}}"#;
    let hosts = r#"[{"field":"host-header","hostHeaderConfig":{"values":["b.example.com"]}}]"#;
    let same_names = TO_APP.replace("name: app", "name: application-one")
        + "      - {path: /two, pathType: Prefix, backend: {service: {name: application-two, port: {number: 80}}}}\n";
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: app-1, labels: {kubernetes.io/service-name: app}}\naddressType: IPv4\nports: [{name: http, port: 8080}]\nendpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: app-1}}]\n";
    vec![
        case(W_ANNOTATION_UNKNOWN, web(&["helthcheck-path: @@/up"]), &["expected `alb.ingress.kubernetes.io/healthcheck-path`"]),
        case(W_ANNOTATION_UNKNOWN, web(&["action.app: @@'{}'"]), &["expected `alb.ingress.kubernetes.io/actions.app`"]),
        case(
            W_ANNOTATION_UNKNOWN,
            web(&[]).replace("    kubernetes.io/ingress.class: alb\n", "    kubernetes.io/ingress.class: alb\n    alb.ingress.kubernets.io/scheme: @@internal\n"),
            &["prefix", "expected `alb.ingress.kubernetes.io/scheme`"],
        ),
        case(W_ATTRIBUTE_UNKNOWN, web(&["target-group-attributes: @@stickness.enabled=true"]), &["`stickness.enabled`", "expected `stickiness.enabled`"]),
        case(W_ATTRIBUTE_UNKNOWN, web(&["load-balancer-attributes: @@idle_timeout=30"]), &["`idle_timeout`"]),
        case(W_ATTRIBUTE_UNKNOWN, web(&["target-group-attributes: @@preserve_client_ip.enabled=true"]), &["another kind of target group"]),
        case(W_ATTRIBUTE_UNKNOWN, corp("  loadBalancerAttributes: [{key: @@idle_timeout.seconds, value: '30'}]\n", &[]), &["IngressClassParams corp", "idle_timeout.timeout_seconds"]),
        case(W_DUPLICATE_KEY, web(&["scheme: internal", "scheme: @@internet-facing"]), &["`alb.ingress.kubernetes.io/scheme` stands twice"]),
        case(
            W_DUPLICATE_OBJECT,
            join(&[web(&[]), SERVICE.replace("name: app\n", "name: @@app\n")]),
            &["Service default/app", "web.yml:", "this last one counts"],
        ),
        case(
            W_NOT_MANAGED,
            join(&[web(&[]), with_metadata("  name: other\n  annotations:\n    kubernetes.io/ingress.class: @@nginx\n", TO_APP)]),
            &["Ingress default/other", "`nginx`, not `alb`"],
        ),
        case(
            W_CLASS_ASSUMED,
            join(&[with_metadata("  name: web\n", &format!("  ingressClassName: @@alb\n{TO_APP}")), SERVICE.to_owned()]),
            &["Helm chart"],
        ),
        case(W_ADMISSION, corp("  inboundCIDRs: [@@10.0.0.1/8]\n", &[]), &["expected `10.0.0.0/8`"]),
        set(W_ADMISSION, |s| s.disable_ingress_group_name_annotation = true, web(&["group.name: @@g"]), &["disabled"]),
        case(
            W_SSL_REDIRECT_HIDES,
            group(
                &["listen-ports: '[{\"HTTPS\":443}]'", "ssl-redirect: '443'"],
                &["listen-ports: @@'[{\"HTTP\":80}]'"],
            ),
            &["Ingress default/b", "Ingress default/a sets `ssl-redirect`"],
        ),
        case(W_RULE_SHADOWED, join(&[ingress("web", &[], two_paths), SERVICE.to_owned()]), &["rule 1 of Ingress default/web at web.yml:"]),
        case(
            W_RULE_DROPPED,
            join(&[
                ingress(
                    "web",
                    &[&format!("actions.act: '{loops}'"), &format!("conditions.act: '{hosts}'")],
                    &BY_ANNOTATION.replace("- http:", "- host: a.example.com\n    http:").replace("path: /,", "path: @@/,"),
                ),
                SERVICE.to_owned(),
            ]),
            &["optimizer"],
        ),
        set(W_QUOTA, |s| s.quotas.rules_per_load_balancer = 0, web(&[]), &["1 rules", "at most 0"]),
        case(
            W_QUOTA,
            join(&[
                ingress(
                    "web",
                    &[r#"conditions.app: '[{"field":"source-ip","sourceIPConfig":{"values":["10.0.0.0/32","10.0.0.1/32","10.0.0.2/32","10.0.0.3/32","10.0.0.4/32"]}}]'"#],
                    &TO_APP.replace("path: /,", "path: @@/,"),
                ),
                SERVICE.to_owned(),
            ]),
            &["6 condition values", "at most 5"],
        ),
        case(W_CERTIFICATE, web(&["listen-ports: @@'[{\"HTTPS\":443}]'"]), &["port 443", "certificate-arn"]),
        case(W_REDIRECT, action(redirect).replace("@@", "").replace("path: /,", "path: @@/,"), &["HTTPS on port 443", "no listener"]),
        case(
            W_RECORD_CONFLICT,
            join(&[ingress("a", &[], WITH_HOST), ingress("b", &[], WITH_HOST), SERVICE.to_owned()]),
            &["`web.example.com`"],
        ),
        case(W_FRONTEND_NLB, web(&["load-balancer-name: shop", "enable-frontend-nlb: @@'true'"]), &["`shop-nlb`", "TCP 80 to 80"]),
        case(W_HEALTH_CHECK, web(&["backend-protocol-version: GRPC", "success-codes: @@'200'"]), &["`200` do not fit the gRPC target group of `default/app:80`"]),
        case(W_HEALTH_CHECK, web(&["unhealthy-threshold-count: @@'1'"]), &["refuse 1", "2 to 10"]),
        case(W_HEALTH_CHECK, web(&["healthcheck-interval-seconds: @@'5'"]), &["every 5 s"]),
        case(
            W_API_VERSION,
            join(&[
                "apiVersion: @@extensions/v1beta1\nkind: Ingress\nmetadata:\n  name: web\n  annotations: {kubernetes.io/ingress.class: alb}\nspec: {backend: {serviceName: app, servicePort: 80}}\n".to_owned(),
                SERVICE.to_owned(),
            ]),
            &["`extensions/v1beta1` was removed", "`networking.k8s.io/v1`"],
        ),
        case(W_PLACEHOLDER, web(&["certificate-arn: @@'$CERTIFICATE_ARN'"]), &["`$CERTIFICATE_ARN`"]),
        case(W_PLACEHOLDER, join(&[ingress("web", &[], &WITH_HOST.replace("web.example.com", "@@'web.${DOMAIN}'")), SERVICE.to_owned()]), &["`${DOMAIN}`"]),
        case(W_AUTH_ON_HTTP, web(&["auth-type: @@cognito", "auth-idp-cognito: '{}'"]), &["open"]),
        case(W_CONDITION_IGNORED, web(&[r#"conditions.app: @@'[{"field":"path"}]'"#]), &["`path`", "`path-pattern`"]),
        case(W_SVC_MISSING, ingress("web", &[], &TO_APP.replace("name: app", "name: @@app")), &["503"]),
        case(W_ACTION_MISSING, ingress("web", &[], &BY_ANNOTATION.replace("name: act", "name: @@act")), &["`actions.act`", "503"]),
        case(
            W_TG_NAME_COLLISION,
            join(&[
                ingress("web", &["target-type: ip"], &same_names),
                SERVICE.replace("name: app\n", "name: application-one\n"),
                SERVICE.replace("name: app\n", "name: application-two\n").replace("30080", "30081"),
            ]),
            &["k8s-default-applicat"],
        ),
        case(W_STICKY_INSTANCE, web(&["target-group-attributes: stickiness.enabled=true"]), &["pins a node"]),
        case(W_TARGET, join(&[web(&["target-type: ip"]), slice.to_owned()]), &["kubectl get pods"]),
        case(
            W_TARGET,
            join(&[web(&["target-type: ip"]), slice.to_owned(), pod("hostNetwork: true, nodeName: n1")]),
            &["Pod default/app-1", "10.0.0.1", "its node's network", "security group"],
        ),
        case(
            W_TARGET,
            join(&[
                web(&["target-type: ip"]),
                slice.to_owned(),
                pod("nodeName: n1"),
                "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nspec: {podCIDR: 10.0.0.0/24, podCIDRs: [10.0.0.0/24]}\n".to_owned(),
            ]),
            &["Pod default/app-1", "10.0.0.0/24", "route", "target type `instance`"],
        ),
        case(W_IGNORED, web(&["actions.nobody: @@'{}'"]), &["`nobody`", "use-annotation"]),
        case(W_IGNORED, web(&["listener-attributes.HTTPS-443: @@a=b"]), &["`listener-attributes.HTTP-80`"]),
        case(W_IGNORED, corp("  sslRedirectPort: @@https\n", &[]), &["whole group"]),
        case(
            W_IGNORED,
            join(&[
                ingress("web", &[], TO_APP),
                SERVICE.replace("name: app\n", "name: app\n  annotations:\n    alb.ingress.kubernetes.io/scheme: @@internal\n"),
            ]),
            &["Service default/app", "on Ingresses only"],
        ),
    ]
}
