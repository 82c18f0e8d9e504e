//! The JSON of `actions.*`, `conditions.*`, `transforms.*` and `jwt-validation` (§6.1–§6.4, §6.6).

use super::annotations::{Annotation, Annotations};
use super::json::{Object, Wrong, array};
use crate::error::{Code, Diagnostic};
use crate::model::{
    FixedResponseConfig, JwtClaim, JwtValidationConfig, QueryStringKeyValue, RedirectConfig, Rewrite,
    RuleCondition, RuleTransform, TargetGroupStickinessConfig,
};

/// The routing action of a backend before its target groups are known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Routing {
    Forward { tuples: Vec<Tuple>, stickiness: Option<TargetGroupStickinessConfig> },
    Redirect(RedirectConfig),
    Fixed(FixedResponseConfig),
}

/// A target group of a forward.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tuple {
    pub(crate) to: To,
    pub(crate) weight: Option<i32>,
}

/// What a tuple names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum To {
    Service { name: String, port: String },
    Arn(String),
    Name(String),
}

impl Routing {
    /// A forward to one Service.
    pub(crate) fn service(name: &str, port: String) -> Self {
        let to = To::Service { name: name.to_owned(), port };
        Routing::Forward { tuples: vec![Tuple { to, weight: None }], stickiness: None }
    }

    /// A text of the controller's own with status 503.
    pub(crate) fn unavailable(text: &str) -> Self {
        Routing::Fixed(FixedResponseConfig {
            message_body: Some(text.to_owned()),
            status_code: "503".to_owned(),
            content_type: Some("text/plain".to_owned()),
        })
    }
}

fn parsed<T>(annotation: Annotation<'_>, result: Result<T, Wrong>) -> Result<T, Diagnostic> {
    result.map_err(|why| annotation.not_json(&why))
}

/// `actions.NAME`; `None` where there is no such annotation.
pub(crate) fn action(annotations: Annotations<'_>, name: &str) -> Result<Option<Routing>, Diagnostic> {
    let Some((annotation, value)) = annotations.json(&format!("actions.{name}"))? else { return Ok(None) };
    let read = || -> Result<_, Wrong> {
        let o = Object::new(&value)?;
        let redirect = o.object("redirectConfig")?.map(redirect).transpose()?;
        let fixed = o.object("fixedResponseConfig")?.map(fixed_response).transpose()?;
        let forward = o.object("forwardConfig")?.map(forward).transpose()?;
        let one = o.text("targetGroupARN")?.map(To::Arn).or(o.text("targetGroupName")?.map(To::Name));
        Ok((o.text("type")?.unwrap_or_default(), redirect, fixed, forward, one))
    };
    let (kind, redirect, fixed, forward, one) = parsed(annotation, read())?;
    let wrong = |code, message: &str| annotation.error(code, message);
    match kind.as_str() {
        "redirect" => match redirect {
            Some(config) if !config.status_code.is_empty() => Ok(Some(Routing::Redirect(config))),
            _ => Err(wrong(Code::E_REDIRECT_CODE, "a redirect needs `redirectConfig.statusCode`")
                .expected("`HTTP_301` or `HTTP_302`")),
        },
        "fixed-response" => match fixed {
            Some(config) if !config.status_code.is_empty() => Ok(Some(Routing::Fixed(config))),
            _ => Err(wrong(Code::E_FIXED_CODE, "a fixed response needs `fixedResponseConfig.statusCode`")
                .expected("a code in quotes, such as `\"404\"`")),
        },
        "forward" => match (one, forward) {
            (Some(_), Some(_)) => Err(wrong(
                Code::E_FWD_BOTH,
                "a forward names a target group and a `forwardConfig`; one of them is enough",
            )),
            (None, None) => Err(wrong(Code::E_FWD_MISSING, "a forward names no target group")
                .expected("`targetGroupARN`, `targetGroupName` or `forwardConfig`")),
            (Some(to), None) => {
                Ok(Some(Routing::Forward { tuples: vec![Tuple { to, weight: None }], stickiness: None }))
            }
            (None, Some((tuples, stickiness))) => {
                let tuples = check_tuples(annotation, tuples)?;
                Ok(Some(Routing::Forward { tuples, stickiness }))
            }
        },
        other => Err(wrong(Code::E_ACTION_TYPE, &format!("unknown action type `{other}`"))
            .expected("`forward`, `redirect` or `fixed-response`")),
    }
}

