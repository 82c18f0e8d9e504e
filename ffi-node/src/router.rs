//! The router's verbs. A decision crosses once in each direction: flat arguments in, one object out.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use napi::Result;
use napi::bindgen_prelude::{BigInt, Uint8Array};
use napi_derive::napi;
use podway::model::{Model, TargetHealth, TargetHealthState};
use podway::{
    Code, Decision, KeyRing, ListenerId, Now, Options, Outcome, Output, ProbeResult, Request, TargetId,
};

use crate::errors::{argument, raise};

/// A compiled model with the state of its targets.
#[napi]
pub struct NativeRouter {
    router: podway::Router,
    /// Decisions are made on one thread of a Node process at a time; worker threads have their own router.
    output: Mutex<Output>,
}

/// A decision in words; what does not belong to its type is left out.
#[napi(object, object_from_js = false)]
pub struct NativeDecision {
    pub priority: Option<String>,
    pub r#type: String,
    pub status: Option<u16>,
    pub reason: Option<String>,
    pub target_group: Option<String>,
    pub service: Option<String>,
    pub target: Option<String>,
    pub address: Option<String>,
    pub fail_open: Option<bool>,
    pub stickiness: Option<String>,
    pub authenticate: Option<String>,
    pub location: Option<String>,
    pub body: Option<String>,
    pub content_type: Option<String>,
    pub uri: Option<String>,
    pub host: Option<String>,
    pub set_cookies: Vec<String>,
    /// What `report` needs: group, target, and the target's address.
    pub handle: Option<NativeHandle>,
}

/// A forward that is not reported yet.
#[napi]
#[derive(Clone)]
pub struct NativeHandle {
    decision: Decision,
}

/// A health check that is due.
#[napi(object, object_from_js = false)]
pub struct NativeProbe {
    pub target_id: String,
    pub address: String,
    pub protocol: String,
    pub protocol_version: String,
    pub path: String,
    pub host: String,
    pub timeout_ms: f64,
}

fn moment(mono_ms: f64, unix_s: f64) -> Now {
    // Numbers of JavaScript are doubles; what is negative or no number is the beginning of time.
    Now { mono_ms: mono_ms as u64, unix_s: unix_s as u64 }
}

fn target_id(text: &str) -> Result<TargetId> {
    text.parse()
        .map(TargetId::from_u64)
        .map_err(|_| argument(Code::E_ARGUMENT, format!("`{text}` is not a target id")))
}

fn peer(address: &str, port: u16) -> Result<SocketAddr> {
    let ip: std::result::Result<IpAddr, _> = address.parse();
    ip.map(|ip| SocketAddr::new(ip, port))
        .map_err(|_| argument(Code::E_ARGUMENT, format!("`{address}` is not an IP address")))
}

#[napi]
impl NativeRouter {
    #[napi(constructor)]
    pub fn new(model: String, options: String, key: Uint8Array, mono_ms: f64, unix_s: f64) -> Result<Self> {
        let made = || {
            let model = Model::from_json(&model)?;
            let options = Options::from_json(&options)?;
            podway::Router::new(&model, options, KeyRing::from_secret(&key)?, moment(mono_ms, unix_s))
        };
        let router = made().map_err(|e| raise(&e))?;
        Ok(NativeRouter { router, output: Mutex::new(Output::new()) })
    }

    #[napi]
    pub fn listener(&self, load_balancer: String, port: u16) -> Result<u32> {
        self.router.listener(&load_balancer, port).map(ListenerId::as_u32).ok_or_else(|| {
            let message = format!("load balancer `{load_balancer}` has no listener on port {port}");
            argument(Code::E_NOT_FOUND, message)
        })
    }

    #[napi]
    pub fn listeners(&self) -> String {
        json(&self.router.listeners())
    }

