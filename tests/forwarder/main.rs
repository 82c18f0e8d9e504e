//! The forwarder from outside, over real sockets: what the client sees, what the target sees, and for each
//! status of the load balancer's own each of its causes (spec: dataplane §6, §7).

mod desync;
mod errors;
mod faults;
mod logs;
mod support;
mod tls;
mod wire;
