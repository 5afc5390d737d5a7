//! hyper's servers and clients on sockets, timers and green threads of Roving.
//!
//! - HTTP/1.1 and HTTP/2, a green thread for each connection, and for each request of HTTP/2
//! - services block as they like
//! - clients run in any executor
//! - a timer ends a connection that says nothing

mod common;
#[path = "../scheduler/tests/common/executors.rs"]
mod executors;

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use common::{on_each_mode, pattern};
use executors::in_each_executor;
use futures::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use roving::hyper::{Executor, Timer};
use roving::io::Async;
use roving::net::{SocketAddr, TcpListener, TcpStream};
use roving::{block_on, channel, is_green, thread};

type Body = Full<Bytes>;

/// Gives the request's body back, after it has blocked.
async fn echo(request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    assert!(is_green());
    let (sender, receiver) = channel::bounded(0);
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(1));
        sender.send(body).unwrap();
    });
    Ok(Response::new(Full::new(receiver.recv().unwrap())))
}

fn serve_http1(stream: Async<TcpStream>) {
    let mut http = server::conn::http1::Builder::new();
    http.timer(Timer)
        .header_read_timeout(Duration::from_secs(300));
    block_on(http.serve_connection(stream, service_fn(echo))).unwrap();
}

fn serve_http2(stream: Async<TcpStream>) {
    let mut http = server::conn::http2::Builder::new(Executor);
    http.timer(Timer)
        .keep_alive_interval(Duration::from_millis(10))
        .keep_alive_timeout(Duration::from_secs(300));
    // Whether the last that it says still reaches the client, which has all that it wanted, is open.
    let _ = block_on(http.serve_connection(stream, service_fn(echo)));
}

/// Serves as many connections as there will be, each on a green thread.
fn server(connections: usize, serve: fn(Async<TcpStream>)) -> (SocketAddr, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let serve_next = |_| {
            let (stream, _) = listener.accept().unwrap();
            thread::spawn(move || serve(stream.into()))
        };
        let all: Vec<_> = (0..connections).map(serve_next).collect();
        for served in all {
            served.join().unwrap();
        }
    });
    (address, server)
}

/// Sends bodies of several lengths one after the other.
async fn ask<F>(mut send: impl FnMut(Request<Body>) -> F)
where
    F: Future<Output = hyper::Result<Response<Incoming>>>,
{
    for len in [0, 1, 1000, 200_000] {
        let sent = pattern(len, len);
        let body = Full::new(Bytes::from(sent.clone()));
        let request = Request::post("http://localhost/").body(body).unwrap();
        let response = send(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let received = response.into_body().collect().await.unwrap().to_bytes();
        assert!(received == sent);
    }
}

#[test]
fn http1_is_served_and_asked() {
    in_each_executor(|| async {
        let (address, server) = server(10, serve_http1);
        let clients = (0..10).map(|_| async move {
            let stream = Async::from(TcpStream::connect_async(&address).await.unwrap());
            let (mut sender, connection) = client::conn::http1::handshake(stream).await.unwrap();
            let asks = async move { ask(|request| sender.send_request(request)).await };
            let (connection, ()) = futures::join!(connection, asks);
            connection.unwrap();
        });
        join_all(clients).await;
        server.await.unwrap();
    });
}

#[test]
fn http2_is_served_and_asked_in_parallel() {
    in_each_executor(|| async {
        let (address, server) = server(3, serve_http2);
        let clients = (0..3).map(|_| async move {
            let stream = Async::from(TcpStream::connect_async(&address).await.unwrap());
            let (sender, connection) = client::conn::http2::Builder::new(Executor)
                .timer(Timer)
                .handshake(stream)
                .await
                .unwrap();
            let asks = async move {
                let in_parallel = (0..10).map(|_| {
                    let mut sender = sender.clone();
                    async move { ask(|request| sender.send_request(request)).await }
                });
                join_all(in_parallel).await;
            };
            let (connection, ()) = futures::join!(connection, asks);
            connection.unwrap();
        });
        join_all(clients).await;
        server.await.unwrap();
    });
}

#[test]
fn a_client_that_says_nothing_is_left() {
    on_each_mode(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let nobody = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Body::default())) });
        let mut http = server::conn::http1::Builder::new();
        http.timer(Timer)
            .header_read_timeout(Duration::from_millis(5));
        let served = block_on(http.serve_connection(Async::from(stream), nobody));
        assert!(served.unwrap_err().is_timeout());
        drop(silent);
    });
}

#[test]
fn a_timer_is_set_anew() {
    use hyper::rt::Timer as _;
    use std::time::Instant;

    on_each_mode(|| {
        let start = Instant::now();
        let mut sleep = Timer.sleep(Duration::from_secs(3000));
        Timer.reset(&mut sleep, start + Duration::from_millis(3));
        block_on(sleep.as_mut());
        assert!(start.elapsed() >= Duration::from_millis(3));
        Timer.reset(&mut sleep, start + Duration::from_millis(6));
        block_on(sleep);
        assert!(start.elapsed() >= Duration::from_millis(6));
    });
}
