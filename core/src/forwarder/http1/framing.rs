//! Where a body ends (RFC 9112 §6): decoding of what comes, encoding of what goes. Chunks are read to the
//! letter and written anew, so that nobody behind us can read them in another way.

/// How the length of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    Empty,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Everything until the connection ends.
    UntilClose,
}

/// The chunks are no chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Chunk extensions longer than this are an attack.
const MAX_EXTENSION: u32 = 4 * 1024;
/// All trailer fields together.
const MAX_TRAILERS: u32 = 64 * 1024;

/// Finds the data of a body in the bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decoder(State);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    UntilClose,
    Size {
        value: u64,
        digits: u8,
    },
    Extension {
        value: u64,
        seen: u32,
    },
    SizeEnd {
        value: u64,
    },
    Data(u64),
    DataCr,
    DataLf,
    /// At the beginning of a trailer line, or within one.
    Trailer {
        seen: u32,
        at_start: bool,
    },
    TrailerLf {
        seen: u32,
        was_empty: bool,
    },
    Done,
}

/// What one step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    /// How much of the input is dealt with.
    pub(crate) consumed: usize,
    /// Data of the body.
    pub(crate) data: &'a [u8],
}

impl Decoder {
    pub(crate) fn new(framing: Framing) -> Self {
        Decoder(match framing {
            Framing::Empty | Framing::Length(0) => State::Done,
            Framing::Length(n) => State::Length(n),
            Framing::Chunked => State::Size { value: 0, digits: 0 },
            Framing::UntilClose => State::UntilClose,
        })
    }

    pub(crate) fn is_done(&self) -> bool {
        self.0 == State::Done
    }

    /// Whether the end of the connection is a proper end of the body.
    pub(crate) fn ends_with_connection(&self) -> bool {
        matches!(self.0, State::UntilClose | State::Done)
    }

    /// Looks for the next piece of data. When nothing is left of the input or the body is done, the piece
    /// is empty.
    pub(crate) fn next<'a>(&mut self, input: &'a [u8]) -> Result<Piece<'a>, Malformed> {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let take = |n: u64| rest.get(..rest.len().min(usize::try_from(n).unwrap_or(usize::MAX)));
            match self.0 {
                State::Done => return Ok(Piece { consumed: at, data: &[] }),
                State::UntilClose => return Ok(Piece { consumed: input.len(), data: rest }),
                State::Length(left) => {
                    let data = take(left).unwrap_or_default();
                    let left = left - data.len() as u64;
                    self.0 = if left == 0 { State::Done } else { State::Length(left) };
                    return Ok(Piece { consumed: at + data.len(), data });
                }
                State::Data(left) if !rest.is_empty() => {
                    let data = take(left).unwrap_or_default();
                    let left = left - data.len() as u64;
                    self.0 = if left == 0 { State::DataCr } else { State::Data(left) };
                    return Ok(Piece { consumed: at + data.len(), data });
                }
                _ => {}
            }
            let Some(byte) = rest.first().copied() else { return Ok(Piece { consumed: at, data: &[] }) };
            at += 1;
            self.0 = self.0.step(byte)?;
        }
    }
}

impl State {
    fn step(self, byte: u8) -> Result<State, Malformed> {
        Ok(match (self, byte) {
            (State::Size { value, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                // Sixteen digits fill 64 bits; leading zeros beyond that have no honest purpose.
                if digits == 16 {
                    return Err(Malformed);
                }
                let digit = (byte as char).to_digit(16).ok_or(Malformed)?;
                State::Size { value: value << 4 | u64::from(digit), digits: digits + 1 }
            }
            (State::Size { digits: 0, .. }, _) => return Err(Malformed),
            (State::Size { value, .. } | State::Extension { value, .. }, b'\r') => State::SizeEnd { value },
            (State::Size { value, .. }, b';' | b' ' | b'\t') => State::Extension { value, seen: 1 },
            (State::Extension { value, seen }, b'\t' | b' '..=b'~' | 0x80..) if seen < MAX_EXTENSION => {
                State::Extension { value, seen: seen + 1 }
            }
            (State::SizeEnd { value: 0 }, b'\n') => State::Trailer { seen: 0, at_start: true },
            (State::SizeEnd { value }, b'\n') => State::Data(value),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { value: 0, digits: 0 },
            (State::Trailer { seen, at_start }, b'\r') => State::TrailerLf { seen, was_empty: at_start },
            (State::Trailer { seen, .. }, b'\t' | b' '..=b'~' | 0x80..) if seen < MAX_TRAILERS => {
                State::Trailer { seen: seen + 1, at_start: false }
            }
            (State::TrailerLf { was_empty: true, .. }, b'\n') => State::Done,
            (State::TrailerLf { seen, .. }, b'\n') => State::Trailer { seen, at_start: true },
            _ => return Err(Malformed),
        })
    }
}

/// Writes one chunk.
pub(crate) fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        use std::io::Write as _;
        // Writing to a vector does not fail.
        let _ = write!(out, "{:x}\r\n", data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

/// The end of the chunks.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(framing: Framing, input: &[u8], step: usize) -> Result<(Vec<u8>, usize, bool), Malformed> {
        let mut decoder = Decoder::new(framing);
        let (mut data, mut used) = (Vec::new(), 0);
        for part in input.chunks(step) {
            let mut rest = part;
            loop {
                let piece = decoder.next(rest)?;
                data.extend_from_slice(piece.data);
                used += piece.consumed;
                rest = &rest[piece.consumed..];
                if piece.data.is_empty() {
                    break;
                }
            }
            if decoder.is_done() {
                break;
            }
        }
        Ok((data, used, decoder.is_done()))
    }

    #[test]
    fn bodies_end_where_they_say() {
        for step in [1, 3, 1000] {
            let (data, used, done) = decode(Framing::Length(3), b"abcGET", step).unwrap();
            assert_eq!((data.as_slice(), used, done), (b"abc".as_slice(), 3, true));
            let chunks = b"3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nX: y\r\n\r\n";
            let (data, used, done) = decode(Framing::Chunked, chunks, step).unwrap();
            assert_eq!((data.as_slice(), used, done), (b"abc0123456789".as_slice(), chunks.len(), true));
            assert!(!decode(Framing::UntilClose, b"abc", step).unwrap().2);
        }
        assert!(decode(Framing::Empty, b"x", 1).unwrap().2);
    }

    #[test]
    fn chunks_that_two_readers_may_read_differently_are_refused() {
        for bad in [
            "3\nabc\r\n0\r\n\r\n",
            "3\r\nabc0\r\n\r\n",
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "0x3\r\nabc",
            "3\r\nabcd\r\n",
            "11111111111111111\r\n",
            " 3\r\nabc",
            "3\rabc",
            "0\r\nX: y\n\r\n",
            "3;\0\r\nabc",
        ] {
            assert_eq!(decode(Framing::Chunked, bad.as_bytes(), 7).map(|d| d.2), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn chunks_written_are_chunks_read() {
        let mut out = Vec::new();
        write_chunk(&mut out, b"hello");
        write_chunk(&mut out, b"");
        out.extend_from_slice(LAST_CHUNK);
        assert_eq!(decode(Framing::Chunked, &out, 2).unwrap(), (b"hello".to_vec(), out.len(), true));
    }
}
