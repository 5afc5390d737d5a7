//! A library that has nothing but thread-locals.
//!
//! It is made here, byte by byte, in a file that is in memory and has no name. There is no code in it, and none of its pages is
//! to be executed. All that the loader finds is a piece of *static* thread-locals, which begin as zeroes, and one word to fill in:
//! where these are, from the thread pointer. That such a word is there makes the loader give them a place in the block of every
//! thread, or refuse the library: this is how code of the model *initial-exec* finds its thread-locals.

use std::ffi::{CStr, CString, c_char, c_void};
use std::fs::{self, File};
use std::io::{self, Write};
use std::mem::{offset_of, size_of};
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr;

use super::libc_layout::Refusal;
use crate::protocol::lock::Inside;

const NAME: &CStr = c"roving-thread-locals";
/// Linux's flag for a file that is never executed (6.3), which libc does not name everywhere yet.
const MFD_NOEXEC_SEAL: libc::c_uint = 8;

#[cfg(target_arch = "x86_64")]
const MACHINE: libc::Elf64_Half = libc::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: libc::Elf64_Half = libc::EM_AARCH64;
/// The relocation by which a word becomes the distance of a thread-local from the thread pointer.
#[cfg(target_arch = "x86_64")]
const FROM_THREAD_POINTER: usize = 18;
#[cfg(target_arch = "aarch64")]
const FROM_THREAD_POINTER: usize = 1030;

/// As large as pages are anywhere.
const PAGE: u64 = 64 << 10;
const SEGMENTS: usize = 4;
/// Entries of the table for the loader, each a tag and a value.
const ENTRIES: usize = 9;

/// The kinds of entries, of which the C library's `elf.h` has all, and libc none.
const STRTAB: usize = 5;
const SYMTAB: usize = 6;
const RELA: usize = 7;
const RELASZ: usize = 8;
const RELAENT: usize = 9;
const STRSZ: usize = 10;
const SYMENT: usize = 11;
const FLAGS: usize = 30;
const END: usize = 0;
/// A flag: the library wants static thread-locals.
const STATIC_TLS: usize = 16;

/// The file. It is mapped as a whole, and may be written to where it is mapped.
#[repr(C)]
struct Image {
    header: libc::Elf64_Ehdr,
    segments: [libc::Elf64_Phdr; SEGMENTS],
    dynamic: [[usize; 2]; ENTRIES],
    /// The one that every table begins with. It stands for the library itself.
    symbol: libc::Elf64_Sym,
    /// Where, what and how much more.
    relocation: [usize; 3],
    /// The word to fill in.
    place: usize,
    /// The empty string.
    strings: usize,
}

impl Image {
    /// That of a library with so many bytes of thread-locals, which lie anywhere.
    fn new(bytes: usize) -> Self {
        const {
            let words = offset_of!(Image, dynamic) / 8 + 2 * ENTRIES + 3 + 3 + 2;
            assert!(size_of::<Self>() == 8 * words, "there is no padding");
        }
        let segment =
            |kind, flags, at: usize, in_file: usize, size: usize, align| libc::Elf64_Phdr {
                p_type: kind,
                p_flags: flags,
                p_offset: at as u64,
                p_vaddr: at as u64,
                p_paddr: at as u64,
                p_filesz: in_file as u64,
                p_memsz: size as u64,
                p_align: align,
            };
        let (data, whole) = (libc::PF_R | libc::PF_W, size_of::<Self>());
        let (dynamic, of_dynamic) = (
            offset_of!(Self, dynamic),
            size_of::<[[usize; 2]; ENTRIES]>(),
        );
        let mut header = libc::Elf64_Ehdr {
            e_ident: [0; 16],
            e_type: libc::ET_DYN,
            e_machine: MACHINE,
            e_version: libc::EV_CURRENT,
            e_entry: 0,
            e_phoff: offset_of!(Self, segments) as u64,
            e_shoff: 0,
            e_flags: 0,
            e_ehsize: size_of::<libc::Elf64_Ehdr>() as u16,
            e_phentsize: size_of::<libc::Elf64_Phdr>() as u16,
            e_phnum: SEGMENTS as u16,
            e_shentsize: size_of::<libc::Elf64_Shdr>() as u16,
            e_shnum: 0,
            e_shstrndx: 0,
        };
        // The magic number, 64 bits, little endian, the only version.
        header.e_ident[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        Self {
            header,
            segments: [
                segment(libc::PT_LOAD, data, 0, whole, whole, PAGE),
                segment(libc::PT_DYNAMIC, data, dynamic, of_dynamic, of_dynamic, 8),
                segment(libc::PT_TLS, libc::PF_R, whole, 0, bytes, 1),
                // Without it a loader takes it that stacks must be executable.
                segment(libc::PT_GNU_STACK, data, 0, 0, 0, 16),
            ],
            dynamic: [
                [STRTAB, offset_of!(Self, strings)],
                [STRSZ, 1],
                [SYMTAB, offset_of!(Self, symbol)],
                [SYMENT, size_of::<libc::Elf64_Sym>()],
                [RELA, offset_of!(Self, relocation)],
                [RELASZ, size_of::<[usize; 3]>()],
                [RELAENT, size_of::<[usize; 3]>()],
                [FLAGS, STATIC_TLS],
                [END, 0],
            ],
            symbol: libc::Elf64_Sym {
                st_name: 0,
                st_info: 0,
                st_other: 0,
                st_shndx: 0,
                st_value: 0,
                st_size: 0,
            },
            relocation: [offset_of!(Self, place), FROM_THREAD_POINTER, 0],
            place: 0,
            strings: 0,
        }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: whole integers without padding.
        unsafe { std::slice::from_raw_parts(ptr::from_ref(self).cast(), size_of::<Self>()) }
    }
}

/// A library with thread-locals and nothing else, which is loaded.
#[derive(Debug)]
pub(super) struct Library {
    handle: *mut c_void,
    /// Where its thread-locals begin, from the thread pointer.
    pub(super) start: isize,
    /// Whoever looks into what is loaded finds it by the name of this descriptor.
    file: File,
}

impl Library {
    /// Loads one with so many bytes.
    pub(super) fn load(bytes: usize) -> Result<Self, Refusal> {
        let _inside = Inside::enter();
        let file = file_of(&Image::new(bytes))
            .map_err(|error| format!("a library in memory cannot be made: {error}"))?;
        let path = path_of(&file).map_err(|error| format!("/proc cannot be read: {error}"))?;
        // SAFETY: the name ends with a zero; there is no code in the library that would run.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            return Err(last_error().into());
        }
        let start = match place(handle) {
            Ok(start) => start,
            Err(why) => {
                // SAFETY: it was loaded here, and nobody uses it.
                unsafe { libc::dlclose(handle) };
                return Err(why);
            }
        };
        Ok(Self {
            handle,
            start,
            file,
        })
    }

