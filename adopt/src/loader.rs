//! Loading and unloading of libraries.
//!
//! The loader holds a lock of its own while the constructors and destructors of libraries run, and whoever wants it waits in the
//! system. So what runs in them is inside of the runtime: it parks nowhere, and the threads that it makes, which it may wait for,
//! are OS threads.
//!
//! Who calls `dlopen` may matter to the loader: where it has to search for the library, it also looks where the library that calls
//! says. It knows that one from where it returns to, which must not be here then. So there the next definition is jumped to, and what is
//! said above is not so.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::{ptr, slice};

use roving_scheduler::adopt::Inside;

use crate::next::next;
use crate::{first, is_adopted};

type Open = unsafe extern "C-unwind" fn(*const c_char, c_int) -> *mut c_void;

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C-unwind" fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void {
    #[cfg(target_arch = "x86_64")]
    std::arch::naked_asm!(
        ".cfi_startproc",
        "push rdi",
        "push rsi",
        "mov rsi, [rsp + 16]",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 24",
        "call {loads}",
        "add rsp, 8",
        "pop rsi",
        "pop rdi",
        ".cfi_adjust_cfa_offset -24",
        "jmp rax",
        ".cfi_endproc",
        loads = sym loads,
    );
    #[cfg(target_arch = "aarch64")]
    std::arch::naked_asm!(
        ".cfi_startproc",
        "stp x29, x30, [sp, #-32]!",
        ".cfi_def_cfa_offset 32",
        ".cfi_offset x29, -32",
        ".cfi_offset x30, -24",
        "stp x0, x1, [sp, #16]",
        "mov x1, x30",
        "bl {loads}",
        "mov x16, x0",
        "ldp x0, x1, [sp, #16]",
        "ldp x29, x30, [sp], #32",
        ".cfi_def_cfa_offset 0",
        ".cfi_restore x29",
        ".cfi_restore x30",
        "br x16",
        ".cfi_endproc",
        loads = sym loads,
    );
}

/// Whether threads are green, or the next one would have them be.
fn concerns_this() -> bool {
    is_adopted() || first::is_asked()
}

/// What loads it for whoever has called from there.
///
/// # Safety
///
/// Null, or a string.
unsafe extern "C" fn loads(path: *const c_char, caller: *const c_void) -> Open {
    // SAFETY: the caller's promise.
    let path = (!path.is_null()).then(|| unsafe { CStr::from_ptr(path) }.to_bytes());
    // The loader replaces what begins with a `$` by what the caller's library says.
    let is_searched = path.is_none_or(|path| !path.contains(&b'/') || path.contains(&b'$'));
    if concerns_this() && !(is_searched && searches(caller)) {
        open_inside
    } else {
        // SAFETY: it is of that type.
        unsafe { next!(dlopen: Open) }
    }
}

/// Whether the library of the caller says where to search, or any does so for itself and what it has loaded.
fn searches(caller: *const c_void) -> bool {
    let caller = caller.addr();
    // SAFETY: that is what `says_where` is called with.
    unsafe {
        libc::dl_iterate_phdr(Some(says_where), ptr::from_ref(&caller).cast_mut().cast()) != 0
    }
}

/// 1 if a library says so, for a caller there.
///
/// # Safety
///
/// The loader shows a library, which stays loaded meanwhile, and the caller is a `usize`.
unsafe extern "C" fn says_where(
    library: *mut libc::dl_phdr_info,
    _size: usize,
    caller: *mut c_void,
) -> c_int {
    /// For all that a library has loaded, and for itself.
    const RPATH: usize = 15;
    const RUNPATH: usize = 29;
    // SAFETY: the promises of who calls.
    let (library, caller) = unsafe { (&*library, *caller.cast::<usize>()) };
    // SAFETY: the loader shows so many segments.
    let segments = unsafe { slice::from_raw_parts(library.dlpi_phdr, library.dlpi_phnum.into()) };
    let start = |segment: &libc::Elf64_Phdr| {
        (library.dlpi_addr as usize).wrapping_add(segment.p_vaddr as usize)
    };
    let calls = segments.iter().any(|segment| {
        let end = start(segment).wrapping_add(segment.p_memsz as usize);
        segment.p_type == libc::PT_LOAD && (start(segment)..end).contains(&caller)
    });
    let mut dynamic = segments
        .iter()
        .filter(|segment| segment.p_type == libc::PT_DYNAMIC);
    let says = dynamic.any(|segment| {
        let entries: *const [usize; 2] = ptr::with_exposed_provenance(start(segment));
        // SAFETY: the segment has entries of a tag and a value. The tag of the last is zero.
        let tags = (0..).map(|n| unsafe { (*entries.add(n))[0] });
        let mut tags = tags.take_while(|&tag| tag != 0);
        tags.any(|tag| tag == RPATH || calls && tag == RUNPATH)
    });
    says.into()
}

/// # Safety
///
/// That of the C library's.
unsafe extern "C-unwind" fn open_inside(path: *const c_char, flags: c_int) -> *mut c_void {
    let _inside = Inside::enter();
    // SAFETY: the caller's promise.
    unsafe { next!(dlopen: Open)(path, flags) }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn dlclose(library: *mut c_void) -> c_int {
    let _inside = concerns_this().then(Inside::enter);
    // SAFETY: the caller's promise.
    unsafe { next!(dlclose: unsafe extern "C-unwind" fn(*mut c_void) -> c_int)(library) }
}
