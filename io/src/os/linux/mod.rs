//! What is there on Linux only. Mirrors `std::os::linux`.

pub mod net;
