//! The fuzz targets on stable Rust: their bodies over the committed seeds, and the files of the fuzz crate
//! against each other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::select;

#[allow(unreachable_pub)] // a library of its own in the fuzz crate
#[path = "fuzz/bodies.rs"]
mod bodies;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

#[test]
fn no_seed_breaks_its_target() {
    for (name, body) in bodies::TARGETS {
        let mut seeds: Vec<PathBuf> = std::fs::read_dir(fuzz().join("seeds").join(name))
            .expect("a folder of seeds")
            .map(|e| e.expect("an entry").path())
            .collect();
        seeds.sort();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in &seeds {
            let data = std::fs::read(seed).expect("a seed");
            let outcome = std::panic::catch_unwind(|| body(&data));
            assert!(outcome.is_ok(), "{} breaks {name}", seed.display());
        }
        println!("fuzz {name}: {} seeds", seeds.len());
    }
}

/// What requests that want to be more than one are made of.
const WORDS: [&[u8]; 24] = [
    b"GET / HTTP/1.1\r\n",
    b"POST /a HTTP/1.1\r\n",
    b"GET http://b/c HTTP/1.1\r\n",
    b"HEAD / HTTP/1.0\r\n",
    b"GET /simple\r\n",
    b"Host: a\r\n",
    b"Host: a\n",
    b"Host:\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length : 40\r\n",
    b"content-length: +5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding:\tchunked\r\n",
    b"transfer-encoding: identity, chunked\r\n",
    b" Transfer-Encoding: chunked\r\n",
    b"Connection: content-length, x-amzn-trace-id\r\n",
    b"X-Forwarded-For: 10.0.0.1\r\n",
    b"X: a\rContent-Length: 3\r\n",
    b"\r\n",
    b"\n",
    b"hello",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
];

/// A request line, some header lines, and an end or what follows one.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let lines = proptest::collection::vec(select(&WORDS[5..]), 0..6);
    let one = (select(&WORDS[..5]), lines, select(&WORDS[19..])).prop_map(|(first, lines, last)| {
        let mut all = first.to_vec();
        all.extend(lines.concat());
        all.extend_from_slice(last);
        all
    });
    proptest::collection::vec(one, 1..4).prop_map(|all| all.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_gets_to_a_target_inside_another_request(data in hostile()) {
        bodies::requests_to_be_read(&data);
    }
}

#[test]
fn a_target_is_everywhere_it_has_to_be() {
    let names: BTreeSet<String> = bodies::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let stems = |folder: &str| -> BTreeSet<String> {
        std::fs::read_dir(fuzz().join(folder))
            .expect("a folder")
            .map(|e| e.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned())
            .collect()
    };
    assert_eq!(stems("targets"), names);
    assert_eq!(stems("seeds"), names);
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).expect("the fuzz crate's manifest");
    let bins: BTreeSet<String> = manifest
        .split("[[bin]]")
        .skip(1)
        .filter_map(|bin| bin.split_once("name = \"")?.1.split('"').next().map(str::to_owned))
        .collect();
    assert_eq!(bins, names);
}
