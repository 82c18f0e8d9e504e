//! The sealed value of a cookie: AES-SIV (RFC 5297), a deterministic authenticated encryption. It needs no
//! nonce, so entropy that repeats breaks nothing; a salt only keeps equal tickets from looking equal.
//! Opaque, of constant size, with the key's id in clear.

use std::fmt;

use aes_siv::siv::Aes128Siv;
use aes_siv::{Key, KeyInit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

use crate::decision::Unsticky;
use crate::error::{Code, Diagnostic, Error};
use crate::time::Now;

/// What a cookie says once it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) kind: Kind,
    /// The group's fingerprint.
    pub(crate) group: u64,
    /// The target's fingerprint; of a group cookie 0.
    pub(crate) target: u64,
    /// Unix seconds.
    pub(crate) issued_s: u64,
    /// Seconds from then on.
    pub(crate) duration_s: u32,
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

const VERSION: u8 = 1;
const HEAD: usize = 2; // version, key id
const TAG: usize = 16;
const PLAIN: usize = 33; // kind, salt 4, issued 8, duration 4, group 8, target 8
const SEALED: usize = HEAD + TAG + PLAIN;

/// The length of every cookie value: 51 bytes in base64.
pub(crate) const VALUE: usize = SEALED / 3 * 4;

/// The keys that cookies are sealed with and opened with: one current, and those before it, so that a
/// rotation drops no session.
///
/// ```
/// let ring = podway::KeyRing::new(2, &[2; 32]).unwrap().with_previous(1, &[1; 32]).unwrap();
/// assert_eq!(format!("{ring:?}"), "KeyRing { ids: [2, 1] }");
/// ```
#[derive(Clone)]
pub struct KeyRing {
    /// The current key first.
    keys: Vec<(u8, Key<Aes128Siv>)>,
}

impl KeyRing {
    /// A ring of one key of 32 random bytes, with an id that no other key of yours has.
    ///
    /// # Errors
    /// `E_COOKIE_KEY` for a secret that is not 32 bytes long.
    pub fn new(id: u8, secret: &[u8]) -> Result<Self, Error> {
        Ok(KeyRing { keys: vec![(id, key(secret)?)] })
    }

    /// A ring of one key whose id is made from the secret, for embedders that do not rotate by id.
    ///
    /// # Errors
    /// As [`KeyRing::new`].
    pub fn from_secret(secret: &[u8]) -> Result<Self, Error> {
        let key = key(secret)?;
        Ok(KeyRing { keys: vec![(derived_id(&key), key)] })
    }

    /// Adds a key that still opens cookies but seals none, its id made from the secret.
    ///
    /// # Errors
    /// As [`KeyRing::new`].
    pub fn with_previous_secret(mut self, secret: &[u8]) -> Result<Self, Error> {
        let key = key(secret)?;
        self.keys.push((derived_id(&key), key));
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
        if self.keys.iter().any(|(known, _)| *known == id) {
            let message = format!("the cookie key id {id} stands twice");
            return Err(Diagnostic::error(Code::E_COOKIE_KEY, message).into());
        }
        self.keys.push((id, key(secret)?));
        Ok(self)
    }

    /// Seals a ticket into base64 text.
    pub(crate) fn seal(&self, ticket: &Ticket, salt: u32) -> Option<[u8; VALUE]> {
        let (id, key) = self.keys.first()?;
        let mut plain = [0; PLAIN];
        put(&mut plain, 0, &[ticket.kind as u8]);
        put(&mut plain, 1, &salt.to_le_bytes());
        put(&mut plain, 5, &ticket.issued_s.to_le_bytes());
        put(&mut plain, 13, &ticket.duration_s.to_le_bytes());
        put(&mut plain, 17, &ticket.group.to_le_bytes());
        put(&mut plain, 25, &ticket.target.to_le_bytes());
        let head = [VERSION, *id];
        let tag = Aes128Siv::new(key).encrypt_inout_detached([head], (&mut plain[..]).into()).ok()?;
        let mut sealed = [0; SEALED];
        put(&mut sealed, 0, &head);
        put(&mut sealed, HEAD, &tag);
        put(&mut sealed, HEAD + TAG, &plain);
        let mut text = [0; VALUE];
        BASE64.encode_slice(sealed, &mut text).ok()?;
        Some(text)
    }

    /// Opens a cookie's value.
    pub(crate) fn open(&self, value: &[u8], kind: Kind, now: Now) -> Opened {
        let mut sealed = [0; SEALED];
        // Any other length is not ours; the decoder needs no more room than this then.
        if value.len() != VALUE || BASE64.decode_slice_unchecked(value, &mut sealed) != Ok(SEALED) {
            return Err(Unsticky::Invalid);
        }
        let (head, rest) = sealed.split_at_mut(HEAD);
        let (tag, plain) = rest.split_at_mut(TAG);
        let [version, id] = [head.first().copied(), head.get(1).copied()];
        if version != Some(VERSION) {
            return Err(Unsticky::Invalid);
        }
        let tag = (&*tag).try_into().map_err(|_| Unsticky::Invalid)?;
        let sealed_plain = *plain.first_chunk::<PLAIN>().ok_or(Unsticky::Invalid)?;
        // Ids that are made from secrets may coincide: then each of those keys is tried.
        let mut keys = self.keys.iter().filter(|(known, _)| Some(*known) == id).peekable();
        keys.peek().ok_or(Unsticky::UnknownKey)?;
        keys.find(|(_, key)| {
            plain.copy_from_slice(&sealed_plain);
            Aes128Siv::new(key).decrypt_inout_detached([&*head], (&mut *plain).into(), &tag).is_ok()
        })
        .ok_or(Unsticky::Invalid)?;
        let ticket = Ticket {
            kind,
            issued_s: u64::from_le_bytes(take(plain, 5)),
            duration_s: u32::from_le_bytes(take(plain, 13)),
            group: u64::from_le_bytes(take(plain, 17)),
            target: u64::from_le_bytes(take(plain, 25)),
        };
        if plain.first() != Some(&(kind as u8)) {
            return Err(Unsticky::Invalid);
        }
        // A clock that steps back makes nobody's session expire.
        if now.unix_s.saturating_sub(ticket.issued_s) > u64::from(ticket.duration_s) {
            return Err(Unsticky::Expired);
        }
        Ok(ticket)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u8> = self.keys.iter().map(|(id, _)| *id).collect();
        f.debug_struct("KeyRing").field("ids", &ids).finish()
    }
}

fn key(secret: &[u8]) -> Result<Key<Aes128Siv>, Error> {
    Key::<Aes128Siv>::try_from(secret).map_err(|_| {
        Diagnostic::error(Code::E_COOKIE_KEY, format!("a cookie key has 32 bytes, not {}", secret.len()))
            .into()
    })
}

/// One byte of an encryption of nothing says nothing of the key.
fn derived_id(key: &Key<Aes128Siv>) -> u8 {
    let mut nothing = [0; 1];
    let tag = Aes128Siv::new(key).encrypt_inout_detached([b"key id"], (&mut nothing[..]).into());
    tag.ok().and_then(|tag| tag.first().copied()).unwrap_or_default()
}

fn put(to: &mut [u8], at: usize, from: &[u8]) {
    if let Some(slice) = to.get_mut(at..at + from.len()) {
        slice.copy_from_slice(from);
    }
}

fn take<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    from.get(at..at + N).and_then(|s| s.try_into().ok()).unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKET: Ticket =
        Ticket { kind: Kind::Target, group: 7, target: u64::MAX, issued_s: 1_000, duration_s: 300 };

    fn at(unix_s: u64) -> Now {
        Now { mono_ms: 0, unix_s }
    }

    #[test]
    fn a_ticket_comes_back_until_it_expires() {
        let ring = KeyRing::from_secret(&[7; 32]).unwrap();
        let value = ring.seal(&TICKET, 1).unwrap();
        assert_eq!(ring.open(&value, Kind::Target, at(1_300)), Ok(TICKET));
        assert_eq!(ring.open(&value, Kind::Target, at(500)), Ok(TICKET));
        assert_eq!(ring.open(&value, Kind::Target, at(1_301)), Err(Unsticky::Expired));
        assert_eq!(ring.open(&value, Kind::Group, at(1_000)), Err(Unsticky::Invalid));
    }

    #[test]
    fn salt_changes_the_look_and_nothing_else() {
        let ring = KeyRing::from_secret(&[7; 32]).unwrap();
        let (a, b) = (ring.seal(&TICKET, 1).unwrap(), ring.seal(&TICKET, 2).unwrap());
        assert_ne!(a, b);
        assert_eq!(ring.seal(&TICKET, 1).unwrap(), a, "the same entropy twice is harmless");
        assert!(a.iter().all(|c| c.is_ascii_alphanumeric() || b"+/".contains(c)));
    }

    #[test]
    fn no_changed_byte_goes_unnoticed() {
        let ring = KeyRing::from_secret(&[7; 32]).unwrap();
        let value = ring.seal(&TICKET, 1).unwrap();
        for i in 0..value.len() {
            let mut forged = value;
            forged[i] = if forged[i] == b'A' { b'B' } else { b'A' };
            assert!(ring.open(&forged, Kind::Target, at(1_000)).is_err(), "byte {i}");
        }
        for bad in [&b""[..], b"=", &value[..67], &[b'%'; VALUE], &[0xff; VALUE], &[b'A'; 4096]] {
            assert_eq!(ring.open(bad, Kind::Target, at(1_000)), Err(Unsticky::Invalid));
        }
    }

    #[test]
    fn keys_rotate() {
        let old = KeyRing::new(1, &[1; 32]).unwrap();
        let value = old.seal(&TICKET, 0).unwrap();
        let new = KeyRing::new(2, &[2; 32]).unwrap();
        assert_eq!(new.open(&value, Kind::Target, at(1_000)), Err(Unsticky::UnknownKey));
        let both = new.clone().with_previous(1, &[1; 32]).unwrap();
        assert_eq!(both.open(&value, Kind::Target, at(1_000)), Ok(TICKET));
        assert!(new.clone().with_previous(2, &[1; 32]).is_err());
        let derived = KeyRing::from_secret(&[1; 32]).unwrap();
        let value = derived.seal(&TICKET, 0).unwrap();
        let rotated = KeyRing::from_secret(&[2; 32]).unwrap().with_previous_secret(&[1; 32]).unwrap();
        assert_eq!(rotated.open(&value, Kind::Target, at(1_000)), Ok(TICKET));
        assert_eq!(KeyRing::new(1, &[1; 31]).unwrap_err().code(), Code::E_COOKIE_KEY);
    }
}
