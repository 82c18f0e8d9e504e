//! Which bytes names are made of.

/// Whether a name can be written as a header name or a method.
pub(crate) fn is_token(name: &[u8]) -> bool {
    // To the end of it, for names are short and this does not branch.
    !name.is_empty() && name.iter().fold(true, |ok, b| ok & is_in(&TOKEN, *b))
}

/// Whether ordinary names are made of such bytes: letters, digits and hyphens.
#[inline]
pub(crate) fn is_ordinary(byte: u8) -> bool {
    is_in(&ORDINARY, byte)
}

#[inline]
fn is_in(table: &[bool; 256], byte: u8) -> bool {
    table.get(usize::from(byte)).copied().unwrap_or(false)
}

static TOKEN: [bool; 256] = alphanumeric_or(b"!#$%&'*+-.^_`|~");
static ORDINARY: [bool; 256] = alphanumeric_or(b"-");

const fn alphanumeric_or(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut i = 0;
    while i < others.len() {
        table[others[i] as usize] = true;
        i += 1;
    }
    table
}
