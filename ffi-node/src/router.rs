//! The router's verbs that are not called per request: JSON for what is more than a number or a text.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use napi::bindgen_prelude::{BigInt, Uint8Array, Uint32Array};
use napi::{Env, Result, Unknown};
use napi_derive::napi;
use podway::model::{Model, Priority, TargetHealth, TargetHealthState};
use podway::{
    Authenticate, Code, Decision, GroupId, KeyRing, ListenerId, Options, Output, ProbeResult, Request,
    TargetId, Verdict,
};

use crate::clock::moment;
use crate::errors::{ENTROPY, argument, raise};
use crate::hot::{Hot, Shared, functions};
use crate::raw::{Numbers, object, value_of};

/// A compiled model with the state of its targets.
#[napi]
pub struct NativeRouter {
    shared: Arc<Shared>,
}

/// Routers that other threads may join, by number. A router leaves when its last thread drops it.
static ROUTERS: LazyLock<Mutex<Vec<Weak<Shared>>>> = LazyLock::new(Mutex::default);

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

fn target_id(text: &str) -> Result<TargetId> {
    text.parse()
        .map(TargetId::from_u64)
        .map_err(|_| argument(Code::E_ARGUMENT, format!("`{text}` is not a target id")))
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
        Ok(NativeRouter {
            shared: Arc::new(Shared { router, epoch: AtomicU32::new(0), reloading: Mutex::default() }),
        })
    }

    /// A number that `join` of another thread takes.
    #[napi]
    pub fn share(&self) -> u32 {
        let mut routers = ROUTERS.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = Arc::downgrade(&self.shared);
        let known = routers.iter().position(|router| router.ptr_eq(&ours));
        let free = || routers.iter().position(|router| router.strong_count() == 0);
        match known.or_else(free) {
            Some(number) => {
                if let Some(place) = routers.get_mut(number) {
                    *place = ours;
                }
                number as u32
            }
            None => {
                routers.push(ours);
                (routers.len() - 1) as u32
            }
        }
    }

    /// The router of another thread.
    #[napi(factory)]
    pub fn join(number: u32) -> Result<Self> {
        let routers = ROUTERS.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = routers.get(number as usize).and_then(Weak::upgrade);
        shared
            .map(|shared| NativeRouter { shared })
            .ok_or_else(|| argument(Code::E_NOT_FOUND, "the router that was shared is gone".to_owned()))
    }

    /// The verbs that are called per request, as functions that write what was decided to `numbers`.
    #[napi]
    pub fn functions<'env>(&self, env: &'env Env, mut numbers: Uint32Array) -> Result<Unknown<'env>> {
        let hot = Hot::new(self.shared.clone(), Numbers::new(&mut numbers)?);
        let functions = functions(env.raw(), &hot)?;
        object(env, &functions, value_of(env, numbers)?)
    }

    /// Twice as often as the router was reloaded; odd while it is.
    #[napi]
    pub fn epoch(&self) -> u32 {
        self.shared.epoch.load(Ordering::Acquire)
    }

    /// The headers that a decision may look at, in lower case.
    #[napi]
    pub fn header_names(&self) -> Vec<String> {
        self.shared.router.header_names()
    }

    /// What a forward is called: target group, service, target, address. One of them but the service is missing
    /// where a reload has taken the target away.
    #[napi]
    pub fn names(&self, low: u32, high: u32, group: u32) -> Vec<Option<String>> {
        let (group, target) = (
            self.shared.router.group(GroupId::from_u32(group)),
            self.shared.router.target(TargetId::from_u64(u64::from(high) << 32 | u64::from(low))),
        );
        let (name, service) = group.map(|g| (g.name, g.service)).unzip();
        let address = target.as_ref().and_then(|target| match target.address {
            Some(address) => Some(address.to_string()),
            // Whoever has left the model has no address any more.
            None if target.health.state == TargetHealthState::Draining => None,
            // As everywhere, where the model does not tell the address of an instance.
            None => Some("0.0.0.0:0".to_owned()),
        });
        vec![name, service.flatten(), target.map(|t| t.name()), address]
    }

    #[napi]
    pub fn listener(&self, load_balancer: String, port: u16) -> Result<u32> {
        self.shared.router.listener(&load_balancer, port).map(ListenerId::as_u32).ok_or_else(|| {
            let message = format!("load balancer `{load_balancer}` has no listener on port {port}");
            argument(Code::E_NOT_FOUND, message)
        })
    }

    #[napi]
    pub fn listeners(&self) -> String {
        json(&self.shared.router.listeners())
    }

    /// The milliseconds at which to poll again; -1 for never.
    #[napi]
    pub fn poll(&self, mono_ms: f64, unix_s: f64) -> (Vec<NativeProbe>, f64) {
        let mut probes = Vec::new();
        let next = self.shared.router.poll(moment(mono_ms, unix_s), &mut probes);
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
        self.shared.router.report_probe(target_id(&target)?, &result, moment(mono_ms, unix_s));
        Ok(())
    }

    #[napi]
    pub fn reload(&self, model: String, mono_ms: f64, unix_s: f64) -> Result<()> {
        let model = Model::from_json(&model).map_err(|e| raise(&e))?;
        let _alone = self.shared.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        // Before and after: who decides by a new model sees at least the first.
        self.shared.epoch.fetch_add(1, Ordering::AcqRel);
        let reloaded = self.shared.router.reload(&model, moment(mono_ms, unix_s));
        self.shared.epoch.fetch_add(1, Ordering::AcqRel);
        reloaded.map_err(|e| raise(&e))
    }

    #[napi]
    pub fn set_cookie_keys(&self, keys: Vec<Uint8Array>) -> Result<()> {
        let keys: Vec<&[u8]> = keys.iter().map(|key| &**key).collect();
        self.shared.router.set_cookie_keys(KeyRing::from_secrets(&keys).map_err(|e| raise(&e))?);
        Ok(())
    }

    /// The authentication of a rule: the JSON of an ELBv2 action.
    #[napi]
    pub fn authentication(&self, listener: u32, matched: u32, number: u32) -> Option<String> {
        let decision = Decision {
            priority: Some(if matched == 1 { Priority::Rule(number) } else { Priority::Default }),
            // Any will do: the model says which.
            authenticate: Some(Authenticate::Oidc),
            verdict: Verdict::Redirect { status: 302 },
        };
        let action = self.shared.router.authentication(ListenerId::from_u32(listener), &decision);
        action.map(|action| json(&action))
    }

    /// Decides and tells why, as JSON. `headers` is flat: name, value, name, value.
    #[napi]
    #[allow(clippy::too_many_arguments)] // one crossing, flat arguments
    pub fn explain(
        &self,
        listener: u32,
        method: Uint8Array,
        target: Uint8Array,
        host: Option<Uint8Array>,
        headers: Vec<Uint8Array>,
        peer: String,
        mono_ms: f64,
        unix_s: f64,
        entropy: Option<BigInt>,
    ) -> Result<String> {
        let mut output = Output::new();
        let (router, now, entropy) = (&self.shared.router, moment(mono_ms, unix_s), drawn(entropy)?);
        let listener = ListenerId::from_u32(listener);
        with_request([&method, &target], host.as_deref(), &headers, &peer, |request| {
            router.explain(listener, request, now, entropy, &mut output).to_json(router, &output)
        })
    }

    /// JSON of what keeps a request from its target. `headers` is flat.
    #[napi]
    #[allow(clippy::too_many_arguments)] // as `explain`
    pub fn why_unsticky(
        &self,
        listener: u32,
        method: Uint8Array,
        target: Uint8Array,
        host: Option<Uint8Array>,
        headers: Vec<Uint8Array>,
        peer: String,
        history: Vec<String>,
        mono_ms: f64,
        unix_s: f64,
    ) -> Result<String> {
        let history: Vec<&str> = history.iter().map(String::as_str).collect();
        let (listener, now) = (ListenerId::from_u32(listener), moment(mono_ms, unix_s));
        with_request([&method, &target], host.as_deref(), &headers, &peer, |request| {
            json(&self.shared.router.why_unsticky(listener, request, &history, now))
        })
    }

    #[napi]
    pub fn start_zonal_shift(
        &self,
        load_balancer: String,
        zone: String,
        mono_ms: f64,
        unix_s: f64,
    ) -> Result<()> {
        let now = moment(mono_ms, unix_s);
        self.shared.router.start_zonal_shift(&load_balancer, &zone, now).map_err(|e| raise(&e))
    }

    #[napi]
    pub fn cancel_zonal_shift(&self, load_balancer: String, mono_ms: f64, unix_s: f64) -> Result<()> {
        let now = moment(mono_ms, unix_s);
        self.shared.router.cancel_zonal_shift(&load_balancer, now).map_err(|e| raise(&e))
    }

    #[napi]
    pub fn late_reports(&self) -> f64 {
        self.shared.router.late_reports() as f64
    }

    #[napi]
    pub fn find_target(&self, target_group: String, target: String) -> Result<String> {
        self.shared.router.find_target(&target_group, &target).map(|id| id.as_u64().to_string()).ok_or_else(
            || argument(Code::E_NOT_FOUND, format!("target group `{target_group}` has no target `{target}`")),
        )
    }

    #[napi]
    pub fn set_target_health(&self, target: String, state: String, mono_ms: f64, unix_s: f64) -> Result<()> {
        let state = TargetHealthState::from_name(&state)
            .ok_or_else(|| argument(Code::E_ARGUMENT, format!("there is no target state `{state}`")))?;
        let health = TargetHealth { state, ..TargetHealth::default() };
        self.shared
            .router
            .set_target_health(target_id(&target)?, health, moment(mono_ms, unix_s))
            .map_err(|e| raise(&e))
    }

    /// JSON, or nothing where the target is no node with a NodePort.
    #[napi]
    pub fn hop(
        &self,
        target: String,
        client: String,
        mono_ms: f64,
        unix_s: f64,
        entropy: BigInt,
    ) -> Result<Option<String>> {
        let client = client
            .parse()
            .map_err(|_| argument(Code::E_ARGUMENT, format!("`{client}` is not an IP address")))?;
        let entropy = drawn(Some(entropy))?;
        let hop = self.shared.router.hop(target_id(&target)?, client, moment(mono_ms, unix_s), entropy);
        Ok(hop.map(|hop| json(&hop)))
    }

    #[napi]
    pub fn target_groups(&self) -> String {
        json(&self.shared.router.target_groups())
    }

    #[napi]
    pub fn zone_health(&self, target_group: String) -> Result<String> {
        let router = &self.shared.router;
        let group = router.find_target_group(&target_group).ok_or_else(|| {
            argument(Code::E_NOT_FOUND, format!("there is no target group `{target_group}`"))
        })?;
        Ok(json(&router.zone_health(group)))
    }

    #[napi]
    pub fn targets(&self) -> String {
        json(&self.shared.router.targets())
    }

    #[napi]
    pub fn events(&self) -> String {
        json(&self.shared.router.events())
    }
}

/// Lets `work` see a request: method and target, then the rest. `headers` is flat.
fn with_request<T>(
    [method, target]: [&[u8]; 2],
    host: Option<&[u8]>,
    headers: &[Uint8Array],
    peer: &str,
    work: impl FnOnce(&Request<'_>) -> T,
) -> Result<T> {
    let (pairs, _) = headers.as_chunks::<2>();
    let lines: Vec<(&[u8], &[u8])> = pairs.iter().map(|[n, v]| (&**n, &**v)).collect();
    let peer = peer
        .parse()
        .map_err(|_| argument(Code::E_ARGUMENT, format!("peer `{peer}` is not an address with a port")))?;
    let mut request = Request::new(method, target, peer).header_bytes(&lines);
    if let Some(host) = host {
        request = request.host(host);
    }
    Ok(work(&request))
}

/// The number that was given, or a random one.
fn drawn(entropy: Option<BigInt>) -> Result<u64> {
    let Some(entropy) = entropy else { return Ok(fastrand::u64(..)) };
    match entropy.get_u64() {
        (false, number, true) => Ok(number),
        _ => Err(argument(Code::E_ARGUMENT, ENTROPY.to_owned())),
    }
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
