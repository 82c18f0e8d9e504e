//! Stickiness (spec: dataplane §4): sealed cookies, the keys they are sealed with, and how they stand in
//! headers. No state on the server: whoever has a key honours the cookie.

mod header;
mod seal;

pub(crate) use header::{
    APPLICATION, Cookie, Names, REMOVE, SameSite, TICKETS, application, find, finish, knows_same_site, write,
    write_both,
};
pub use seal::KeyRing;
pub(crate) use seal::{Kind, Ticket, VALUE, group_tag};
