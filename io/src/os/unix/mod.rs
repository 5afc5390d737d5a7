//! What there is on Unix. Mirrors `std::os::unix`.

pub mod fs;
pub mod net;
pub mod process;
