//! The sealed value of a cookie: a deterministic authenticated encryption, the SIV construction
//! (Rogaway and Shrimpton 2006; RFC 5297 is the same for messages of any length). A ticket is packed into
//! exactly one AES block `P`, and for one block of fixed length CBC-MAC is the block cipher itself, so that
//!
//! ```text
//! tag = AES(K1, P)          authenticates, 128 bits, and is the synthetic IV
//! C   = P xor AES(K2, tag)  hides
//! value = base64(version, key id, tag, C)
//! ```
//!
//! There is no nonce, so entropy that repeats breaks nothing: equal tickets look equal, and a salt inside
//! them only keeps that from happening often. Any changed bit of tag or `C` gives another `P` or another
//! tag; the version is inside `P` too, and a changed key id is another key.
//!
//! Why not a crate's AEAD: the budget of a whole sticky decision is one and a half times what ring takes to
//! open and seal 48 bytes with AES-128-GCM (measured 0.2 µs on the machine the benches are from). In one run
//! there, open and seal took: `aes-siv` 0.7 0.65 µs, `aes-siv` 0.8 2.3 µs (both make CTR's key schedule
//! anew each time), `aes-gcm-siv` 0.11 0.78 µs (it derives keys per nonce), SipHash-2-4-128 in the same
//! construction 0.27 µs, one AES block 25 ns, of which this needs four. ring itself needs nonces that never
//! repeat and a C compiler. The block cipher stays a crate's (`aes` 0.8: constant-time, AES-NI where there is;
//! 0.9 takes three times as long a block where the processor has AVX-512). So does base64 (`base64-simd`,
//! half the time of tables at this length).

use std::fmt;

use aes::Aes128;
use aes::cipher::{Block, BlockEncrypt, KeyInit};
use base64_simd::{AsOut, STANDARD_NO_PAD as BASE64};

use crate::decision::Unsticky;
use crate::error::{Code, Diagnostic, Error};
use crate::time::Now;

/// What a cookie says once it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) kind: Kind,
    /// The fingerprint of the group (kind `Group`) or of the target.
    pub(crate) name: u64,
    /// Which group the target is in, as [`group_tag`]; of a group cookie 0.
    pub(crate) group: u32,
    /// Unix seconds, the last one in which it is good.
    pub(crate) deadline_s: u64,
}

/// Which cookie a ticket is for: one cannot stand in for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Target = 1,
    Application = 2,
    Group = 3,
}

/// A ticket, or why there is none.
pub(crate) type Opened = Result<Ticket, Unsticky>;

const VERSION: u8 = 2;
const SEALED: usize = 34; // version, key id, tag 16, ticket 16

/// The length of every cookie value: 34 bytes in base64.
pub(crate) const VALUE: usize = 46;

/// Seconds that fit into a ticket: until the year 2106.
const DEADLINES: u64 = u32::MAX as u64;

/// What a ticket says of a group by its fingerprint: enough to tell a target that is gone from a target of
/// another group. Two groups of one tag in a million; they would take each other's tickets for gone.
pub(crate) const fn group_tag(fingerprint: u64) -> u32 {
    (fingerprint >> 44) as u32
}

/// The two keys of a secret, their schedules made once.
#[derive(Clone)]
struct Keys {
    id: u8,
    tag: Aes128,
    stream: Aes128,
}

/// The keys that cookies are sealed with and opened with: one current, and those before it, so that a
/// rotation drops no session.
///
/// ```
/// let ring = podway::KeyRing::new(2, &[2; 32]).unwrap().with_previous(1, &[1; 32]).unwrap();
/// assert_eq!(format!("{ring:?}"), "KeyRing { ids: [2, 1] }");
/// ```
#[derive(Clone)]
pub struct KeyRing {
    current: Keys,
    /// They still open cookies, but seal none.
    previous: Vec<Keys>,
}

