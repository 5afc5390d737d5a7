//! To the handle that std has for it.

use std::fs::File;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::windows::io::{AsRawHandle, FromRawHandle};

/// Writes `text`, which has its line breaks, as far as that can be done.
pub(crate) fn say(text: &str) {
    // SAFETY: the process has it, and it is not closed here.
    let handle = unsafe { File::from_raw_handle(io::stderr().as_raw_handle()) };
    let _ = ManuallyDrop::new(handle).write_all(text.as_bytes());
}
