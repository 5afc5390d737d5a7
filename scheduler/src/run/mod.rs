//! Who runs what.

pub(crate) mod context;
pub mod driver;
pub(crate) mod fired;
pub(crate) mod green;
pub(crate) mod overflow;
pub(crate) mod panicking;
pub(crate) mod queue;
pub(crate) mod reclaim;
pub(crate) mod registry;
pub(crate) mod shared;
pub(crate) mod stack_use;
pub(crate) mod worker;