impl KeyRing {
    /// A ring of one key of 32 random bytes, with an id that no other key of yours has.
    ///
    /// # Errors
    /// `E_COOKIE_KEY` for a secret that is not 32 bytes long.
    pub fn new(id: u8, secret: &[u8]) -> Result<Self, Error> {
        Ok(KeyRing { current: Keys { id, ..Keys::new(secret)? }, previous: Vec::new() })
    }

    /// A ring of one key whose id is made from the secret, for embedders that do not rotate by id.
    ///
    /// # Errors
    /// As [`KeyRing::new`].
    pub fn from_secret(secret: &[u8]) -> Result<Self, Error> {
        Ok(KeyRing { current: Keys::new(secret)?, previous: Vec::new() })
    }

    /// Adds a key that still opens cookies but seals none, its id made from the secret.
    ///
    /// # Errors
    /// As [`KeyRing::new`].
    pub fn with_previous_secret(mut self, secret: &[u8]) -> Result<Self, Error> {
        self.previous.push(Keys::new(secret)?);
        Ok(self)
    }

    /// A ring of keys whose ids are made from the secrets: the current one first, then those that still
    /// open cookies.
    ///
    /// # Errors
    /// As [`KeyRing::new`], and for an empty list.
    pub fn from_secrets<S: AsRef<[u8]>>(secrets: &[S]) -> Result<Self, Error> {
        let Some((current, previous)) = secrets.split_first() else {
            return Err(Diagnostic::error(Code::E_COOKIE_KEY, "there is no cookie key").into());
        };
        let ring = Self::from_secret(current.as_ref())?;
        previous.iter().try_fold(ring, |ring, secret| ring.with_previous_secret(secret.as_ref()))
    }

    /// Adds a key that still opens cookies but seals none.
    ///
    /// # Errors
    /// `E_COOKIE_KEY` for a wrong length or an id that is taken.
    pub fn with_previous(mut self, id: u8, secret: &[u8]) -> Result<Self, Error> {
        if self.all().any(|known| known.id == id) {
            let message = format!("the cookie key id {id} stands twice");
            return Err(Diagnostic::error(Code::E_COOKIE_KEY, message).into());
        }
        self.previous.push(Keys { id, ..Keys::new(secret)? });
        Ok(self)
    }

    /// The current one first.
    fn all(&self) -> impl Iterator<Item = &Keys> {
        std::iter::once(&self.current).chain(&self.previous)
    }

    /// Seals a ticket into base64 text.
    pub(crate) fn seal(&self, ticket: &Ticket, salt: u32) -> [u8; VALUE] {
        let keys = &self.current;
        let plain = pack(ticket, salt);
        let tag = keys.tag(plain);
        let mut sealed = [0; SEALED];
        let [version, id, rest @ ..] = &mut sealed;
        (*version, *id) = (VERSION, keys.id);
        let (first, second) = rest.split_at_mut(16);
        first.copy_from_slice(&tag.to_le_bytes());
        second.copy_from_slice(&(plain ^ keys.stream(tag)).to_le_bytes());
        let mut text = [0; VALUE];
        let _ = BASE64.encode(&sealed, text.as_mut_slice().as_out());
        text
    }

    /// Opens a cookie's value.
    pub(crate) fn open(&self, value: &[u8; VALUE], kind: Kind, now: Now) -> Opened {
        let ticket = self.read(value)?;
        if ticket.kind != kind {
            return Err(Unsticky::Invalid);
        }
        // A clock that steps back makes nobody's session expire.
        if now.unix_s > ticket.deadline_s {
            return Err(Unsticky::Expired);
        }
        Ok(ticket)
    }

