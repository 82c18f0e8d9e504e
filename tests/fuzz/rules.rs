//! Any rules against any requests: the router decides, and explains, as a scan of the rules does, and
//! nothing panics.

use std::net::IpAddr;

use arbitrary::{Arbitrary, Unstructured};
use podway::Output;
use podway_tests::naive::{Condition, Probe, Rule, decided, explained, router, scan};

/// Text of few letters, so that patterns and requests meet often.
#[derive(Arbitrary, Debug)]
struct Text(Vec<u8>);

impl Text {
    fn of(&self, alphabet: &[u8], longest: usize) -> String {
        let letter = |byte: &u8| char::from(alphabet[usize::from(*byte) % alphabet.len()]);
        self.0.iter().take(longest).map(letter).collect()
    }
}

#[derive(Arbitrary, Debug)]
enum Kind {
    Host(Vec<Text>),
    HostRegex(Vec<Text>),
    Path(Vec<Text>),
    PathRegex(Vec<Text>),
    Header(bool, Vec<Text>),
    HeaderRegex(bool, Vec<Text>),
    Method(Vec<bool>),
    Query(Vec<(Option<Text>, Text)>),
    SourceIp(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
struct Asked {
    method: u8,
    path: Text,
    query: Option<Text>,
    host: Option<Text>,
    port: bool,
    headers: Vec<(bool, Text)>,
    peer: u8,
}

#[derive(Arbitrary, Debug)]
struct Input {
    rules: Vec<(u16, Vec<Kind>)>,
    asked: Vec<Asked>,
}

const NAMES: [&str; 2] = ["x-a", "X-B"];
const METHODS: [&str; 3] = ["GET", "POST", "get"];
const BLOCKS: [&str; 4] = ["10.0.0.0/8", "192.0.2.0/25", "2001:db8::/32", "0.0.0.0/0"];
const PEERS: [&str; 5] = ["10.1.2.3", "192.0.2.1", "192.0.2.200", "2001:db8::5", "::ffff:10.0.0.1"];

fn globs(texts: &[Text], alphabet: &[u8]) -> Vec<String> {
    texts.iter().take(4).map(|t| t.of(alphabet, 12)).collect()
}

/// Those of the expressions that are some.
fn regexes(texts: &[Text]) -> Vec<String> {
    let alphabet = b"^ab/.*+?()|$[]{12}:i";
    let is_one = |text: &String| regex::bytes::RegexBuilder::new(text).unicode(false).build().is_ok();
    texts.iter().take(3).map(|t| t.of(alphabet, 12)).filter(is_one).collect()
}

fn condition(kind: &Kind) -> Condition {
    let name = |second: &bool| NAMES[usize::from(*second)].to_owned();
    match kind {
        Kind::Host(texts) => Condition::Host(globs(texts, b"abAB.*?")),
        Kind::HostRegex(texts) => Condition::HostRegex(regexes(texts)),
        Kind::Path(texts) => Condition::Path(globs(texts, b"/ab.*?/")),
        Kind::PathRegex(texts) => Condition::PathRegex(regexes(texts)),
        Kind::Header(second, texts) => Condition::Header(name(second), globs(texts, b"abA*? ")),
        Kind::HeaderRegex(second, texts) => Condition::HeaderRegex(name(second), regexes(texts)),
        Kind::Method(posts) => {
            Condition::Method(posts.iter().take(2).map(|p| METHODS[usize::from(*p)].to_owned()).collect())
        }
        Kind::Query(pairs) => {
            let text = |t: &Text| t.of(b"abA*?\\=", 6);
            Condition::Query(pairs.iter().take(3).map(|(k, v)| (k.as_ref().map(text), text(v))).collect())
        }
        Kind::SourceIp(blocks) => {
            let block = |n: &u8| BLOCKS[usize::from(*n) % BLOCKS.len()].to_owned();
            Condition::SourceIp(blocks.iter().take(3).map(block).collect())
        }
    }
}

fn probe(asked: &Asked) -> Probe {
    let path = format!("/{}", asked.path.of(b"/ab.%2eEfF/", 24));
    let query = asked.query.as_ref().map(|q| format!("?{}", q.of(b"abA=&*?", 12))).unwrap_or_default();
    let port = if asked.port { ":8443" } else { "" };
    let peer: IpAddr = PEERS[usize::from(asked.peer) % PEERS.len()].parse().expect("an address");
    let header =
        |(second, text): &(bool, Text)| (NAMES[usize::from(*second)].to_owned(), text.of(b"abA ", 8));
    Probe {
        method: METHODS[usize::from(asked.method) % METHODS.len()].to_owned(),
        target: format!("{path}{query}"),
        host: asked.host.as_ref().map(|h| format!("{}{port}", h.of(b"abAB.", 12))),
        headers: asked.headers.iter().take(4).map(header).collect(),
        peer,
    }
}

/// Rules and requests, spelt out of `data`.
pub(super) fn run(data: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let mut rules: Vec<Rule> = Vec::new();
    for (priority, kinds) in input.rules.iter().take(24) {
        let priority = u32::from(*priority) + 1;
        if !kinds.is_empty() && rules.iter().all(|(taken, _)| *taken != priority) {
            rules.push((priority, kinds.iter().take(4).map(condition).collect()));
        }
    }
    let (router, mut output) = (router(&rules), Output::new());
    for probe in input.asked.iter().take(16).map(probe) {
        let expected = scan(&rules, &probe);
        assert_eq!(decided(&router, &probe, &mut output), expected, "{probe:?} among {rules:?}");
        if !rules.is_empty() {
            assert_eq!(explained(&router, &probe, &mut output), expected, "{probe:?} among {rules:?}");
        }
    }
}
