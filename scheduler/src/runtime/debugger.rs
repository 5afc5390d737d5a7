//! What a debugger reads: `scheduler/gdb.py` finds the green threads of a process that stands still, or of its core
//! file, and may call nothing there.
//!
//! It begins with a [table](TABLE) in a section of its own, which is there whatever has been stripped. That tells
//! - where the runtimes are,
//! - where the [fields](crate::protocol::outline) of the types of this crate are,
//! - and where there are [examples](Examples) of types of others, from which it learns their layout: it knows
//!   what has been put into them.
//!
//! It relies besides on what Rust's pointers are: one to what has no fixed size is an address and a length,
//! one to a trait object is an address and that of a table of functions, the fourth word of which is the first
//! of the trait's; and on what the coroutine library saves where a coroutine suspends.

use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use crate::protocol::lock::Mutex;

use super::dump::RUNTIMES;
use crate::protocol::outline::{Field, fields};
use crate::protocol::parker::Parker;
use crate::protocol::process::{FORKS, PerProcess};
use crate::protocol::word::WaitWord;
use crate::run::given_name::GivenName;
use crate::run::green::{Green, Kind, Waiter};
use crate::run::own_stack::{OwnStack, Started};
use crate::run::reason::Reason;
use crate::run::registry::{Entered, Registry};
use crate::run::shared::{Remote, Running, Shared};
use crate::run::spares::Spares;
use crate::stack::Bounds;
use crate::stack::coroutine::Coroutine;

/// See the [module](self).
#[repr(C)]
struct Table {
    mark: [u8; 16],
    runtimes: &'static Runtimes,
    forks: &'static AtomicU32,
    /// There with the first runtime.
    examples: AtomicPtr<Examples>,
    count: usize,
    fields: [&'static [Field]; PARTS],
}

type Runtimes = PerProcess<Mutex<Vec<Weak<Shared>>>>;

const PARTS: usize = 18;

// SAFETY: no section of this name means anything to a linker, a loader or another crate; it holds data.
#[cfg_attr(target_os = "linux", unsafe(link_section = ".roving"))]
static TABLE: Table = Table {
    mark: *b"roving debugger\0",
    runtimes: &RUNTIMES,
    forks: &FORKS,
    examples: AtomicPtr::new(ptr::null_mut()),
    count: PARTS,
    fields: [
        &Runtimes::FIELDS,
        &Shared::FIELDS,
        &Spares::FIELDS,
        &Remote::FIELDS,
        &Running::FIELDS,
        &Registry::FIELDS,
        &Registry::OF_SHARDS,
        &Waiter::FIELDS,
        &Green::FIELDS,
        &OwnStack::FIELDS,
        &Started::FIELDS,
        &Coroutine::FIELDS,
        &Bounds::FIELDS,
        &Reason::FIELDS,
        &WaitWord::FIELDS,
        &Examples::FIELDS,
        &[
            Registry::SIZE_OF_SHARD,
            Green::IN_KIND,
            Started::IN_STAGE,
            Coroutine::INNER,
            Coroutine::BELOW_NOTED,
        ],
        &[
            Field::new("Waiter.size", size_of::<Waiter>()),
            Field::new("Waiter.align", align_of::<Waiter>()),
            Field::new("Shared.align", align_of::<Shared>()),
            Field::new("Remote.align", align_of::<Remote>()),
        ],
    ],
};

/// Values of types of others, and what has been put into them.
#[repr(C)]
struct Examples {
    /// There is room for seven, three have been entered, and the second has been taken out again.
    entered: Mutex<Entered>,
    first: *const Waiter,
    third: *const Waiter,
    /// There is room for five, and there are three that lead nowhere.
    runtimes: Mutex<Vec<Weak<Shared>>>,
    place: Location<'static>,
    file: *const u8,
    file_len: usize,
    line: usize,
    column: usize,
    once: OnceLock<Arc<u64>>,
    in_once: *const u64,
}

impl Examples {
    const FIELDS: [Field; 11] = fields!(
        Examples: entered, first, third, runtimes, place, file, file_len, line, column, once, in_once
    );

    fn new() -> Self {
        let waiter = || Arc::new(Waiter::new(GivenName::new(None), Kind::Os(Parker::new())));
        let mut entered = Entered::with_capacity(7);
        let [first, second, third] = [(); 3].map(|()| entered.insert(waiter()));
        entered.remove(second);
        let address = |key: usize| Arc::as_ptr(&entered[key]);
        let mut runtimes = Vec::with_capacity(5);
        runtimes.resize_with(3, Weak::new);
        let place = *Location::caller();
        let number = |number: u32| usize::try_from(number).expect("32 bits fit");
        let in_once = Arc::new(7);
        Self {
            first: address(first),
            third: address(third),
            entered: Mutex::new(entered),
            runtimes: Mutex::new(runtimes),
            place,
            file: place.file().as_ptr(),
            file_len: place.file().len(),
            line: number(place.line()),
            column: number(place.column()),
            in_once: Arc::as_ptr(&in_once),
            once: OnceLock::from(in_once),
        }
    }
}

/// A runtime starts. If several do at once, one of them prepares, and none waits for another: in a child that is forked
/// meanwhile it would not exist.
pub(super) fn prepare() {
    if !TABLE.examples.load(Ordering::Acquire).is_null() {
        return;
    }
    let examples = Box::into_raw(Box::new(Examples::new()));
    let (none, [success, failure]) = (ptr::null_mut(), [Ordering::AcqRel, Ordering::Relaxed]);
    let others = TABLE
        .examples
        .compare_exchange(none, examples, success, failure);
    if others.is_err() {
        // SAFETY: it has just been made, and nobody has seen it.
        drop(unsafe { Box::from_raw(examples) });
    }
}