    /// What a cookie's value says, whatever its kind and age.
    pub(crate) fn read(&self, value: &[u8; VALUE]) -> Opened {
        let mut sealed = [0; SEALED];
        if BASE64.decode(value, sealed.as_mut_slice().as_out()).is_err() {
            return Err(Unsticky::Invalid);
        }
        let [version, id, rest @ ..] = sealed;
        if version != VERSION {
            return Err(Unsticky::Invalid);
        }
        let (tag, text) = rest.split_at(16);
        let number = |bytes: &[u8]| bytes.first_chunk().map_or(0, |b| u128::from_le_bytes(*b));
        let (tag, text) = (number(tag), number(text));
        let mut known = false;
        // Ids that are made from secrets may coincide: then each of those keys is tried.
        for keys in self.all().filter(|keys| keys.id == id) {
            known = true;
            let plain = text ^ keys.stream(tag);
            // One comparison of the whole numbers: its time does not depend on where they differ.
            if keys.tag(plain) == tag {
                return unpack(plain);
            }
        }
        Err(if known { Unsticky::Invalid } else { Unsticky::UnknownKey })
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u8> = self.all().map(|keys| keys.id).collect();
        f.debug_struct("KeyRing").field("ids", &ids).finish()
    }
}

impl Keys {
    fn new(secret: &[u8]) -> Result<Self, Error> {
        let halves = secret.split_at_checked(16).filter(|(_, second)| second.len() == 16);
        let schedule = |half: &[u8]| Aes128::new_from_slice(half).ok();
        let made = halves.and_then(|(first, second)| Some((schedule(first)?, schedule(second)?)));
        let Some((tag, stream)) = made else {
            let message = format!("a cookie key has 32 bytes, not {}", secret.len());
            return Err(Diagnostic::error(Code::E_COOKIE_KEY, message).into());
        };
        let mut keys = Keys { id: 0, tag, stream };
        // One byte of an encryption that no ticket ever asks for (its kind is 0) says nothing of the key.
        keys.id = keys.stream(keys.tag(0)) as u8;
        Ok(keys)
    }

    fn tag(&self, plain: u128) -> u128 {
        encrypted(&self.tag, plain)
    }

    fn stream(&self, tag: u128) -> u128 {
        encrypted(&self.stream, tag)
    }
}

fn encrypted(key: &Aes128, block: u128) -> u128 {
    let mut block: Block<Aes128> = block.to_le_bytes().into();
    key.encrypt_block(&mut block);
    u128::from_le_bytes(block.into())
}

/// From the lowest bit: name 64, deadline 32, kind 2, version 2, group 20, salt 8.
fn pack(ticket: &Ticket, salt: u32) -> u128 {
    u128::from(ticket.name)
        | u128::from(ticket.deadline_s.min(DEADLINES)) << 64
        | (ticket.kind as u128) << 96
        | u128::from(VERSION & 3) << 98
        | u128::from(ticket.group & 0xf_ffff) << 100
        | u128::from(salt) << 120
}

