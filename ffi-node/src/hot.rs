//! The verbs that are called per request. Flat arguments go in; what was decided comes back as numbers in
//! a Uint32Array that `index.js` and this file share, so that no object has to cross.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::ops::Range;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use napi::sys;
use napi_derive::napi;
use podway::model::Priority;
use podway::{
    Decision, Forward, GroupId, ListenerId, Now, Outcome, Output, Request, Stickiness, TargetId, Verdict,
};
use smallvec::SmallVec;

use crate::clock::{moment, now};
use crate::raw::{Call, Native, Numbers, Refusal, Scratch, argument, function};

/// A router, and how often it was reloaded: one for all threads that share it.
pub(crate) struct Shared {
    pub(crate) router: podway::Router,
    /// Counts the beginnings and the ends of reloads: odd while one is under way.
    pub(crate) epoch: AtomicU32,
    /// Held while a model is exchanged: one after the other, so that `epoch` says what it says.
    pub(crate) reloading: Mutex<()>,
}

/// What the functions of one router on one thread work with.
pub(crate) struct Hot {
    shared: Arc<Shared>,
    state: RefCell<State>,
    /// Where `decide` writes.
    numbers: Numbers<NUMBERS>,
}

struct State {
    scratch: Scratch,
    output: Output,
}

/// How many numbers a decision is.
pub(crate) const NUMBERS: usize = 7;

impl Hot {
    pub(crate) fn new(shared: Arc<Shared>, numbers: Numbers<NUMBERS>) -> Rc<Self> {
        let state = State { scratch: Scratch::new(), output: Output::new() };
        Rc::new(Hot { shared, state: RefCell::new(state), numbers })
    }
}

