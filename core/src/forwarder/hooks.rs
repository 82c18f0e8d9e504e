//! What the embedder may have a say in: who is let in (authentication actions) and what is let through (a
//! web application firewall). Called between the rules and the terminal action (spec: dataplane §1.1).

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use http::{HeaderMap, Method};

use super::error_page::Answer;
use super::record::Record;
use super::settings::ListenerSettings;
use crate::decision::{Authenticate, ListenerId};
use crate::model::Action;

/// A request as a hook sees it: its head, never its body.
#[derive(Clone, Debug)]
pub struct HookRequest {
    /// The listener it came in at.
    pub listener: ListenerId,
    /// The client.
    pub peer: SocketAddr,
    /// The method.
    pub method: Method,
    /// Path and query as they go to the target: after a transform.
    pub uri: String,
    /// The header fields as sent. Values that are no text of HTTP are left out.
    pub headers: HeaderMap,
    /// The authentication action with its configuration; `None` for a firewall.
    pub action: Option<Action>,
}

/// What a hook says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HookAnswer {
    /// Go on; the target gets these fields besides its own (`x-amzn-oidc-data` and the like). A field that
    /// the client sent under the same name is removed.
    Continue(HeaderMap),
    /// Answer with the load balancer's page for a status: 401, 403, 561…
    Refuse {
        /// The status.
        status: u16,
        /// The word for the access log, such as `JWTHeaderNotPresent`.
        reason: String,
    },
    /// Answer with this: a redirect to an identity provider, a page of one's own.
    Answer(http::Response<Vec<u8>>),
    /// The hook itself has failed: 500, unless a firewall may fail open (`waf.fail_open.enabled`).
    Failed {
        /// The word for the access log, such as `WAFConnectionError`.
        reason: String,
    },
}

type Answering = Pin<Box<dyn Future<Output = HookAnswer> + Send>>;

/// A hook, whatever it is made of.
#[derive(Clone)]
pub(crate) struct Hook(Arc<dyn Fn(HookRequest) -> Answering + Send + Sync>);

impl Hook {
    pub(crate) fn new<F, A>(hook: F) -> Self
    where
        F: Fn(HookRequest) -> A + Send + Sync + 'static,
        A: Future<Output = HookAnswer> + Send + 'static,
    {
        Hook(Arc::new(move |request| Box::pin(hook(request))))
    }

    pub(crate) fn call(&self, request: HookRequest) -> Answering {
        (self.0)(request)
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// The hooks of a forwarder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hooks {
    pub(crate) firewall: Option<Hook>,
    pub(crate) authenticate: Option<Hook>,
}

/// Whether an authentication tells the target who the client is.
pub(crate) fn identifies(authenticate: Authenticate) -> bool {
    matches!(authenticate, Authenticate::Oidc | Authenticate::Cognito)
}

/// Whether a field says who the client is; where somebody [identifies] clients, they may not say so themselves.
///
/// [identifies]: identifies
pub(crate) fn is_identity(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"x-amzn-oidc-";
    name.get(..PREFIX.len()).is_some_and(|n| n.eq_ignore_ascii_case(PREFIX))
}

/// Asks the firewall and then who authenticates (spec: dataplane §1.1 rows 6 and 7): the fields that the
/// target gets, or what the client gets instead.
pub(crate) async fn ask(
    hooks: &Hooks,
    request: HookRequest,
    authenticate: Option<Authenticate>,
    settings: &ListenerSettings,
    record: &mut Record,
) -> Result<HeaderMap, Box<Answer>> {
    let mut added = HeaderMap::new();
    if let Some(firewall) = &hooks.firewall {
        match firewall.call(HookRequest { action: None, ..request.clone() }).await {
            HookAnswer::Continue(fields) => {
                record.actions.waf = true;
                added.extend(fields);
            }
            HookAnswer::Failed { .. } if settings.waf_fail_open => record.actions.waf_failed = true,
            answer => {
                record.actions.waf = !matches!(answer, HookAnswer::Failed { .. });
                record.actions.waf_failed = !record.actions.waf;
                record.not_dispatched();
                return Err(Box::new(refused(answer, record)));
            }
        }
    }
    let Some(action) = authenticate else { return Ok(added) };
    let count = &settings.metrics.count;
    let Some(hook) = &hooks.authenticate else {
        // Nobody is there to ask: better nobody gets in than everybody.
        count.auth_error.inc();
        record.not_dispatched();
        record.error_reason = Some("AuthUnhandledException".to_owned());
        let status = if action == Authenticate::Jwt { 401 } else { 500 };
        return Err(Box::new(Answer::error(status)));
    };
    if identifies(action) && !request.headers.contains_key(http::header::HOST) {
        // Nobody knows where the identity provider should send the client back to.
        count.auth_failure.inc();
        record.not_dispatched();
        record.error_reason = Some("AuthMissingHostHeader".to_owned());
        return Err(Box::new(Answer::error(401)));
    }
    match hook.call(request).await {
        HookAnswer::Continue(fields) => {
            if action != Authenticate::Jwt {
                count.auth_success.inc();
            }
            record.actions.authenticate = true;
            added.extend(fields);
            Ok(added)
        }
        answer => {
            match answer {
                _ if action == Authenticate::Jwt => count.jwt_failure.inc(),
                HookAnswer::Failed { .. } => count.auth_error.inc(),
                _ => count.auth_failure.inc(),
            };
            record.not_dispatched();
            Err(Box::new(refused(answer, record)))
        }
    }
}

fn refused(answer: HookAnswer, record: &mut Record) -> Answer {
    match answer {
        HookAnswer::Refuse { status, reason } => {
            record.error_reason = Some(reason).filter(|r| !r.is_empty());
            Answer::error(status)
        }
        HookAnswer::Failed { reason } => {
            record.error_reason = Some(reason).filter(|r| !r.is_empty());
            Answer::error(500)
        }
        HookAnswer::Answer(response) => {
            let (parts, body) = response.into_parts();
            let own = ["content-length", "connection", "transfer-encoding", "date", "server"];
            let headers = parts.headers.iter().filter(|(n, _)| !own.contains(&n.as_str()));
            let headers = headers.map(|(n, v)| (n.clone(), v.clone())).collect();
            Answer { status: parts.status.as_u16(), body, headers, ..Answer::default() }
        }
        HookAnswer::Continue(_) => Answer::error(500),
    }
}
