//! What is there on some systems only. Mirrors `std::os`.

#[cfg(target_os = "linux")]
pub mod linux;
pub mod unix;
