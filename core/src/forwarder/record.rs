//! What became of one request: counted under CloudWatch's names, written as a line of the access log, told
//! to `tracing` (spec: dataplane §7.3, §8.1).

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

use super::clock;
use super::http1::Class;
use super::settings::{GroupSettings, ListenerSettings};
use crate::decision::{Decision, GroupId, Reason, Stickiness, Verdict};
use crate::model::{Priority, Protocol};
use crate::router::Output;

/// How the client spoke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Http1,
    Http2,
    Grpc,
    WebSocket,
}

/// One request from its head to the end of its answer.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) peer: SocketAddr,
    pub(crate) kind: Kind,
    started: Instant,
    dispatched: Option<Instant>,
    headed: Option<Instant>,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// What the client got.
    pub(crate) status: u16,
    pub(crate) target_status: Option<u16>,
    pub(crate) target: Option<SocketAddr>,
    pub(crate) group: Option<GroupId>,
    pub(crate) priority: Option<Priority>,
    /// The error was one of the rules' evaluation.
    rule_error: bool,
    pub(crate) actions: Actions,
    pub(crate) error_reason: Option<String>,
    pub(crate) class: Option<Class>,
    non_sticky: bool,
    fail_open: bool,
    forwarded: bool,
    pub(crate) connect_failed: bool,
    pub(crate) tls_failed: bool,
    /// Only where somebody reads them.
    pub(crate) texts: Option<Box<Texts>>,
}

/// Actions executed, in the order that the log has them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Actions {
    pub(crate) waf: bool,
    pub(crate) waf_failed: bool,
    pub(crate) authenticate: bool,
    pub(crate) rewrite: bool,
    pub(crate) last: &'static str,
}

/// The text of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    pub(crate) request_line: String,
    pub(crate) user_agent: String,
    pub(crate) trace_id: String,
    pub(crate) redirect_url: String,
    pub(crate) transformed_host: String,
    pub(crate) transformed_uri: String,
    pub(crate) transform_status: &'static str,
}

impl Record {
    pub(crate) fn new(peer: SocketAddr, kind: Kind, started: Instant) -> Self {
        Record {
            peer,
            kind,
            started,
            dispatched: None,
            headed: None,
            received: 0,
            sent: 0,
            status: 0,
            target_status: None,
            target: None,
            group: None,
            priority: None,
            rule_error: false,
            actions: Actions::default(),
            error_reason: None,
            class: None,
            non_sticky: false,
            fail_open: false,
            forwarded: false,
            connect_failed: false,
            tls_failed: false,
            texts: None,
        }
    }

    /// Notes where the request goes, and what the decision wrote for it.
    pub(crate) fn decided(&mut self, decision: &Decision, output: &Output) {
        self.priority = decision.priority;
        self.actions.rewrite = output.uri().is_some() || output.host().is_some();
        if let Some(texts) = &mut self.texts {
            output.location().unwrap_or_default().clone_into(&mut texts.redirect_url);
            output.uri().unwrap_or_default().clone_into(&mut texts.transformed_uri);
            output.host().unwrap_or_default().clone_into(&mut texts.transformed_host);
            texts.transform_status = if self.actions.rewrite { "TransformSuccess" } else { "" };
            if let Verdict::Error { reason, .. } = decision.verdict
                && is_of_transform(reason)
            {
                texts.transform_status = reason.as_str();
                texts.transformed_uri.clear();
                texts.transformed_host.clear();
            }
        }
        match decision.verdict {
            Verdict::Forward(forward) => {
                self.target = Some(forward.address);
                self.actions.last = "forward";
                self.fail_open = forward.fail_open;
                self.non_sticky = matches!(forward.stickiness, Stickiness::Broken(_));
                self.forwarded = true;
            }
            Verdict::Redirect { .. } => self.actions.last = "redirect",
            Verdict::FixedResponse { .. } => self.actions.last = "fixed-response",
            Verdict::Error { reason, .. } => {
                self.rule_error = is_of_transform(reason);
                self.actions.rewrite &= !self.rule_error;
                let named = matches!(reason, Reason::GroupCookieInvalid);
                self.error_reason = named.then(|| reason.as_str().to_owned());
            }
        }
    }

    /// The target that was chosen does not get the request.
    pub(crate) fn not_dispatched(&mut self) {
        self.target = None;
        self.forwarded = false;
        self.fail_open = false;
        self.non_sticky = false;
        self.actions.last = "";
    }

