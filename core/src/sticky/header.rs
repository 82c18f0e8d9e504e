//! Cookies in headers: found in `Cookie` lines by hand, since a parser would allocate, and written as
//! `Set-Cookie` values in the load balancer's own shape (spec: dataplane §4.1, §4.3, §4.4).

use memchr::memchr;

use super::seal::{Sealed, VALUE};
use crate::request::RequestView;
use crate::texts::{DATE, Full, Text, Texts, put};

/// What was found under one of our names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// As we seal them.
    Sealed(Sealed),
    /// Of another alphabet, or percent-encoded: somebody encoded it once more.
    Damaged,
    /// Of another length: not ours.
    Other,
}

impl Cookie {
    #[inline]
    fn of(value: &[u8]) -> Self {
        match value.try_into() {
            Ok(value) => Sealed::from_text(value).map_or(Cookie::Damaged, Cookie::Sealed),
            Err(_) if memchr(b'%', value).is_some() => Cookie::Damaged,
            Err(_) => Cookie::Other,
        }
    }
}

/// The two names of a cookie: what is good for requests of other sites, and that for the own. They differ in
/// `CORS` at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// Of the cookie that keeps a client at its target.
    Target,
    /// Of the cookie that keeps a client at its target group.
    Group,
}

impl Names {
    pub(crate) const fn plain(self) -> &'static str {
        match self {
            Names::Target => "AWSALB",
            Names::Group => "AWSALBTG",
        }
    }

    const fn cors(self) -> &'static str {
        match self {
            Names::Target => "AWSALBCORS",
            Names::Group => "AWSALBTGCORS",
        }
    }

    /// What follows `name=`, where `pair` begins so, and whether the name is the one for other sites.
    #[inline]
    fn after(self, pair: &[u8]) -> Option<(bool, &[u8])> {
        // Most cookies are somebody else's: one short comparison tells.
        let after = match self {
            Names::Target => pair.strip_prefix(b"AWSALB"),
            Names::Group => pair.strip_prefix(b"AWSALBTG"),
        }?;
        match after.strip_prefix(b"=") {
            Some(value) => Some((false, value)),
            None => after.strip_prefix(b"CORS=").map(|value| (true, value)),
        }
    }
}

/// Finds the first cookie of the name that is there, of both names that for other sites; gives its name and
/// its value.
#[inline]
pub(crate) fn find<R: RequestView>(request: &R, names: Names) -> Option<(&'static str, Cookie)> {
    let mut found: Option<(&'static str, Cookie)> = None;
    request.any_header("cookie", |line| {
        let Some((cors, value)) = find_in(line, names) else { return false };
        if cors || found.is_none() {
            found = Some((if cors { names.cors() } else { names.plain() }, Cookie::of(value)));
        }
        cors
    });
    found
}

/// The same in one line: whether the name is that for other sites, and the value.
#[inline]
fn find_in(line: &[u8], names: Names) -> Option<(bool, &[u8])> {
    let (mut plain, mut rest) = (None, line);
    loop {
        rest = rest.trim_ascii_start();
        let next = match names.after(rest) {
            Some((cors, text)) => {
                let (value, next) = value_of(text);
                if cors {
                    return Some((true, value));
                }
                plain.get_or_insert((false, value));
                next
            }
            None => memchr(b';', rest).and_then(|end| rest.get(end..)),
        };
        match next {
            Some([_, next @ ..]) => rest = next,
            _ => return plain,
        }
    }
}

/// The value at the start of `text`, and the semicolon that ends it with what follows.
#[inline]
fn value_of(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    // A value of ours ends where its length says: that is seen without a search.
    if let Some((value, next)) = text.split_first_chunk::<VALUE>()
        && next.first().is_none_or(|b| *b == b';')
        && !value.iter().fold(false, |any, b| any | (*b == b';'))
        && !value.last().is_some_and(u8::is_ascii_whitespace)
    {
        return (value, Some(next));
    }
    let end = memchr(b';', text).unwrap_or(text.len());
    (text.get(..end).unwrap_or_default().trim_ascii_end(), text.get(end..))
}

/// The names of the cookies that hold the sessions of `app_cookie` groups; each of the next ones is used
/// when those before it are full.
pub(crate) const APPLICATION: [&str; 4] = ["AWSALBAPP-0", "AWSALBAPP-1", "AWSALBAPP-2", "AWSALBAPP-3"];

/// How many tickets one of them holds: what fits into 4 KiB with name and attributes beside it.
pub(crate) const TICKETS: usize = (4096 - 128) / VALUE;

/// What stands for "nothing to store" (K-22).
pub(crate) const REMOVE: &[u8] = b"_remove_";

/// What a request carries of the cookies of type `app_cookie`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Application {
    /// The application's own cookie is there.
    pub(crate) own: bool,
    /// One of ours is there and holds something.
    pub(crate) ours: bool,
}

