use super::*;

fn checked(text: &str, mode: DesyncMode) -> Result<Checked, u16> {
    check(&Head::again(text.as_bytes()), mode).map_err(|r| r.status)
}

fn request(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

#[test]
fn each_mode_lets_pass_what_it_should() {
    use DesyncMode::{Defensive, Monitor, Strictest};
    let both = request("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n");
    let two = request("Content-Length: 10\r\nContent-Length: 20\r\n");
    let zero = "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    for (text, monitor, defensive, strictest) in [
        (both.as_str(), None, None, Some(400)),
        (&two, None, Some(400), Some(400)),
        (zero, None, None, Some(400)),
        (&request("Content-Length: 3\r\n"), None, None, None),
    ] {
        assert_eq!(checked(text, Monitor).err(), monitor, "{text}");
        assert_eq!(checked(text, Defensive).err(), defensive, "{text}");
        assert_eq!(checked(text, Strictest).err(), strictest, "{text}");
    }
    let both = checked(&both, Defensive).unwrap();
    assert_eq!(both.framing, Framing::Chunked);
    assert!(both.ends_connections(Defensive) && !both.ends_connections(Monitor));
    assert_eq!(checked(&two, Monitor).unwrap().framing, Framing::Length(10));
}

#[test]
fn codings_we_do_not_take_are_501() {
    for coding in ["gzip, chunked", "gzip", "deflate", "compress"] {
        let text = request(&format!("Transfer-Encoding: {coding}\r\n"));
        for mode in [DesyncMode::Monitor, DesyncMode::Defensive, DesyncMode::Strictest] {
            assert_eq!(checked(&text, mode).err(), Some(501), "{coding}");
        }
    }
    let unknown = request("Transfer-Encoding: xchunked\r\n");
    assert_eq!(checked(&unknown, DesyncMode::Defensive).err(), Some(400));
    assert_eq!(
        checked(&request("Transfer-Encoding: identity\r\n"), DesyncMode::Monitor).unwrap().framing,
        Framing::Empty
    );
}

#[test]
fn versions_and_connections() {
    let of = |text: &str| checked(text, DesyncMode::Defensive);
    assert_eq!(of("GET / HTTP/2.0\r\n\r\n"), Err(505));
    assert_eq!(of("GET / HTTX\r\n\r\n"), Err(400));
    assert!(!of("GET / HTTP/1.0\r\n\r\n").unwrap().keep_alive);
    assert!(of("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").unwrap().keep_alive);
    assert!(of("GET / HTTP/1.1\r\n\r\n").unwrap().keep_alive);
    assert!(!of("GET / HTTP/1.1\r\nConnection: x, close\r\n\r\n").unwrap().keep_alive);
    assert_eq!(of("GET /\r\n").unwrap().version, HttpVersion::V09);
    let upgrade = "GET / HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert!(of(upgrade).unwrap().websocket);
    assert!(!of("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n").unwrap().websocket);
}

#[test]
fn what_is_plain_is_compliant() {
    // Words that ordinary and hostile heads are made of, put together at random.
    let starts =
        ["GET / HTTP/1.1", "POST /a?b HTTP/1.1", "GET /\x01 HTTP/1.1", "GET /a b HTTP/1.0", "get / HTTP/1.1"];
    let names = [
        "Host",
        "Accept",
        "Content-Type",
        "Cookie",
        "Content-Length",
        "Transfer-Encoding",
        "Transfer_Encoding",
        "Content-Length ",
        "Xontent-Length",
        "TransferEncoding",
        "tranSfer-encodinG",
        "X-A\u{17f}",
        "",
        "A b",
        "ransfer-Encoding",
        "X-Content-Length",
        "X-Transfer-Encoding",
        "-Content-Length-",
        "Expect",
        "Connection",
    ];
    let values =
        ["a", "", " ", "chunked", "3", "0", "gzip, chunked", "\x01", "\u{e9}", "a\rb", "x; y=\"z\"", "\t"];
    let ends = ["\r\n", "\r\n", "\r\n", "\n"];
    let mut seed = fastrand::Rng::with_seed(7);
    let mut plain = 0;
    for _ in 0..200_000 {
        let mut text = format!("{}\r\n", seed.choice(starts).unwrap());
        for _ in 0..seed.usize(0..4) {
            let (n, v) = (seed.choice(names).unwrap(), seed.choice(values).unwrap());
            text += &format!("{n}: {v}{}", seed.choice(ends).unwrap());
        }
        text += seed.choice(ends).unwrap();
        let head = Head::again(text.as_bytes());
        if is_plain(&head) {
            plain += 1;
            let found = HttpRequestData::analyze_raw_request(text.as_bytes());
            assert_eq!(found.tier, RequestSafetyTier::Compliant, "{text:?}: {:?}", found.reason);
        }
    }
    assert!(plain > 1000, "{plain}");
}
