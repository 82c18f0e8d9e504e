//! Cookies in headers: found in `Cookie` lines by hand, since a parser would allocate, and written as
//! `Set-Cookie` values in the load balancer's own shape (spec: dataplane §4.1, §4.3, §4.4).

use super::seal::VALUE;
use crate::decision::{Full, Text, Texts};
use crate::request::RequestView;

/// A value of the length that ours have; anything else found under our names is kept as "not ours".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    Value([u8; VALUE]),
    /// Percent-encoded: somebody encoded it once more.
    Encoded,
    Other,
}

/// Finds the first cookie of each name.
pub(crate) fn scan<R: RequestView, const N: usize>(request: &R, names: [&str; N]) -> [Option<Cookie>; N] {
    let mut found = [None; N];
    pairs(request, |pair| {
        for (slot, name) in found.iter_mut().zip(names) {
            let value = pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            if let (None, Some(value)) = (&slot, value) {
                *slot = Some(match <[u8; VALUE]>::try_from(value) {
                    _ if value.contains(&b'%') => Cookie::Encoded,
                    Ok(value) => Cookie::Value(value),
                    Err(_) => Cookie::Other,
                });
            }
        }
    });
    found
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

fn pairs<R: RequestView>(request: &R, mut visit: impl FnMut(&[u8])) {
    request.any_header("cookie", |line| {
        line.split(|b| *b == b';').for_each(|pair| visit(pair.trim_ascii()));
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

/// Writes one `Set-Cookie` value; `expires` is a date as HTTP has it.
#[inline]
pub(crate) fn write(
    texts: &mut Texts,
    text: Text,
    name: &str,
    value: &[u8],
    expires: &[u8],
    same_site: SameSite,
) -> Result<(), Full> {
    texts.begin(text);
    texts.push(name.as_bytes())?;
    texts.push(b"=")?;
    texts.push(value)?;
    finish(texts, text, expires, same_site)
}

/// Writes what follows the value, and ends the text.
pub(crate) fn finish(texts: &mut Texts, text: Text, expires: &[u8], same_site: SameSite) -> Result<(), Full> {
    texts.push(b"; Expires=")?;
    texts.push(expires)?;
    texts.push(match same_site {
        SameSite::Absent => b"; Path=/",
        SameSite::None => b"; Path=/; SameSite=None",
        SameSite::NoneSecure => b"; Path=/; SameSite=None; Secure",
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
    use crate::decision::Output;
    use crate::request::Request;

    fn found(lines: &[(&str, &str)]) -> [Option<Cookie>; 2] {
        let request = Request::new("GET", "/", ([127, 0, 0, 1], 1).into()).headers(lines);
        scan(&request, ["AWSALB", "AWSALBCORS"])
    }

    #[test]
    fn names_are_whole_and_the_first_counts() {
        let value = "x".repeat(VALUE);
        let ours = Some(Cookie::Value([b'x'; VALUE]));
        assert_eq!(found(&[("cookie", &format!("a=1; AWSALB={value};AWSALB=no"))]), [ours, None]);
        assert_eq!(found(&[("Cookie", "a=1"), ("Cookie", &format!("AWSALBCORS={value}"))]), [None, ours]);
        assert_eq!(found(&[("cookie", "AWSALB=short")]), [Some(Cookie::Other), None]);
        assert_eq!(found(&[("cookie", "XAWSALB=1; awsalb=1; AWSALB")]), [None, None]);
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
        let mut output = Output::new();
        let date = b"Tue, 27 Feb 2024 11:21:53 GMT";
        let texts = &mut output.texts;
        write(texts, Text::SetCookie, "AWSALB", b"v", date, SameSite::Absent).unwrap();
        write(texts, Text::SetCookieCors, "AWSALBCORS", b"v", date, SameSite::NoneSecure).unwrap();
        let written: Vec<&str> = output.set_cookies().collect();
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
