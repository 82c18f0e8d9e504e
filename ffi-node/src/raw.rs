//! Node-API below napi-rs, for the verbs that are called per request: arguments are read into memory that
//! is there already, where napi-rs makes a `String` of each. A call with three strings costs a quarter
//! that way (`bench/calls.mjs`). All of the binding's unsafe code is here.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_void};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;

use napi::{Status, sys};
use podway::{Code, Error};

use crate::errors;

/// Why a call throws.
pub(crate) enum Refusal {
    /// A TypeError with this text.
    Type(&'static str),
    /// An error of the library.
    Podway(Box<Error>),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Podway(Box::new(error))
    }
}

/// A function of JavaScript that was called with up to `N` arguments.
pub(crate) struct Call<const N: usize> {
    env: sys::napi_env,
    arguments: [sys::napi_value; N],
    /// How many arguments there were; those beyond are `undefined`.
    pub(crate) count: usize,
}

/// Text of arguments, one behind the other. The memory is kept from call to call.
pub(crate) struct Scratch {
    bytes: Vec<u8>,
    used: usize,
}

/// How many bytes are kept from call to call at most.
const LARGE: usize = 1 << 20;

impl Scratch {
    pub(crate) fn new() -> Self {
        Scratch { bytes: vec![0; 8 * 1024], used: 0 }
    }

    pub(crate) fn clear(&mut self) {
        self.used = 0;
        // A huge request does not stay in memory for the router's life.
        if self.bytes.len() > LARGE {
            self.bytes.truncate(8 * 1024);
            self.bytes.shrink_to_fit();
        }
    }

    /// Makes room for a text of so many UTF-16 units, whatever they are: then V8 need not measure it first.
    pub(crate) fn make_room(&mut self, units: u64) {
        let bytes = self.used + usize::try_from(units).unwrap_or(usize::MAX).min(LARGE / 4) * 3 + 16;
        if self.bytes.len() < bytes {
            self.bytes.resize(bytes, 0);
        }
    }

    pub(crate) fn get(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }
}

impl<const N: usize> Call<N> {
    fn argument(&self, index: usize) -> sys::napi_value {
        self.arguments.get(index).copied().unwrap_or(ptr::null_mut())
    }

    fn type_of(&self, value: sys::napi_value) -> sys::napi_valuetype {
        let mut kind = sys::ValueType::napi_undefined;
        // SAFETY: `value` is NULL (an error, `kind` stays) or a value of this call.
        unsafe { sys::napi_typeof(self.env, value, &mut kind) };
        kind
    }

    /// An argument that was left out, or `undefined`, or `null`.
    pub(crate) fn is_missing(&self, index: usize) -> bool {
        let kind = self.type_of(self.argument(index));
        kind == sys::ValueType::napi_undefined || kind == sys::ValueType::napi_null
    }

    /// An integer: neither NaN nor a fraction, which Node-API would round, nor one that it would wrap.
    #[inline]
    pub(crate) fn u32(&self, index: usize, refusal: &'static str) -> Result<u32, Refusal> {
        let number = self.f64(index, refusal)?;
        let whole = number as u32;
        if f64::from(whole) == number { Ok(whole) } else { Err(Refusal::Type(refusal)) }
    }

    /// A number.
    pub(crate) fn f64(&self, index: usize, refusal: &'static str) -> Result<f64, Refusal> {
        let mut number = 0.0;
        // SAFETY: the argument is NULL (an error) or a value of this call; `number` can be written.
        match unsafe { sys::napi_get_value_double(self.env, self.argument(index), &mut number) } {
            sys::Status::napi_ok => Ok(number),
            _ => Err(Refusal::Type(refusal)),
        }
    }