    /// The request is answered with `status` instead of what was decided. If it is no request that could be
    /// decided at all, no rule has matched either (spec: dataplane §1.2).
    pub(crate) fn turned_away(&mut self, status: u16) {
        self.not_dispatched();
        if matches!(status, 400 | 463) {
            self.priority = None;
            self.group = None;
            self.actions = Actions::default();
        }
    }

    /// The request is on its way to the target.
    pub(crate) fn dispatched(&mut self, at: Instant) {
        self.dispatched = Some(at);
    }

    /// The target's head has come.
    pub(crate) fn headed(&mut self, status: u16) {
        self.headed = Some(Instant::now());
        self.target_status = Some(status);
        self.status = status;
    }

    /// When the target's head came.
    pub(crate) fn headed_at(&self) -> Option<Instant> {
        self.headed
    }

    /// Counts it.
    pub(crate) fn count(&self, settings: &ListenerSettings, group: Option<&GroupSettings>) {
        let all = &settings.metrics.count;
        all.processed_bytes.inc_by(self.received + self.sent);
        let ipv6 = matches!(self.peer.ip(), IpAddr::V6(ip) if ip.to_ipv4_mapped().is_none());
        if ipv6 {
            all.ipv6_bytes.inc_by(self.received + self.sent);
        }
        if let Some(matched) = self.priority {
            all.rule_evaluations.inc_by(settings.ranks.evaluated(matched) as u64);
        }
        if self.class.is_some() {
            all.desync.inc();
        }
        if self.non_sticky {
            all.non_sticky.inc();
        }
        match self.actions.last {
            "redirect" => drop(all.redirects.inc()),
            "fixed-response" => drop(all.fixed_responses.inc()),
            _ => {}
        }
        // A fixed response counts as what it says (spec: dataplane §2.4).
        if self.target_status.is_none() {
            if self.status == 507 {
                all.redirect_limit.inc();
            }
            match self.status {
                300..=399 => drop(all.elb_3xx.inc()),
                400..=499 => drop(all.elb_4xx.inc()),
                500..=599 => drop(all.elb_5xx.inc()),
                _ => {}
            }
            match self.status {
                500 => drop(all.elb_500.inc()),
                502 => drop(all.elb_502.inc()),
                503 => drop(all.elb_503.inc()),
                504 => drop(all.elb_504.inc()),
                _ => {}
            }
        }
        if !self.forwarded {
            return;
        }
        all.requests.inc();
        if ipv6 {
            all.ipv6_requests.inc();
        }
        let Some(group) = group else { return };
        let count = &group.metrics.count;
        group.metrics.requests.inc();
        if self.kind == Kind::Grpc {
            count.grpc.inc();
        }
        if self.fail_open {
            count.unhealthy_routing.inc();
        }
        if self.connect_failed {
            count.connection_errors.inc();
        }
        if self.tls_failed {
            count.tls_errors.inc();
        }
        match self.target_status {
            Some(200..=299) => drop(count.target_2xx.inc()),
            Some(300..=399) => drop(count.target_3xx.inc()),
            Some(400..=499) => drop(count.target_4xx.inc()),
            Some(500..=599) => drop(count.target_5xx.inc()),
            _ => {}
        }
        if let (Some(sent), Some(headed), Some(times)) =
            (self.dispatched, self.headed, &group.metrics.response_time)
        {
            times.observe(headed.duration_since(sent).as_secs_f64());
        }
    }

