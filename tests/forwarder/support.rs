//! A load balancer with targets and a client that are nothing but sockets.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use podway::forwarder::{Builder, Forwarder, ForwarderClock, Running, TlsConfig};
use podway::model::Model;
use podway::{KeyRing, ListenerId, Options, Router};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A load balancer that runs.
pub(crate) struct Balancer {
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
    pub(crate) listener: ListenerId,
    /// Lines of the access log.
    pub(crate) log: Arc<Mutex<Vec<String>>>,
}

/// What is to be served.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) targets: Vec<SocketAddr>,
    pub(crate) attributes: Vec<(&'static str, &'static str)>,
    pub(crate) listener_attributes: Vec<(&'static str, &'static str)>,
    pub(crate) group: Value,
    pub(crate) rules: Value,
    pub(crate) default_actions: Value,
    pub(crate) protocol: &'static str,
    /// The listener's port; what is bound is another one.
    pub(crate) port: u16,
    pub(crate) mutual: Option<Value>,
    /// Target groups besides `g`.
    pub(crate) more_groups: Vec<Value>,
    /// The Availability Zone that the load balancer stands in.
    pub(crate) zone: Option<&'static str>,
}

impl Setup {
    pub(crate) fn new(targets: &[SocketAddr]) -> Self {
        Setup {
            targets: targets.to_vec(),
            attributes: Vec::new(),
            listener_attributes: Vec::new(),
            group: json!({}),
            rules: json!([]),
            default_actions: json!([{"Type": "forward", "TargetGroupArn": "arn:targetgroup/g/1"}]),
            protocol: "HTTP",
            port: 80,
            mutual: None,
            more_groups: Vec::new(),
            zone: None,
        }
    }

    pub(crate) fn with(mut self, key: &'static str, value: &'static str) -> Self {
        self.attributes.push((key, value));
        self
    }

    pub(crate) fn on_listener(mut self, key: &'static str, value: &'static str) -> Self {
        self.listener_attributes.push((key, value));
        self
    }

    pub(crate) fn model(&self) -> Model {
        let pairs =
            |all: &[(&str, &str)]| all.iter().map(|(k, v)| json!({"Key": k, "Value": v})).collect::<Vec<_>>();
        let targets: Vec<Value> = self
            .targets
            .iter()
            .map(|t| {
                json!({"Target": {"Id": t.ip().to_string(), "Port": t.port()},
                    "TargetHealth": {"State": "healthy"}})
            })
            .collect();
        let mut group = json!({"TargetGroupArn": "arn:targetgroup/g/1", "TargetGroupName": "g", "TargetType": "ip",
            "Protocol": "HTTP", "TargetHealthDescriptions": targets,
            "LoadBalancerArns": ["arn:loadbalancer/app/lb/1"]});
        for (key, value) in self.group.as_object().into_iter().flatten() {
            group[key] = value.clone();
        }
        let mut listener = json!({"Port": self.port, "Protocol": self.protocol,
            "DefaultActions": self.default_actions, "Rules": self.rules,
            "Attributes": pairs(&self.listener_attributes)});
        if let Some(mutual) = &self.mutual {
            listener["MutualAuthentication"] = mutual.clone();
        }
        let groups = [&[group], self.more_groups.as_slice()].concat();
        serde_json::from_value(json!({
            "LoadBalancers": [{"LoadBalancerArn": "arn:loadbalancer/app/lb/1", "LoadBalancerName": "lb",
                "DNSName": "lb.example.com", "Attributes": pairs(&self.attributes), "Listeners": [listener]}],
            "TargetGroups": groups}))
        .unwrap()
    }

    pub(crate) async fn start(&self) -> Balancer {
        self.start_with(None, |b| b).await
    }

    pub(crate) async fn start_with(
        &self,
        tls: Option<TlsConfig>,
        change: impl FnOnce(Builder) -> Builder,
    ) -> Balancer {
        let model = self.model();
        let clock = ForwarderClock::new();
        let options = Options { availability_zone: self.zone.map(str::to_owned), ..Options::default() };
        let keys = KeyRing::from_secret(&[7; 32]).unwrap();
        let router = Arc::new(Router::new(&model, options, keys, clock.now()).unwrap());
        let listener = router.listeners()[0].id;
        let log = Arc::new(Mutex::new(Vec::new()));
        let sink = log.clone();
        let builder = Forwarder::builder(router, &model, clock)
            .health_checks(false)
            .access_log(move |line| sink.lock().unwrap().push(line.to_owned()))
            .bind(listener, ([127, 0, 0, 1], 0).into(), tls);
        let running = change(builder).start().await.unwrap();
        let address = running.address(listener).unwrap();
        Balancer { running, address, listener, log }
    }
}

