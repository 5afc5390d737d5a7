//! What a program has had of its adoption.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_void};
use std::fmt::{self, Display};
use std::mem::MaybeUninit;
use std::ptr;
use std::time::{Duration, Instant};

use roving_scheduler::adopt::Inside;
use roving_scheduler::lock::Mutex;
use roving_scheduler::{Handle, PerProcess};

use crate::next::{self, Calls};
use crate::{errno, is_adopted};

/// Where a function was called, in the program or one of its libraries.
type Caller = usize;

/// A call for which a worker was handed over.
#[derive(Clone, Copy)]
struct Call {
    name: &'static str,
    caller: Caller,
    took: Duration,
}

/// What is known of such calls.
#[derive(Default)]
struct HandedOver {
    longest: Vec<Call>,
    counts: BTreeMap<(&'static str, Caller), u64>,
}

static HANDED_OVER: PerProcess<Mutex<HandedOver>> = PerProcess::new();

fn handed_over() -> &'static Mutex<HandedOver> {
    HANDED_OVER.get_or_make(Mutex::default)
}

/// Of so many calls it is told how long they took.
const LONGEST: usize = 10;

/// Makes a call for which the worker has been handed over, and notes it if calls are counted.
pub(crate) fn timed<T>(call: impl FnOnce() -> T) -> T {
    if !next::counts() {
        return call();
    }
    let caller = caller();
    next::take_last();
    let start = Instant::now();
    let result = call();
    let error = errno::get();
    let took = start.elapsed();
    if let Some(name) = next::take_last() {
        handed_over().lock().add(Call { name, caller, took });
    }
    errno::set(error);
    result
}

impl HandedOver {
    fn add(&mut self, call: Call) {
        *self.counts.entry((call.name, call.caller)).or_default() += 1;
        let place = self
            .longest
            .partition_point(|other| other.took >= call.took);
        if place < LONGEST {
            self.longest.truncate(LONGEST - 1);
            self.longest.insert(place, call);
        }
    }
}

/// Where the function was called that is being called: outside of the file that this is in, if it is a library. 0 if that is unknown.
#[inline(never)]
fn caller() -> Caller {
    struct Search {
        own: *const c_void,
        found: Caller,
    }
    extern "C" fn look(
        context: *mut unwinding::Context,
        search: *mut c_void,
    ) -> unwinding::ReasonCode {
        // SAFETY: it is lent to this for the search; the context is that of a frame.
        let (search, at) = unsafe {
            (
                &mut *search.cast::<Search>(),
                unwinding::_Unwind_GetIP(context),
            )
        };
        if at == 0 {
            return unwinding::END;
        }
        search.found = at;
        if file_of(at).is_some_and(|file| file.dli_fbase.cast_const() == search.own) {
            unwinding::GO_ON
        } else {
            unwinding::END
        }
    }
    let mut search = Search {
        own: file_of(caller as *const () as usize)
            .map_or(ptr::null(), |file| file.dli_fbase.cast_const()),
        found: 0,
    };
    // SAFETY: the search is there while it goes on.
    unsafe { unwinding::_Unwind_Backtrace(look, (&raw mut search).cast()) };
    search.found
}

/// What the compiler's library offers for stacks.
mod unwinding {
    use std::ffi::{c_int, c_void};

    pub(super) enum Context {}
    pub(super) type ReasonCode = c_int;
    pub(super) const GO_ON: ReasonCode = 0;
    pub(super) const END: ReasonCode = 4;

    unsafe extern "C" {
        pub(super) fn _Unwind_Backtrace(
            look: extern "C" fn(*mut Context, *mut c_void) -> ReasonCode,
            argument: *mut c_void,
        ) -> ReasonCode;
        pub(super) fn _Unwind_GetIP(context: *mut Context) -> usize;
    }
}

/// The file that has something at an address, and the function there.
pub(crate) fn file_of(address: usize) -> Option<libc::Dl_info> {
    let mut found = MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: there is room for the answer, which is there if it succeeds.
    unsafe {
        (libc::dladdr(ptr::without_provenance(address), found.as_mut_ptr()) != 0)
            .then(|| found.assume_init())
    }
}

/// A caller, as `function in file` or `file+0x1234`.
struct Place(Caller);

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // That is the address after the call.
        let Some(file) = file_of(self.0.wrapping_sub(1)) else {
            return f.write_str("?");
        };
        // SAFETY: the strings stay as long as the file is loaded.
        let (path, function) = unsafe {
            let function = (!file.dli_sname.is_null()).then(|| CStr::from_ptr(file.dli_sname));
            (CStr::from_ptr(file.dli_fname), function)
        };
        let path = path.to_string_lossy();
        let name = path.rsplit('/').next().unwrap_or_default();
        match function {
            Some(function) => write!(f, "{} in {name}", function.to_string_lossy()),
            None => write!(f, "{name}+{:#x}", self.0 - file.dli_fbase.addr()),
        }
    }
}

/// Counts from now on what a [`Report`] tells. Functions that were called before are left out.
#[doc(hidden)]
pub fn count() {
    next::count();
}

/// Calls `f`, which is the caller's own and no part of the program: no thread is parked in it, or cancelled.
#[doc(hidden)]
pub fn aside<T>(f: impl FnOnce() -> T) -> T {
    let _inside = Inside::enter();
    f()
}

/// What has been counted until it is shown, in lines that are indented.
#[doc(hidden)]
#[derive(Debug)]
pub struct Report;

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = |calls: &Calls| (calls.name == "pthread_create").then_some(calls.all);
        let os_threads: u64 = next::counted().filter_map(|calls| made(&calls)).sum();
        let runtime = is_adopted().then(Handle::current).and_then(Result::ok);
        let Some(metrics) = runtime.map(|runtime| runtime.metrics()) else {
            return writeln!(
                f,
                "  it was not adopted: {os_threads} threads were made, all of them OS threads"
            );
        };
        writeln!(
            f,
            "  {} green threads were made, on {} workers; {os_threads} OS threads, those of the runtime among them",
            metrics.spawned,
            metrics
                .workers
                .iter()
                .filter(|worker| !worker.is_spare)
                .count(),
        )?;
        writeln!(
            f,
            "  green threads have waited {} times without an OS thread; a worker was handed over {} times",
            metrics.parks, metrics.hand_overs,
        )?;
        let (longest, counts) = {
            let known = handed_over().lock();
            (known.longest.clone(), known.counts.clone())
        };
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|&(_, count)| Reverse(count));
        if !counts.is_empty() {
            writeln!(
                f,
                "  for calls of these functions that were known to wait in the system:"
            )?;
        }
        for ((name, caller), count) in counts {
            writeln!(f, "  {count:9}  {name}, by {}", Place(caller))?;
        }
        if !longest.is_empty() {
            writeln!(f, "  the longest of these:")?;
        }
        for Call { name, caller, took } in longest {
            let took = took.as_secs_f64() * 1e3;
            writeln!(f, "  {took:6.1} ms  {name}, by {}", Place(caller))?;
        }
        Ok(())
    }
}
