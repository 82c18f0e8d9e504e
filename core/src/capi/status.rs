//! Status codes and versions.

use super::view::podway_str;

/// The number of this ABI, which is also in the shared library's name. A program runs with every library of
/// the number it was compiled for that is not older than its header.
///
/// It rises when a compiled program would notice a change: a function goes away or changes its parameters or
/// what it promises, a struct changes at all (also where it grows: a shorter struct_size is refused), a
/// constant changes its value. It stays for new functions, for new constants, also where a call may give
/// them back, and for new keys in JSON.
pub const PODWAY_ABI_VERSION: u32 = 1;

/// How a call ended: zero is success, failures are negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum podway_status {
    /// The call did what it says.
    Ok = 0,
    /// A pointer that must not be NULL is NULL.
    Null = -1,
    /// A number, a name or a key is outside its range.
    Argument = -2,
    /// Text is not UTF-8 where it must be.
    Utf8 = -3,
    /// A struct is smaller than this library knows it: `struct_size` was not set.
    StructSize = -4,
    /// A file could not be read, or its text is not YAML or JSON of the expected shape.
    Input = -5,
    /// The AWS Load Balancer Controller would refuse the manifests.
    Manifest = -6,
    /// The ELBv2 API would refuse the model.
    Model = -7,
    /// There is nothing of this name or id.
    NotFound = -8,
    /// A defect of this library; the call had no effect that can be relied on, the handles stay usable.
    Internal = -99,
}

/// The ABI version of the library that is linked: PODWAY_ABI_VERSION of the header it was built with.
///
/// May be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn podway_abi_version() -> u32 {
    PODWAY_ABI_VERSION
}

/// The version of the library that is linked, as text. Never freed.
///
/// May be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn podway_version() -> podway_str {
    podway_str::of(env!("CARGO_PKG_VERSION"))
}
