//! No console: the program was built without the feature `console`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::protocol::say::say;

/// Tells whoever has asked for one.
pub(super) fn open(path: &Path) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !TOLD.swap(true, Ordering::Relaxed) {
        let path = path.display();
        say(&format!(
            "roving: there is no console at {path}: the program was built without the feature `console`\n"
        ));
    }
}
