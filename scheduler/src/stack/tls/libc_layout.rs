//! What the C library tells of itself.
//!
//! glibc describes the fields of its `struct pthread` to debuggers, in constants named
//! `_thread_db_*` that it exports for libthread_db; the offsets are taken from there and not
//! guessed. Whatever is missing is a reason to do without thread-locals of one's own.

use std::borrow::Cow;
use std::ffi::{CStr, c_int, c_void};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;

use super::pointer;
use super::rseq::Rseq;

/// Why something cannot be had.
pub(super) type Refusal = Cow<'static, str>;

/// Offsets are from the thread pointer, in bytes.
#[derive(Debug)]
pub(super) struct Layout {
    /// The whole block.
    pub(super) block: Range<isize>,
    /// The part of it that is for thread-locals.
    pub(super) locals: Range<isize>,
    /// The words of that which hold some when the models are made.
    pub(super) used: Range<isize>,
    /// The rest, which is kept for libraries that are loaded later.
    pub(super) surplus: Range<isize>,
    /// Whether the surplus begins exactly where all else ends, and not within a word or at a place that is not known.
    pub(super) has_clear_surplus: bool,
    /// What has been [claimed](super::claim) and is no part of a block any more.
    pub(super) claim: Option<&'static Range<isize>>,
    /// The ids of the modules whose thread-locals these are.
    pub(super) modules: Vec<usize>,
    /// The part that holds the C library's own.
    pub(super) libc_locals: Range<isize>,
    /// `struct pthread`.
    pub(super) pthread: Range<isize>,
    pub(super) align: usize,
    /// `pthread.tid`.
    pub(super) tid: isize,
    /// `pthread.list`: the next and the previous thread.
    pub(super) list: isize,
    /// `pthread.cancelhandling`.
    pub(super) cancelhandling: isize,
    /// `pthread.schedpolicy`.
    pub(super) schedpolicy: isize,
    pub(super) rseq: Rseq,
    pub(super) keys: KeyLayout,
    /// Runs what was registered with `__cxa_thread_atexit_impl`. A thread may exit in it.
    pub(super) call_tls_dtors: unsafe extern "C-unwind" fn(),
}

/// How values of `pthread_key_create`d keys are stored.
#[derive(Debug)]
pub(super) struct KeyLayout {
    /// All keys of the process: a sequence number and a destructor each.
    pub(super) keys: *const [usize; 2],
    pub(super) max_keys: usize,
    /// `pthread.specific`: pointers to arrays of values.
    pub(super) specific: isize,
    pub(super) arrays: usize,
    pub(super) values_an_array: usize,
}

impl KeyLayout {
    /// Where the pointers to arrays end.
    pub(super) fn end(&self) -> isize {
        self.specific + 8 * self.arrays.cast_signed()
    }
}

// SAFETY: `keys` points to a static of the C library, which is read with atomic loads.
unsafe impl Send for KeyLayout {}
// SAFETY: as above.
unsafe impl Sync for KeyLayout {}

/// What describes a field: its size in bits, the number of elements, its offset in bytes.
type Descriptor = [u32; 3];

impl Layout {
    pub(super) fn find() -> Result<Self, Refusal> {
        if let Some(refusal) = pointer::refusal() {
            return Err(refusal.into());
        }
        let rseq_offset: *const isize = symbol(c"__rseq_offset")?.cast();
        if module_of(next_pthread_create()) != module_of(libc::__errno_location as *const c_void) {
            return Err("a sanitizer or another tool has put itself before pthread_create".into());
        }
        let size = usize_of(c"_thread_db_sizeof_pthread")?.cast_signed();
        let (static_size, align) = static_locals()?;
        let (pthread, locals) = if pointer::STRUCT_IS_ABOVE {
            (0..size, size - static_size..0)
        } else {
            (-size..0, pointer::HEAD..static_size)
        };
        let field = |name| Ok::<_, Refusal>(pthread.start + offset(name, &pthread)?);
        if pointer::STRUCT_IS_ABOVE && offset(c"_thread_db_pthread_dtvp", &pthread)? != pointer::DTV
        {
            return Err("the C library keeps the vector of dynamic thread-locals elsewhere than the ABI has it".into());
        }
        if [
            offset(c"_thread_db_list_t_next", &pthread)?,
            offset(c"_thread_db_list_t_prev", &pthread)?,
        ] != [0, 8]
        {
            return Err("the C library lists its threads in an unknown way".into());
        }
        let modules = Modules::loaded();
        // SAFETY: a constant of type ptrdiff_t.
        let rseq = Rseq::at(unsafe { *rseq_offset }, &pthread, &locals)?;
        let parts = Parts::of(&locals, &modules, &rseq)?;
        Ok(Self {
            block: pthread.start.min(locals.start)..pthread.end.max(locals.end),
            libc_locals: modules.libc_locals(&locals)?,
            used: parts.used,
            surplus: parts.surplus,
            has_clear_surplus: parts.has_clear_surplus && rseq.is_exact,
            claim: None,
            modules: modules.ids,
            align,
            tid: field(c"_thread_db_pthread_tid")?,
            list: field(c"_thread_db_pthread_list")?,
            cancelhandling: field(c"_thread_db_pthread_cancelhandling")?,
            schedpolicy: field(c"_thread_db_pthread_schedpolicy")?,
            rseq,
            keys: KeyLayout::find(&pthread)?,
            // SAFETY: this is the function's type.
            call_tls_dtors: unsafe {
                std::mem::transmute::<*const c_void, unsafe extern "C-unwind" fn()>(symbol(
                    c"__call_tls_dtors",
                )?)
            },
            locals,
            pthread,
        })
    }
}

