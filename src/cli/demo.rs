//! `weir demo`: two small origins, Weir in front of them, and requests to try.
//!
//! ```text
//! curl ──► Weir ──/api──► backend-1, backend-2 (JSON: what they received)
//!                └──/────► frontend (a page)
//! ```

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use http::Response;
use pingora::apps::ServerApp;
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::stream::Stream;

use crate::app;

pub fn demo(wanted: SocketAddr) -> anyhow::Result<ExitCode> {
    let address = free_or(wanted)?;
    let runtime = app::control_runtime()?;
    let folder = std::env::temp_dir().join(format!("weir-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder).context("cannot make a folder for the demo's file")?;
    let file = folder.join("weir.yaml");
    let outcome = runtime.block_on(async {
        let origins = [Origin::Page, Origin::Api("backend-1"), Origin::Api("backend-2")].map(start_origin);
        let [page, first, second] = origins;
        let (page, first, second) = (page?, first?, second?);
        std::fs::write(&file, config(address, page, first, second))?;
        let running = app::start(app::Options::new(&file)).await?;
        println!("{}", instructions(address, running.admin, &file));
        running.until_stopped().await
    });
    // The folder is the demo's own; nothing is lost if it stays.
    let _ = std::fs::remove_dir_all(&folder);
    outcome.map(|()| ExitCode::SUCCESS)
}

/// The wanted address, or a free port on it where somebody else has that one.
fn free_or(wanted: SocketAddr) -> anyhow::Result<SocketAddr> {
    let any_port = SocketAddr::new(wanted.ip(), 0);
    let probe = TcpListener::bind(wanted).or_else(|_| TcpListener::bind(any_port));
    Ok(probe.with_context(|| format!("cannot listen on {}", wanted.ip()))?.local_addr()?)
}

fn config(address: SocketAddr, page: SocketAddr, first: SocketAddr, second: SocketAddr) -> String {
    format!(
        r#"# Written by `weir demo`. Change it while the demo runs: the change is served at once.
access-log: off
admin: {{ address: "127.0.0.1:0" }}

listeners:
  http: {{ address: "{address}" }}

upstreams:
  frontend:
    endpoints: [ "{page}" ]
  backend:
    endpoints: [ "{first}", "{second}" ]
    balance: least-connections
    health-check: {{ http: {{ path: /health }}, interval: 2s }}

hosts:
  - names: ["*"]
    filters: [ security-headers ]
    routes:
      - path: /api
        upstream: backend
      - exact: /lb-health
        respond: {{ status: 200, body: "ok\n" }}
      - path: /old
        redirect: {{ status: 301, prefix: /new }}
      - path: /
        upstream: frontend
"#
    )
}

fn instructions(address: SocketAddr, admin: Option<SocketAddr>, file: &std::path::Path) -> String {
    let mut text = format!(
        "\nWeir listens on http://{address}, in front of a frontend and two backends. Try:\n\n  \
         curl -i http://{address}/                    # the frontend\n  \
         curl http://{address}/api/users              # one of two backends, and the headers it got\n  \
         curl -i http://{address}/old/page            # a redirect\n  \
         curl http://{address}/lb-health              # answered by Weir itself\n"
    );
    if let Some(admin) = admin {
        text.push_str(&format!(
            "\nThe admin listener:\n\n  \
             curl http://{admin}/metrics\n  \
             curl http://{admin}/upstreams\n  \
             curl 'http://{admin}/explain?method=GET&url=http://{address}/api/users'\n"
        ));
    }
    text.push_str(&format!("\nIts file is {}: edit it and watch. Ctrl-C stops.", file.display()));
    text
}

#[derive(Clone, Copy)]
enum Origin {
    Page,
    Api(&'static str),
}

fn start_origin(origin: Origin) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let app = Arc::new(origin);
    tokio::spawn(async move {
        let (_running, shutdown) = tokio::sync::watch::channel(false);
        while let Ok((stream, _)) = listener.accept().await {
            let (app, shutdown) = (app.clone(), shutdown.clone());
            tokio::spawn(async move {
                let mut next: Option<pingora::protocols::Stream> = Some(Box::new(Stream::from(stream)));
                while let Some(stream) = next {
                    next = app.process_new(stream, &shutdown).await;
                }
            });
        }
    });
    Ok(address)
}

#[async_trait]
impl ServeHttp for Origin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let (kind, body) = match self {
            Origin::Page => ("text/html; charset=utf-8", PAGE.to_owned()),
            Origin::Api(name) => ("application/json", received(name, session)),
        };
        let answer = Response::builder()
            .header(http::header::CONTENT_TYPE, kind)
            .header(http::header::CONTENT_LENGTH, body.len())
            .body(body.into_bytes());
        answer.unwrap_or_default()
    }
}

const PAGE: &str = "<!doctype html>\n<title>Weir demo</title>\n<h1>It flows.</h1>\n\
                    <p>This page came from the frontend; <a href=\"/api/users\">/api</a> comes from the backends.</p>\n";

fn received(name: &str, session: &ServerSession) -> String {
    let request = session.req_header();
    let headers: serde_json::Map<String, serde_json::Value> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    let body = serde_json::json!({
        "served_by": name,
        "method": request.method.as_str(),
        "target": String::from_utf8_lossy(request.raw_path()),
        "headers": headers,
    });
    format!("{body:#}\n")
}
