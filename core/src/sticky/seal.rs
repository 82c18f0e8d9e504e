//! The sealed value of a cookie: a deterministic authenticated encryption (Rogaway and Shrimpton 2006) of
//! messages that are one block long. A ticket is packed into exactly one AES block `P`, and
//!
//! ```text
//! C   = AES(K1, P)          hides
//! tag = AES(K2, P)          authenticates, 128 bits
//! value = hexadecimal(C, tag, version, key id)
//! ```
//!
//! For one block of fixed length the block cipher is a pseudo-random function, so either half looks like
//! chance, and the two keys, made of the secret by AES-256, say nothing of each other. Whoever changes `C` gets another `P`, whose
//! tag is to be guessed; whoever changes the tag alone has a wrong one. The version is inside `P` too, and a
//! changed key id is another key. There is no nonce, so entropy that repeats breaks nothing: equal tickets look
//! equal, and a salt inside them only keeps that from happening often.
//!
//! Why not a crate's AEAD: the budget of a whole sticky decision is one and a half times what ring takes to
//! open and seal 48 bytes with AES-128-GCM (measured 0.2 µs on the machine the benches are from). In one run
//! there, open and seal took: `aes-siv` 0.7 0.65 µs, `aes-siv` 0.8 2.3 µs (both make CTR's key schedule
//! anew each time), `aes-gcm-siv` 0.11 0.78 µs (it derives keys per nonce), SipHash-2-4-128 0.27 µs, one AES
//! block 25 ns. Of those this needs four, but only two wait for each other: the tag is checked while the answer
//! is sealed, whose halves do not need each other. ring itself needs nonces that never repeat and a C compiler.
//! The block cipher stays a crate's (`aes` 0.8: constant-time, AES-NI where there is; 0.9 takes three times as
//! long a block where the processor has AVX-512). Hexadecimal (`const-hex`) takes 210 instructions there and
//! back at this length, base64 (`base64-simd`) 350; it is 22 bytes more.

use std::fmt;

use aes::cipher::{Block, BlockDecrypt, BlockEncrypt, KeyInit};
use aes::{Aes128, Aes128Enc, Aes256Enc};

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

impl Ticket {
    /// The ticket, if it is of this kind and has not run out.
    #[inline]
    pub(crate) fn good(self, kind: Kind, now: Now) -> Opened {
        if self.kind != kind {
            return Err(Unsticky::Invalid);
        }
        // A clock that steps back makes nobody's session expire.
        if now.unix_s > self.deadline_s {
            return Err(Unsticky::Expired);
        }
        Ok(self)
    }
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

const VERSION: u8 = 3;
/// The length of a block of the cipher.
const BLOCK: usize = 16;

const SEALED: usize = 2 * BLOCK + 2; // ticket, tag, version, key id

/// The length of every cookie value: 34 bytes in hexadecimal.
pub(crate) const VALUE: usize = 2 * SEALED;

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
    text: Aes128,
    tag: Aes128Enc,
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

    /// Seals a ticket into text.
    pub(crate) fn seal(&self, ticket: &Ticket, salt: u32) -> [u8; VALUE] {
        let keys = &self.current;
        let plain = pack(ticket, salt).to_le_bytes().into();
        let mut sealed = [0; SEALED];
        if let ([text, tag], [version, id]) = sealed.as_chunks_mut::<BLOCK>() {
            keys.text.encrypt_block_b2b(&plain, text.into());
            keys.tag.encrypt_block_b2b(&plain, tag.into());
            (*version, *id) = (VERSION, keys.id);
        }
        Sealed(sealed).text()
    }

    /// Opens what a cookie's value stands for.
    #[inline]
    pub(crate) fn open(&self, sealed: &Sealed, kind: Kind, now: Now) -> Opened {
        self.read(sealed)?.good(kind, now)
    }

    /// What the text of a cookie's value says, whatever its kind and age.
    pub(crate) fn read_text(&self, value: &[u8; VALUE]) -> Opened {
        Sealed::from_text(value).map_or(Err(Unsticky::Invalid), |sealed| self.read(&sealed))
    }

