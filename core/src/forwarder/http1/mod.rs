//! HTTP/1 in front and behind. Of our own, because the load balancer has to see heads that an HTTP library
//! refuses (spec: dataplane §6.8), has to answer them in its own words (§7.2), and moves bytes between two
//! sockets in one task, which is what it costs.

mod buffer;
mod check;
mod exchange;
mod forward;
mod framing;
mod head;
mod pool;
mod request;
mod response;
mod serve;

pub(crate) use buffer::Buffer;
pub(crate) use check::Class;
pub(crate) use exchange::MAX_RESPONSE_HEAD;
pub(crate) use framing::{Decoder, Framing};
pub(crate) use head::{Head, MAX_HEAD, MAX_LINE, Name};
pub(crate) use pool::Pool;
pub(crate) use serve::serve;