    /// A BigInt of 64 bits, not negative.
    pub(crate) fn u64(&self, index: usize, refusal: &'static str) -> Result<u64, Refusal> {
        let (mut number, mut lossless) = (0, false);
        // SAFETY: as in `f64`.
        let status = unsafe {
            sys::napi_get_value_bigint_uint64(self.env, self.argument(index), &mut number, &mut lossless)
        };
        match status {
            sys::Status::napi_ok if lossless => Ok(number),
            sys::Status::napi_ok => Err(argument(errors::ENTROPY.to_owned())),
            _ => Err(Refusal::Type(refusal)),
        }
    }

    /// A string, or the bytes of a Uint8Array, copied into `scratch`.
    #[inline]
    pub(crate) fn text(
        &self,
        index: usize,
        scratch: &mut Scratch,
        refusal: &'static str,
    ) -> Result<Range<usize>, Refusal> {
        self.text_of(self.argument(index), scratch, refusal)
    }

    #[inline]
    fn text_of(
        &self,
        value: sys::napi_value,
        scratch: &mut Scratch,
        refusal: &'static str,
    ) -> Result<Range<usize>, Refusal> {
        let start = scratch.used;
        loop {
            let room = scratch.bytes.len().saturating_sub(start);
            let mut written = 0;
            // SAFETY: `value` is NULL (an error) or a value of this call; there are `room` bytes from
            // `start` on, which is not behind the end.
            let status = unsafe {
                let to = scratch.bytes.as_mut_ptr().add(start).cast::<c_char>();
                sys::napi_get_value_string_utf8(self.env, value, to, room, &mut written)
            };
            if status != sys::Status::napi_ok {
                return self.bytes_of(value, scratch, refusal);
            }
            // What does not fit is cut before a whole character of up to four bytes.
            if written + 5 < room {
                scratch.used = start + written;
                return Ok(start..scratch.used);
            }
            let mut whole = 0;
            // SAFETY: without a buffer only the length is told.
            unsafe {
                sys::napi_get_value_string_utf8(self.env, value, ptr::null_mut(), 0, &mut whole);
            }
            scratch.bytes.resize(start + whole + 1024, 0);
        }
    }

