//! tonic: calls of a service, which is served by hyper on green threads.

mod common;

use async_compat::CompatExt;
use common::{a_thousand_await, listen, on_each_mode};
use hyper::server::conn::http2;
use hyper_util::service::TowerToHyperService;
use roving::block_on;
use roving::hyper::Executor;
use roving::io::Async;
use tonic::service::Routes;
use tonic::transport::Endpoint;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::server::health_reporter;

#[test]
fn a_thousand_green_threads_await_calls_of_tonic() {
    on_each_mode(|| {
        let (reporter, health) = health_reporter();
        for number in [1, 3] {
            let name = number.to_string();
            block_on(reporter.set_service_status(name, ServingStatus::Serving));
        }
        let service = TowerToHyperService::new(Routes::new(health).into_axum_router());
        let address = listen(move |stream| {
            let http = http2::Builder::new(Executor);
            // How the client ends the connection is its own affair.
            let _ = block_on(http.serve_connection(Async::from(stream), service.clone()));
        });
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let channel = block_on(endpoint.connect().compat()).unwrap();
        a_thousand_await(async |number| {
            let service = (number % 4).to_string();
            let mut client = HealthClient::new(channel.clone());
            let answer = client.check(HealthCheckRequest { service }).await;
            match number % 4 {
                1 | 3 => assert_eq!(answer.unwrap().into_inner().status, 1),
                _ => assert_eq!(answer.unwrap_err().code(), tonic::Code::NotFound),
            }
        });
    });
}
