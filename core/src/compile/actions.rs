//! Actions and transforms of the model to what a decision can render.

use super::Compiler;
use crate::decision::Authenticate;
use crate::error::{Code, Diagnostic};
use crate::matcher::{RegexError, Rewrite};
use crate::model::{
    Action, ActionConfig, FixedResponseConfig, ForwardConfig, Priority, RedirectConfig, RuleTransform,
};
use crate::table::{
    ActionEntry, Fixed, ForwardEntry, Piece, Redirect, RuleEntry, Template, Terminal, Transforms,
};

impl Compiler<'_> {
    pub(super) fn rule_entry(
        &mut self,
        priority: Priority,
        actions: &[Action],
        transforms: &[RuleTransform],
    ) -> Result<RuleEntry, Diagnostic> {
        let mut ordered: Vec<&Action> = actions.iter().collect();
        ordered.sort_by_key(|a| a.order);
        let (mut authenticate, mut terminal) = (None, None);
        for action in ordered {
            let first = match &action.config {
                ActionConfig::AuthenticateOidc(_) => Authenticate::Oidc,
                ActionConfig::AuthenticateCognito(_) => Authenticate::Cognito,
                ActionConfig::JwtValidation(_) => Authenticate::Jwt,
                config => {
                    if terminal.is_none() {
                        terminal = Some(self.terminal(config)?);
                    }
                    continue;
                }
            };
            authenticate = Some((first, Box::new(action.clone())));
        }
        let terminal = terminal.ok_or_else(|| {
            Diagnostic::error(
                Code::InvalidLoadBalancerAction,
                "there is no forward, redirect or fixed-response action",
            )
        })?;
        let entry = ActionEntry { authenticate, terminal, transforms: self.transforms(transforms)? };
        Ok(RuleEntry { priority, action: self.action(entry) })
    }

    /// The number of an action; those that only forward, and the same, are one.
    fn action(&mut self, entry: ActionEntry) -> u32 {
        let next = self.actions.len() as u32;
        if let ActionEntry { authenticate: None, terminal: Terminal::Forward(forward), transforms: None } =
            entry
        {
            let known = *self.forwarding.entry(forward).or_insert(next);
            if known < next {
                return known;
            }
        }
        self.actions.push(entry);
        next
    }

    fn terminal(&mut self, config: &ActionConfig) -> Result<Terminal, Diagnostic> {
        match config {
            ActionConfig::Redirect(redirect) => Ok(Terminal::Redirect(Box::new(self.redirect(redirect)?))),
            ActionConfig::FixedResponse(fixed) => Ok(Terminal::Fixed(Box::new(fixed_response(fixed)?))),
            ActionConfig::Forward(forward) => Ok(Terminal::Forward(self.forward(forward))),
            ActionConfig::AuthenticateOidc(_)
            | ActionConfig::AuthenticateCognito(_)
            | ActionConfig::JwtValidation(_) => Err(Diagnostic::error(
                Code::InvalidLoadBalancerAction,
                "an authentication is not a last action",
            )),
        }
    }

    /// Equal forwards share an entry: most rules of a load balancer name one of few groups.
    fn forward(&mut self, config: &ForwardConfig) -> u32 {
        let single = config.target_groups.len() == 1;
        let mut sum = 0u32;
        let groups = config
            .target_groups
            .iter()
            .filter_map(|tuple| {
                let weight = if single { 1 } else { tuple.weight.unwrap_or(1).clamp(0, 999) as u32 };
                sum += weight;
                Some((self.groups.get(&tuple.target_group_arn).copied()?, sum))
            })
            .collect();
        let sticky = config.target_group_stickiness_config.as_ref().filter(|s| s.enabled == Some(true));
        let stickiness_seconds =
            sticky.map(|s| s.duration_seconds.map_or(86_400, |d| d.clamp(1, 604_800) as u32));
        let entry = ForwardEntry { groups, stickiness_seconds };
        if single && stickiness_seconds.is_none() {
            let known =
                self.single_forwards.entry(entry.groups.clone()).or_insert(self.forwards.len() as u32);
            if (*known as usize) < self.forwards.len() {
                return *known;
            }
        }
        self.forwards.push(entry);
        self.forwards.len() as u32 - 1
    }

    fn redirect(&self, config: &RedirectConfig) -> Result<Redirect, Diagnostic> {
        let status = match config.status_code.as_str() {
            "HTTP_301" => 301,
            "HTTP_302" => 302,
            other => {
                return Err(Diagnostic::error(
                    Code::ValidationError,
                    format!("unknown redirect status code `{other}`"),
                )
                .expected("`HTTP_301` or `HTTP_302`"));
            }
        };
        let part = |value: &Option<String>, default: &str, allowed: &[Piece]| {
            template(value.as_deref().unwrap_or(default), allowed)
        };
        let protocol = match config.protocol.as_deref() {
            Some("HTTP") => vec![Piece::Text("http".into())],
            Some("HTTPS") => vec![Piece::Text("https".into())],
            None | Some("#{protocol}") => vec![Piece::Protocol],
            Some(other) => {
                return Err(Diagnostic::error(
                    Code::ValidationError,
                    format!("unknown redirect protocol `{other}`"),
                )
                .expected("`HTTP`, `HTTPS` or `#{protocol}`"));
            }
        };
        let port = match config.port.as_deref() {
            None | Some("#{port}") => vec![Piece::Port],
            Some(text) => match text.parse::<u16>() {
                Ok(port) if port > 0 => vec![Piece::Text(self.shown_port(port).to_string().into())],
                _ => {
                    return Err(Diagnostic::error(
                        Code::ValidationError,
                        format!("`{text}` is not a redirect port"),
                    )
                    .expected("a number from 1 to 65535, or `#{port}`"));
                }
            },
        };
        Ok(Redirect {
            status,
            protocol,
            host: part(&config.host, "#{host}", &[Piece::Host]),
            port,
            path: part(&config.path, "/#{path}", &[Piece::Host, Piece::Port, Piece::Path]),
            query: part(
                &config.query,
                "#{query}",
                &[Piece::Protocol, Piece::Host, Piece::Port, Piece::Path, Piece::Query],
            ),
        })
    }

    fn transforms(&self, all: &[RuleTransform]) -> Result<Option<Box<Transforms>>, Diagnostic> {
        if all.is_empty() {
            return Ok(None);
        }
        let mut out = Transforms::default();
        for transform in all {
            let (rewrites, list) = match transform {
                RuleTransform::HostHeaderRewrite { rewrites } => (rewrites, &mut out.host),
                RuleTransform::UrlRewrite { rewrites } => (rewrites, &mut out.url),
            };
            for rewrite in rewrites {
                list.push(
                    Rewrite::new(&rewrite.regex, &rewrite.replace, self.options.regex_size_limit).map_err(
                        |RegexError(why)| {
                            Diagnostic::error(
                                Code::ValidationError,
                                format!("the regex `{}` cannot be used: {why}", rewrite.regex),
                            )
                            .annotation("transform")
                            .value(&rewrite.regex)
                        },
                    )?,
                );
            }
        }
        Ok(Some(Box::new(out)))
    }
}

