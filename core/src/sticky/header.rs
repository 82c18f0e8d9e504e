//! Cookies in headers: found in `Cookie` lines by hand, since a parser would allocate, and written as
//! `Set-Cookie` values in the load balancer's own shape (spec: dataplane §4.1, §4.3, §4.4).

use std::fmt::{self, Write};
use std::time::{Duration, SystemTime};

use super::seal::VALUE;
use crate::decision::{Full, Text, Texts};
use crate::request::RequestView;
use crate::time::Now;

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
    request.any_header("cookie", |line| {
        for pair in line.split(|b| *b == b';') {
            let pair = pair.trim_ascii();
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
        }
        false
    });
    found
}

/// The days that a browser keeps a cookie, whatever its own duration is.
const EXPIRES_S: u64 = 7 * 24 * 3600;

/// Writes one `Set-Cookie` value. `same_site` is the variant for requests of other sites; it is marked
/// secure where the listener is.
pub(crate) fn write(
    texts: &mut Texts,
    text: Text,
    name: &str,
    value: &[u8],
    now: Now,
    expires_s: Option<u32>,
    same_site: Option<bool>,
) -> Result<(), Full> {
    texts.begin(text);
    texts.push(name.as_bytes())?;
    texts.push(b"=")?;
    texts.push(value)?;
    texts.push(b"; Expires=")?;
    let at = now.unix_s.saturating_add(expires_s.map_or(EXPIRES_S, u64::from));
    // The last second of the year 9999: what an HTTP date can say.
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at.min(253_402_300_799));
    write!(Writer(texts), "{}", httpdate::HttpDate::from(at)).map_err(|_| Full)?;
    texts.push(b"; Path=/")?;
    match same_site {
        None => {}
        Some(false) => texts.push(b"; SameSite=None")?,
        Some(true) => texts.push(b"; SameSite=None; Secure")?,
    }
    texts.end(text);
    Ok(())
}

struct Writer<'a>(&'a mut Texts);

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.0.push(s.as_bytes()).map_err(|Full| fmt::Error)
    }
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
    fn the_cookie_crate_reads_what_is_written() {
        let mut output = Output::new();
        let now = Now { mono_ms: 0, unix_s: 1_708_428_113 };
        write(&mut output.texts, Text::SetCookie, "AWSALB", b"v", now, None, None).unwrap();
        write(&mut output.texts, Text::SetCookieCors, "AWSALBCORS", b"v", now, None, Some(true)).unwrap();
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
}
