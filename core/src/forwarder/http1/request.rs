//! From the bytes of a head to what is done with it: judged, decided, and written anew for the target.
//! Nothing in here waits.

use http::header::{Entry, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::buffer::Buffer;
use super::check::{Checked, check};
use super::framing::Framing;
use super::head::{Head, HttpVersion, Name, View};
use crate::decision::{Decision, Verdict};
use crate::forwarder::chars::is_token;
use crate::forwarder::clock;
use crate::forwarder::error_page::Answer;
use crate::forwarder::headers::{self, Arrival};
use crate::forwarder::hooks::{self, HookRequest};
use crate::forwarder::proxy::Client;
use crate::forwarder::record::{Record, Texts};
use crate::forwarder::settings::{ListenerSettings, MutualTls, Settings, XffMode};
use crate::model::ProtocolVersion;
use crate::router::Output;
use crate::time::Now;

/// A request that has been decided.
pub(crate) struct Judged {
    pub(crate) checked: Checked,
    pub(crate) decision: Decision,
    pub(crate) is_head: bool,
    /// What to answer, unless it is a forward.
    pub(crate) answer: Option<Answer>,
    /// `Set-Cookie` lines for the client, ready to be written.
    pub(crate) cookies: Vec<u8>,
    /// The path and query, and the Host, where a transform changed them.
    pub(crate) uri: Option<String>,
    pub(crate) host: Option<String>,
}

/// What a request comes with besides its head.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) client: &'a Client,
    pub(crate) settings: &'a ListenerSettings,
    pub(crate) now: Now,
}

/// Judges and decides; and writes the head for the target, where nothing has to be asked before.
pub(crate) fn prepare(
    (bytes, lengths): (&[u8], &[u16]),
    context: Context<'_>,
    all: &Settings,
    (output, record): (&mut Output, &mut Record),
    out: &mut Buffer,
) -> Result<(Judged, Option<Result<(), u16>>), u16> {
    let head = Head::cut(bytes, lengths);
    let judged = judge(&head, context, output, record)?;
    let asks = judged.decision.authenticate.is_some() || context.client.shared.hooks.firewall.is_some();
    let http1 = match judged.decision.verdict {
        Verdict::Forward(to) => all.group(to.group).is_some_and(|g| g.version == ProtocolVersion::Http1),
        _ => false,
    };
    let composed = if http1 && !asks {
        Some(compose(out.tail(), &head, context, &judged, &HeaderMap::new(), record))
    } else {
        inspect(&head, context, &judged, record).err().map(Err)
    };
    Ok((judged, composed))
}

/// Judges and decides. An error is a status for the client.
fn judge(
    head: &Head<'_>,
    context: Context<'_>,
    output: &mut Output,
    record: &mut Record,
) -> Result<Judged, u16> {
    let Context { client, settings, now } = context;
    if client.shared.observe.wants_text() {
        record.texts = Some(Box::new(texts(head, settings, client.bound_port)));
    }
    let checked = check(head, settings.desync).map_err(|refused| {
        record.class = refused.class;
        refused.status
    })?;
    record.class = checked.class;
    if head.method == b"CONNECT" {
        return Err(400);
    }
    let view = View { head, peer: client.peer, drop_invalid: settings.drop_invalid };
    let decision = client.shared.router.decide(client.listener, &view, now, clock::entropy(), output);
    record.decided(&decision, output);
    let mut cookies = Vec::new();
    for cookie in output.set_cookies() {
        cookies.extend_from_slice(b"Set-Cookie: ");
        cookies.extend_from_slice(cookie.as_bytes());
        cookies.extend_from_slice(b"\r\n");
    }
    let mut answer = Answer::decided(&decision, output);
    if let (Some(answer), Verdict::Error { .. }) = (&mut answer, decision.verdict) {
        let lines = output.set_cookies().filter_map(|c| HeaderValue::try_from(c).ok());
        answer.headers.extend(lines.map(|line| (http::header::SET_COOKIE, line)));
    }
    let (uri, host) = (output.uri().map(str::to_owned), output.host().map(str::to_owned));
    Ok(Judged { checked, decision, is_head: head.method == b"HEAD", answer, cookies, uri, host })
}

/// The head as a hook sees it.
pub(crate) fn for_hook(bytes: &[u8], context: Context<'_>, judged: &Judged) -> HookRequest {
    let head = Head::again(bytes);
    let mut headers = HeaderMap::new();
    for line in &head.lines {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(line.name), HeaderValue::from_bytes(line.value))
        {
            headers.append(name, value);
        }
    }
    if let Some((authority, _)) = head.absolute()
        && let (Entry::Vacant(host), Ok(value)) = (headers.entry(HOST), HeaderValue::from_bytes(authority))
    {
        host.insert(value);
    }
    HookRequest {
        listener: context.client.listener,
        peer: context.client.peer,
        method: Method::from_bytes(head.method).unwrap_or_default(),
        uri: judged.uri.clone().unwrap_or_else(|| String::from_utf8_lossy(head.target).into_owned()),
        headers,
        action: context.client.shared.router.authentication(context.client.listener, &judged.decision),
    }
}

