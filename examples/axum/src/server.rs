//! Connections: a green thread each, with TLS, and the version of HTTP that the client has chosen.
//!
//! A client that is silent in the handshake, in the head of a request or between two requests is given up
//! after [`PATIENCE`]; with HTTP/2, one that does not answer pings. What fails ends its own connection.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use roving::hyper::{Executor, Timer};
use roving::io::Async;
use roving::net::{TcpListener, TcpStream};
use roving::{CancelToken, block_on, deadline, on_warm_stack, thread};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::AnyError;

pub(crate) const HTTP1: &[u8] = b"http/1.1";
pub(crate) const HTTP2: &[u8] = b"h2";

const PATIENCE: Duration = Duration::from_secs(30);
/// How long requests that are under way may take when the server ends.
const GRACE: Duration = Duration::from_secs(10);

/// Serves until it is told to stop, and then until the requests under way are answered.
pub(crate) fn serve(
    listener: &TcpListener,
    acceptor: &TlsAcceptor,
    application: &Router,
    stop: &CancelToken,
) -> Result<(), AnyError> {
    let connections = GracefulShutdown::new();
    let accepting = stop.run(|| accept(listener, acceptor, application, &connections));
    if let Ok(Err(error)) = accepting
        && !stop.is_cancelled()
    {
        return Err(error.into());
    }
    deadline(GRACE, || block_on(connections.shutdown()))
        .map_err(|_| "requests were under way for too long".into())
}

/// Accepts connections for ever; gives an error only when the listener itself is of no use any more, or when it is to stop.
fn accept(
    listener: &TcpListener,
    acceptor: &TlsAcceptor,
    application: &Router,
    connections: &GracefulShutdown,
) -> io::Result<Infallible> {
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                let (acceptor, application) = (acceptor.clone(), application.clone());
                let watcher = connections.watcher();
                let spawned = thread::Builder::new().spawn(move || {
                    let served = serve_connection(stream, &acceptor, application, watcher);
                    if let Err(error) = served
                        && !client_has_gone(&*error)
                    {
                        eprintln!("{peer}: {error}");
                    }
                });
                // The system refuses another stack. This client has been dropped with the closure.
                if let Err(error) = spawned {
                    eprintln!("{peer}: {error}");
                }
            }
            Err(error) => match error.kind() {
                // This client went away while it was queued.
                io::ErrorKind::ConnectionAborted => {}
                // The listener has been shut down, or this is to stop.
                io::ErrorKind::InvalidInput | io::ErrorKind::Other => return Err(error),
                // Descriptors or memory are short: connections that end free some.
                _ => {
                    eprintln!("accept: {error}");
                    thread::sleep(Duration::from_millis(50));
                }
            },
        }
    }
}

/// Whether the server only wanted to say something to a client that has gone: with HTTP/2 that is usual.
fn client_has_gone(error: &(dyn Error + 'static)) -> bool {
    let causes = iter::successors(Some(error), |&error| error.source());
    let mut of_system = causes.filter_map(|cause| cause.downcast_ref::<io::Error>());
    of_system.any(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::NotConnected
                | io::ErrorKind::UnexpectedEof
        )
    })
}

fn serve_connection(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    application: Router,
    watcher: Watcher,
) -> Result<(), AnyError> {
    stream.set_nodelay(true)?;
    let handshake = acceptor.accept(Async::from(stream));
    let stream = deadline(PATIENCE, || block_on(handshake))??;
    // Told by the handshake, it need not be guessed from the first bytes, for which there is no limit.
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
    let http = auto::Builder::new(Executor);
    let mut http = if is_http2 {
        http.http2_only()
    } else {
        http.http1_only()
    };
    http.http1().timer(Timer).header_read_timeout(PATIENCE);
    http.http2()
        .timer(Timer)
        .keep_alive_interval(PATIENCE)
        .keep_alive_timeout(PATIENCE);
    let service = TowerToHyperService::new(application);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    block_on(on_warm_stack(watcher.watch(connection)))
}

/// Who the server is.
pub(crate) struct Identity {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) certificate: CertificateDer<'static>,
}

impl Identity {
    /// Makes a key and a certificate, of which nobody knows but who is given it. A real server has files.
    pub(crate) fn make_up() -> Result<Self, AnyError> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)?;
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self {
            acceptor,
            certificate,
        })
    }
}