/// A tuple as it was read: Service, port, ARN, name, weight.
type RawTuple = (Option<String>, Option<String>, Option<String>, Option<String>, Option<i32>);

fn forward(o: Object<'_>) -> Result<(Vec<RawTuple>, Option<TargetGroupStickinessConfig>), Wrong> {
    let mut tuples = Vec::new();
    for item in o.list("targetGroups")? {
        let t = Object::new(item)?;
        tuples.push((
            t.text("serviceName")?,
            t.int_or_text("servicePort")?,
            t.text("targetGroupARN")?,
            t.text("targetGroupName")?,
            t.int32("weight")?,
        ));
    }
    let stickiness = o.object("targetGroupStickinessConfig")?;
    let stickiness = stickiness
        .map(|s| -> Result<_, Wrong> {
            Ok(TargetGroupStickinessConfig {
                enabled: s.boolean("enabled")?,
                duration_seconds: s.int32("durationSeconds")?,
            })
        })
        .transpose()?;
    Ok((tuples, stickiness))
}

fn check_tuples(annotation: Annotation<'_>, raw: Vec<RawTuple>) -> Result<Vec<Tuple>, Diagnostic> {
    let several = raw.len() > 1;
    let wrong = |code, message: &str| annotation.error(code, message);
    raw.into_iter()
        .map(|(service, port, arn, name, weight)| {
            let group = arn.map(To::Arn).or(name.map(To::Name));
            let to = match (service, group) {
                (Some(_), Some(_)) => {
                    return Err(wrong(
                        Code::E_TUPLE_BOTH,
                        "a target group is named as a Service and by ARN or name",
                    ));
                }
                (None, None) => {
                    return Err(wrong(Code::E_TUPLE_MISSING, "a target group is not named").expected(
                        "`serviceName` with `servicePort`, `targetGroupARN` or `targetGroupName`",
                    ));
                }
                (None, Some(group)) => group,
                (Some(name), None) => {
                    let Some(port) = port else {
                        return Err(wrong(Code::E_TUPLE_PORT, "a `serviceName` needs its `servicePort`"));
                    };
                    // `"80"` is the number 80; any other text is a port's name.
                    let port = port.parse::<i32>().map_or(port, |n| n.to_string());
                    To::Service { name, port }
                }
            };
            if several && weight.is_none() {
                return Err(wrong(Code::E_TUPLE_WEIGHT, "each of several target groups needs a `weight`"));
            }
            Ok(Tuple { to, weight })
        })
        .collect()
}

fn redirect(o: Object<'_>) -> Result<RedirectConfig, Wrong> {
    Ok(RedirectConfig {
        protocol: o.text("protocol")?,
        port: o.text("port")?,
        host: o.text("host")?,
        path: o.text("path")?,
        query: o.text("query")?,
        status_code: o.text("statusCode")?.unwrap_or_default(),
    })
}

fn fixed_response(o: Object<'_>) -> Result<FixedResponseConfig, Wrong> {
    Ok(FixedResponseConfig {
        message_body: o.text("messageBody")?,
        status_code: o.text("statusCode")?.unwrap_or_default(),
        content_type: o.text("contentType")?,
    })
}

