//! Another server, which gives back what it gets, and the client that asks it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread;

use ureq::Agent;

use crate::http::Answer;
use crate::server::Server;

/// As many may ask at once, each on a connection of its own.
pub(crate) const CONNECTIONS: usize = 128;

/// Starts the server, which serves until the program ends.
pub(crate) fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = Server::new(|request| Answer::ok(request.body.clone()));
    thread::Builder::new().spawn(move || server.serve(&listener))?;
    Ok(address)
}

/// Asks it.
pub(crate) struct Client {
    agent: Agent,
    url: String,
}

impl Client {
    pub(crate) fn new(server: SocketAddr) -> Self {
        let config = Agent::config_builder()
            .max_idle_connections(CONNECTIONS)
            .max_idle_connections_per_host(CONNECTIONS);
        Self {
            agent: config.build().into(),
            url: format!("http://{server}/"),
        }
    }

    pub(crate) fn ask(&self, body: &[u8]) -> Result<Vec<u8>, ureq::Error> {
        let mut answer = self.agent.post(&self.url).send(body)?;
        answer.body_mut().read_to_vec()
    }
}
