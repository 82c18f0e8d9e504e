//! Authentication of a backend (§6.5): read for every backend, used on HTTPS listeners.

use super::annotations::Annotations;
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
pub(crate) struct Auth {
    kind: Kind,
    /// With the name of its Secret.
    oidc: Option<(AuthenticateOidcConfig, String)>,
    cognito: Option<AuthenticateCognitoConfig>,
}

pub(crate) fn auth(annotations: Annotations<'_>) -> Result<Auth, Diagnostic> {
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
                Ok((config, text("secretName")?))
            };
            Some(read().map_err(|why| annotation.not_json(&why))?)
        }
    };
    Ok(Auth { kind, oidc, cognito })
}

impl Auth {
    pub(crate) fn is_on(&self) -> bool {
        self.kind != Kind::None
    }

    /// The action for an HTTPS listener.
    pub(crate) fn action(
        &self,
        member: &Member<'_>,
        objects: &Objects,
    ) -> Result<Option<ActionConfig>, Diagnostic> {
        let missing = |annotation: &str| {
            member
                .error(Code::E_AUTH_IDP_MISSING, "authentication needs its identity provider")
                .annotation(format!("{}{annotation}", super::annotations::PREFIX))
        };
        match self.kind {
            Kind::None => Ok(None),
            Kind::Cognito => match &self.cognito {
                Some(config) => Ok(Some(ActionConfig::AuthenticateCognito(config.clone()))),
                None => Err(missing("auth-idp-cognito")),
            },
            Kind::Oidc => {
                let Some((config, secret)) = &self.oidc else { return Err(missing("auth-idp-oidc")) };
                let namespace = &member.ingress.meta.namespace;
                let found = objects
                    .secrets
                    .iter()
                    .find(|s| s.meta.namespace == *namespace && s.meta.name == *secret)
                    .ok_or_else(|| {
                        let message = format!("the Secret `{namespace}/{secret}` is not in the input");
                        member.error(Code::E_OIDC_SECRET, message).value(secret)
                    })?;
                let text = |keys: &[&str]| {
                    keys.iter()
                        .find_map(|k| found.data.get(*k))
                        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
                };
                let id = text(&["clientID", "clientId"]).ok_or_else(|| {
                    member.error(
                        Code::E_OIDC_CLIENT_ID,
                        format!("the Secret `{namespace}/{secret}` has no `clientID`"),
                    )
                })?;
                let secret_text = text(&["clientSecret"]).ok_or_else(|| {
                    member.error(
                        Code::E_OIDC_CLIENT_SECRET,
                        format!("the Secret `{namespace}/{secret}` has no `clientSecret`"),
                    )
                })?;
                let mut config = config.clone();
                config.client_id = id.trim_end().to_owned();
                // What `describe-rules` never prints, a plan does not either.
                drop(secret_text);
                Ok(Some(ActionConfig::AuthenticateOidc(config)))
            }
        }
    }
}
