//! What one run is to do.

use super::plan::Bounds;
use crate::load::ExchangeKind;
use crate::server::ServerKind;
use std::path::Path;

/// A server that is not one of this program's: it is called with `arguments` and the number of workers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Foreign<'a> {
    pub(crate) name: &'a str,
    pub(crate) program: &'a Path,
    pub(crate) arguments: &'a [&'a str],
    pub(crate) environment: &'a [(&'static str, &'static str)],
}

/// What one run is to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task<'a> {
    pub(crate) kind: ServerKind,
    /// What serves instead of a server of that kind of this program.
    pub(crate) foreign: Option<Foreign<'a>>,
    /// A library that is loaded before the servers, and adopts them.
    pub(crate) preload: Option<&'a Path>,
    /// Whether servers and clients each have CPUs of their own.
    pub(crate) apart: bool,
    pub(crate) connections: u32,
    pub(crate) active: u32,
    pub(crate) exchange: ExchangeKind,
    pub(crate) message: u32,
    pub(crate) seconds: u64,
    pub(crate) idle_seconds: u64,
    pub(crate) workers: Option<u64>,
    /// Threads of a server process that compute without end.
    pub(crate) computing: u32,
    pub(crate) stack_size: u64,
    pub(crate) bounds: Bounds,
}