    /// `headers` is flat: name, value, name, value.
    #[napi]
    #[allow(clippy::too_many_arguments)] // one crossing, flat arguments
    pub fn decide(
        &self,
        listener: u32,
        method: String,
        target: String,
        host: Option<String>,
        headers: Vec<String>,
        peer_address: String,
        peer_port: u16,
        mono_ms: f64,
        unix_s: f64,
        entropy: BigInt,
    ) -> Result<NativeDecision> {
        let (pairs, _) = headers.as_chunks::<2>();
        let lines: Vec<(&str, &str)> = pairs.iter().map(|[n, v]| (n.as_str(), v.as_str())).collect();
        let mut request = Request::new(&method, &target, peer(&peer_address, peer_port)?).headers(&lines);
        if let Some(host) = &host {
            request = request.host(host);
        }
        let (_, entropy, _) = entropy.get_u64();
        let mut output = self.output.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = moment(mono_ms, unix_s);
        let decision =
            self.router.decide(ListenerId::from_u32(listener), &request, now, entropy, &mut output);
        let d = self.router.describe(&decision, &output);
        let text = |t: Option<&str>| t.map(str::to_owned);
        Ok(NativeDecision {
            priority: d.priority.map(|p| p.to_string()),
            r#type: d.kind.to_owned(),
            status: d.status,
            reason: text(d.reason),
            target_group: d.target_group,
            service: d.service,
            target: d.target,
            address: d.address.map(|a| a.to_string()),
            fail_open: d.fail_open,
            stickiness: text(d.stickiness),
            authenticate: text(d.authenticate),
            location: text(d.location),
            body: d.body.map(|b| String::from_utf8_lossy(b).into_owned()),
            content_type: text(d.content_type),
            uri: text(d.uri),
            host: text(d.host),
            set_cookies: d.set_cookies.into_iter().map(str::to_owned).collect(),
            handle: Some(NativeHandle { decision }),
        })
    }

    #[napi]
    pub fn report(
        &self,
        handle: &NativeHandle,
        outcome: String,
        status: u16,
        mono_ms: f64,
        unix_s: f64,
    ) -> Result<()> {
        let outcome = Outcome::from_name(&outcome, status)
            .ok_or_else(|| argument(Code::E_ARGUMENT, format!("there is no outcome `{outcome}`")))?;
        self.router.report(&handle.decision, outcome, moment(mono_ms, unix_s));
        Ok(())
    }

    /// The milliseconds at which to poll again; -1 for never.
    #[napi]
    pub fn poll(&self, mono_ms: f64, unix_s: f64) -> (Vec<NativeProbe>, f64) {
        let mut probes = Vec::new();
        let next = self.router.poll(moment(mono_ms, unix_s), &mut probes);
        let probes = probes
            .into_iter()
            .map(|p| NativeProbe {
                target_id: p.target.as_u64().to_string(),
                address: p.address.to_string(),
                protocol: p.protocol.as_str().to_owned(),
                protocol_version: p.version.as_str().to_owned(),
                path: p.path,
                host: p.host,
                timeout_ms: p.timeout_ms as f64,
            })
            .collect();
        (probes, if next == u64::MAX { -1.0 } else { next as f64 })
    }

    #[napi]
    pub fn report_probe(
        &self,
        target: String,
        result: String,
        status: u16,
        mono_ms: f64,
        unix_s: f64,
    ) -> Result<()> {
        let result = ProbeResult::from_name(&result, status)
            .ok_or_else(|| argument(Code::E_ARGUMENT, format!("there is no probe result `{result}`")))?;
        self.router.report_probe(target_id(&target)?, &result, moment(mono_ms, unix_s));
        Ok(())
    }

    #[napi]
    pub fn reload(&self, model: String, mono_ms: f64, unix_s: f64) -> Result<()> {
        let model = Model::from_json(&model).map_err(|e| raise(&e))?;
        self.router.reload(&model, moment(mono_ms, unix_s)).map_err(|e| raise(&e))
    }

    #[napi]
    pub fn find_target(&self, target_group: String, target: String) -> Result<String> {
        self.router.find_target(&target_group, &target).map(|id| id.as_u64().to_string()).ok_or_else(|| {
            argument(Code::E_NOT_FOUND, format!("target group `{target_group}` has no target `{target}`"))
        })
    }

    #[napi]
    pub fn set_target_health(&self, target: String, state: String, mono_ms: f64, unix_s: f64) -> Result<()> {
        let state = TargetHealthState::from_name(&state)
            .ok_or_else(|| argument(Code::E_ARGUMENT, format!("there is no target state `{state}`")))?;
        let health = TargetHealth { state, ..TargetHealth::default() };
        self.router
            .set_target_health(target_id(&target)?, health, moment(mono_ms, unix_s))
            .map_err(|e| raise(&e))
    }

    #[napi]
    pub fn targets(&self) -> String {
        json(&self.router.targets())
    }

    #[napi]
    pub fn events(&self) -> String {
        json(&self.router.events())
    }
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