/// `conditions.NAME`, in order. Conditions with a field the controller does not know are passed over; of
/// the first of them there is a warning (§16 H9).
pub(crate) fn conditions(
    annotations: Annotations<'_>,
    name: &str,
) -> Result<(Vec<RuleCondition>, Option<Diagnostic>), Diagnostic> {
    let Some((annotation, value)) = annotations.json(&format!("conditions.{name}"))? else {
        return Ok((Vec::new(), None));
    };
    let mut out = Vec::new();
    let mut unknown = None;
    for item in parsed(annotation, array(&value))? {
        match parsed(annotation, condition(item))? {
            Read::Condition(condition) => out.push(condition),
            Read::Unknown(field) => {
                let message = format!("the controller ignores a condition with field `{field}`");
                let warning = annotation.error(Code::W_CONDITION_IGNORED, message);
                unknown.get_or_insert(warning.expected(FIELDS.map(|f| format!("`{f}`")).join(", ")));
            }
            Read::Incomplete(config) => {
                return Err(annotation.error(
                    Code::E_COND_CONFIG,
                    format!("a condition needs `{config}` with exactly one kind of values"),
                ));
            }
        }
    }
    Ok((out, unknown))
}

/// The fields a condition may have.
const FIELDS: [&str; 6] =
    ["host-header", "path-pattern", "http-header", "http-request-method", "query-string", "source-ip"];

/// Values and regexes of a condition, of which one is empty.
type ValuesAndRegexes = (Vec<String>, Vec<String>);

/// A condition, or which config is missing or empty.
enum Read {
    Condition(RuleCondition),
    Unknown(String),
    Incomplete(&'static str),
}

fn condition(item: &serde_json::Value) -> Result<Read, Wrong> {
    let o = Object::new(item)?;
    let both = |config: Option<Object<'_>>| -> Result<Option<ValuesAndRegexes>, Wrong> {
        let Some(c) = config else { return Ok(None) };
        let (values, regexes) = (c.texts("values")?, c.texts("regexValues")?);
        Ok((values.is_empty() != regexes.is_empty()).then_some((values, regexes)))
    };
    // All configs are decoded, also those that do not belong to the field.
    let host = o.object("hostHeaderConfig")?;
    let path = o.object("pathPatternConfig")?;
    let header = o.object("httpHeaderConfig")?;
    let method = o.object("httpRequestMethodConfig")?;
    let query = o.object("queryStringConfig")?;
    let source = o.object("sourceIPConfig")?;
    Ok(match o.text("field")?.unwrap_or_default().as_str() {
        "host-header" => match both(host)? {
            Some((values, regex_values)) => {
                Read::Condition(RuleCondition::HostHeader { values, regex_values })
            }
            None => Read::Incomplete("hostHeaderConfig"),
        },
        "path-pattern" => match both(path)? {
            Some((values, regex_values)) => {
                Read::Condition(RuleCondition::PathPattern { values, regex_values })
            }
            None => Read::Incomplete("pathPatternConfig"),
        },
        "http-header" => match both(header)? {
            Some((values, regex_values)) => Read::Condition(RuleCondition::HttpHeader {
                http_header_name: header.map_or(Ok(None), |h| h.text("httpHeaderName"))?.unwrap_or_default(),
                values,
                regex_values,
            }),
            None => Read::Incomplete("httpHeaderConfig"),
        },
        "http-request-method" => match method.map(|m| m.texts("values")).transpose()? {
            Some(values) if !values.is_empty() => {
                Read::Condition(RuleCondition::HttpRequestMethod { values })
            }
            _ => Read::Incomplete("httpRequestMethodConfig"),
        },
        "query-string" => {
            let mut values = Vec::new();
            for pair in query.map_or(Ok(Vec::new()), |q| q.list("values"))? {
                let pair = Object::new(pair)?;
                values.push(QueryStringKeyValue { key: pair.text("key")?, value: pair.text("value")? });
            }
            let whole = values.iter().all(|v| v.value.as_deref().is_some_and(|v| !v.is_empty()));
            if values.is_empty() || !whole {
                Read::Incomplete("queryStringConfig")
            } else {
                Read::Condition(RuleCondition::QueryString { values })
            }
        }
        "source-ip" => match source.map(|s| s.texts("values")).transpose()? {
            Some(values) if !values.is_empty() => Read::Condition(RuleCondition::SourceIp { values }),
            _ => Read::Incomplete("sourceIPConfig"),
        },
        other => Read::Unknown(other.to_owned()),
    })
}

