//! What a rule answers: redirects, fixed responses and rewrites, rendered into the caller's buffer
//! (spec: dataplane §2.3, §2.4, §2.6).

use super::ListenerEntry;
use crate::decision::{Full, Reason, Text, Texts};
use crate::matcher::{Rewrite, Subject, without_port};

/// The last action of a rule.
#[derive(Debug)]
pub(crate) enum Terminal {
    /// An index into `Table::forwards`.
    Forward(u32),
    Redirect(Box<Redirect>),
    Fixed(Box<Fixed>),
}

/// A fixed response.
#[derive(Debug)]
pub(crate) struct Fixed {
    pub(crate) status: u16,
    pub(crate) content_type: Option<Box<str>>,
    pub(crate) body: Option<Box<str>>,
}

/// A redirect, its parts taken apart at their placeholders.
#[derive(Debug)]
pub(crate) struct Redirect {
    pub(crate) status: u16,
    pub(crate) protocol: Template,
    pub(crate) host: Template,
    pub(crate) port: Template,
    pub(crate) path: Template,
    pub(crate) query: Template,
}

/// Text with placeholders.
pub(crate) type Template = Vec<Piece>;

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(Box<str>),
    Protocol,
    Host,
    Port,
    /// Without its leading slash.
    Path,
    Query,
}

/// A Location longer than this is not sent (507).
const LOCATION: usize = 8 * 1024;

impl Fixed {
    pub(super) fn render(&self, texts: &mut Texts) -> Result<(), Full> {
        if let Some(content_type) = &self.content_type {
            texts.write(Text::ContentType, content_type.as_bytes())?;
        }
        if let Some(body) = &self.body {
            texts.write(Text::Body, body.as_bytes())?;
        }
        Ok(())
    }
}

impl Redirect {
    /// Writes `protocol://host:port/path?query`; the port is always there, the `?` only before a query.
    pub(super) fn render(
        &self,
        listener: &ListenerEntry,
        subject: &Subject<'_>,
        texts: &mut Texts,
    ) -> Result<(), Reason> {
        // What is no host must not become part of a Location: it could be a path, or another host.
        let is_host = |b: &u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(b);
        if subject.host.is_some_and(|host| !host.iter().all(is_host)) {
            return Err(Reason::BadUri);
        }
        let mut write = || -> Result<usize, Full> {
            texts.begin(Text::Location);
            fill(&self.protocol, listener, subject, texts)?;
            texts.push(b"://")?;
            fill(&self.host, listener, subject, texts)?;
            texts.push(b":")?;
            fill(&self.port, listener, subject, texts)?;
            fill(&self.path, listener, subject, texts)?;
            let before = texts.len();
            texts.push(b"?")?;
            fill(&self.query, listener, subject, texts)?;
            if texts.len() == before + 1 {
                texts.truncate(before);
            }
            Ok(texts.end(Text::Location))
        };
        match write() {
            Ok(length) if length <= LOCATION => Ok(()),
            _ => {
                texts.unset(Text::Location);
                Err(Reason::LocationTooLong)
            }
        }
    }
}

fn fill(
    template: &[Piece],
    listener: &ListenerEntry,
    subject: &Subject<'_>,
    texts: &mut Texts,
) -> Result<(), Full> {
    for piece in template {
        match piece {
            Piece::Text(text) => texts.push(text.as_bytes())?,
            Piece::Protocol => texts.push(listener.protocol.scheme().as_bytes())?,
            Piece::Host => match subject.host {
                Some(host) => push_safe(without_port(host), texts)?,
                None => texts.push(listener.dns_name.as_bytes())?,
            },
            Piece::Port => push_number(listener.shown_port, texts)?,
            Piece::Path => {
                push_safe(subject.sent_path.strip_prefix(b"/").unwrap_or(subject.sent_path), texts)?;
            }
            Piece::Query => push_safe(subject.query.unwrap_or_default(), texts)?,
        }
    }
    Ok(())
}

/// Text of the client in a header of ours: as sent, but what could end a header line or is not ASCII is
/// percent-encoded.
fn push_safe(text: &[u8], texts: &mut Texts) -> Result<(), Full> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut rest = text;
    while let Some(at) = rest.iter().position(|b| !(0x21..0x7f).contains(b)) {
        let (fine, odd) = rest.split_at_checked(at).unwrap_or((rest, b""));
        texts.push(fine)?;
        let Some((byte, after)) = odd.split_first() else { break };
        let digit = |n: u8| HEX.get(usize::from(n)).copied().unwrap_or(b'0');
        texts.push(&[b'%', digit(byte >> 4), digit(byte & 15)])?;
        rest = after;
    }
    texts.push(rest)
}

fn push_number(n: u16, texts: &mut Texts) -> Result<(), Full> {
    let mut digits = [0; 5];
    let (mut n, mut len) = (n, 0);
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (n % 10) as u8;
        n /= 10;
        len += 1;
        if n == 0 {
            break;
        }
    }
    texts.push(digits.get(5 - len..).unwrap_or_default())
}

/// Rewrites of what goes to the target.
#[derive(Debug, Default)]
pub(crate) struct Transforms {
    pub(crate) host: Vec<Rewrite>,
    pub(crate) url: Vec<Rewrite>,
}

impl Transforms {
    /// Writes the rewritten Host and URI where a rewrite matches. `joined` takes path and query as one.
    pub(super) fn render(
        &self,
        subject: &Subject<'_>,
        joined: &mut Vec<u8>,
        texts: &mut Texts,
    ) -> Result<(), Reason> {
        if let (Some(host), false) = (subject.host, self.host.is_empty()) {
            rewrite(&self.host, host, Text::Host, texts)?;
            let fine = |b: &u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(b);
            if texts.get(Text::Host).is_some_and(|h| h.is_empty() || !h.iter().all(fine)) {
                texts.unset(Text::Host);
                return Err(Reason::TransformInvalidHost);
            }
        }
        if !self.url.is_empty() {
            let query = subject.query.unwrap_or_default();
            if joined.capacity() < subject.path.len() + 1 + query.len() {
                return Err(Reason::TransformBufferTooSmall);
            }
            joined.clear();
            joined.extend_from_slice(subject.path);
            if subject.query.is_some() {
                joined.push(b'?');
                joined.extend_from_slice(query);
            }
            rewrite(&self.url, joined, Text::Uri, texts)?;
            let fine =
                |uri: &[u8]| uri.first() == Some(&b'/') && uri.iter().all(|b| (0x21..0x7f).contains(b));
            if texts.get(Text::Uri).is_some_and(|uri| !fine(uri)) {
                texts.unset(Text::Uri);
                return Err(Reason::TransformInvalidPath);
            }
        }
        Ok(())
    }
}

/// The first rewrite that matches writes `text`; with none it stays absent.
fn rewrite(rewrites: &[Rewrite], subject: &[u8], text: Text, texts: &mut Texts) -> Result<(), Reason> {
    for rewrite in rewrites {
        texts.begin(text);
        match rewrite.apply(subject, |bytes| texts.push(bytes)) {
            Ok(true) => {
                texts.end(text);
                return Ok(());
            }
            Ok(false) => {}
            Err(Full) => return Err(Reason::TransformBufferTooSmall),
        }
    }
    Ok(())
}