    /// Takes it out again. Its thread-locals are the C library's.
    pub(super) fn unload(self) {
        let _inside = Inside::enter();
        // SAFETY: it was loaded here, and nobody uses it.
        unsafe { libc::dlclose(self.handle) };
    }

    /// Never takes it out. Nobody else can, for nobody knows the handle.
    pub(super) fn keep(self) {
        std::mem::forget(self.file);
    }
}

/// What the loader has put into the word that it had to fill in.
fn place(handle: *mut c_void) -> Result<isize, Refusal> {
    const RTLD_DI_LINKMAP: libc::c_int = 2;
    /// How `struct link_map` begins.
    #[repr(C)]
    struct LinkMap {
        address: usize,
        name: *const c_char,
        dynamic: *const c_void,
    }
    let mut map: *const LinkMap = ptr::null();
    // SAFETY: the handle of what is loaded, and a pointer of the type that is asked for.
    let told = unsafe { libc::dlinfo(handle, RTLD_DI_LINKMAP, (&raw mut map).cast()) };
    if told != 0 || map.is_null() {
        return Err(last_error().into());
    }
    // SAFETY: what it has told is there as long as the library is loaded.
    let LinkMap {
        address, dynamic, ..
    } = unsafe { map.read() };
    if dynamic.addr() != address + offset_of!(Image, dynamic) {
        return Err("the C library has loaded another library than it was given".into());
    }
    let word = ptr::with_exposed_provenance::<isize>(address + offset_of!(Image, place));
    // SAFETY: within the image, which is mapped at that address.
    Ok(unsafe { word.read() })
}

/// What the last call of the loader has failed for.
fn last_error() -> String {
    // SAFETY: it has no preconditions, and what it gives is there until the next call.
    unsafe {
        let told = libc::dlerror();
        if told.is_null() {
            return "the C library does not say why".to_owned();
        }
        CStr::from_ptr(told).to_string_lossy().into_owned()
    }
}

fn file_of(image: &Image) -> io::Result<File> {
    let flags = libc::MFD_CLOEXEC;
    // SAFETY: the name ends with a zero.
    let create = |flags| unsafe { libc::memfd_create(NAME.as_ptr(), flags) };
    let mut descriptor = create(flags | MFD_NOEXEC_SEAL);
    if descriptor < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        descriptor = create(flags);
    }
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is new, and nobody else's.
    let mut file = unsafe { File::from_raw_fd(descriptor) };
    file.write_all(image.bytes())?;
    Ok(file)
}

/// By which name everybody finds it: the number of this process is the one that it has where `/proc` comes from.
fn path_of(file: &File) -> io::Result<CString> {
    let process = fs::read_link("/proc/self")?;
    let path = format!("/proc/{}/fd/{}", process.display(), file.as_raw_fd());
    Ok(CString::new(path)?)
}