fn unpack(plain: u128) -> Opened {
    let kind = match (plain >> 96) as u8 & 3 {
        1 => Kind::Target,
        2 => Kind::Application,
        3 => Kind::Group,
        _ => return Err(Unsticky::Invalid),
    };
    if (plain >> 98) as u8 & 3 != VERSION {
        return Err(Unsticky::Invalid);
    }
    let (name, group) = (plain as u64, (plain >> 100) as u32 & 0xf_ffff);
    Ok(Ticket { kind, name, group, deadline_s: (plain >> 64) as u64 & DEADLINES })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKET: Ticket =
        Ticket { kind: Kind::Target, name: u64::MAX - 7, group: 0xf_fff0, deadline_s: 1_300 };

    fn at(unix_s: u64) -> Now {
        Now { mono_ms: 0, unix_s }
    }

    #[test]
    fn a_ticket_comes_back_until_it_expires() {
        let ring = KeyRing::from_secret(&[7; 32]).unwrap();
        let value = ring.seal(&TICKET, 1);
        assert_eq!(ring.open(&value, Kind::Target, at(1_300)), Ok(TICKET));
        assert_eq!(ring.open(&value, Kind::Target, at(500)), Ok(TICKET));
        assert_eq!(ring.open(&value, Kind::Target, at(1_301)), Err(Unsticky::Expired));
        assert_eq!(ring.open(&value, Kind::Group, at(1_000)), Err(Unsticky::Invalid));
        for kind in [Kind::Target, Kind::Application, Kind::Group] {
            for deadline_s in [0, 1, DEADLINES] {
                let ticket = Ticket { kind, name: 0, group: 0, deadline_s };
                let value = ring.seal(&ticket, u32::MAX);
                assert_eq!(ring.open(&value, kind, at(0)), Ok(ticket));
            }
        }
    }

    #[test]
    fn salt_changes_the_look_and_nothing_else() {
        let ring = KeyRing::from_secret(&[7; 32]).unwrap();
        let (a, b) = (ring.seal(&TICKET, 1), ring.seal(&TICKET, 2));
        assert_ne!(a, b);
        let differing = a.iter().zip(&b).filter(|(a, b)| a != b).count();
        assert!(differing > 30, "tag and text differ throughout: {differing}");
        assert_eq!(ring.seal(&TICKET, 1), a, "the same entropy twice is harmless");
        assert!(a.iter().all(|c| c.is_ascii_alphanumeric() || b"+/".contains(c)));
    }

    #[test]
    fn no_changed_bit_goes_unnoticed() {
        let ring = KeyRing::from_secret(&[7; 32]).unwrap();
        let mut sealed = [0; SEALED];
        let value = ring.seal(&TICKET, 1);
        BASE64.decode(&value, sealed.as_mut_slice().as_out()).unwrap();
        for bit in 0..SEALED * 8 {
            let mut forged = sealed;
            forged[bit / 8] ^= 1 << (bit % 8);
            let mut text = [0; VALUE];
            let _ = BASE64.encode(&forged, text.as_mut_slice().as_out());
            assert!(ring.open(&text, Kind::Target, at(1_000)).is_err(), "bit {bit}");
        }
        for i in 0..value.len() {
            let mut forged = value;
            forged[i] = if forged[i] == b'A' { b'B' } else { b'A' };
            assert!(ring.open(&forged, Kind::Target, at(1_000)).is_err(), "byte {i}");
        }
        for bad in [[b'%'; VALUE], [0xff; VALUE], [b'='; VALUE]] {
            assert_eq!(ring.open(&bad, Kind::Target, at(1_000)), Err(Unsticky::Invalid));
        }
    }

    /// Recorded once, and checked against `openssl enc -aes-128-ecb` on both blocks: a release that seals
    /// otherwise would drop every session.
    #[test]
    fn the_format_stays() {
        let ring = KeyRing::new(9, &std::array::from_fn::<u8, 32, _>(|i| i as u8)).unwrap();
        let value = ring.seal(&TICKET, 5);
        assert_eq!(std::str::from_utf8(&value).unwrap(), RECORDED);
    }

    const RECORDED: &str = "Agk7HPa32jESMGJJYlkl3jIH9HOKHhtiApiN+dhLUdf9fQ";

    #[test]
    fn keys_rotate() {
        let old = KeyRing::new(1, &[1; 32]).unwrap();
        let value = old.seal(&TICKET, 0);
        let new = KeyRing::new(2, &[2; 32]).unwrap();
        assert_eq!(new.open(&value, Kind::Target, at(1_000)), Err(Unsticky::UnknownKey));
        let both = new.clone().with_previous(1, &[1; 32]).unwrap();
        assert_eq!(both.open(&value, Kind::Target, at(1_000)), Ok(TICKET));
        assert!(new.clone().with_previous(2, &[1; 32]).is_err());
        let derived = KeyRing::from_secret(&[1; 32]).unwrap();
        let value = derived.seal(&TICKET, 0);
        let rotated = KeyRing::from_secret(&[2; 32]).unwrap().with_previous_secret(&[1; 32]).unwrap();
        assert_eq!(rotated.open(&value, Kind::Target, at(1_000)), Ok(TICKET));
        for length in [0, 16, 31, 33, 64] {
            assert_eq!(KeyRing::new(1, &vec![1; length]).unwrap_err().code(), Code::E_COOKIE_KEY);
        }
    }
}
