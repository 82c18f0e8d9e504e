//! From a request to a rule and what it says (spec: dataplane §1.1 rows 4 and 5).

use super::{ActionEntry, Table, Terminal};
use crate::decision::{Authenticate, Reason};
use crate::matcher::{BadTarget, Subject};
use crate::model::{Priority, Protocol};
use crate::options::Options;
use crate::request::RequestView;
use crate::texts::{Full, Texts};

/// What the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Evaluated {
    /// `None` where the request never got to the rules.
    pub(crate) priority: Option<Priority>,
    pub(crate) authenticate: Option<Authenticate>,
    pub(crate) routing: Routing,
}

/// The terminal action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routing {
    Forward {
        /// An index into `Table::forwards`.
        forward: u32,
        /// Whether the listener speaks HTTPS.
        secure: bool,
    },
    Redirect {
        status: u16,
    },
    FixedResponse {
        status: u16,
    },
    Error {
        status: u16,
        reason: Reason,
    },
}

/// What an evaluation writes into; belongs to the caller's `Output`.
pub(crate) struct Buffers<'o> {
    pub(crate) texts: &'o mut Texts,
    /// The path as rules see it, where it is not the path as sent.
    pub(crate) path: &'o mut Vec<u8>,
    /// Path and query in one piece, for rewrites.
    pub(crate) joined: &'o mut Vec<u8>,
}

impl Table {
    /// Finds the rule and writes what its action says into `buffers`.
    #[inline]
    pub(crate) fn evaluate<R: RequestView>(
        &self,
        listener: usize,
        request: &R,
        options: &Options,
        buffers: Buffers<'_>,
    ) -> Evaluated {
        let refuse = |status, reason| Evaluated {
            priority: None,
            authenticate: None,
            routing: Routing::Error { status, reason },
        };
        let Some(listener) = self.listeners.get(listener) else {
            return refuse(503, Reason::NoListener);
        };
        if request.method() == b"TRACE" {
            return refuse(405, Reason::MethodNotAllowed);
        }
        let Buffers { texts, path, joined } = buffers;
        let subject = match Subject::new(request, options, path) {
            Ok(subject) => subject,
            Err(BadTarget) => return refuse(400, Reason::BadUri),
        };
        let rule = listener
            .index
            .first(&subject, request, options)
            .and_then(|rank| listener.rules.get(rank))
            .unwrap_or(&listener.default);
        let Some(ActionEntry { authenticate, terminal, transforms }) = self.actions.get(rule.action as usize)
        else {
            return refuse(503, Reason::NoTarget);
        };
        let routing = match terminal {
            Terminal::Forward(forward) => {
                let secure = listener.protocol == Protocol::Https;
                let rendered = transforms.as_ref().map(|t| t.render(&subject, options, joined, texts));
                match rendered {
                    None | Some(Ok(())) => Routing::Forward { forward: *forward, secure },
                    Some(Err(reason)) => Routing::Error { status: 500, reason },
                }
            }
            Terminal::Redirect(redirect) => match redirect.render(listener, &subject, texts) {
                Ok(()) => Routing::Redirect { status: redirect.status },
                Err(reason) => {
                    let status = if reason == Reason::BadUri { 400 } else { 507 };
                    Routing::Error { status, reason }
                }
            },
            Terminal::Fixed(fixed) => match fixed.render(texts) {
                Ok(()) => Routing::FixedResponse { status: fixed.status },
                Err(Full) => Routing::Error { status: 500, reason: Reason::BodyTooLong },
            },
        };
        Evaluated {
            priority: Some(rule.priority),
            authenticate: authenticate.as_ref().map(|(a, _)| *a),
            routing,
        }
    }
}