/// Refuses, before anybody else is asked, what no action may answer: a request that no head for a target could
/// be made of.
fn inspect(head: &Head<'_>, context: Context<'_>, judged: &Judged, record: &mut Record) -> Result<(), u16> {
    let arrival = arrival(head.absolute().map(|(authority, _)| authority), context, judged)?;
    let mut nowhere = Vec::new();
    // A Host that a transform has made is not the client's fault, and is looked at when it is needed.
    let as_sent = Arrival { rewritten_host: None, ..arrival };
    headers::write_host(&mut nowhere, head.first(Name::Host), &as_sent).map_err(|r| r.0)?;
    headers::write_forwarded_for(&mut nowhere, head.all(Name::ForwardedFor), &arrival).map_err(|r| r.0)?;
    if let Some(texts) = &mut record.texts {
        nowhere.clear();
        headers::write_trace_id(&mut nowhere, head.first(Name::TraceId), &arrival);
        texts.trace_id = String::from_utf8_lossy(&nowhere).into_owned();
    }
    Ok(())
}

fn arrival<'a>(
    authority: Option<&'a [u8]>,
    context: Context<'a>,
    judged: &'a Judged,
) -> Result<Arrival<'a>, u16> {
    let Context { client, settings, now } = context;
    Ok(Arrival {
        settings,
        peer: client.peer,
        bound_port: client.bound_port,
        version: if judged.checked.version == HttpVersion::V11 {
            http::Version::HTTP_11
        } else {
            http::Version::HTTP_10
        },
        authority: authority.map(std::str::from_utf8).transpose().map_err(|_| 400u16)?,
        rewritten_host: judged.host.as_deref(),
        unix_s: now.unix_s,
        entropy: clock::long_entropy(),
    })
}

