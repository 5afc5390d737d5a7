//! Clients that others have made, called from green threads: see `tests/`.
//!
//! Those that are written for tokio are called from a thousand at once. Each program of tests has one test, since it counts the OS
//! threads of its process: that they are the workers of Roving, one of tokio, and what there was before, whatever the number of green
//! threads.
//!
//! Those that block their OS thread are called from two hundred at once, and all of these wait at a time:
//! `tests/blocking_clients.rs`. What that takes is measured beside OS threads in `benches/blocking_clients.rs`.
