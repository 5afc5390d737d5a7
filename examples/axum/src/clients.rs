//! Clients that ask for everything, half of them with HTTP/1.1 and half with HTTP/2.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use roving::hyper::Executor;
use roving::io::Async;
use roving::net::{SocketAddr, TcpStream};
use roving::{Group, block_on, go};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsConnector, client};

use crate::AnyError;
use crate::server::{HTTP1, HTTP2};

const CLIENTS: usize = 20;

type Tls = TokioIo<client::TlsStream<Async<TcpStream>>>;

pub(crate) fn run(
    address: SocketAddr,
    certificate: &CertificateDer<'static>,
) -> Result<(), AnyError> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let clients = (0..CLIENTS).map(|n| (n, if n % 2 == 0 { HTTP1 } else { HTTP2 }));
    let notes = Group::new().map(clients, |(n, protocol)| {
        let mut config = config.clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        block_on(run_client(address, config, n))
    })?;
    let (first, all) = (notes[0].1, notes.len());
    println!(
        "{all} clients are served, half of them with HTTP/2; the first has found {first} notes"
    );
    Ok(())
}

/// Gives which protocol was spoken, and how many notes there were in the end.
async fn run_client(
    address: SocketAddr,
    config: ClientConfig,
    n: usize,
) -> Result<(&'static str, usize), AnyError> {
    let stream = Async::from(TcpStream::connect_async(&address).await?);
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost")?;
    let stream = connector.connect(name, stream).await?;
    let protocol = match stream.get_ref().1.alpn_protocol() {
        Some(HTTP2) => "HTTP/2",
        _ => "HTTP/1.1",
    };
    let stream = TokioIo::new(stream);
    let mut requests = match protocol {
        "HTTP/2" => Requests::http2(stream).await?,
        _ => Requests::http1(stream).await?,
    };
    expect(&requests.get("/hello/you").await?, "hello, you\n")?;
    expect(&requests.get("/later").await?, "late\n")?;
    expect(&requests.get("/primes/1000").await?, "168\n")?;
    requests.send("POST", "/notes", format!("note {n}")).await?;
    let notes = requests.get("/notes").await?;
    if !notes.lines().any(|note| note == format!("note {n}")) {
        return Err("a note is lost".into());
    }
    Ok((protocol, notes.lines().count()))
}

fn expect(got: &str, expected: &str) -> Result<(), AnyError> {
    if got == expected {
        Ok(())
    } else {
        Err(format!("expected {expected:?}, got {got:?}").into())
    }
}

/// A connection to send requests on, which a green thread of its own drives.
enum Requests {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Requests {
    async fn http1(stream: Tls) -> hyper::Result<Self> {
        let (sender, connection) = http1::handshake(stream).await?;
        go!(|| block_on(connection));
        Ok(Self::Http1(sender))
    }

    async fn http2(stream: Tls) -> hyper::Result<Self> {
        let (sender, connection) = http2::handshake(Executor, stream).await?;
        go!(|| block_on(connection));
        Ok(Self::Http2(sender))
    }

    async fn get(&mut self, path: &str) -> Result<String, AnyError> {
        self.send("GET", path, String::new()).await
    }

    async fn send(&mut self, method: &str, path: &str, body: String) -> Result<String, AnyError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("https://localhost{path}"))
            .header("host", "localhost")
            .body(Body::from(body))?;
        let response = match self {
            Self::Http1(sender) => sender.send_request(request).await?,
            Self::Http2(sender) => sender.send_request(request).await?,
        };
        if !response.status().is_success() {
            return Err(format!("{method} {path}: {}", response.status()).into());
        }
        let body = response.into_body().collect().await?.to_bytes();
        Ok(String::from_utf8(body.to_vec())?)
    }
}