fn fixed_response(config: &FixedResponseConfig) -> Result<Fixed, Diagnostic> {
    let status = config.status_code.parse().ok().filter(|s| matches!(s, 200..=299 | 400..=599));
    let status = status.ok_or_else(|| {
        Diagnostic::error(
            Code::ValidationError,
            format!("`{}` is not a status code of a fixed response", config.status_code),
        )
        .expected("2xx, 4xx or 5xx")
    })?;
    let body = config.message_body.as_deref().filter(|b| !b.is_empty());
    let content_type = config.content_type.as_deref().or_else(|| body.map(|_| "text/plain; charset=utf-8"));
    Ok(Fixed { status, content_type: content_type.map(Into::into), body: body.map(Into::into) })
}

/// Takes text apart at the placeholders it may hold; any other `#{…}` stands for itself.
fn template(text: &str, allowed: &[Piece]) -> Template {
    let mut out = Template::new();
    let mut rest = text;
    let mut plain = String::new();
    while let Some(first) = rest.chars().next() {
        let hit = allowed.iter().find_map(|piece| Some((rest.strip_prefix(placeholder(piece))?, piece)));
        if let Some((after, piece)) = hit {
            if !plain.is_empty() {
                out.push(Piece::Text(std::mem::take(&mut plain).into_boxed_str()));
            }
            out.push(piece.clone());
            rest = after;
        } else {
            plain.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    if !plain.is_empty() {
        out.push(Piece::Text(plain.into_boxed_str()));
    }
    out
}

const fn placeholder(piece: &Piece) -> &'static str {
    match piece {
        Piece::Protocol => "#{protocol}",
        Piece::Host => "#{host}",
        Piece::Port => "#{port}",
        Piece::Path => "#{path}",
        Piece::Query | Piece::Text(_) => "#{query}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        assert_eq!(
            template("/new/#{path}?#{x}#{query}", &[Piece::Host, Piece::Path]),
            [Piece::Text("/new/".into()), Piece::Path, Piece::Text("?#{x}#{query}".into())]
        );
        assert_eq!(template("", &[]), []);
    }

    #[test]
    fn fixed_responses_get_a_media_type_with_their_body() {
        let config = |body: &str, code: &str| FixedResponseConfig {
            message_body: Some(body.into()),
            status_code: code.into(),
            content_type: None,
        };
        assert!(fixed_response(&config("x", "404")).unwrap().content_type.unwrap().starts_with("text/plain"));
        assert!(fixed_response(&config("", "404")).unwrap().content_type.is_none());
        assert!(fixed_response(&config("x", "302")).is_err());
    }
}
