//! Authentication of a backend (§6.5): read for every backend, used on HTTPS listeners.

use super::Settings;
use super::annotations::{Annotation, Annotations};
use super::group::Member;
use super::json::{Object, Wrong};
use super::objects::Objects;
use crate::error::{Code, Diagnostic};
use crate::model::{ActionConfig, AuthenticateCognitoConfig, AuthenticateOidcConfig};

/// What the annotations ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    None,
    Oidc,
    Cognito,
}

/// The authentication of a backend, as far as annotations tell.
#[derive(Debug)]
pub(crate) struct Auth<'a> {
    kind: Kind,
    /// Who says so.
    said: Option<Annotation<'a>>,
    /// With the name of its Secret.
    oidc: Option<(AuthenticateOidcConfig, String, Annotation<'a>)>,
    cognito: Option<AuthenticateCognitoConfig>,
}

pub(crate) fn auth(annotations: Annotations<'_>) -> Result<Auth<'_>, Diagnostic> {
    let kinds = [("none", Kind::None), ("oidc", Kind::Oidc), ("cognito", Kind::Cognito)];
    let kind = annotations.choice("auth-type", Code::E_AUTH_TYPE, &kinds)?.unwrap_or(Kind::None);
    let or = |suffix: &str, default: &str| Some(annotations.text(suffix).unwrap_or(default).to_owned());
    let session_cookie_name = or("auth-session-cookie", "AWSELBAuthSessionCookie");
    let scope = or("auth-scope", "openid");
    let on_unauthenticated_request = or("auth-on-unauthenticated-request", "authenticate");
    let session_timeout = Some(annotations.int64("auth-session-timeout")?.unwrap_or(604_800));
    let cognito = match annotations.json("auth-idp-cognito")? {
        None => None,
        Some((annotation, value)) => {
            let read = || -> Result<_, Wrong> {
                let o = Object::new(&value)?;
                let text = |key| Ok::<_, Wrong>(o.text(key)?.unwrap_or_default());
                Ok(AuthenticateCognitoConfig {
                    user_pool_arn: text("userPoolARN")?,
                    user_pool_client_id: text("userPoolClientID")?,
                    user_pool_domain: text("userPoolDomain")?,
                    session_cookie_name: session_cookie_name.clone(),
                    scope: scope.clone(),
                    session_timeout,
                    authentication_request_extra_params: o
                        .text_map("authenticationRequestExtraParams")?
                        .into_iter()
                        .collect(),
                    on_unauthenticated_request: on_unauthenticated_request.clone(),
                })
            };
            Some(read().map_err(|why| annotation.not_json(&why))?)
        }
    };
    let oidc = match annotations.json("auth-idp-oidc")? {
        None => None,
        Some((annotation, value)) => {
            let read = || -> Result<_, Wrong> {
                let o = Object::new(&value)?;
                let text = |key| Ok::<_, Wrong>(o.text(key)?.unwrap_or_default());
                let config = AuthenticateOidcConfig {
                    issuer: text("issuer")?,
                    authorization_endpoint: text("authorizationEndpoint")?,
                    token_endpoint: text("tokenEndpoint")?,
                    user_info_endpoint: text("userInfoEndpoint")?,
                    session_cookie_name,
                    scope,
                    session_timeout,
                    authentication_request_extra_params: o
                        .text_map("authenticationRequestExtraParams")?
                        .into_iter()
                        .collect(),
                    on_unauthenticated_request,
                    ..AuthenticateOidcConfig::default()
                };
                Ok((config, text("secretName")?, annotation))
            };
            Some(read().map_err(|why| annotation.not_json(&why))?)
        }
    };
    Ok(Auth { kind, said: annotations.get("auth-type"), oidc, cognito })
}

impl Auth<'_> {
    pub(crate) fn is_on(&self) -> bool {
        self.kind != Kind::None
    }

    /// The action for an HTTPS listener.
    pub(crate) fn action(
        &self,
        member: &Member<'_>,
        objects: &Objects,
        settings: &Settings,
    ) -> Result<Option<ActionConfig>, Diagnostic> {
        let missing = |annotation: &str| {
            let message = "authentication needs its identity provider";
            let error = match self.said {
                Some(said) => said.error(Code::E_AUTH_IDP_MISSING, message),
                None => member.error(Code::E_AUTH_IDP_MISSING, message),
            };
            error.expected(format!("the annotation `{}{annotation}`", super::annotations::PREFIX))
        };
        match self.kind {
            Kind::None => Ok(None),
            Kind::Cognito => match &self.cognito {
                Some(config) => Ok(Some(ActionConfig::AuthenticateCognito(config.clone()))),
                None => Err(missing("auth-idp-cognito")),
            },
            Kind::Oidc => {
                let Some((config, secret, annotation)) = &self.oidc else {
                    return Err(missing("auth-idp-oidc"));
                };
                let config = with_client(config.clone(), secret, *annotation, member, objects, settings)?;
                Ok(Some(ActionConfig::AuthenticateOidc(config)))
            }
        }
    }
}

/// The configuration with the client id of its Secret. The client's own secret must be there, and is left
/// out: what `describe-rules` never prints, a plan does not either.
fn with_client(
    mut config: AuthenticateOidcConfig,
    name: &str,
    annotation: Annotation<'_>,
    member: &Member<'_>,
    objects: &Objects,
    settings: &Settings,
) -> Result<AuthenticateOidcConfig, Diagnostic> {
    let namespace = &member.ingress.meta.namespace;
    let error = |code, what: &str| annotation.error(code, format!("the Secret `{namespace}/{name}` {what}"));
    let found = objects.secrets.iter().find(|s| s.meta.namespace == *namespace && s.meta.name == name);
    let Some(found) = found else {
        return Err(error(Code::E_OIDC_SECRET, "is not in the input")
            .expected("that Secret with the keys `clientID` and `clientSecret`"));
    };
    if let Some((key, value)) = &settings.required_secrets_label
        && found.meta.labels.get(key) != Some(value)
    {
        return Err(
            error(Code::E_OIDC_SECRET, "lacks the required label").expected(format!("`{key}={value}`"))
        );
    }
    let id = found.data.get("clientID").or_else(|| found.data.get("clientId"));
    let Some(id) = id else { return Err(error(Code::E_OIDC_CLIENT_ID, "has no `clientID`")) };
    if !found.data.contains_key("clientSecret") {
        return Err(error(Code::E_OIDC_CLIENT_SECRET, "has no `clientSecret`"));
    }
    config.client_id = String::from_utf8_lossy(id).trim_end().to_owned();
    Ok(config)
}
