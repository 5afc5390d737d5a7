//! What the system knows the standard streams by.

#[cfg_attr(unix, path = "system/descriptors.rs")]
#[cfg_attr(windows, path = "system/handles.rs")]
mod known;

pub use self::known::IsTerminal;
