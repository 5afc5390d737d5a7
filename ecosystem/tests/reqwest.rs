//! reqwest: a thousand requests over one connection, all of them under way at once.

mod common;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{THREADS, a_thousand_await, listen, on_each_mode};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use roving::block_on;
use roving::hyper::Executor;
use roving::io::Async;
use roving::sync::Barrier;

#[test]
fn a_thousand_green_threads_await_requests_of_reqwest() {
    on_each_mode(|| {
        let (all, served) = (
            Arc::new(Barrier::new(THREADS)),
            Arc::new(AtomicUsize::new(0)),
        );
        let counted = served.clone();
        let address = listen(move |stream| {
            let answer = service_fn(|request: Request<_>| {
                let (all, served) = (all.clone(), served.clone());
                async move {
                    // None is answered before all have been asked: each blocks a green thread here, and one there.
                    all.wait();
                    served.fetch_add(1, Ordering::Relaxed);
                    let path = Bytes::copy_from_slice(request.uri().path().as_bytes());
                    Ok::<_, Infallible>(Response::new(Full::new(path)))
                }
            });
            let mut http = http2::Builder::new(Executor);
            http.max_concurrent_streams(THREADS as u32);
            // How the client ends the connection is its own affair.
            let _ = block_on(http.serve_connection(Async::from(stream), answer));
        });
        let client = reqwest::Client::builder().http2_prior_knowledge();
        let client = client.build().unwrap();
        a_thousand_await(async |number| {
            let request = client.get(format!("http://{address}/{number}"));
            let text = request.send().await.unwrap().text().await.unwrap();
            assert_eq!(text, format!("/{number}"));
        });
        assert_eq!(counted.load(Ordering::Relaxed), THREADS);
    });
}
