//! Views into the caller's memory, text that the caller frees, and the request made of views.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::{ptr, slice, str};

use super::decision::podway_address;
use super::guard::quiet;
use super::status::podway_status;
use crate::request::RequestView;

/// A view of bytes: not NUL-terminated, not owned. With `len` 0 `ptr` may be NULL.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct podway_str {
    /// The first byte.
    pub ptr: *const u8,
    /// How many bytes.
    pub len: usize,
}

impl podway_str {
    pub(super) const NONE: podway_str = podway_str { ptr: ptr::null(), len: 0 };

    /// A view of `text`; that it lives long enough is what each function's docs promise.
    pub(super) fn of(text: &str) -> Self {
        Self::of_bytes(text.as_bytes())
    }

    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        podway_str { ptr: bytes.as_ptr(), len: bytes.len() }
    }

    /// Says whether the view can be a slice at all.
    #[inline]
    fn check(self) -> Result<(), podway_status> {
        if self.ptr.is_null() && self.len > 0 {
            return Err(podway_status::Null);
        }
        if self.len > isize::MAX as usize { Err(podway_status::Argument) } else { Ok(()) }
    }

    /// The bytes.
    ///
    /// # Safety
    /// `ptr` is valid for reading `len` bytes during `'a`, or the view does not pass `check`.
    #[inline]
    pub(super) unsafe fn bytes<'a>(self) -> Result<&'a [u8], podway_status> {
        self.check()?;
        // SAFETY: checked above, and the caller's word.
        Ok(unsafe { self.bytes_checked() })
    }

    /// The bytes as text.
    ///
    /// # Safety
    /// As `bytes`.
    pub(super) unsafe fn text<'a>(self) -> Result<&'a str, podway_status> {
        // SAFETY: the caller's word.
        str::from_utf8(unsafe { self.bytes() }?).map_err(|_| podway_status::Utf8)
    }

    /// The bytes of a view that passed `check`.
    ///
    /// # Safety
    /// `ptr` is valid for reading `len` bytes during `'a`, or `len` is 0.
    #[inline]
    unsafe fn bytes_checked<'a>(self) -> &'a [u8] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: the caller's word.
        unsafe { slice::from_raw_parts(self.ptr, self.len) }
    }
}

/// Views a C array; NULL is fine for an empty one.
///
/// # Safety
/// `first` is NULL or valid for reading `count` initialised elements during `'a`.
#[inline]
pub(super) unsafe fn array<'a, T>(first: *const T, count: usize) -> Result<&'a [T], podway_status> {
    if count == 0 {
        return Ok(&[]);
    }
    if first.is_null() {
        return Err(podway_status::Null);
    }
    if count > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(podway_status::Argument);
    }
    // SAFETY: not NULL, not too long, and the caller's word.
    Ok(unsafe { slice::from_raw_parts(first, count) })
}

/// Text that the library made and the caller frees with podway_text_free.
pub struct podway_text {
    text: String,
}

impl podway_text {
    /// Moves `text` to the heap and hands it out.
    ///
    /// # Safety
    /// `out` is valid for writing a pointer.
    pub(super) unsafe fn give(text: String, out: *mut *mut podway_text) {
        // SAFETY: the caller's word.
        unsafe { out.write(Box::into_raw(Box::new(podway_text { text }))) };
    }
}

/// What the text says, in UTF-8. Valid until the text is freed.
///
/// `text` may be NULL (the view is empty then) and may be read from many threads at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_text_view(text: *const podway_text) -> podway_str {
    // SAFETY: NULL or a live handle, says the caller.
    quiet(podway_str::NONE, || unsafe { text.as_ref() }.map_or(podway_str::NONE, |t| podway_str::of(&t.text)))
}

/// Frees a text. NULL is fine. No other call may use the text meanwhile or afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn podway_text_free(text: *mut podway_text) {
    if !text.is_null() {
        // SAFETY: made by Box::into_raw in `give`, and given back once, says the caller.
        quiet((), || drop(unsafe { Box::from_raw(text) }));
    }
}

/// A header line.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct podway_header {
    /// The name, in any case.
    pub name: podway_str,
    /// The value.
    pub value: podway_str,
}

/// A request. All bytes are taken as received; they need not be UTF-8.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct podway_request {
    /// sizeof(podway_request).
    pub struct_size: usize,
    /// For example GET.
    pub method: podway_str,
    /// The request target: /path?query, http://host/path?query, or *.
    pub target: podway_str,
    /// The Host header or :authority. With a NULL `ptr` the first `host` among the headers counts.
    pub host: podway_str,
    /// The header lines in the order received.
    pub headers: *const podway_header,
    /// How many.
    pub header_count: usize,
    /// The TCP peer of the load balancer.
    pub peer: podway_address,
}

/// A request of the caller's, checked. It is read where it stands: a copy would be made of pairs of words that
/// the caller has only just written, which processors are slow at.
pub(super) struct View<'a> {
    /// INVARIANT: every text in it and in its headers passes `podway_str::check`, and it has a peer.
    request: &'a podway_request,
}

