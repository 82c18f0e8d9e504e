//! The app in a made-up pod: says who it is and what it sees, in HTML for browsers and JSON for programs.
//! `POST /podway/unhealthy` makes its health checks fail, `POST /podway/healthy` makes them good again.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

/// Who a pod is.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) node: String,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

/// Whether the pods' apps feel well: one flag for all ports of a pod.
pub(super) type Well = Arc<AtomicBool>;

/// Serves a pod's port until the task is aborted.
pub(super) async fn serve(listener: TcpListener, pod: Arc<Identity>, well: Well) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let (pod, well) = (pod.clone(), well.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let (pod, well) = (pod.clone(), well.clone());
                async move { Ok::<_, Infallible>(answer(request, &pod, &well, peer).await) }
            });
            // A client that goes away is its own business.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    pod: &Identity,
    well: &Well,
    peer: SocketAddr,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let received = body.collect().await.map(|b| b.to_bytes().len()).unwrap_or_default();
    match (&parts.method, parts.uri.path()) {
        (&Method::POST, "/podway/unhealthy") => {
            well.store(false, Ordering::Relaxed);
            return text(StatusCode::OK, "text/plain", "health checks fail from now on\n".to_owned());
        }
        (&Method::POST, "/podway/healthy") => {
            well.store(true, Ordering::Relaxed);
            return text(StatusCode::OK, "text/plain", "health checks are good from now on\n".to_owned());
        }
        _ => {}
    }
    if is_health_check(&parts.headers) && !well.load(Ordering::Relaxed) {
        return text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "told to be unhealthy\n".to_owned());
    }
    let headers: Map<String, Value> = parts
        .headers
        .keys()
        .map(|name| {
            let values: Vec<String> = parts
                .headers
                .get_all(name)
                .iter()
                .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
                .collect();
            (name.to_string(), values.join(", ").into())
        })
        .collect();
    let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let seen = json!({
        "pod": pod.name, "namespace": pod.namespace, "node": pod.node, "address": pod.address.to_string(),
        "peer": peer.to_string(), "method": parts.method.as_str(), "path": path, "received": received,
        "headers": headers,
    });
    let accept = parts.headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if accept.contains("text/html") {
        text(StatusCode::OK, "text/html; charset=utf-8", page(&seen))
    } else {
        text(StatusCode::OK, "application/json", format!("{seen}\n"))
    }
}

fn is_health_check(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok());
    agent.is_some_and(|a| a.starts_with("ELB-HealthChecker/"))
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// A page for a browser. Everything in it comes from a client, so everything is escaped.
fn page(seen: &Value) -> String {
    let escape = |v: &Value| {
        let text = v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
    };
    let row = |name: &str, value: &Value| {
        format!("<tr><th>{}</th><td>{}</td></tr>\n", escape(&name.into()), escape(value))
    };
    let facts: String = ["namespace", "node", "address", "peer", "method", "path"]
        .iter()
        .map(|key| row(key, &seen[*key]))
        .collect();
    let headers: String =
        seen["headers"].as_object().into_iter().flatten().map(|(name, value)| row(name, value)).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{pod}</title>\n\
         <style>body{{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}}\n\
         th{{text-align:left;padding-right:2rem;font-weight:500;vertical-align:top}}td{{word-break:break-all}}\n\
         h2{{font-size:1rem;margin-top:2rem}}</style></head>\n\
         <body><h1>{pod}</h1>\n<table>{facts}</table>\n<h2>Headers</h2>\n<table>{headers}</table></body></html>\n",
        pod = escape(&seen["pod"]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sends_is_escaped_on_the_page() {
        let seen = json!({"pod": "p", "path": "/<script>", "headers": {"x": "\"&"}});
        let page = page(&seen);
        assert!(page.contains("/&lt;script&gt;") && page.contains("&quot;&amp;"), "{page}");
        assert!(!page.contains("<script>"));
    }
}
