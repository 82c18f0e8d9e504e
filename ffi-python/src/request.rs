//! Python values as the borrowed request that the core decides on. Text and bytes are not copied.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use podway::Code;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyBytes, PyDict, PyList, PyMapping, PyString, PyTuple};
use smallvec::SmallVec;

use crate::errors::argument;

/// How many header lines fit without a heap.
const LINES: usize = 16;

/// Names and values of header lines, kept alive while views of them are used.
pub(crate) type Pairs<'py> = SmallVec<[(Bound<'py, PyAny>, Bound<'py, PyAny>); LINES]>;

/// Views of header lines.
pub(crate) type Lines<'a> = SmallVec<[(&'a [u8], &'a [u8]); LINES]>;

/// The bytes of a `str` or of `bytes`.
#[inline]
pub(crate) fn bytes<'a>(value: &'a Bound<'_, PyAny>, what: &str) -> PyResult<&'a [u8]> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(text.to_str()?.as_bytes());
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(bytes.as_bytes());
    }
    Err(neither(value, what))
}

#[cold]
fn neither(value: &Bound<'_, PyAny>, what: &str) -> PyErr {
    match value.get_type().name() {
        Ok(kind) => PyTypeError::new_err(format!("{what} must be str or bytes, not {kind}")),
        Err(error) => error,
    }
}

/// Collects the header lines of a mapping, or of anything that gives pairs.
pub(crate) fn pairs<'py>(headers: &Bound<'py, PyAny>, pairs: &mut Pairs<'py>) -> PyResult<()> {
    // A subclass may have several values for a name; its `items` tells.
    if let Ok(dict) = headers.cast_exact::<PyDict>() {
        // Without a GIL another thread may write to it, which an iterator would panic about.
        with_critical_section(dict, || pairs.extend(dict.iter()));
    } else if let Ok(list) = headers.cast::<PyList>() {
        for item in list.iter() {
            pairs.push(pair(&item)?);
        }
    } else if let Ok(tuple) = headers.cast::<PyTuple>() {
        for item in tuple.iter() {
            pairs.push(pair(&item)?);
        }
    } else if let Ok(mapping) = headers.cast::<PyMapping>() {
        for item in mapping.items()?.iter() {
            pairs.push(pair(&item)?);
        }
    } else {
        for item in headers.try_iter()? {
            pairs.push(pair(&item?)?);
        }
    }
    Ok(())
}

fn pair<'py>(item: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    if let Ok(tuple) = item.cast::<PyTuple>()
        && tuple.len() == 2
    {
        return Ok((tuple.get_item(0)?, tuple.get_item(1)?));
    }
    if let Ok(list) = item.cast::<PyList>()
        && list.len() == 2
    {
        return Ok((list.get_item(0)?, list.get_item(1)?));
    }
    Err(PyTypeError::new_err("headers must be a mapping, or pairs of name and value"))
}

/// Collects views of `pairs`.
pub(crate) fn lines<'a>(pairs: &'a Pairs<'_>, lines: &mut Lines<'a>) -> PyResult<()> {
    for (name, value) in pairs {
        lines.push((bytes(name, "a header name")?, bytes(value, "a header value")?));
    }
    Ok(())
}

/// `"192.0.2.1:4000"`, or the `(address, port, …)` that a Python socket tells; this machine where nothing
/// is told.
#[inline]
pub(crate) fn peer(value: Option<&Bound<'_, PyAny>>) -> PyResult<SocketAddr> {
    value.map_or(Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)), given_peer)
}

fn given_peer(value: &Bound<'_, PyAny>) -> PyResult<SocketAddr> {
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
