//! The application of `axum`, which knows nothing of who runs it.

use std::sync::LazyLock;

use axum::Router;
use axum::routing::get;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper_util::service::TowerToHyperService;

static APPLICATION: LazyLock<Router> = LazyLock::new(|| Router::new().route("/", get(hello)));

async fn hello() -> &'static str {
    "Hello, world!"
}

/// Serves HTTP/1.1 on a connection until its end, with hyper's own sizes of buffers.
pub async fn serve_connection(io: impl Read + Write + Unpin + 'static) -> hyper::Result<()> {
    let service = TowerToHyperService::new(APPLICATION.clone());
    http1::Builder::new().serve_connection(io, service).await
}