impl Layout {
    /// Leaves out of blocks what has been claimed, and with it the surplus. All other static thread-locals that there are, are on
    /// this side of it.
    pub(super) fn leave_out(&mut self, claim: &'static Range<isize>) {
        let nothing = if pointer::STRUCT_IS_ABOVE {
            self.locals.start = claim.end & !7;
            self.block.start = self.locals.start;
            self.locals.start..self.locals.start
        } else {
            self.locals.end = (claim.start + 7) & !7;
            self.block.end = self.locals.end;
            self.locals.end..self.locals.end
        };
        self.used = self.locals.clone();
        self.surplus = nothing;
        self.claim = Some(claim);
    }
}

impl KeyLayout {
    fn find(pthread: &Range<isize>) -> Result<Self, Refusal> {
        let [bits, max_keys, _] = descriptor(c"_thread_db___pthread_keys")?;
        let [specific_bits, _, specific] = descriptor(c"_thread_db_pthread_specific")?;
        let value = usize_of(c"_thread_db_sizeof_pthread_key_data")?;
        let array = usize_of(c"_thread_db_sizeof_pthread_key_data_level2")?;
        let fields = [
            offset(c"_thread_db_pthread_key_struct_seq", pthread)?,
            offset(c"_thread_db_pthread_key_struct_destr", pthread)?,
            offset(c"_thread_db_pthread_key_data_seq", pthread)?,
            offset(c"_thread_db_pthread_key_data_data", pthread)?,
        ];
        let this = Self {
            keys: symbol(c"__pthread_keys")?.cast(),
            max_keys: max_keys as usize,
            specific: pthread.start + specific as isize,
            arrays: specific_bits as usize / 64,
            values_an_array: array / 16,
        };
        let expected = bits == 128
            && value == 16
            && fields == [0, 8, 0, 8]
            && this.arrays * this.values_an_array == this.max_keys;
        if expected {
            Ok(this)
        } else {
            Err("the C library stores the values of pthread keys in an unknown way".into())
        }
    }
}

pub(super) fn symbol(name: &CStr) -> Result<*const c_void, Refusal> {
    // SAFETY: dlsym with a valid name.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    if found.is_null() {
        let name = name.to_string_lossy();
        Err(format!("the C library does not export {name}, as glibc does from 2.35 on").into())
    } else {
        Ok(found)
    }
}

/// `pthread_create` as the program has it, unless that is in the same module as this crate, which then has put it there and
/// knows what it does: then the next one.
fn next_pthread_create() -> *const c_void {
    let first = libc::pthread_create as *const c_void;
    if module_of(first) == module_of(next_pthread_create as *const c_void) {
        // SAFETY: dlsym with a valid name.
        unsafe { libc::dlsym(libc::RTLD_NEXT, c"pthread_create".as_ptr()) }
    } else {
        first
    }
}

/// The address of the program or library that `function` is in.
fn module_of(function: *const c_void) -> usize {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: dladdr takes any address, and zeroes are a valid answer.
    unsafe {
        libc::dladdr(function, info.as_mut_ptr());
        info.assume_init().dli_fbase.addr()
    }
}

pub(super) fn usize_of(name: &CStr) -> Result<usize, Refusal> {
    let size: *const u32 = symbol(name)?.cast();
    // SAFETY: the sizes are constants of type uint32_t.
    Ok(unsafe { *size } as usize)
}

fn descriptor(name: &CStr) -> Result<Descriptor, Refusal> {
    let descriptor: *const Descriptor = symbol(name)?.cast();
    // SAFETY: the descriptors are constant arrays of three uint32_t.
    Ok(unsafe { *descriptor })
}

/// The offset of a field, which must lie in a structure of the size of `within`.
fn offset(name: &CStr, within: &Range<isize>) -> Result<isize, Refusal> {
    let [_, _, offset] = descriptor(name)?;
    let offset = offset as isize;
    if offset < within.end - within.start {
        Ok(offset)
    } else {
        Err(format!("the C library describes {} wrongly", name.to_string_lossy()).into())
    }
}

