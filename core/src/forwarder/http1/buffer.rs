//! Bytes on their way, and the one scratch buffer per thread that sockets are read into. An idle connection
//! owns no memory for bytes: it gets some when bytes have come.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// As much as one read takes.
const SCRATCH: usize = 64 * 1024;
/// What a fresh buffer has room for: most heads.
const ROOM: usize = 2 * 1024;
/// So many emptied buffers are kept by a thread, none larger than this.
const SPARES: usize = 64;
const SPARE_ROOM: usize = 32 * 1024;

thread_local! {
    // Initialised once per thread, so that no read has to clear memory first. Never held across an await.
    static BYTES: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
    // Requests need some buffers for a moment each; these go round instead of to the allocator and back.
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Reads once and gives what came to `take`; nothing means that the peer has ended.
pub(crate) fn poll_read<S: AsyncRead + Unpin, T>(
    stream: &mut S,
    cx: &mut Context<'_>,
    take: impl FnOnce(&mut Context<'_>, &[u8]) -> T,
) -> Poll<io::Result<T>> {
    BYTES.with_borrow_mut(|bytes| {
        let mut read = ReadBuf::new(bytes);
        ready!(Pin::new(stream).poll_read(cx, &mut read))?;
        Poll::Ready(Ok(take(cx, read.filled())))
    })
}

/// Bytes that wait to be taken from the front.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.tail().extend_from_slice(bytes);
    }

    /// Takes `n` bytes away. An emptied buffer keeps its memory.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start = self.start.saturating_add(n).min(self.bytes.len());
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// What is behind the unread bytes, for writing into directly.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            let spare = SPARE.try_with(|s| s.borrow_mut().pop());
            self.bytes = spare.ok().flatten().unwrap_or_else(|| Vec::with_capacity(ROOM));
        }
        &mut self.bytes
    }

    /// Gives the memory back, if nothing is in it.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            *self = Buffer::default();
        }
    }

    /// Writes until everything is written; `true` if bytes moved.
    pub(crate) fn poll_flush_to<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut moved = 0;
        while !self.is_empty() {
            match Pin::new(&mut *stream).poll_write(cx, self.bytes()) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    moved += n;
                    self.consume(n);
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending if moved > 0 => return Poll::Ready(Ok(moved)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(moved))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !(1..=SPARE_ROOM).contains(&self.bytes.capacity()) {
            return;
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        // A thread that is ending keeps nothing.
        let _ = SPARE.try_with(|s| {
            let mut spare = s.borrow_mut();
            if spare.len() < SPARES {
                spare.push(bytes);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_consumed_is_gone_and_memory_is_given_back() {
        let mut buffer = Buffer::default();
        buffer.push(b"abc");
        buffer.consume(1);
        assert_eq!(buffer.bytes(), b"bc");
        buffer.push(b"d");
        buffer.release();
        assert_eq!(buffer.bytes(), b"bcd");
        buffer.consume(3);
        buffer.release();
        assert!(buffer.is_empty() && buffer.bytes.capacity() == 0);
    }

    #[test]
    fn memory_goes_round_emptied_and_only_so_much_of_it() {
        let spares = || SPARE.with_borrow(Vec::len);
        // A thread of its own has no spares yet.
        let seen = std::thread::spawn(move || {
            let mut first = Buffer::default();
            first.push(b"secret");
            let at = first.bytes.as_ptr();
            drop(first);
            let mut second = Buffer::default();
            assert_eq!(spares(), 1);
            assert!(second.tail().is_empty() && second.bytes.as_ptr() == at);
            let many: Vec<_> = (0..2 * SPARES).map(|_| Buffer { bytes: vec![0; 10], start: 0 }).collect();
            drop((many, Buffer { bytes: vec![0; SPARE_ROOM + 1], start: 0 }));
            (spares(), SPARE.with_borrow(|s| s.iter().all(|b| b.is_empty() && b.capacity() <= SPARE_ROOM)))
        });
        assert_eq!(seen.join().unwrap(), (SPARES, true));
    }
}