/// `transforms.NAME`, in order.
pub(crate) fn transforms(annotations: Annotations<'_>, name: &str) -> Result<Vec<RuleTransform>, Diagnostic> {
    let Some((annotation, value)) = annotations.json(&format!("transforms.{name}"))? else {
        return Ok(Vec::new());
    };
    let read = |item| -> Result<(String, Vec<Rewrite>, Vec<Rewrite>), Wrong> {
        let o = Object::new(item)?;
        let rewrites = |key| -> Result<Vec<Rewrite>, Wrong> {
            let Some(config) = o.object(key)? else { return Ok(Vec::new()) };
            let rewrite = |item| -> Result<Rewrite, Wrong> {
                let r = Object::new(item)?;
                Ok(Rewrite {
                    regex: r.text("regex")?.unwrap_or_default(),
                    replace: r.text("replace")?.unwrap_or_default(),
                })
            };
            config.list("rewrites")?.into_iter().map(rewrite).collect()
        };
        let (url, host) = (rewrites("urlRewriteConfig")?, rewrites("hostHeaderRewriteConfig")?);
        Ok((o.text("type")?.unwrap_or_default(), url, host))
    };
    let mut out = Vec::new();
    for item in parsed(annotation, array(&value))? {
        let (kind, url, host) = parsed(annotation, read(item))?;
        let (config, transform) = match kind.as_str() {
            "url-rewrite" => ("urlRewriteConfig", RuleTransform::UrlRewrite { rewrites: url }),
            "host-header-rewrite" => {
                ("hostHeaderRewriteConfig", RuleTransform::HostHeaderRewrite { rewrites: host })
            }
            other => {
                return Err(annotation
                    .error(Code::E_TRANSFORM_TYPE, format!("unknown transform type `{other}`"))
                    .expected("`url-rewrite` or `host-header-rewrite`"));
            }
        };
        let (RuleTransform::UrlRewrite { rewrites } | RuleTransform::HostHeaderRewrite { rewrites }) =
            &transform;
        if rewrites.is_empty() {
            return Err(annotation
                .error(Code::E_TRANSFORM_CONFIG, format!("a transform needs `{config}` with a rewrite")));
        }
        out.push(transform);
    }
    Ok(out)
}

/// `jwt-validation`.
pub(crate) fn jwt(annotations: Annotations<'_>) -> Result<Option<JwtValidationConfig>, Diagnostic> {
    let Some((annotation, value)) = annotations.json("jwt-validation")? else { return Ok(None) };
    let read = || -> Result<JwtValidationConfig, Wrong> {
        let o = Object::new(&value)?;
        let claim = |item| -> Result<JwtClaim, Wrong> {
            let c = Object::new(item)?;
            Ok(JwtClaim {
                format: c.text("format")?.unwrap_or_default(),
                name: c.text("name")?.unwrap_or_default(),
                values: c.texts("values")?,
            })
        };
        Ok(JwtValidationConfig {
            jwks_endpoint: o.text("jwksEndpoint")?.unwrap_or_default(),
            issuer: o.text("issuer")?.unwrap_or_default(),
            additional_claims: o
                .list("additionalClaims")?
                .into_iter()
                .map(claim)
                .collect::<Result<_, _>>()?,
        })
    };
    let config = parsed(annotation, read())?;
    if config.jwks_endpoint.is_empty() {
        return Err(annotation.error(Code::E_JWT_JWKS, "`jwksEndpoint` is missing"));
    }
    if config.issuer.is_empty() {
        return Err(annotation.error(Code::E_JWT_ISSUER, "`issuer` is missing"));
    }
    let incomplete = |c: &JwtClaim| c.format.is_empty() || c.name.is_empty() || c.values.is_empty();
    if config.additional_claims.iter().any(incomplete) {
        return Err(annotation
            .error(Code::E_JWT_CLAIM, "an additional claim is incomplete")
            .expected("`format`, `name` and `values`"));
    }
    Ok(Some(config))
}
