//! Why a kind of guards is not used.

use std::error::Error;
use std::fmt;
use std::io;

use super::kind::Guards;
use super::mappings;

/// A reason, as a number: that of an error of the system, or one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Why(i32);

impl Why {
    /// The memory is locked.
    pub(super) const LOCKED: Self = Self(-1);
    /// The system said that there is a guard, but there is none.
    pub(super) const DOES_NOT_FAULT: Self = Self(-2);
    /// What a stack takes beside its pages is shared with too few others.
    pub(super) const FEW_STACKS: Self = Self(-3);
    /// The budget of memory mappings is used up.
    pub(super) const NO_MAPPINGS: Self = Self(-4);
    /// A file may not be that large.
    pub(super) const FILE_SIZE: Self = Self(-5);

    /// What was done could not be undone: the slots have lost their memory.
    pub(super) const LOST: Self = Self(-6);

    /// The error that the system has just given.
    #[cfg(target_os = "linux")]
    pub(super) fn last_os_error() -> Self {
        io::Error::last_os_error().into()
    }

    /// `None` for 0, which is no reason.
    pub(super) fn from_code(code: i32) -> Option<Self> {
        (code != 0).then_some(Self(code))
    }

    pub(super) fn code(self) -> i32 {
        self.0
    }

    /// Whether it would be refused for all other stacks too, and always.
    pub(super) fn is_final(self) -> bool {
        const FINAL: [i32; 6] = [
            libc::EINVAL,
            libc::ENOSYS,
            libc::ENOTTY,
            libc::EOPNOTSUPP,
            libc::EPERM,
            libc::EACCES,
        ];
        self == Self::DOES_NOT_FAULT || FINAL.contains(&self.0)
    }
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

/// Why stacks have no [guards](Guards) of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoGuards {
    guards: Guards,
    why: Why,
}

impl NoGuards {
    pub(super) fn new(guards: Guards, why: Why) -> Self {
        Self { guards, why }
    }

    pub(super) fn is_for_mappings(&self) -> bool {
        self.why == Why::NO_MAPPINGS
    }

    /// Returns which kind that is.
    pub fn guards(&self) -> Guards {
        self.guards
    }

    /// Returns the number of the error with which the system has refused it; `None` if there is another reason.
    pub fn raw_os_error(&self) -> Option<i32> {
        (self.why.0 > 0).then_some(self.why.0)
    }
}

impl fmt::Display for NoGuards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.guards)?;
        match self.why {
            Why::LOCKED => f.write_str("not for memory that is locked (mlockall)"),
            Why::DOES_NOT_FAULT => f.write_str("the system says that it is done, but it is not"),
            Why::FEW_STACKS => f.write_str("not for so large a stack"),
            Why::NO_MAPPINGS => {
                let count = match self.guards.mappings() {
                    1 => "a memory mapping",
                    _ => "two memory mappings",
                };
                let limit = mappings::limit().unwrap_or(usize::MAX);
                write!(
                    f,
                    "each stack takes {count} of the vm.max_map_count ({limit}) allowed, and some are left for the \
                     rest of the process"
                )
            }
            Why::FILE_SIZE => {
                f.write_str("the limit of a file's size (ulimit -f) is less than a stack")
            }
            Why::LOST => f.write_str(
                "the system gave no access to the memory of the stack, nor gave it back",
            ),
            Why(error) => fmt::Display::fmt(&io::Error::from_raw_os_error(error), f),
        }
    }
}

impl Error for NoGuards {}