    #[cold]
    fn bytes_of(
        &self,
        value: sys::napi_value,
        scratch: &mut Scratch,
        refusal: &'static str,
    ) -> Result<Range<usize>, Refusal> {
        let (mut kind, mut length, mut data) = (0, 0, ptr::null_mut());
        // SAFETY: `value` is NULL (an error) or a value of this call; what is not wanted may be NULL.
        let status = unsafe {
            sys::napi_get_typedarray_info(
                self.env,
                value,
                &mut kind,
                &mut length,
                &mut data,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        if status != sys::Status::napi_ok || kind != sys::TypedarrayType::uint8_array {
            return Err(Refusal::Type(refusal));
        }
        let start = scratch.used;
        if scratch.bytes.len() < start + length + 1024 {
            scratch.bytes.resize(start + length + 1024, 0);
        }
        if length > 0 && !data.is_null() {
            // SAFETY: the array has `length` bytes at `data` and nobody writes to them meanwhile; so many
            // are there behind `start`.
            unsafe {
                let to = scratch.bytes.as_mut_ptr().add(start);
                ptr::copy_nonoverlapping(data.cast::<u8>(), to, length);
            }
        }
        scratch.used = start + length;
        Ok(start..scratch.used)
    }

    /// The items of an array of strings, copied into `scratch`.
    pub(crate) fn texts(
        &self,
        index: usize,
        scratch: &mut Scratch,
        refusal: &'static str,
        mut each: impl FnMut(Range<usize>),
    ) -> Result<(), Refusal> {
        let array = self.argument(index);
        let mut length = 0;
        // SAFETY: the argument is NULL (an error) or a value of this call.
        if unsafe { sys::napi_get_array_length(self.env, array, &mut length) } != sys::Status::napi_ok {
            return Err(Refusal::Type(refusal));
        }
        for item in 0..length {
            let mut value = ptr::null_mut();
            // SAFETY: an array of this call; a missing item is `undefined`.
            unsafe { sys::napi_get_element(self.env, array, item, &mut value) };
            each(self.text_of(value, scratch, refusal)?);
        }
        Ok(())
    }

    /// Lets `work` write into a Uint32Array.
    pub(crate) fn numbers<T>(
        &self,
        index: usize,
        refusal: &'static str,
        work: impl FnOnce(&mut [u32]) -> T,
    ) -> Result<T, Refusal> {
        let (mut kind, mut length, mut data) = (0, 0, ptr::null_mut());
        // SAFETY: as in `bytes_of`.
        let status = unsafe {
            sys::napi_get_typedarray_info(
                self.env,
                self.argument(index),
                &mut kind,
                &mut length,
                &mut data,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        if status != sys::Status::napi_ok || kind != sys::TypedarrayType::uint32_array {
            return Err(Refusal::Type(refusal));
        }
        if length == 0 || data.is_null() {
            return Ok(work(&mut []));
        }
        // SAFETY: the array has `length` aligned numbers at `data`; the only thread that may touch them is
        // in this call, and `work` does not call into JavaScript.
        Ok(work(unsafe { std::slice::from_raw_parts_mut(data.cast::<u32>(), length) }))
    }

    /// An array of texts; what is `None` becomes `undefined`.
    pub(crate) fn give_texts<'a>(&self, texts: impl Iterator<Item = Option<&'a [u8]>>) -> sys::napi_value {
        let mut array = ptr::null_mut();
        // SAFETY: all values are of this call; text is `length` bytes, and what is not UTF-8 is replaced.
        unsafe {
            sys::napi_create_array(self.env, &mut array);
            for (index, text) in (0..).zip(texts) {
                let mut value = ptr::null_mut();
                match text {
                    Some(text) => {
                        let (at, length) = (text.as_ptr().cast::<c_char>(), text.len() as isize);
                        sys::napi_create_string_utf8(self.env, at, length, &mut value);
                    }
                    None => {
                        sys::napi_get_undefined(self.env, &mut value);
                    }
                }
                sys::napi_set_element(self.env, array, index, value);
            }
        }
        array
    }
}

/// A Uint32Array of `N` numbers over a buffer of its own, which JavaScript reads after each call.
pub(crate) struct Numbers<const N: usize> {
    data: *mut [u32; N],
}

impl<const N: usize> Numbers<N> {
    /// The numbers of `array`. `functions` keep the array as a property, so it lives as long as they do.
    pub(crate) fn new(array: &mut napi::bindgen_prelude::Uint32Array) -> Result<Self, napi::Error> {
        // SAFETY: nobody else writes to it during this call.
        let numbers = unsafe { array.as_mut() };
        match numbers.first_chunk_mut::<N>() {
            Some(numbers) => Ok(Numbers { data: numbers }),
            None => Err(errors::argument(Code::E_ARGUMENT, format!("an array of {N} numbers is needed"))),
        }
    }

    #[inline]
    pub(crate) fn write(&self, numbers: &[u32; N]) {
        // SAFETY: the buffer of an ArrayBuffer neither moves nor shrinks while its array lives, which is as
        // long as the function that is running; `index.js` never hands it out, so nobody detaches it. Only
        // this thread touches it.
        unsafe { self.data.write_unaligned(*numbers) };
    }
}

/// What a native function does: it is given its data and its arguments, and gives back a value or NULL.
type Body<D, const N: usize> = fn(&D, &Call<N>) -> Result<sys::napi_value, Refusal>;

/// A function of JavaScript over `data`, which lives as long as the function.
pub(crate) fn function<D: 'static, B: Native<D, N>, const N: usize>(
    env: sys::napi_env,
    name: &str,
    data: &Rc<D>,
) -> napi::Result<sys::napi_value> {
    let owned = Rc::into_raw(data.clone()).cast_mut().cast::<c_void>();
    let mut function = ptr::null_mut();
    // SAFETY: the name is `length` bytes; `owned` is given back by `release`, which runs when the function
    // is collected. Both run on the thread of `env`, which made `data`.
    unsafe {
        let (at, length) = (name.as_ptr().cast::<c_char>(), name.len() as isize);
        check(sys::napi_create_function(env, at, length, Some(enter::<D, B, N>), owned, &mut function))?;
        let (release, none) = (Some(release::<D> as _), ptr::null_mut());
        check(sys::napi_add_finalizer(env, function, owned, release, none, ptr::null_mut()))?;
    }
    Ok(function)
}

/// A body as a type, so that each has an entry of its own.
pub(crate) trait Native<D, const N: usize> {
    const BODY: Body<D, N>;
}

unsafe extern "C" fn enter<D: 'static, B: Native<D, N>, const N: usize>(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    let (mut arguments, mut count, mut data) = ([ptr::null_mut(); N], N, ptr::null_mut());
    // SAFETY: Node calls this with a live `info`; there is room for `count` arguments.
    unsafe {
        sys::napi_get_cb_info(env, info, &mut count, arguments.as_mut_ptr(), ptr::null_mut(), &mut data);
    }
    let call = Call { env, arguments, count };
    // SAFETY: `function` made it of an Rc that lives until the function is collected.
    let Some(data) = (unsafe { data.cast::<D>().as_ref() }) else { return ptr::null_mut() };
    match catch_unwind(AssertUnwindSafe(|| (B::BODY)(data, &call))) {
        Ok(Ok(value)) => value,
        Ok(Err(refusal)) => throw(env, &refusal),
        Err(_) => throw(env, &errors::defect().into()),
    }
}

unsafe extern "C" fn release<D>(_: sys::napi_env, data: *mut c_void, _: *mut c_void) {
    // SAFETY: made by Rc::into_raw in `function`, and given back once.
    drop(unsafe { Rc::from_raw(data.cast::<D>()) });
}

fn check(status: sys::napi_status) -> napi::Result<()> {
    match status {
        sys::Status::napi_ok => Ok(()),
        status => Err(napi::Error::from_status(Status::from(status))),
    }
}

#[cold]
fn throw(env: sys::napi_env, refusal: &Refusal) -> sys::napi_value {
    let (text, wrong_type) = match refusal {
        Refusal::Type(text) => ((*text).to_owned(), true),
        Refusal::Podway(error) => (errors::told(error), false),
    };
    let text = CString::new(text).unwrap_or_default();
    // SAFETY: the text ends with NUL; a code may be NULL.
    unsafe {
        if wrong_type {
            sys::napi_throw_type_error(env, ptr::null(), text.as_ptr());
        } else {
            sys::napi_throw_error(env, ptr::null(), text.as_ptr());
        }
    }
    ptr::null_mut()
}

/// An object of functions, each of which keeps `kept` alive.
pub(crate) fn object<'env>(
    env: &'env napi::Env,
    members: &[(&str, sys::napi_value)],
    kept: sys::napi_value,
) -> napi::Result<napi::Unknown<'env>> {
    let mut object = ptr::null_mut();
    // SAFETY: all values were made on this thread in this call.
    unsafe {
        check(sys::napi_create_object(env.raw(), &mut object))?;
        for (name, value) in members {
            check(sys::napi_set_named_property(env.raw(), *value, c"kept".as_ptr(), kept))?;
            let name = CString::new(*name).unwrap_or_default();
            check(sys::napi_set_named_property(env.raw(), object, name.as_ptr(), *value))?;
        }
        Ok(napi::Unknown::from_raw_unchecked(env.raw(), object))
    }
}

/// A value as Node-API has it.
pub(crate) fn value_of<T: napi::bindgen_prelude::ToNapiValue>(
    env: &napi::Env,
    value: T,
) -> napi::Result<sys::napi_value> {
    // SAFETY: on the thread of `env`, in a call of it.
    unsafe { T::to_napi_value(env.raw(), value) }
}

/// An error about an argument.
pub(crate) fn argument(message: String) -> Refusal {
    errors::argument_error(Code::E_ARGUMENT, message).into()
}
