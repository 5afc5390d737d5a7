//! Thread-locals of one's own.

use std::sync::OnceLock;

use crate::mode::NoOwnThreadLocals;

/// What it takes.
#[derive(Debug)]
pub(crate) struct Own;

pub(crate) fn own() -> Result<&'static Own, &'static NoOwnThreadLocals> {
    static OWN: OnceLock<Result<Own, NoOwnThreadLocals>> = OnceLock::new();
    OWN.get_or_init(|| Err(NoOwnThreadLocals::because("not yet")))
        .as_ref()
}