impl<'a> View<'a> {
    /// Checks everything that can be checked.
    ///
    /// # Safety
    /// `request` is NULL or points at a `podway_request` (as much of it as its `struct_size` says) whose
    /// views are valid for reading, all during `'a`.
    #[inline]
    pub(super) unsafe fn new(request: *const podway_request) -> Result<Self, podway_status> {
        // SAFETY: the caller's word.
        let request = unsafe { sized(request)? };
        // SAFETY: the headers are valid, says the caller.
        let headers = unsafe { array(request.headers, request.header_count)? };
        // All at once: of a text that is somewhere, neither `ptr - 1` nor `len` has its highest bit set. Whatever
        // has is looked at by itself, for an absent text is legal too.
        let bits = |text: podway_str| text.ptr.addr().wrapping_sub(1) | text.len;
        let own = bits(request.method) | bits(request.target) | bits(request.host);
        let all = headers.iter().fold(own, |all, h| all | bits(h.name) | bits(h.value));
        if all > isize::MAX as usize || !request.peer.is_some() {
            Self::check(request, headers)?;
        }
        Ok(View { request })
    }

    /// Checks text by text.
    #[inline(never)]
    fn check(request: &podway_request, headers: &[podway_header]) -> Result<(), podway_status> {
        let own = [request.method, request.target, request.host];
        own.into_iter()
            .chain(headers.iter().flat_map(|h| [h.name, h.value]))
            .try_for_each(podway_str::check)?;
        if request.peer.is_some() { Ok(()) } else { Err(podway_status::Argument) }
    }

    #[inline]
    fn headers(&self) -> &'a [podway_header] {
        if self.request.header_count == 0 {
            return &[];
        }
        // SAFETY: checked in `new`, whose caller says that they are valid during 'a.
        unsafe { slice::from_raw_parts(self.request.headers, self.request.header_count) }
    }

    #[inline]
    fn lines(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        // SAFETY: checked in `new`, whose caller says that the views are valid during 'a.
        self.headers().iter().map(|h| unsafe { (h.name.bytes_checked(), h.value.bytes_checked()) })
    }
}

impl RequestView for View<'_> {
    #[inline]
    fn method(&self) -> &[u8] {
        // SAFETY: as in `lines`.
        unsafe { self.request.method.bytes_checked() }
    }

    #[inline]
    fn target(&self) -> &[u8] {
        // SAFETY: as in `lines`.
        unsafe { self.request.target.bytes_checked() }
    }

    #[inline]
    fn host(&self) -> Option<&[u8]> {
        if self.request.host.ptr.is_null() {
            return self.lines().find(|(n, _)| n.eq_ignore_ascii_case(b"host")).map(|(_, v)| v);
        }
        // SAFETY: as in `lines`.
        Some(unsafe { self.request.host.bytes_checked() })
    }

    #[inline]
    fn any_header(&self, name: &str, mut visit: impl FnMut(&[u8]) -> bool) -> bool {
        self.lines().any(|(n, v)| n.eq_ignore_ascii_case(name.as_bytes()) && visit(v))
    }

    #[inline]
    fn peer(&self) -> SocketAddr {
        // There is one, says `new`.
        self.request.peer.get().unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0))
    }
}

/// A struct that starts with its size.
///
/// # Safety
/// The type is `repr(C)` and its first field is `struct_size: usize`.
pub(super) unsafe trait Versioned {}
// SAFETY: repr(C) with `struct_size` first.
unsafe impl Versioned for podway_request {}
// SAFETY: repr(C) with `struct_size` first.
unsafe impl Versioned for super::decision::podway_decision {}
// SAFETY: repr(C) with `struct_size` first.
unsafe impl Versioned for super::model::podway_settings {}
// SAFETY: repr(C) with `struct_size` first.
unsafe impl Versioned for super::poll::podway_probe {}

/// Says whether `pointer` can be a whole `T`, by the size that stands in it.
///
/// # Safety
/// `pointer` is NULL or valid for reading a `usize`.
#[inline]
pub(super) unsafe fn check_size<T: Versioned>(pointer: *const T) -> Result<(), podway_status> {
    if pointer.is_null() {
        return Err(podway_status::Null);
    }
    // SAFETY: not NULL; the first field is the size, says the trait, and it can be read, says the caller.
    let size = unsafe { pointer.cast::<usize>().read() };
    if size < size_of::<T>() { Err(podway_status::StructSize) } else { Ok(()) }
}

/// A struct of the caller's by reference.
///
/// # Safety
/// `pointer` is NULL or valid for reading as many bytes as its `struct_size` says, during `'a`.
#[inline]
pub(super) unsafe fn sized<'a, T: Versioned>(pointer: *const T) -> Result<&'a T, podway_status> {
    // SAFETY: the caller's word.
    unsafe {
        check_size(pointer)?;
        Ok(&*pointer)
    }
}

/// A copy of a struct of the caller's.
///
/// # Safety
/// As `sized`.
pub(super) unsafe fn copied<T: Versioned + Copy>(pointer: *const T) -> Result<T, podway_status> {
    // SAFETY: the caller's word.
    unsafe { sized(pointer).copied() }
}
