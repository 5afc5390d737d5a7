//! The name of a thread: given when it is made, or once later. Few have one.
//!
//! A debugger reads it, as the address of a text's address and length.

use crate::protocol::made::Made;

/// A name, or none. One that is there stays.
pub(crate) struct GivenName(Made<Box<str>>);

impl GivenName {
    #[inline]
    pub(crate) fn new(name: Option<Box<str>>) -> Self {
        Self(name.map_or_else(Made::new, Made::with))
    }

    pub(crate) fn get(&self) -> Option<&str> {
        self.0.get().map(|name| &**name)
    }

    /// Gives a name to a thread that has none.
    #[cfg(feature = "adopt")]
    pub(crate) fn give(&self, name: &str) {
        if !name.is_empty() {
            self.0.get_or_make(|| name.into());
        }
    }
}

#[cfg(all(test, feature = "adopt"))]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_once() {
        let given = GivenName::new(None);
        assert_eq!(given.get(), None);
        given.give("");
        assert_eq!(given.get(), None);
        given.give("first");
        given.give("second");
        assert_eq!(given.get(), Some("first"));
        let named = GivenName::new(Some("".into()));
        named.give("later");
        assert_eq!(named.get(), Some(""));
    }
}