    /// What a cookie's value says, whatever its kind and age.
    pub(crate) fn read(&self, sealed: &Sealed) -> Opened {
        let ([text, tag], [version, id]) = sealed.0.as_chunks::<BLOCK>() else {
            return Err(Unsticky::Invalid);
        };
        if *version != VERSION {
            return Err(Unsticky::Invalid);
        }
        let mut known = false;
        // Ids that are made from secrets may coincide: then each of those keys is tried.
        for keys in self.all().filter(|keys| keys.id == *id) {
            known = true;
            let (mut plain, mut wanted) = (Block::<Aes128>::default(), Block::<Aes128>::default());
            keys.text.decrypt_block_b2b(text.into(), &mut plain);
            keys.tag.encrypt_block_b2b(&plain, &mut wanted);
            // One comparison of whole numbers: its time does not depend on where they differ.
            if u128::from_le_bytes(wanted.into()) == u128::from_le_bytes(*tag) {
                return unpack(u128::from_le_bytes(plain.into()));
            }
        }
        Err(if known { Unsticky::Invalid } else { Unsticky::UnknownKey })
    }
}

/// What the text of a cookie's value stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sealed([u8; SEALED]);

impl Sealed {
    /// Reads a value; none where it is no hexadecimal number.
    #[inline]
    pub(crate) fn from_text(value: &[u8; VALUE]) -> Option<Self> {
        let mut sealed = [0; SEALED];
        const_hex::decode_to_slice(value, &mut sealed).ok()?;
        Some(Sealed(sealed))
    }

    #[inline]
    pub(super) fn text(&self) -> [u8; VALUE] {
        let mut text = [0; VALUE];
        // The lengths fit.
        let _ = const_hex::encode_to_slice(self.0, &mut text);
        text
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u8> = self.all().map(|keys| keys.id).collect();
        f.debug_struct("KeyRing").field("ids", &ids).finish()
    }
}

impl Keys {
    /// Made from the secret by AES-256 on the numbers 1 to 3: two keys are never alike, whatever the secret is.
    fn new(secret: &[u8]) -> Result<Self, Error> {
        let Ok(made) = Aes256Enc::new_from_slice(secret) else {
            let message = format!("a cookie key has 32 bytes, not {}", secret.len());
            return Err(Diagnostic::error(Code::E_COOKIE_KEY, message).into());
        };
        let derived = |number: u128| {
            let mut block = number.to_le_bytes().into();
            made.encrypt_block(&mut block);
            block
        };
        let [id, ..]: [u8; BLOCK] = derived(3).into();
        Ok(Keys { id, text: Aes128::new(&derived(1)), tag: Aes128Enc::new(&derived(2)) })
    }
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

    fn open(ring: &KeyRing, value: &[u8; VALUE], kind: Kind, unix_s: u64) -> Opened {
        ring.read_text(value)?.good(kind, at(unix_s))
    }

    fn at(unix_s: u64) -> Now {
        Now { mono_ms: 0, unix_s }
    }

    #[test]
    fn a_ticket_comes_back_until_it_expires() {
        let ring = KeyRing::from_secret(&[7; 32]).unwrap();
        let value = ring.seal(&TICKET, 1);
        assert_eq!(open(&ring, &value, Kind::Target, 1_300), Ok(TICKET));
        assert_eq!(open(&ring, &value, Kind::Target, 500), Ok(TICKET));
        assert_eq!(open(&ring, &value, Kind::Target, 1_301), Err(Unsticky::Expired));
        assert_eq!(open(&ring, &value, Kind::Group, 1_000), Err(Unsticky::Invalid));
        for kind in [Kind::Target, Kind::Application, Kind::Group] {
            for deadline_s in [0, 1, DEADLINES] {
                let ticket = Ticket { kind, name: 0, group: 0, deadline_s };
                let value = ring.seal(&ticket, u32::MAX);
                assert_eq!(open(&ring, &value, kind, 0), Ok(ticket));
            }
        }
    }

