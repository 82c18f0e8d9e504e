//! The text that belongs to a decision: Location, body, rewritten parts, cookies. Written into one buffer that
//! never grows.

/// How much text one decision can hold: a Location of 8 KiB and all of the cookies, with room to spare.
const TEXT_BYTES: usize = 24 * 1024;

/// Texts, one behind the other in one buffer that never grows.
pub(crate) struct Texts {
    text: Box<[u8]>,
    /// How much of it is written.
    len: usize,
    /// Where each text starts and ends.
    parts: [(u32, u32); Texts::COUNT],
    /// A bit for each text that is there.
    present: u16,
    /// The last date that was asked for: a busy thread asks for the same again and again.
    date: (u64, [u8; DATE]),
}

/// The length of a date in HTTP.
pub(crate) const DATE: usize = 29;

/// The last second of the year 9999: what a date in HTTP can say.
const LAST_S: u64 = 253_402_300_799;

/// Names of the texts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Text {
    Location = 0,
    Body = 1,
    ContentType = 2,
    Uri = 3,
    Host = 4,
    SetCookie = 5,
    SetCookieCors = 6,
    SetGroupCookie = 7,
    SetGroupCookieCors = 8,
    AppCookie0 = 9,
    AppCookie1 = 10,
    AppCookie2 = 11,
    AppCookie3 = 12,
}

impl Text {
    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// The text does not fit; what was there before stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Puts an array at the front of `room`, which is what is left of it afterwards.
#[inline]
pub(crate) fn put<const N: usize>(room: &mut &mut [u8], bytes: &[u8; N]) -> Option<()> {
    let (front, rest) = std::mem::take(room).split_first_chunk_mut()?;
    *front = *bytes;
    *room = rest;
    Some(())
}

impl Texts {
    const COUNT: usize = 13;

    /// No text, and room for what one decision can hold.
    pub(crate) fn new() -> Self {
        Texts {
            text: vec![0; TEXT_BYTES].into(),
            len: 0,
            parts: [(0, 0); Texts::COUNT],
            present: 0,
            date: (u64::MAX, [0; DATE]),
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// Forgets all; keeps the memory.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.present = 0;
    }

    #[inline]
    pub(crate) fn get(&self, text: Text) -> Option<&[u8]> {
        let (start, end) = *self.parts.get(text as usize)?;
        if self.present & text.bit() != 0 { self.text.get(start as usize..end as usize) } else { None }
    }

    pub(crate) fn str(&self, text: Text) -> Option<&str> {
        self.get(text).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// Writes a text in one piece.
    pub(crate) fn write(&mut self, text: Text, bytes: &[u8]) -> Result<(), Full> {
        self.begin(text);
        self.push(bytes)?;
        self.end(text);
        Ok(())
    }

    /// Starts to write `text`; whatever is pushed until `end` belongs to it.
    pub(crate) fn begin(&mut self, text: Text) {
        let at = self.len as u32;
        self.present &= !text.bit();
        if let Some(part) = self.parts.get_mut(text as usize) {
            *part = (at, at);
        }
    }

    /// Appends bytes; refuses what does not fit.
    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.len + bytes.len();
        self.text.get_mut(self.len..end).ok_or(Full)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// Appends arrays, one behind the other, that `put` takes off the front of `N` free bytes; refuses where
    /// they are not free. Lengths that are known are checked once, and copied as a few words.
    #[inline]
    pub(crate) fn push_within<const N: usize>(
        &mut self,
        put: impl FnOnce(&mut &mut [u8]) -> Option<()>,
    ) -> Result<(), Full> {
        let room = self.text.get_mut(self.len..).and_then(<[u8]>::first_chunk_mut::<N>).ok_or(Full)?;
        let mut rest = &mut room[..];
        put(&mut rest).ok_or(Full)?;
        self.len += N - rest.len();
        Ok(())
    }

    /// The second `unix_s` as a date of HTTP: `Tue, 27 Feb 2024 11:21:53 GMT`.
    pub(crate) fn date(&mut self, unix_s: u64) -> [u8; DATE] {
        if self.date.0 != unix_s {
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(unix_s.min(LAST_S));
            let mut text = [0; DATE];
            // Always of this length; whatever went wrong would leave blanks in it.
            let _ = std::io::Write::write_fmt(
                &mut &mut text[..],
                format_args!("{}", httpdate::HttpDate::from(at)),
            );
            self.date = (unix_s, text);
        }
        self.date.1
    }

    /// How many bytes are written so far, of all texts.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Takes back what was pushed after the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Ends the text that was begun, and says how long it is.
    pub(crate) fn end(&mut self, text: Text) -> usize {
        let end = self.len as u32;
        match self.parts.get_mut(text as usize) {
            Some(part) => {
                part.1 = end;
                self.present |= text.bit();
                (end - part.0) as usize
            }
            None => 0,
        }
    }

    /// Takes a text back, so that it is absent.
    pub(crate) fn unset(&mut self, text: Text) {
        self.present &= !text.bit();
    }
}
