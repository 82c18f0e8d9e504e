//! What a rule answers: redirects, fixed responses and rewrites, rendered into the caller's buffer
//! (spec: dataplane §2.3, §2.4, §2.6).

use super::ListenerEntry;
use crate::decision::Reason;
use crate::matcher::{BadTarget, Rewrite, Subject, without_port};
use crate::options::Options;
use crate::texts::{Full, Text, Texts};

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
        // What is no host must not become part of a Location.
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
            Piece::Port => texts.push(itoa::Buffer::new().format(listener.shown_port).as_bytes())?,
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

/// Rewrites of what goes to the target.
#[derive(Debug, Default)]
pub(crate) struct Transforms {
    pub(crate) host: Vec<Rewrite>,
    pub(crate) url: Vec<Rewrite>,
}

impl Transforms {
    /// Writes the Host and the URI for the target where they are not as sent: where a rewrite matches, and
    /// where there are url rewrites and the path has escapes, which then arrive decoded whether or not one
    /// matches. `joined` takes path and query as one.
    pub(super) fn render(
        &self,
        subject: &Subject<'_>,
        options: &Options,
        joined: &mut Vec<u8>,
        texts: &mut Texts,
    ) -> Result<(), Reason> {
        if let (Some(host), false) = (subject.host, self.host.is_empty()) {
            rewrite(&self.host, host, Text::Host, texts, Texts::push)?;
            if texts.get(Text::Host).is_some_and(|h| h.is_empty() || !h.iter().all(is_host)) {
                texts.unset(Text::Host);
                return Err(Reason::TransformInvalidHost);
            }
        }
        // The asterisk of `OPTIONS *` is no path.
        if self.url.is_empty() || subject.path == b"*" {
            return Ok(());
        }
        subject.join(options, joined).map_err(|BadTarget| Reason::TransformBufferTooSmall)?;
        if !rewrite(&self.url, joined, Text::Uri, texts, |texts, bytes| push_safe(bytes, texts))?
            && subject.join_decoded(options, joined)
        {
            texts.begin(Text::Uri);
            push_safe(joined, texts).map_err(|Full| Reason::TransformBufferTooSmall)?;
            texts.end(Text::Uri);
        }
        let is_uri = |uri: &[u8]| uri.first() == Some(&b'/') && !uri.contains(&b'#');
        if texts.get(Text::Uri).is_some_and(|uri| !is_uri(uri)) {
            texts.unset(Text::Uri);
            return Err(Reason::TransformInvalidPath);
        }
        Ok(())
    }
}

/// What may stand in a Host header; anything else could be a path, or another header.
fn is_host(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte)
}

/// The first rewrite that matches writes `text`; with none it stays absent and the answer is false.
fn rewrite(
    rewrites: &[Rewrite],
    subject: &[u8],
    text: Text,
    texts: &mut Texts,
    push: impl Fn(&mut Texts, &[u8]) -> Result<(), Full>,
) -> Result<bool, Reason> {
    for rewrite in rewrites {
        texts.begin(text);
        match rewrite.apply(subject, |bytes| push(texts, bytes)) {
            Ok(true) if rewrite.missing_group().is_some() => return Err(Reason::TransformReplaceError),
            Ok(true) => {
                texts.end(text);
                return Ok(true);
            }
            Ok(false) => {}
            Err(Full) => return Err(Reason::TransformBufferTooSmall),
        }
    }
    Ok(false)
}