/// The functions, by name.
pub(crate) fn functions(
    env: sys::napi_env,
    hot: &Rc<Hot>,
) -> napi::Result<[(&'static str, sys::napi_value); 6]> {
    Ok([
        ("decide", function::<Hot, Decide, 9>(env, "decide", hot)?),
        ("decideMany", function::<Hot, DecideMany, 5>(env, "decideMany", hot)?),
        ("retry", function::<Hot, Retry, 13>(env, "retry", hot)?),
        ("texts", function::<Hot, Texts, 0>(env, "texts", hot)?),
        ("report", function::<Hot, Report, 8>(env, "report", hot)?),
        ("appCookie", function::<Hot, AppCookie, 9>(env, "appCookie", hot)?),
    ])
}

/// `decide(listener, method, target, host?, headers?, peer?, monoMs?, unixS?, entropy?)`;
/// `headers` is flat: name, value, name, value.
struct Decide;

impl Native<Hot, 9> for Decide {
    const BODY: fn(&Hot, &Call<9>) -> Result<sys::napi_value, Refusal> = |hot, call| {
        let Ok(mut state) = hot.state.try_borrow_mut() else { return Err(busy()) };
        let State { scratch, output } = &mut *state;
        asked(call, scratch, |listener, request, now, entropy| {
            let decision = hot.shared.router.decide(listener, request, now, entropy, output);
            // Read afterwards: with the number that the arguments were made for, no reload had begun before.
            let epoch = hot.shared.epoch.load(Ordering::Acquire);
            hot.numbers.write(&numbers(&decision, output, epoch));
        })?;
        Ok(ptr::null_mut())
    };
}

/// `retry(…as decide, flags, targetLow, targetHigh, group)`: the last four are of the decision that failed.
struct Retry;

impl Native<Hot, 13> for Retry {
    const BODY: fn(&Hot, &Call<13>) -> Result<sys::napi_value, Refusal> = |hot, call| {
        let Ok(mut state) = hot.state.try_borrow_mut() else { return Err(busy()) };
        let State { scratch, output } = &mut *state;
        let failed = forward(call, 9)?;
        asked(call, scratch, |listener, request, now, entropy| {
            let retried = failed
                .as_ref()
                .and_then(|failed| hot.shared.router.retry(listener, request, failed, now, entropy, output));
            let epoch = hot.shared.epoch.load(Ordering::Acquire);
            let mut none = [0; NUMBERS];
            none[0] = NO_DECISION;
            none[NUMBERS - 1] = epoch;
            hot.numbers.write(&retried.map_or(none, |decision| numbers(&decision, output, epoch)));
        })?;
        Ok(ptr::null_mut())
    };
}

/// Lets `work` see the first nine arguments of a call as what they are.
#[inline]
fn asked<const N: usize>(
    call: &Call<N>,
    scratch: &mut Scratch,
    work: impl FnOnce(ListenerId, &Request<'_>, Now, u64),
) -> Result<(), Refusal> {
    scratch.clear();
    let listener =
        ListenerId::from_u32(call.u32(0, "listener must be a whole number: what `listener` gives")?);
    let method = call.text(1, scratch, "method must be a string or a Uint8Array")?;
    let target = call.text(2, scratch, "target must be a string or a Uint8Array")?;
    let given = |index: usize| call.count > index && !call.is_missing(index);
    let host = match call.text(3, scratch, "host must be a string or a Uint8Array") {
        Err(_) if call.is_missing(3) => None,
        host => Some(host?),
    };
    let mut parts: SmallVec<[Range<usize>; 16]> = SmallVec::new();
    if given(4) {
        let refusal = "headers must be strings or Uint8Arrays";
        call.texts(4, scratch, refusal, |part| parts.push(part))?;
    }
    let peer = match given(5) {
        true => {
            let text = call.text(5, scratch, "peer must be a string: address:port")?;
            peer(scratch.get(&text))?
        }
        false => SocketAddr::from(([127, 0, 0, 1], 0)),
    };
    let now = match given(6) {
        true => moment(call.f64(6, "monoMs must be a number")?, call.f64(7, "unixS must be a number")?),
        false => now(),
    };
    let entropy = match given(8) {
        true => call.u64(8, "entropy must be a BigInt")?,
        false => fastrand::u64(..),
    };
    let (pairs, _) = parts.as_chunks::<2>();
    let lines: SmallVec<[(&[u8], &[u8]); 16]> =
        pairs.iter().map(|[name, value]| (scratch.get(name), scratch.get(value))).collect();
    let mut request = Request::new(scratch.get(&method), scratch.get(&target), peer).header_bytes(&lines);
    let name;
    if let Some(host) = &host {
        name = scratch.get(host);
        request = request.host(name);
    }
    work(listener, &request, now, entropy);
    Ok(())
}

/// `decideMany(numbers, listener, text, lengths, first)`: `text` is method, target and host of one request
/// after the other, `lengths` the length of each, with 2³²−1 for GET and for a host that is not given. Stops after a
/// decision that has text of its own. Gives back nothing; `numbers[0]` is where it stopped, or 2³²−1 where
/// the text is not ASCII, and the decisions follow.
struct DecideMany;

const NONE: u32 = u32::MAX;

impl Native<Hot, 5> for DecideMany {
    const BODY: fn(&Hot, &Call<5>) -> Result<sys::napi_value, Refusal> = |hot, call| {
        let Ok(mut state) = hot.state.try_borrow_mut() else { return Err(busy()) };
        let State { scratch, output } = &mut *state;
        scratch.clear();
        let listener =
            ListenerId::from_u32(call.u32(1, "listener must be a whole number: what `listener` gives")?);
        let refusal = "lengths must be a Uint32Array";
        let whole: u64 = call.numbers(3, refusal, |lengths| {
            lengths.iter().filter(|n| **n != NONE).map(|n| u64::from(*n)).sum()
        })?;
        scratch.make_room(whole);
        let text = call.text(2, scratch, "requests must be of strings")?;
        let first = call.u32(4, "first must be a number")? as usize;
        let (now, peer) = (now(), SocketAddr::from(([127, 0, 0, 1], 0)));
        let text = scratch.get(&text);
        let mut chance = fastrand::Rng::new();
        call.numbers(3, refusal, |lengths| {
            let (requests, _) = lengths.as_chunks::<3>();
            call.numbers(0, "numbers must be a Uint32Array", |out| {
                let Some((stopped, out)) = out.split_first_mut() else { return };
                if whole != text.len() as u64 {
                    *stopped = NONE;
                    return;
                }
                let mut rest = text;
                let mut take = |length: u32| {
                    let (part, behind) = rest.split_at_checked(length as usize).unwrap_or_default();
                    rest = behind;
                    part
                };
                let (slots, _) = out.as_chunks_mut::<NUMBERS>();
                *stopped = requests.len() as u32;
                for (index, ([method, target, host], slot)) in requests.iter().zip(slots).enumerate() {
                    let method = if *method == NONE { b"GET".as_slice() } else { take(*method) };
                    let target = take(*target);
                    let host = (*host != NONE).then(|| take(*host));
                    if index < first {
                        continue;
                    }
                    let mut request = Request::new(method, target, peer);
                    if let Some(host) = host {
                        request = request.host(host);
                    }
                    let entropy = chance.u64(..);
                    let decision = hot.shared.router.decide(listener, &request, now, entropy, output);
                    *slot = numbers(&decision, output, hot.shared.epoch.load(Ordering::Acquire));
                    if !output.is_empty() {
                        *stopped = index as u32 + 1;
                        break;
                    }
                }
            })
        })??;
        Ok(ptr::null_mut())
    };
}

/// `texts()`: those of the last decision: location, body, content type, uri, host, then the cookies.
struct Texts;

impl Native<Hot, 0> for Texts {
    const BODY: fn(&Hot, &Call<0>) -> Result<sys::napi_value, Refusal> = |hot, call| {
        let Ok(state) = hot.state.try_borrow() else { return Err(busy()) };
        let output = &state.output;
        let first = [
            output.location().map(str::as_bytes),
            output.body(),
            output.content_type().map(str::as_bytes),
            output.uri().map(str::as_bytes),
            output.host().map(str::as_bytes),
        ];
        Ok(call.give_texts(first.into_iter().chain(output.set_cookies().map(|c| Some(c.as_bytes())))))
    };
}

/// `report(flags, targetLow, targetHigh, group, outcome, status, monoMs?, unixS?)`.
struct Report;

impl Native<Hot, 8> for Report {
    const BODY: fn(&Hot, &Call<8>) -> Result<sys::napi_value, Refusal> = |hot, call| {
        let Some(decision) = forward(call, 0)? else { return Ok(ptr::null_mut()) };
        let status = u16::try_from(call.u32(5, "status must be a whole number")?)
            .map_err(|_| argument("status must not be above 65535".to_owned()))?;
        let outcome = match call.u32(4, "outcome must be a number")? {
            0 => Outcome::Response(status),
            1 => Outcome::ConnectFailed,
            2 => Outcome::TimedOut,
            3 => Outcome::Closed,
            4 => Outcome::Cancelled,
            number => return Err(argument(format!("there is no outcome {number}"))),
        };
        let now = match call.count > 6 {
            true => moment(call.f64(6, "monoMs must be a number")?, call.f64(7, "unixS must be a number")?),
            false => now(),
        };
        hot.shared.router.report(&decision, outcome, now);
        Ok(ptr::null_mut())
    };
}

/// `appCookie(flags, targetLow, targetHigh, group, headers, names, monoMs, unixS, entropy?)`: afterwards
/// `texts` has the cookies. `headers` is flat.
struct AppCookie;

impl Native<Hot, 9> for AppCookie {
    const BODY: fn(&Hot, &Call<9>) -> Result<sys::napi_value, Refusal> = |hot, call| {
        let Ok(mut state) = hot.state.try_borrow_mut() else { return Err(busy()) };
        let State { scratch, output } = &mut *state;
        output.clear();
        scratch.clear();
        let Some(decision) = forward(call, 0)? else { return Ok(ptr::null_mut()) };
        let mut parts: SmallVec<[Range<usize>; 32]> = SmallVec::new();
        call.texts(4, scratch, "headers must be strings or Uint8Arrays", |part| parts.push(part))?;
        let mut names: SmallVec<[Range<usize>; 8]> = SmallVec::new();
        call.texts(5, scratch, "cookie names must be strings", |name| names.push(name))?;
        let now = moment(call.f64(6, "monoMs must be a number")?, call.f64(7, "unixS must be a number")?);
        let entropy = match call.count > 8 && !call.is_missing(8) {
            true => call.u64(8, "entropy must be a BigInt")?,
            false => fastrand::u64(..),
        };
        let (pairs, _) = parts.as_chunks::<2>();
        let lines: SmallVec<[(&[u8], &[u8]); 16]> =
            pairs.iter().map(|[name, value]| (scratch.get(name), scratch.get(value))).collect();
        let request = Request::new("", "", SocketAddr::from(([0, 0, 0, 0], 0))).header_bytes(&lines);
        let sets = |name: &str| names.iter().any(|n| scratch.get(n) == name.as_bytes());
        hot.shared.router.app_cookie(&decision, &request, sets, now, entropy, output);
        Ok(ptr::null_mut())
    };
}

fn busy() -> Refusal {
    argument("a decision is already being made on this thread".to_owned())
}

fn peer(text: &[u8]) -> Result<SocketAddr, Refusal> {
    let text = String::from_utf8_lossy(text);
    text.parse().map_err(|_| argument(format!("peer `{text}` is not an address with a port")))
}

/// A decision as numbers: `decision.js` tells the places and the bits.
#[inline]
fn numbers(decision: &Decision, output: &Output, epoch: u32) -> [u32; NUMBERS] {
    let (matched, priority) = match decision.priority {
        None => (0, 0),
        Some(Priority::Rule(number)) => (1, number),
        Some(Priority::Default) => (2, 0),
    };
    let (kind, [low, high, group]) = match decision.verdict {
        Verdict::Forward(forward) => {
            let target = forward.target.as_u64();
            let kind = u32::from(forward.fail_open) << 4 | stickiness_word(forward.stickiness) << STICKINESS;
            (kind, [target as u32, (target >> 32) as u32, forward.group.as_u32()])
        }
        Verdict::Redirect { status } => (1, [status.into(), 0, 0]),
        Verdict::FixedResponse { status } => (2, [status.into(), 0, 0]),
        Verdict::Error { status, reason } => (3 | word(reason.as_str()) << REASON, [status.into(), 0, 0]),
    };
    let authenticate = decision.authenticate.map_or(NO_WORD, |a| word(a.as_str())) << AUTHENTICATE;
    [kind | matched << 2 | authenticate, priority, low, high, group, u32::from(!output.is_empty()), epoch]
}

/// Where the words stand in the flags, six bits each: there are some thirty in all.
const REASON: u32 = 5;
const STICKINESS: u32 = 11;
const AUTHENTICATE: u32 = 17;
const WORD: u32 = 63;

/// No word.
const NO_WORD: u32 = 0;

/// In the place of a decision's flags: there is none.
const NO_DECISION: u32 = 1 << 31;

thread_local! {
    /// The words that decisions of this thread were told with, by number; the first stands for none.
    static WORDS: RefCell<Vec<&'static str>> = RefCell::new(vec!["", "off", "new", "kept"]);
}

/// The number of the word for a stickiness; `WORDS` begins with those that most decisions are told with.
#[inline]
fn stickiness_word(stickiness: Stickiness) -> u32 {
    match stickiness {
        Stickiness::Off => 1,
        Stickiness::New => 2,
        Stickiness::Kept => 3,
        broken => word(broken.as_str()),
    }
}

/// The number of a word. `index.js` asks for the list when it meets a number that it does not know.
fn word(text: &'static str) -> u32 {
    WORDS.with_borrow_mut(|words| {
        let known = words.iter().position(|word| ptr::eq(*word, text) || *word == text);
        let number = known.unwrap_or_else(|| {
            words.push(text);
            words.len() - 1
        });
        number as u32 & WORD
    })
}

/// The words that stand behind numbers of this thread's decisions.
#[napi]
pub fn words() -> Vec<&'static str> {
    WORDS.with_borrow(Clone::clone)
}

/// The forward that four arguments from `first` on were made of; `None` for another decision.
fn forward<const N: usize>(call: &Call<N>, first: usize) -> Result<Option<Decision>, Refusal> {
    let refusal = "this is not a decision of this router";
    let flags = call.u32(first, refusal)?;
    if flags & 3 != 0 {
        return Ok(None);
    }
    let (low, high) = (call.u32(first + 1, refusal)?, call.u32(first + 2, refusal)?);
    let name = WORDS
        .with_borrow(|words| words.get((flags >> STICKINESS & WORD) as usize).copied())
        .unwrap_or_default();
    Ok(Some(Decision {
        priority: None,
        authenticate: None,
        verdict: Verdict::Forward(Forward {
            group: GroupId::from_u32(call.u32(first + 3, refusal)?),
            target: TargetId::from_u64(u64::from(high) << 32 | u64::from(low)),
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            fail_open: flags & 1 << 4 != 0,
            stickiness: Stickiness::from_name(name).unwrap_or(Stickiness::New),
        }),
    }))
}