/// The size of all static thread-locals with the surplus for libraries that are loaded later (and
/// on some processors with `struct pthread`), and their alignment.
fn static_locals() -> Result<(isize, usize), Refusal> {
    let info = symbol(c"_dl_get_tls_static_info")?;
    // SAFETY: this is the function's type.
    let info = unsafe {
        std::mem::transmute::<*const c_void, unsafe extern "C" fn(*mut usize, *mut usize)>(info)
    };
    let (mut size, mut align) = (0, 0);
    // SAFETY: it writes to both.
    unsafe { info(&mut size, &mut align) };
    if align.is_power_of_two() && align <= 64 && size.is_multiple_of(8) && size <= 64 << 10 {
        Ok((size.cast_signed(), align.max(64)))
    } else {
        Err(
            format!("static thread-locals of {size} bytes, aligned to {align}, are too large")
                .into(),
        )
    }
}

/// The parts of the static thread-locals, as [`Layout`] has them.
struct Parts {
    used: Range<isize>,
    surplus: Range<isize>,
    has_clear_surplus: bool,
}

impl Parts {
    fn of(locals: &Range<isize>, modules: &Modules, rseq: &Rseq) -> Result<Self, Refusal> {
        let area = &rseq.area;
        if modules
            .within(locals)
            .any(|module| module.start < area.end && area.start < module.end)
        {
            return Err(
                "the C library's area for restartable sequences overlaps thread-locals".into(),
            );
        }
        let exact = modules.used(locals);
        // All that is not surplus: that area, too, if it is outermost.
        let taken = if contains(locals, area) {
            exact.start.min(area.start)..exact.end.max(area.end)
        } else {
            exact.clone()
        };
        let taken_words = (taken.start + 7) & !7..taken.end & !7;
        Ok(Self {
            surplus: if pointer::STRUCT_IS_ABOVE {
                locals.start..taken_words.start
            } else {
                taken_words.end..locals.end
            },
            has_clear_surplus: taken == taken_words,
            // A word that they share with the surplus is the surplus's.
            used: if taken == exact {
                taken_words
            } else {
                exact.start & !7..(exact.end + 7) & !7
            },
        })
    }
}

pub(super) fn contains(whole: &Range<isize>, part: &Range<isize>) -> bool {
    whole.start <= part.start && part.end <= whole.end
}

/// The program and its libraries, as far as they have thread-locals. Where those are is seen from the
/// current thread.
struct Modules {
    ids: Vec<usize>,
    locals: Vec<Range<usize>>,
}

impl Modules {
    fn loaded() -> Self {
        unsafe extern "C" fn visit(
            module: *mut libc::dl_phdr_info,
            _size: usize,
            found: *mut c_void,
        ) -> c_int {
            // SAFETY: dl_iterate_phdr passes a module, and what it was given.
            let (module, found) = unsafe { (&*module, &mut *found.cast::<Modules>()) };
            let start = module.dlpi_tls_data.addr();
            for index in 0..module.dlpi_phnum {
                // SAFETY: the module has so many headers.
                let header = unsafe { &*module.dlpi_phdr.add(index as usize) };
                if header.p_type == libc::PT_TLS {
                    found.ids.push(module.dlpi_tls_modid);
                    if start != 0 {
                        found.locals.push(start..start + header.p_memsz as usize);
                    }
                }
            }
            0
        }

        let mut found = Self {
            ids: Vec::new(),
            locals: Vec::new(),
        };
        // SAFETY: `visit` takes what it is given here.
        unsafe { libc::dl_iterate_phdr(Some(visit), ptr::from_mut(&mut found).cast()) };
        found.ids.sort_unstable();
        found
    }

    /// The thread-locals that lie within `block`, from the thread pointer.
    fn within(&self, block: &Range<isize>) -> impl Iterator<Item = Range<isize>> {
        let pointer = pointer::current();
        let offset = move |address: usize| address.wrapping_sub(pointer).cast_signed();
        let locals = self.locals.iter();
        locals
            .map(move |locals| offset(locals.start)..offset(locals.end))
            .filter(|locals| contains(block, locals))
    }

    /// The part of `block` that holds thread-locals of modules.
    fn used(&self, block: &Range<isize>) -> Range<isize> {
        if pointer::STRUCT_IS_ABOVE {
            let lowest = self.within(block).map(|locals| locals.start).min();
            lowest.unwrap_or(block.end)..block.end
        } else {
            let highest = self.within(block).map(|locals| locals.end).max();
            block.start..highest.unwrap_or(block.start)
        }
    }

    /// The C library's own: those with `errno`.
    fn libc_locals(&self, block: &Range<isize>) -> Result<Range<isize>, Refusal> {
        // SAFETY: it has no preconditions.
        let errno = unsafe { libc::__errno_location() }.addr();
        let errno = errno.wrapping_sub(pointer::current()).cast_signed();
        self.within(block)
            .find(|locals| locals.contains(&errno))
            .ok_or_else(|| {
                "the C library's own thread-locals are not where they were expected".into()
            })
    }
}

/// The ids of the modules that have thread-locals now.
pub(super) fn modules_with_locals() -> Vec<usize> {
    Modules::loaded().ids
}