/// Looks for the application's cookie `name`, and calls `visit` with each ticket of ours, in the order sent.
/// What has not the length of tickets is passed over.
pub(crate) fn application<R: RequestView>(
    request: &R,
    name: &str,
    mut visit: impl FnMut(&[u8; VALUE]),
) -> Application {
    let mut found = Application::default();
    // More than four full cookies are nobody's: the rest of them is not looked at.
    let mut left = TICKETS * APPLICATION.len();
    pairs(request, |pair| {
        let Some((key, value)) =
            pair.iter().position(|b| *b == b'=').and_then(|at| pair.split_at_checked(at))
        else {
            return;
        };
        let value = value.strip_prefix(b"=").unwrap_or(value);
        if key == name.as_bytes() {
            found.own = true;
        } else if APPLICATION.iter().any(|ours| key == ours.as_bytes()) && value != REMOVE {
            found.ours = true;
            for ticket in value.chunks_exact(VALUE).filter_map(|chunk| chunk.first_chunk()) {
                let Some(fewer) = left.checked_sub(1) else { return };
                left = fewer;
                visit(ticket);
            }
        }
    });
    found
}

/// Calls `visit` with each pair of each `Cookie` line.
#[inline]
fn pairs<R: RequestView>(request: &R, mut visit: impl FnMut(&[u8])) {
    request.any_header("cookie", |line| {
        let mut start = 0;
        while let Some(rest) = line.get(start..) {
            let end = memchr(b';', rest).unwrap_or(rest.len());
            visit(rest.get(..end).unwrap_or_default().trim_ascii());
            start += end + 1;
        }
        false
    });
}

/// How a cookie is marked for requests of other sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SameSite {
    /// Not at all.
    Absent,
    /// `SameSite=None`.
    None,
    /// `SameSite=None; Secure`.
    NoneSecure,
}

/// More bytes than any sealed cookie's `Set-Cookie` has.
const LONGEST: usize = 192;

const EXPIRES: &[u8; 10] = b"; Expires=";

// What ends a `Set-Cookie`, by how it is marked.
const UNMARKED: &[u8; 8] = b"; Path=/";
const NONE: &[u8; 23] = b"; Path=/; SameSite=None";
const NONE_SECURE: &[u8; 31] = b"; Path=/; SameSite=None; Secure";

/// Writes both `Set-Cookie` values of a sealed cookie: the plain one first, which is not marked at all. What
/// is written is of fixed lengths, so that it is a few moves of words.
#[inline]
pub(crate) fn write_both(
    texts: &mut Texts,
    [plain, cors]: [Text; 2],
    names: Names,
    value: &[u8; VALUE],
    expires: &[u8; DATE],
    same_site: SameSite,
) -> Result<(), Full> {
    match names {
        Names::Target => {
            write_sealed(texts, plain, b"AWSALB=", value, expires, SameSite::Absent)?;
            write_sealed(texts, cors, b"AWSALBCORS=", value, expires, same_site)
        }
        Names::Group => {
            write_sealed(texts, plain, b"AWSALBTG=", value, expires, SameSite::Absent)?;
            write_sealed(texts, cors, b"AWSALBTGCORS=", value, expires, same_site)
        }
    }
}

#[inline]
fn write_sealed<const NAME: usize>(
    texts: &mut Texts,
    text: Text,
    name: &[u8; NAME],
    value: &[u8; VALUE],
    expires: &[u8; DATE],
    same_site: SameSite,
) -> Result<(), Full> {
    texts.begin(text);
    texts.push_within::<LONGEST>(|room| {
        put(room, name)?;
        put(room, value)?;
        put(room, EXPIRES)?;
        put(room, expires)?;
        match same_site {
            SameSite::Absent => put(room, UNMARKED),
            SameSite::None => put(room, NONE),
            SameSite::NoneSecure => put(room, NONE_SECURE),
        }
    })?;
    texts.end(text);
    Ok(())
}

