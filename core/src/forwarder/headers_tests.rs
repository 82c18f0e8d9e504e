use super::*;
use crate::model::Protocol;

fn arrival(settings: &ListenerSettings) -> Arrival<'_> {
    Arrival {
        settings,
        peer: "192.0.2.7:40000".parse().unwrap(),
        bound_port: settings.port,
        version: Version::HTTP_11,
        authority: None,
        rewritten_host: None,
        unix_s: 0x5e_00_00_01,
        entropy: (1 << 32 | 2) << 32,
    }
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
    }
    map
}

fn sent(settings: &ListenerSettings, lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = headers(lines);
    to_target(&mut map, &arrival(settings)).unwrap();
    map
}

#[test]
fn the_client_is_told_to_the_target() {
    let settings = ListenerSettings { port: 443, protocol: Protocol::Https, ..ListenerSettings::default() };
    let map = sent(&settings, &[("host", "a"), ("x-forwarded-proto", "gopher"), ("x-forwarded-port", "1")]);
    assert_eq!(map["x-forwarded-for"], "192.0.2.7");
    assert_eq!(map["x-forwarded-proto"], "https");
    assert_eq!(map["x-forwarded-port"], "443");
    assert_eq!(map["x-amzn-trace-id"], "Root=1-5e000001-000000000000000100000002");
}

#[test]
fn forwarded_for_is_appended_kept_or_removed() {
    let mut settings = ListenerSettings::default();
    let lines = [("host", "a"), ("x-forwarded-for", "10.0.0.1"), ("x-forwarded-for", "10.0.0.2")];
    assert_eq!(sent(&settings, &lines)["x-forwarded-for"], "10.0.0.1, 10.0.0.2, 192.0.2.7");
    settings.xff_client_port = true;
    assert_eq!(sent(&settings, &lines)["x-forwarded-for"], "10.0.0.1, 10.0.0.2, 192.0.2.7:40000");
    settings.xff = XffMode::Preserve;
    assert_eq!(sent(&settings, &lines).get_all("x-forwarded-for").iter().count(), 2);
    assert!(sent(&settings, &[("host", "a")]).get("x-forwarded-for").is_none());
    settings.xff = XffMode::Remove;
    assert!(sent(&settings, &lines).get("x-forwarded-for").is_none());
}

#[test]
fn more_than_thirty_addresses_are_463() {
    let settings = ListenerSettings::default();
    let list = vec!["10.0.0.1"; 31].join(", ");
    let mut map = headers(&[("host", "a"), ("x-forwarded-for", &list)]);
    assert_eq!(to_target(&mut map, &arrival(&settings)), Err(Refused(463)));
}

#[test]
fn the_host_follows_the_listener() {
    let on = |port, host: &str| {
        let settings = ListenerSettings { port, ..ListenerSettings::default() };
        sent(&settings, &[("host", host)])["host"].to_str().unwrap().to_owned()
    };
    assert_eq!(on(80, "example.com"), "example.com");
    assert_eq!(on(80, "example.com:80"), "example.com");
    assert_eq!(on(443, "example.com:443"), "example.com");
    assert_eq!(on(8080, "example.com"), "example.com:8080");
    assert_eq!(on(8080, "example.com:8080"), "example.com:8080");
    assert_eq!(on(80, "Example.COM"), "example.com");
    assert_eq!(on(80, "[::1]:80"), "[::1]");
}

#[test]
fn a_mapped_port_counts_as_the_listeners() {
    let settings = ListenerSettings { port: 443, ..ListenerSettings::default() };
    let mut map = headers(&[("host", "127.0.0.1:8443")]);
    to_target(&mut map, &Arrival { bound_port: 8443, ..arrival(&settings) }).unwrap();
    assert_eq!(map["host"], "127.0.0.1");
}

#[test]
fn preserve_host_header_preserves() {
    let settings = ListenerSettings { preserve_host: true, ..ListenerSettings::default() };
    assert_eq!(sent(&settings, &[("host", "Example.com:80")])["host"], "Example.com:80");
}

#[test]
fn a_missing_host_is_400_except_for_http_10() {
    let settings = ListenerSettings { dns_name: "lb.example".into(), ..ListenerSettings::default() };
    let mut map = HeaderMap::new();
    assert_eq!(to_target(&mut map, &arrival(&settings)), Err(Refused(400)));
    to_target(&mut map, &Arrival { version: Version::HTTP_10, ..arrival(&settings) }).unwrap();
    assert_eq!(map["host"], "lb.example");
}

#[test]
fn an_absolute_target_and_a_transform_replace_the_host() {
    let settings = ListenerSettings::default();
    let mut map = headers(&[("host", "b")]);
    to_target(&mut map, &Arrival { authority: Some("a"), ..arrival(&settings) }).unwrap();
    assert_eq!(map["host"], "a");
    to_target(&mut map, &Arrival { rewritten_host: Some("c"), ..arrival(&settings) }).unwrap();
    assert_eq!(map["host"], "c");
}

#[test]
fn hop_by_hop_fields_end_here() {
    let settings = ListenerSettings::default();
    let map = sent(
        &settings,
        &[
            ("host", "a"),
            ("connection", "keep-alive, x-mine, host"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
            ("x-kept", "1"),
        ],
    );
    for gone in ["connection", "x-mine", "te", "upgrade", "transfer-encoding", "expect"] {
        assert!(map.get(gone).is_none(), "{gone}");
    }
    assert_eq!(map["host"], "a");
    assert_eq!(map["x-kept"], "1");
}

#[test]
fn invalid_names_are_dropped_when_asked() {
    let settings = ListenerSettings { drop_invalid: true, ..ListenerSettings::default() };
    let map = sent(&settings, &[("host", "a"), ("x_under", "1"), ("x-dash", "1")]);
    assert!(map.get("x_under").is_none() && map.get("x-dash").is_some());
}

#[test]
fn trace_ids_keep_their_root() {
    let settings = ListenerSettings::default();
    let with = |value: &str| {
        sent(&settings, &[("host", "a"), ("x-amzn-trace-id", value)])["x-amzn-trace-id"]
            .to_str()
            .unwrap()
            .to_owned()
    };
    let fresh = "1-5e000001-000000000000000100000002";
    assert_eq!(with("Root=1-a-b"), format!("Self={fresh};Root=1-a-b"));
    assert_eq!(with("Self=1-x-y;Root=1-a-b;Mine=7"), format!("Self={fresh};Root=1-a-b;Mine=7"));
    assert_eq!(with("Mine=7"), format!("Root={fresh};Mine=7"));
    assert_eq!(with(&"x".repeat(8000)), format!("Root={fresh}"));
}

#[test]
fn http2_cookies_are_joined() {
    let settings = ListenerSettings::default();
    let mut map = headers(&[("host", "a"), ("cookie", "a=1"), ("cookie", "b=2")]);
    to_target(&mut map, &Arrival { version: Version::HTTP_2, ..arrival(&settings) }).unwrap();
    assert_eq!(map["cookie"], "a=1; b=2");
}
