//! What attributes of a listener do to header fields (spec: dataplane §6.5, §6.6).

use podway::forwarder::{ClientAuth, TlsConfig, TlsOptions};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::{Setup, answers, echo, read_answer};
use crate::tls::{Authority, connect, https};

const INSERTED: [(&str, &str, &str); 10] = [
    (
        "strict-transport-security",
        "routing.http.response.strict_transport_security.header_value",
        "max-age=1",
    ),
    ("access-control-allow-origin", "routing.http.response.access_control_allow_origin.header_value", "*"),
    (
        "access-control-allow-methods",
        "routing.http.response.access_control_allow_methods.header_value",
        "GET",
    ),
    (
        "access-control-allow-headers",
        "routing.http.response.access_control_allow_headers.header_value",
        "x-a",
    ),
    (
        "access-control-allow-credentials",
        "routing.http.response.access_control_allow_credentials.header_value",
        "true",
    ),
    (
        "access-control-expose-headers",
        "routing.http.response.access_control_expose_headers.header_value",
        "x-b",
    ),
    ("access-control-max-age", "routing.http.response.access_control_max_age.header_value", "60"),
    (
        "content-security-policy",
        "routing.http.response.content_security_policy.header_value",
        "default-src *",
    ),
    ("x-content-type-options", "routing.http.response.x_content_type_options.header_value", "nosniff"),
    ("x-frame-options", "routing.http.response.x_frame_options.header_value", "DENY"),
];

#[tokio::test]
async fn all_ten_headers_are_inserted_into_every_answer() {
    let own: String =
        INSERTED.iter().map(|(name, _, _)| format!("{}: own\r\n", name.to_uppercase())).collect();
    let target = answers(format!("HTTP/1.1 200 OK\r\n{own}Content-Length: 0\r\n\r\n")).await;
    let redirect = json!([{"Type": "redirect", "RedirectConfig":
        {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}}]);
    let rules = json!([{"Priority": "1",
        "Conditions": [{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/away"]}}], "Actions": redirect}]);
    let setup = Setup { rules, ..Setup::new(&[target]) };
    let off = setup.start().await;
    let setup = INSERTED.iter().fold(setup, |setup, (_, key, value)| setup.on_listener(key, value));
    let on = setup.start().await;
    for (name, _, value) in INSERTED {
        assert_eq!(off.get("/").await.header(name), Some("own"), "{name}");
        assert_eq!(off.get("/away").await.header(name), None, "{name}");
        for path in ["/", "/away"] {
            let answer = on.get(path).await;
            assert_eq!(answer.header(name), Some(value), "{path}");
            assert_eq!(answer.head.to_lowercase().matches(&format!("\n{name}:")).count(), 1, "{path} {name}");
        }
    }
}

#[tokio::test]
async fn the_targets_own_server_stays() {
    for (enabled, own) in [("true", Some("awselb/2.0")), ("false", None)] {
        let setup = Setup::new(&[echo().await]).on_listener("routing.http.response.server.enabled", enabled);
        let lb = setup.start().await;
        assert_eq!(lb.get("/").await.header("server"), Some("echo"));
        assert_eq!(lb.ask("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n").await.header("server"), own);
    }
}

#[tokio::test]
async fn each_header_about_tls_can_have_another_name() {
    let authority = Authority::new();
    let verify = ClientAuth::Verify { trust_store: authority.pem(), ignore_expiry: false };
    let options = TlsOptions { client_auth: verify, ..TlsOptions::default() };
    let tls = TlsConfig::with_options(&[authority.issue("a.example.com")], &options).unwrap();
    let names = [
        ("X-Amzn-Tls-Version", "routing.http.request.x_amzn_tls_version.header_name", "X-1", "TLSv1."),
        (
            "X-Amzn-Tls-Cipher-Suite",
            "routing.http.request.x_amzn_tls_cipher_suite.header_name",
            "X-2",
            "TLS_",
        ),
        (
            "X-Amzn-Mtls-Clientcert-Serial-Number",
            "routing.http.request.x_amzn_mtls_clientcert_serial_number.header_name",
            "X-3",
            "",
        ),
        (
            "X-Amzn-Mtls-Clientcert-Issuer",
            "routing.http.request.x_amzn_mtls_clientcert_issuer.header_name",
            "X-4",
            "CN=",
        ),
        (
            "X-Amzn-Mtls-Clientcert-Subject",
            "routing.http.request.x_amzn_mtls_clientcert_subject.header_name",
            "X-5",
            "CN=",
        ),
        (
            "X-Amzn-Mtls-Clientcert-Validity",
            "routing.http.request.x_amzn_mtls_clientcert_validity.header_name",
            "X-6",
            "NotBefore=",
        ),
        (
            "X-Amzn-Mtls-Clientcert-Leaf",
            "routing.http.request.x_amzn_mtls_clientcert_leaf.header_name",
            "X-7",
            "-----BEGIN",
        ),
    ];
    let setup = Setup { mutual: Some(json!({"Mode": "verify"})), ..https(echo().await) }
        .with("routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "true");
    let renamed = names.iter().fold(setup.clone(), |setup, (_, key, name, _)| setup.on_listener(key, name));
    for (setup, new) in [(setup, false), (renamed, true)] {
        let lb = setup.start_with(Some(tls.clone()), |b| b).await;
        let client = authority.issue("client.example.com");
        let mut stream = connect(&lb, &authority, "a.example.com", Some(&client), &[]).await.unwrap();
        let forged: String = names
            .iter()
            .map(|(name, _, other, _)| format!("{name}: forged\r\n{other}: forged\r\n"))
            .collect();
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: a\r\n{forged}\r\n").as_bytes()).await.unwrap();
        let seen = read_answer(&mut stream, false).await.body;
        for (name, _, other, value) in names {
            let (is, is_not) = if new { (other, name) } else { (name, other) };
            assert!(seen.contains(&format!("\r\n{is}: {value}")), "{is}: {seen}");
            assert_eq!(seen.matches(&format!("\r\n{is}: ")).count(), 1, "{is}: {seen}");
            // A name that means nothing here is the client's to use.
            assert_eq!(seen.contains(&format!("\r\n{is_not}: forged")), !new, "{is_not}: {seen}");
        }
        let serial = seen.lines().find_map(|l| {
            l.strip_prefix(if new { "X-3: " } else { "X-Amzn-Mtls-Clientcert-Serial-Number: " })
        });
        let serial = serial.unwrap();
        assert!(serial.len() % 2 == 0 && !serial.starts_with("00"), "{serial}");
        assert!(serial.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)), "{serial}");
    }
}
