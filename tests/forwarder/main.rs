//! The forwarder from outside, over real sockets: what the client sees, what the target sees, and for each
//! status of the load balancer's own each of its causes (spec: dataplane §6, §7).

mod balance;
mod desync;
mod errors;
mod errors_late;
mod faults;
mod health;
mod hosts;
mod http2_front;
mod http2_silent;
mod lifetimes;
mod listener;
mod logs;
mod refusals;
mod rolling;
mod selection;
mod sticky;
mod storms;
mod support;
mod tls;
mod tls_wire;
mod wire;
