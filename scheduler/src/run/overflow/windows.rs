//! Nothing is said when a stack overflows: the process ends by the fault in the guard.

use crate::run::green::Waiter;
use crate::run::own_stack::OwnStack;

pub(crate) fn install_handler() {}

pub(crate) fn watch_in_child(_: &Waiter, _: &OwnStack) {
    unreachable!("no process is forked");
}