    #[test]
    fn salt_changes_the_look_and_nothing_else() {
        let ring = KeyRing::from_secret(&[7; 32]).unwrap();
        let (a, b) = (ring.seal(&TICKET, 1), ring.seal(&TICKET, 2));
        assert_ne!(a, b);
        let differing = a.iter().zip(&b).filter(|(a, b)| a != b).count();
        assert!(differing > 40, "tag and text differ throughout: {differing}");
        assert_eq!(ring.seal(&TICKET, 1), a, "the same entropy twice is harmless");
        assert!(a.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')));
    }

    #[test]
    fn no_changed_bit_goes_unnoticed() {
        let ring = KeyRing::from_secret(&[7; 32]).unwrap();
        let mut sealed = [0; SEALED];
        let value = ring.seal(&TICKET, 1);
        const_hex::decode_to_slice(value, &mut sealed).unwrap();
        for bit in 0..SEALED * 8 {
            let mut forged = sealed;
            forged[bit / 8] ^= 1 << (bit % 8);
            let mut text = [0; VALUE];
            let _ = const_hex::encode_to_slice(forged, &mut text);
            assert!(open(&ring, &text, Kind::Target, 1_000).is_err(), "bit {bit}");
        }
        for i in 0..value.len() {
            let mut forged = value;
            forged[i] = if forged[i] == b'7' { b'8' } else { b'7' };
            assert!(open(&ring, &forged, Kind::Target, 1_000).is_err(), "byte {i}");
        }
        for bad in [[b'%'; VALUE], [0xff; VALUE], [b'='; VALUE]] {
            assert_eq!(open(&ring, &bad, Kind::Target, 1_000), Err(Unsticky::Invalid));
        }
    }

    /// Made with `openssl enc` (`-aes-256-ecb` for the keys, `-aes-128-ecb` for the blocks): a release that seals
    /// otherwise would drop every session.
    #[test]
    fn the_format_stays() {
        let ring = KeyRing::new(9, &std::array::from_fn::<u8, 32, _>(|i| i as u8)).unwrap();
        let value = ring.seal(&TICKET, 5);
        assert_eq!(std::str::from_utf8(&value).unwrap(), RECORDED);
    }

    const RECORDED: &str = "626eb959717f8b3f4a8502720bdcfac4f7277ffebd7b2346dbe000dc47cb61620309";

    #[test]
    fn a_secret_of_equal_halves_makes_two_keys() {
        let ring = KeyRing::from_secret(&[7; 32]).unwrap();
        let Sealed(sealed) = Sealed::from_text(&ring.seal(&TICKET, 0)).unwrap();
        let (text, tag) = sealed[..2 * BLOCK].split_at(BLOCK);
        assert_ne!(text, tag, "with one key any text would be its own tag");
    }

    #[test]
    fn keys_rotate() {
        let old = KeyRing::new(1, &[1; 32]).unwrap();
        let value = old.seal(&TICKET, 0);
        let new = KeyRing::new(2, &[2; 32]).unwrap();
        assert_eq!(open(&new, &value, Kind::Target, 1_000), Err(Unsticky::UnknownKey));
        let both = new.clone().with_previous(1, &[1; 32]).unwrap();
        assert_eq!(open(&both, &value, Kind::Target, 1_000), Ok(TICKET));
        assert!(new.clone().with_previous(2, &[1; 32]).is_err());
        let derived = KeyRing::from_secret(&[1; 32]).unwrap();
        let value = derived.seal(&TICKET, 0);
        let rotated = KeyRing::from_secret(&[2; 32]).unwrap().with_previous_secret(&[1; 32]).unwrap();
        assert_eq!(open(&rotated, &value, Kind::Target, 1_000), Ok(TICKET));
        for length in [0, 16, 31, 33, 64] {
            assert_eq!(KeyRing::new(1, &vec![1; length]).unwrap_err().code(), Code::E_COOKIE_KEY);
        }
    }
}
