//! Actions of rules and listeners.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An action with its place in the list (spec: dataplane §2, §13.5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ActionJson", into = "ActionJson")]
pub struct Action {
    /// 1 to 50000, lowest first; needed where there are several.
    pub order: Option<i32>,
    /// What to do.
    pub config: ActionConfig,
}

impl Action {
    /// An action without an explicit place.
    pub fn new(config: ActionConfig) -> Self {
        Action { order: None, config }
    }

    /// The type as the API spells it.
    pub const fn r#type(&self) -> &'static str {
        match &self.config {
            ActionConfig::Forward(_) => "forward",
            ActionConfig::Redirect(_) => "redirect",
            ActionConfig::FixedResponse(_) => "fixed-response",
            ActionConfig::AuthenticateOidc(_) => "authenticate-oidc",
            ActionConfig::AuthenticateCognito(_) => "authenticate-cognito",
            ActionConfig::JwtValidation(_) => "jwt-validation",
        }
    }
}

/// The kinds of action.
#[derive(Clone, Debug, PartialEq)]
pub enum ActionConfig {
    /// Send to one of several target groups.
    Forward(ForwardConfig),
    /// Answer with a Location.
    Redirect(RedirectConfig),
    /// Answer with a text.
    FixedResponse(FixedResponseConfig),
    /// Log the user in through OpenID Connect first.
    AuthenticateOidc(AuthenticateOidcConfig),
    /// Log the user in through Cognito first.
    AuthenticateCognito(AuthenticateCognitoConfig),
    /// Validate the bearer token first.
    JwtValidation(JwtValidationConfig),
}

/// Where a forward goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ForwardConfig {
    /// One to five target groups.
    pub target_groups: Vec<TargetGroupTuple>,
    /// Whether a client stays with its group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_group_stickiness_config: Option<TargetGroupStickinessConfig>,
}

/// A target group with its share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TargetGroupTuple {
    /// The target group.
    pub target_group_arn: String,
    /// 0 to 999; a single group needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
}

/// Stickiness between target groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TargetGroupStickinessConfig {
    /// Whether it is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// 1 to 604800 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<i32>,
}

/// A redirect; parts left out keep the request's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RedirectConfig {
    /// `HTTP`, `HTTPS` or `#{protocol}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// A port or `#{port}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// A host, may contain `#{host}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// A path from `/` on, may contain placeholders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A query without its `?`, may contain placeholders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// `HTTP_301` or `HTTP_302`.
    pub status_code: String,
}

/// A fixed response.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FixedResponseConfig {
    /// The body, at most 1024 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_body: Option<String>,
    /// 2xx, 4xx or 5xx.
    pub status_code: String,
    /// The media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}

/// OpenID Connect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AuthenticateOidcConfig {
    /// The identity provider.
    pub issuer: String,
    /// Where users log in.
    pub authorization_endpoint: String,
    /// Where codes become tokens.
    pub token_endpoint: String,
    /// Where tokens become claims.
    pub user_info_endpoint: String,
    /// The client id.
    pub client_id: String,
    /// The client secret; never printed by AWS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// The name of the session cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_cookie_name: Option<String>,
    /// Space-separated scopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_timeout: Option<i64>,
    /// Further query parameters of the login request.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub authentication_request_extra_params: BTreeMap<String, String>,
    /// `deny`, `allow` or `authenticate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_unauthenticated_request: Option<String>,
    /// Whether a change keeps the stored secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_existing_client_secret: Option<bool>,
}

/// Amazon Cognito.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AuthenticateCognitoConfig {
    /// The user pool.
    pub user_pool_arn: String,
    /// Its client.
    pub user_pool_client_id: String,
    /// Its domain.
    pub user_pool_domain: String,
    /// The name of the session cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_cookie_name: Option<String>,
    /// Space-separated scopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_timeout: Option<i64>,
    /// Further query parameters of the login request.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub authentication_request_extra_params: BTreeMap<String, String>,
    /// `deny`, `allow` or `authenticate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_unauthenticated_request: Option<String>,
}

/// Validation of a bearer token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JwtValidationConfig {
    /// Where the keys are.
    pub jwks_endpoint: String,
    /// The value `iss` must have.
    pub issuer: String,
    /// Claims beyond the standard ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional_claims: Vec<JwtClaim>,
}

/// A claim that a token must have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JwtClaim {
    /// `single-string`, `string-array` or `space-separated-values`.
    pub format: String,
    /// The claim's name.
    pub name: String,
    /// Values of which one must be there.
    pub values: Vec<String>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ActionJson {
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_group_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forward_config: Option<ForwardConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect_config: Option<RedirectConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fixed_response_config: Option<FixedResponseConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authenticate_oidc_config: Option<AuthenticateOidcConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authenticate_cognito_config: Option<AuthenticateCognitoConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt_validation_config: Option<JwtValidationConfig>,
}

impl TryFrom<ActionJson> for Action {
    type Error = String;

    fn try_from(json: ActionJson) -> Result<Self, String> {
        let missing = |config: &str| format!("an action of type `{}` needs `{config}`", json.r#type);
        let config = match json.r#type.as_str() {
            "forward" => ActionConfig::Forward(match (json.forward_config, json.target_group_arn) {
                (Some(config), _) => config,
                (None, Some(arn)) => ForwardConfig {
                    target_groups: vec![TargetGroupTuple { target_group_arn: arn, weight: None }],
                    target_group_stickiness_config: None,
                },
                (None, None) => return Err(missing("ForwardConfig")),
            }),
            "redirect" => {
                ActionConfig::Redirect(json.redirect_config.ok_or_else(|| missing("RedirectConfig"))?)
            }
            "fixed-response" => ActionConfig::FixedResponse(
                json.fixed_response_config.ok_or_else(|| missing("FixedResponseConfig"))?,
            ),
            "authenticate-oidc" => ActionConfig::AuthenticateOidc(
                json.authenticate_oidc_config.ok_or_else(|| missing("AuthenticateOidcConfig"))?,
            ),
            "authenticate-cognito" => ActionConfig::AuthenticateCognito(
                json.authenticate_cognito_config.ok_or_else(|| missing("AuthenticateCognitoConfig"))?,
            ),
            "jwt-validation" => ActionConfig::JwtValidation(
                json.jwt_validation_config.ok_or_else(|| missing("JwtValidationConfig"))?,
            ),
            other => return Err(format!("unknown action type `{other}`")),
        };
        Ok(Action { order: json.order, config })
    }
}

impl From<Action> for ActionJson {
    fn from(action: Action) -> Self {
        let mut json =
            ActionJson { r#type: action.r#type().to_owned(), order: action.order, ..ActionJson::default() };
        match action.config {
            ActionConfig::Forward(c) => json.forward_config = Some(c),
            ActionConfig::Redirect(c) => json.redirect_config = Some(c),
            ActionConfig::FixedResponse(c) => json.fixed_response_config = Some(c),
            ActionConfig::AuthenticateOidc(c) => json.authenticate_oidc_config = Some(c),
            ActionConfig::AuthenticateCognito(c) => json.authenticate_cognito_config = Some(c),
            ActionConfig::JwtValidation(c) => json.jwt_validation_config = Some(c),
        }
        json
    }
}