/// Writes the head for the target (spec: dataplane §6.1–§6.5). `added` are fields that hooks want.
pub(crate) fn compose(
    out: &mut Vec<u8>,
    head: &Head<'_>,
    context: Context<'_>,
    judged: &Judged,
    added: &HeaderMap,
    record: &mut Record,
) -> Result<(), u16> {
    let Context { client, settings, .. } = context;
    let Judged { checked, .. } = judged;
    let absolute = head.absolute();
    let arrival = arrival(absolute.map(|(authority, _)| authority), context, judged)?;

    out.extend_from_slice(head.method);
    out.push(b' ');
    match (&judged.uri, absolute) {
        (Some(uri), _) => out.extend_from_slice(uri.as_bytes()),
        (None, Some((_, rest))) if rest.first() == Some(&b'/') => out.extend_from_slice(rest),
        (None, Some((_, rest))) => {
            out.push(b'/');
            out.extend_from_slice(rest);
        }
        (None, None) => out.extend_from_slice(head.target),
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");

    let mut hosts = head.all(Name::Host);
    out.extend_from_slice(b"Host: ");
    headers::write_host(out, hosts.next(), &arrival).map_err(|r| r.0)?;
    out.extend_from_slice(b"\r\n");
    if settings.preserve_host && judged.host.is_none() {
        for host in hosts.filter(|h| is_value(h)) {
            push_line(out, b"Host", host);
        }
    }
    copy_lines(out, head, context, judged, added);

    if settings.xff == XffMode::Append {
        out.extend_from_slice(b"X-Forwarded-For: ");
        let lines = head.all(Name::ForwardedFor).filter(|l| checked.plain || is_value(l));
        headers::write_forwarded_for(out, lines, &arrival).map_err(|r| r.0)?;
        out.extend_from_slice(b"\r\n");
    } else {
        let counted = &mut Vec::new();
        headers::write_forwarded_for(counted, head.all(Name::ForwardedFor), &arrival).map_err(|r| r.0)?;
    }
    out.extend_from_slice(match settings.protocol {
        crate::model::Protocol::Https => b"X-Forwarded-Proto: https\r\nX-Forwarded-Port: ".as_slice(),
        crate::model::Protocol::Http => b"X-Forwarded-Proto: http\r\nX-Forwarded-Port: ",
    });
    headers::push_number(out, settings.port);
    out.extend_from_slice(b"\r\nX-Amzn-Trace-Id: ");
    let before = out.len();
    headers::write_trace_id(out, head.first(Name::TraceId), &arrival);
    if let Some(texts) = &mut record.texts {
        texts.trace_id = String::from_utf8_lossy(out.get(before..).unwrap_or_default()).into_owned();
    }
    out.extend_from_slice(b"\r\n");
    if let Some(tls) = &client.tls {
        for (name, value) in tls.headers(settings) {
            push_line(out, name.as_bytes(), value.as_bytes());
        }
    }
    for (name, value) in added {
        push_line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    match checked.framing {
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            headers::push_number(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::Empty | Framing::UntilClose => {}
    }
    if checked.websocket {
        out.extend_from_slice(b"Connection: upgrade\r\nUpgrade: websocket\r\n");
    } else if checked.ends_connections(settings.desync) {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Copies the lines that pass as they are.
fn copy_lines(out: &mut Vec<u8>, head: &Head<'_>, context: Context<'_>, judged: &Judged, added: &HeaderMap) {
    let (settings, plain) = (context.settings, judged.checked.plain);
    let identifies = judged.decision.authenticate.is_some_and(hooks::identifies);
    let mut invalid = false;
    // Where the load balancer sets them, nobody else may.
    let guards = settings.tls_headers || settings.mutual_tls != MutualTls::Off;
    let named: smallvec::SmallVec<[&[u8]; 4]> = head
        .all(Name::Connection)
        .flat_map(|v| v.split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        // A client must not get rid of fields that carry the request itself this way.
        .filter(|n| {
            !["host", "content-length", "cookie", "authorization", "close", "keep-alive"]
                .iter()
                .any(|kept| n.eq_ignore_ascii_case(kept.as_bytes()))
        })
        .collect();
    // Lines that are already as they are to be written are copied many at a time.
    let mut tidy = 0..0;
    let copy = |out: &mut Vec<u8>, lines| out.extend_from_slice(head.bytes.get(lines).unwrap_or_default());
    for line in &head.lines {
        let passes = match line.known {
            Name::UserAgent => true,
            Name::Other => !(guards && settings.owns(line.name.trim_ascii_start())),
            Name::ForwardedFor => settings.xff == XffMode::Preserve,
            Name::Tls => !guards,
            _ => false,
        };
        // The continuation of a folded line is a line of its own; framing must not come in this way.
        let name = line.name.trim_ascii_start();
        let folded = name.len() != line.name.len();
        if !passes || (folded && Name::of(name) != Name::Other) {
            continue;
        }
        if !plain && (!is_token(name) || !is_value(line.value)) {
            continue;
        }
        if !named.is_empty() && named.iter().any(|n| n.eq_ignore_ascii_case(name)) {
            continue;
        }
        if !plain && !headers::is_valid_name(name) {
            invalid = true;
            if settings.drop_invalid {
                continue;
            }
        }
        if identifies && hooks::is_identity(name) {
            continue;
        }
        if !added.is_empty() && added.keys().any(|k| name.eq_ignore_ascii_case(k.as_str().as_bytes())) {
            continue;
        }
        if head.crlf && !folded && line.is_tidy(head.bytes) {
            if tidy.end != line.start {
                copy(out, std::mem::replace(&mut tidy, line.start..line.start));
            }
            tidy.end = line.end;
        } else {
            copy(out, std::mem::take(&mut tidy));
            push_line(out, name, line.value);
        }
    }
    copy(out, tidy);
    if invalid {
        settings.count_invalid();
    }
}

fn push_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Whether a value can be written in one line.
fn is_value(value: &[u8]) -> bool {
    !value.iter().any(|b| matches!(b, 0 | b'\r' | b'\n'))
}

/// The text of a request that did not come whole, as the load balancer logs it.
pub(crate) fn no_texts(settings: &ListenerSettings) -> Texts {
    Texts {
        request_line: format!(
            "- {}://{}:{}- -",
            settings.protocol.scheme(),
            settings.dns_name,
            settings.port
        ),
        ..Texts::default()
    }
}

fn texts(head: &Head<'_>, settings: &ListenerSettings, bound_port: u16) -> Texts {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let host = head.absolute().map(|(a, _)| a).or_else(|| head.first(Name::Host)).unwrap_or_default();
    let host = text(host);
    let (name, port) = headers::split_port(&host);
    let port = port.filter(|p| *p != bound_port).unwrap_or(settings.port);
    let target = head.absolute().map_or(head.target, |(_, rest)| rest);
    let version = if head.version.is_empty() { b"HTTP/0.9" } else { head.version };
    let agent = head.first(Name::UserAgent).unwrap_or_default();
    Texts {
        request_line: format!(
            "{} {}://{name}:{port}{} {}",
            text(head.method),
            settings.protocol.scheme(),
            text(target),
            text(version)
        ),
        user_agent: text(agent.get(..agent.len().min(8 * 1024)).unwrap_or_default()),
        trace_id: text(head.first(Name::TraceId).unwrap_or_default()),
        ..Texts::default()
    }
}
