//! Where the fields of types are, for those who read the memory of a process from outside of it.
//!
//! A debugger knows no layout in a program without debug information of types, as most are that people run. So
//! the program has the layouts with it: a file whose types a debugger must find its way through lists the
//! [fields] that lead on, and [`debugger`](crate::runtime::debugger) has them all.

use std::fmt;

/// The place of a field in its type, or another number.
#[repr(C)]
pub(crate) struct Field {
    /// Padded with zeroes.
    name: [u8; 32],
    value: usize,
}

impl Field {
    pub(crate) const fn new(name: &str, value: usize) -> Self {
        let mut padded = [0; 32];
        let (taken, _) = padded.split_at_mut(name.len());
        taken.copy_from_slice(name.as_bytes());
        Self {
            name: padded,
            value,
        }
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name.escape_ascii(), self.value)
    }
}

/// The places of fields: `fields!(Point: x, y)` are `Point.x` and `Point.y`.
macro_rules! fields {
    ($type:ident: $($field:ident),+) => {
        [$(crate::protocol::outline::Field::new(
            concat!(stringify!($type), ".", stringify!($field)),
            std::mem::offset_of!($type, $field),
        )),+]
    };
}

pub(crate) use fields;