impl Balancer {
    /// Sends bytes on a connection of its own and reads the answer.
    pub(crate) async fn ask(&self, request: &str) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        read_answer(&mut stream, request.starts_with("HEAD")).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: example.com\r\n\r\n")).await
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The newest line of the access log, once there are so many.
    pub(crate) async fn logged(&self, lines: usize) -> String {
        for _ in 0..3000 {
            if let Some(line) = self.log.lock().unwrap().get(lines - 1) {
                return line.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("only {:?}", self.log.lock().unwrap());
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
    /// Whether it came whole.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|l| {
            let (n, v) = l.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| v.trim())
        })
    }
}

impl Answer {
    /// The values of `Set-Cookie`, in order.
    pub(crate) fn cookies(&self) -> Vec<String> {
        self.head.lines().filter_map(|l| l.strip_prefix("Set-Cookie: ")).map(str::to_owned).collect()
    }
}

/// The fields of a line of the access log, numbered as in the specification; what is between quotes is one.
pub(crate) fn fields(line: &str) -> Vec<String> {
    let mut all = vec![String::new(), String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => all.push(String::new()),
            c => all.last_mut().unwrap().push(c),
        }
    }
    all
}

/// Reads one answer.
pub(crate) async fn read_answer<S: AsyncRead + Unpin>(stream: &mut S, to_head: bool) -> Answer {
    let mut bytes = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let field = |name: &str| {
                head.lines().find_map(|l| {
                    let (n, v) = l.split_once(':')?;
                    n.eq_ignore_ascii_case(name).then(|| v.trim().to_owned())
                })
            };
            let length = field("content-length").and_then(|v| v.parse::<usize>().ok());
            let chunked = field("transfer-encoding").is_some();
            let status = head.get(9..12).and_then(|s| s.parse().ok()).unwrap_or(0);
            if status != 100 {
                let done = to_head
                    || status == 101
                    || status == 204
                    || status == 304
                    || length.is_some_and(|l| body.len() >= l)
                    || (chunked && body.ends_with("0\r\n\r\n"));
                if done {
                    return Answer { status, head: head.to_owned(), body: body.to_owned(), whole: true };
                }
            } else {
                bytes = body.as_bytes().to_vec();
                if !bytes.is_empty() {
                    continue;
                }
            }
        }
        match tokio::time::timeout(Duration::from_secs(20), stream.read(&mut buffer)).await {
            Ok(Ok(n)) if n > 0 => bytes.extend_from_slice(&buffer[..n]),
            _ => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
                let status = head.get(9..12).and_then(|s| s.parse().ok()).unwrap_or(0);
                let until_close = !head.to_ascii_lowercase().contains("content-length");
                let whole = status != 0 && until_close && !head.to_ascii_lowercase().contains("chunked");
                return Answer { status, head: head.to_owned(), body: body.to_owned(), whole };
            }
        }
    }
}

/// A target: every connection is given to `serve`.
pub(crate) async fn target<F, A>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> A + Send + Sync + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Reads a request's head and as much of its body as its length says.
pub(crate) async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_ascii_lowercase();
            let length =
                lower.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let chunked = lower.contains("transfer-encoding: chunked");
            if (chunked && body.ends_with("0\r\n\r\n")) || (!chunked && body.len() >= length.unwrap_or(0)) {
                return Some(text);
            }
        }
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => bytes.extend_from_slice(&buffer[..n]),
            _ => return None,
        }
    }
}

/// A target that answers every request with the request as it came.
pub(crate) async fn echo() -> SocketAddr {
    target(|mut stream| async move {
        while let Some(request) = read_request(&mut stream).await {
            let answer = format!(
                "HTTP/1.1 200 OK\r\nServer: echo\r\nContent-Length: {}\r\nX-Target: yes\r\n\r\n{request}",
                request.len()
            );
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// A target that answers every request with these bytes, and then closes.
pub(crate) async fn answers(bytes: impl Into<Vec<u8>>) -> SocketAddr {
    let bytes: Arc<[u8]> = bytes.into().into();
    target(move |mut stream| {
        let bytes = bytes.clone();
        async move {
            if read_request(&mut stream).await.is_some() {
                let _ = stream.write_all(&bytes).await;
            }
        }
    })
    .await
}
