//! The load client: one process, one thread, one bare epoll loop, so that it is neither of the
//! things under test.
//!
//! The loop (`engine`) holds all connections of the process and does what it is told: establish
//! them, rest, keep some of them busy, close. A request is a message that is unique to its
//! connection and its place (`pattern`), in what the service wants around it (`exchange`); the next one of that connection is sent when all of the
//! answer has come and has been compared. So there are never more requests under way than active
//! connections.

mod connection;
mod engine;
mod exchange;
mod pattern;

use crate::limits;
use crate::process;
use anyhow::Result;

pub(crate) use exchange::ExchangeKind;

/// The arguments of a load process.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    exchange: ExchangeKind,
    /// Bytes of the message in a request and in its answer
    #[arg(long)]
    message: usize,
    /// Connections that are being established at a time
    #[arg(long)]
    in_flight: usize,
    /// Identity of the first connection of this process
    #[arg(long)]
    first_id: u32,
}

impl Options {
    /// The command line that gives these options.
    pub(crate) fn arguments(
        exchange: ExchangeKind,
        message: u32,
        in_flight: u64,
        first_id: u32,
    ) -> Vec<String> {
        let pairs = [
            ("--exchange", exchange.name().to_owned()),
            ("--message", message.to_string()),
            ("--in-flight", in_flight.to_string()),
            ("--first-id", first_id.to_string()),
        ];
        let mut arguments = vec!["load".to_owned()];
        for (name, value) in pairs {
            arguments.extend([name.to_owned(), value]);
        }
        arguments
    }
}

/// Runs a load process.
pub(crate) fn run(options: Options) -> Result<()> {
    process::bind_to_parent()?;
    limits::raise_descriptor_limit();
    engine::Engine::new(options)?.run()
}