    /// A line of the access log, without its end.
    pub(crate) fn line(
        &self,
        settings: &ListenerSettings,
        group: Option<&GroupSettings>,
        connection: &Connection<'_>,
    ) -> String {
        let texts = self.texts.as_deref();
        let https = settings.protocol == Protocol::Https;
        let kind = match (self.kind, https) {
            (Kind::Http1, false) => "http",
            (Kind::Http1, true) => "https",
            (Kind::Http2, _) => "h2",
            (Kind::Grpc, _) => "grpcs",
            (Kind::WebSocket, false) => "ws",
            (Kind::WebSocket, true) => "wss",
        };
        let now = Instant::now();
        let created = clock::wall() - now.duration_since(self.started);
        let seconds = |from: Option<Instant>, to: Option<Instant>| match (from, to) {
            (Some(from), Some(to)) => format!("{:.3}", to.duration_since(from).as_secs_f64()),
            _ => "-1".to_owned(),
        };
        let sent = self.dispatched.filter(|_| !self.connect_failed && !self.tls_failed);
        let (request_time, target_time, response_time) = (
            seconds(sent.map(|_| self.started), sent),
            seconds(sent, self.headed),
            seconds(self.headed, self.headed.map(|_| now)),
        );
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let target = or_dash(self.target.map(|t| t.to_string()));
        let target_status = or_dash(self.target_status.map(|s| s.to_string()));
        let priority = match self.priority {
            _ if self.rule_error => "-1".to_owned(),
            Some(Priority::Rule(n)) => n.to_string(),
            Some(Priority::Default) => "0".to_owned(),
            None => "-".to_owned(),
        };
        let quoted = |text: Option<&str>| match text.filter(|t| !t.is_empty()) {
            Some(text) => quote(text),
            None => "\"-\"".to_owned(),
        };
        let mut line = String::with_capacity(512);
        // Writing to a string does not fail.
        let _ = write!(
            line,
            "{kind} {} {} {} {target} {request_time} {target_time} {response_time} {} {target_status} {} {} ",
            clock::iso8601(clock::wall()),
            if settings.name.is_empty() { "-" } else { &settings.name },
            // A peer of a dual-stack socket is an IPv4 address in disguise.
            SocketAddr::new(self.peer.ip().to_canonical(), self.peer.port()),
            self.status,
            self.received,
            self.sent,
        );
        let _ = write!(
            line,
            "{} {} {} {} {} {} {} {} {priority} {} ",
            quoted(texts.map(|t| t.request_line.as_str())),
            quoted(texts.map(|t| t.user_agent.as_str())),
            connection.cipher.unwrap_or("-"),
            connection.protocol.unwrap_or("-"),
            group.map_or("-", |g| &g.arn),
            quoted(texts.map(|t| t.trace_id.as_str())),
            quoted(connection.domain),
            quoted(connection.certificate),
            clock::iso8601(created),
        );
        let (tier, reason) = self
            .class
            .map_or((None, None), |c| (Some(format!("{:?}", c.tier)), Some(format!("{:?}", c.reason))));
        let _ = write!(
            line,
            "{} {} {} {} {} {} {} {} {} {} {}",
            quoted(Some(&self.actions.to_string())),
            quoted(texts.map(|t| t.redirect_url.as_str())),
            quoted(self.error_reason.as_deref()),
            quoted(Some(&target)),
            quoted(Some(&target_status)),
            quoted(tier.as_deref()),
            quoted(reason.as_deref()),
            connection.trace_id,
            quoted(texts.map(|t| t.transformed_host.as_str())),
            quoted(texts.map(|t| t.transformed_uri.as_str())),
            quoted(texts.map(|t| t.transform_status)),
        );
        line
    }

    /// How long it took so far.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Whether a transform has matched and its result cannot be used (spec: dataplane §8.5).
fn is_of_transform(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::TransformInvalidPath
            | Reason::TransformInvalidHost
            | Reason::TransformReplaceError
            | Reason::TransformBufferTooSmall
    )
}

/// What the log tells of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection<'a> {
    pub(crate) cipher: Option<&'a str>,
    pub(crate) protocol: Option<&'a str>,
    /// SNI, where a certificate was found for it.
    pub(crate) domain: Option<&'a str>,
    pub(crate) certificate: Option<&'a str>,
    pub(crate) trace_id: &'a str,
}

impl std::fmt::Display for Actions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = [
            (self.rewrite, "rewrite"),
            (self.waf, "waf"),
            (self.waf_failed, "waf-failed"),
            (self.authenticate, "authenticate"),
            (!self.last.is_empty(), self.last),
        ];
        let mut first = true;
        for (_, name) in all.into_iter().filter(|(on, _)| *on) {
            f.write_str(if first { "" } else { "," })?;
            f.write_str(name)?;
            first = false;
        }
        Ok(())
    }
}

/// Puts text between quotes, so that it stays one field of one line whatever is in it.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\x22"),
            '\\' => out.push_str("\\x5C"),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_one_field() {
        assert_eq!(quote("a\" b\n\\"), "\"a\\x22 b\\x0A\\x5C\"");
    }

    #[test]
    fn actions_are_told_in_order() {
        let actions = Actions { waf: true, authenticate: true, last: "forward", ..Actions::default() };
        assert_eq!(actions.to_string(), "waf,authenticate,forward");
        assert_eq!(Actions::default().to_string(), "");
    }
}