/// Writes one `Set-Cookie` value; `expires` is a date as HTTP has it.
pub(crate) fn write(
    texts: &mut Texts,
    text: Text,
    name: &str,
    value: &[u8],
    expires: &[u8; DATE],
    same_site: SameSite,
) -> Result<(), Full> {
    texts.begin(text);
    texts.push(name.as_bytes())?;
    texts.push(b"=")?;
    texts.push(value)?;
    finish(texts, text, expires, same_site)
}

/// Writes what follows the value, and ends the text.
#[inline]
pub(crate) fn finish(
    texts: &mut Texts,
    text: Text,
    expires: &[u8; DATE],
    same_site: SameSite,
) -> Result<(), Full> {
    texts.push(EXPIRES)?;
    texts.push(expires)?;
    texts.push(match same_site {
        SameSite::Absent => UNMARKED,
        SameSite::None => NONE,
        SameSite::NoneSecure => NONE_SECURE,
    })?;
    texts.end(text);
    Ok(())
}

/// Whether a User-Agent is a Chromium that knows `SameSite=None`: version 80 or newer.
pub(crate) fn knows_same_site(user_agent: &[u8]) -> bool {
    [&b"Chrome/"[..], b"Chromium/"].iter().any(|product| {
        user_agent.windows(product.len()).position(|w| w == *product).is_some_and(|at| {
            let version = user_agent.get(at + product.len()..).unwrap_or_default();
            let digits = version.iter().take_while(|b| b.is_ascii_digit()).take(6);
            digits.fold(0u32, |n, b| n * 10 + u32::from(b - b'0')) >= 80
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Request;

    fn found(lines: &[(&str, &str)]) -> Option<(&'static str, String)> {
        let request = Request::new("GET", "/", ([127, 0, 0, 1], 1).into()).headers(lines);
        find(&request, Names::Target).map(|(name, cookie)| match cookie {
            Cookie::Sealed(sealed) => (name, String::from_utf8(sealed.text().to_vec()).unwrap()),
            other => (name, format!("{other:?}")),
        })
    }

    #[test]
    fn names_are_whole_and_the_first_counts() {
        let (x, y) = ("c".repeat(VALUE), "d".repeat(VALUE));
        let plain = Some(("AWSALB", x.clone()));
        let cors = Some(("AWSALBCORS", x.clone()));
        assert_eq!(found(&[("cookie", &format!("a=1; AWSALB={x};AWSALB=no"))]), plain);
        assert_eq!(found(&[("cookie", &format!("  AWSALB={x}  ; b"))]), plain);
        assert_eq!(found(&[("Cookie", "a=1"), ("x", "y"), ("Cookie", &format!("AWSALBCORS={x}"))]), cors);
        assert_eq!(found(&[("cookie", &format!("AWSALB={y}; AWSALBCORS={x}; AWSALBCORS={y}"))]), cors);
        assert_eq!(found(&[("cookie", &format!("AWSALBCORS={x}; AWSALB={y}; AWSALBTG={y}"))]), cors);
        let of = |value: &str| found(&[("cookie", value)]).map(|(_, value)| value);
        assert_eq!(of("AWSALB=short").as_deref(), Some("Other"));
        assert_eq!(of("AWSALB=").as_deref(), Some("Other"));
        assert_eq!(of("AWSALB=a%2Fb").as_deref(), Some("Damaged"));
        assert_eq!(of(&format!("AWSALB={}", "x".repeat(VALUE))).as_deref(), Some("Damaged"));
        let cut = format!("AWSALB={}; AWSALBCORS={y}", &x[4..]);
        assert_eq!(of(&cut[..VALUE + 8]).as_deref(), Some("Other"), "what ends early is not read on");
        assert_eq!(of(&cut), Some(y.clone()));
        assert_eq!(of(&format!("AWSALB={}    ;b=1", &x[4..])).as_deref(), Some("Other"));
        assert_eq!(of("XAWSALB=1; awsalb=1; AWSALB"), None);
        assert_eq!(of("; ;AWSALBTG=1; AWSALBAPP-0=2;"), None);
        assert_eq!(of(""), None);
    }

    /// The search takes what is found by cutting each line at its semicolons.
    #[test]
    fn the_search_is_the_plain_one() {
        let value = "c".repeat(VALUE);
        let parts =
            ["AWSALB", "AWSALBCORS", "AWSALBTG", "=", "=", ";", ";", " ", "a", &value, &value[1..], "%2F"];
        let plain = |lines: &[(&str, &str)], name: &str| {
            let pairs = lines.iter().flat_map(|(_, line)| line.split(';').map(str::trim_ascii));
            let mut values = pairs.filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            values.next().map(|value| Cookie::of(value.as_bytes()))
        };
        let mut met = [0; 2];
        for n in 0..20_000u64 {
            let part = |i: u64| parts[(crate::mix::mix(n * 100 + i) % parts.len() as u64) as usize];
            let lines = [0, 1].map(|line| (line * 20..line * 20 + 16).map(part).collect::<String>());
            let lines = lines.each_ref().map(|line| ("cookie", line.as_str()));
            let request = Request::new("GET", "/", ([127, 0, 0, 1], 1).into()).headers(&lines);
            for names in [Names::Target, Names::Group] {
                let of = |name| plain(&lines, name).map(|cookie| (name, cookie));
                let wanted = of(names.cors()).or_else(|| of(names.plain()));
                assert_eq!(find(&request, names), wanted, "{lines:?}");
                met[usize::from(wanted.is_some())] += 1;
            }
        }
        assert!(met.iter().all(|met| *met > 5_000), "{met:?}");
    }

    #[test]
    fn tickets_are_counted_off() {
        let (a, b, c) = ("a".repeat(VALUE), "b".repeat(VALUE), "c".repeat(VALUE));
        let seen = |cookies: &str| {
            let lines = [("cookie", cookies)];
            let request = Request::new("GET", "/", ([127, 0, 0, 1], 1).into()).headers(&lines);
            let mut tickets = String::new();
            let found = application(&request, "SID", |t| tickets.push(char::from(t[0])));
            (found.own, found.ours, tickets)
        };
        assert_eq!(seen(&format!("SID=1; AWSALBAPP-0={a}{b}; AWSALBAPP-1={c}")), (true, true, "abc".into()));
        assert_eq!(seen("AWSALBAPP-0=_remove_; SID="), (true, false, String::new()));
        assert_eq!(seen(&format!("AWSALBAPP-4={a}; XSID=1; AWSALBAPP-0={a}x")), (false, true, "a".into()));
        let many = format!("AWSALBAPP-0={}", a.repeat(TICKETS * 5));
        assert_eq!(seen(&many).2.len(), TICKETS * 4);
    }

    #[test]
    fn the_cookie_crate_reads_what_is_written() {
        let mut texts = Texts::new();
        let date = b"Tue, 27 Feb 2024 11:21:53 GMT";
        write(&mut texts, Text::SetCookie, "AWSALB", b"v", date, SameSite::Absent).unwrap();
        write(&mut texts, Text::SetCookieCors, "AWSALBCORS", b"v", date, SameSite::NoneSecure).unwrap();
        let written = [Text::SetCookie, Text::SetCookieCors].map(|text| texts.str(text).unwrap());
        assert_eq!(
            written,
            [
                "AWSALB=v; Expires=Tue, 27 Feb 2024 11:21:53 GMT; Path=/",
                "AWSALBCORS=v; Expires=Tue, 27 Feb 2024 11:21:53 GMT; Path=/; SameSite=None; Secure"
            ]
        );
        let parsed = cookie::Cookie::parse(written[1]).unwrap();
        assert_eq!((parsed.name(), parsed.value(), parsed.path()), ("AWSALBCORS", "v", Some("/")));
        assert_eq!(parsed.secure(), Some(true));
    }

    #[test]
    fn browsers_that_know_same_site() {
        assert!(knows_same_site(b"Mozilla/5.0 (X11) AppleWebKit/537.36 Chrome/80.0.3987.87 Safari/537.36"));
        assert!(knows_same_site(b"Chromium/124"));
        for old in [&b"Mozilla/5.0 Chrome/79.0.1"[..], b"Safari/605", b"Chrome/", b"", b"Chrome/x"] {
            assert!(!knows_same_site(old));
        }
    }
}
