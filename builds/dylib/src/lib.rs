//! Roving in a dynamic library of Rust.

pub use roving_builds as builds;
