//! Python values as the borrowed views that the core decides on.

use std::net::{IpAddr, SocketAddr};

use podway::{Code, Now};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::errors::argument;

/// The bytes of a `str` or of `bytes`, without a copy.
pub(crate) fn bytes<'a>(value: &'a Bound<'_, PyAny>, what: &str) -> PyResult<&'a [u8]> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(text.to_str()?.as_bytes());
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(bytes.as_bytes());
    }
    let kind = value.get_type().name()?.to_string();
    Err(PyTypeError::new_err(format!("{what} must be str or bytes, not {kind}")))
}

/// `"192.0.2.1:4000"`, or the `(address, port, …)` that a Python socket tells.
pub(crate) fn peer(value: &Bound<'_, PyAny>) -> PyResult<SocketAddr> {
    let py = value.py();
    if let Ok(text) = value.cast::<PyString>() {
        let text = text.to_str()?;
        return text.parse().map_err(|_| {
            argument(py, Code::E_ARGUMENT, format!("peer `{text}` is not an address with a port"))
        });
    }
    let wrong = || PyTypeError::new_err("peer must be 'address:port' or (address, port)");
    let address = value.get_item(0).map_err(|_| wrong())?;
    let address = address.cast::<PyString>().map_err(|_| wrong())?.to_str()?;
    let port: u16 = value.get_item(1).map_err(|_| wrong())?.extract()?;
    // A scoped address is told as `fe80::1%eth0`.
    let bare = address.split('%').next().unwrap_or(address);
    let ip: IpAddr = bare
        .parse()
        .map_err(|_| argument(py, Code::E_ARGUMENT, format!("peer `{address}` is not an IP address")))?;
    Ok(SocketAddr::new(ip, port))
}

/// `(monotonic milliseconds, unix seconds)`.
pub(crate) fn now((mono_ms, unix_s): (u64, u64)) -> Now {
    Now { mono_ms, unix_s }
}
