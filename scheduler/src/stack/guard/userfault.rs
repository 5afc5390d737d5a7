//! A userfaultfd, as guards use it: for ranges registered in write-protect mode, in which the first touch of
//! a page never traps; and never for faults of the kernel, so that no privilege is needed.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

use super::why::Why;

/// Names and numbers of the kernel's `linux/userfaultfd.h`. Those of the requests hold for all architectures
/// but three old ones, whose kernels refuse them.
const UFFD_USER_MODE_ONLY: libc::c_int = 1;
const UFFD_API: u64 = 0xaa;
const UFFDIO_API: libc::Ioctl = 0xc018_aa3f_u32 as libc::Ioctl;
const UFFDIO_REGISTER: libc::Ioctl = 0xc020_aa00_u32 as libc::Ioctl;
const UFFDIO_UNREGISTER: libc::Ioctl = 0x8010_aa01_u32 as libc::Ioctl;
const UFFDIO_ZEROPAGE: libc::Ioctl = 0xc020_aa04_u32 as libc::Ioctl;
const UFFDIO_WRITEPROTECT: libc::Ioctl = 0xc018_aa06_u32 as libc::Ioctl;
const UFFDIO_POISON: libc::Ioctl = 0xc020_aa08_u32 as libc::Ioctl;
const UFFD_FEATURE_PAGEFAULT_FLAG_WP: u64 = 1 << 0;
const UFFD_FEATURE_SIGBUS: u64 = 1 << 7;
const UFFD_FEATURE_POISON: u64 = 1 << 14;
const UFFDIO_REGISTER_MODE_MISSING: u64 = 1 << 0;
const UFFDIO_REGISTER_MODE_WP: u64 = 1 << 1;
const UFFDIO_WRITEPROTECT_MODE_WP: u64 = 1 << 0;

#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Range {
    start: u64,
    len: u64,
}

impl Range {
    fn new(start: usize, bytes: usize) -> Self {
        Self {
            start: start as u64,
            len: bytes as u64,
        }
    }
}

#[repr(C)]
struct Register {
    range: Range,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
struct WriteProtect {
    range: Range,
    mode: u64,
}

#[repr(C)]
struct Fill {
    range: Range,
    mode: u64,
    done: i64,
}

/// See the [module](self). Dropping it unregisters what it has registered.
#[derive(Debug)]
pub(super) struct Userfault(OwnedFd);

impl Userfault {
    /// One that can poison pages.
    pub(super) fn to_poison() -> Result<Self, Why> {
        Self::with_features(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_POISON)
    }

    /// One that can write-protect pages, and answers a write with SIGBUS.
    pub(super) fn to_write_protect() -> Result<Self, Why> {
        Self::with_features(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_SIGBUS)
    }

    fn with_features(features: u64) -> Result<Self, Why> {
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | UFFD_USER_MODE_ONLY;
        // SAFETY: it has no preconditions.
        let descriptor = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
        if descriptor < 0 {
            return Err(Why::last_os_error());
        }
        // SAFETY: it is new, and nobody else's.
        let this = Self(unsafe { OwnedFd::from_raw_fd(descriptor as libc::c_int) });
        let mut api = Api {
            api: UFFD_API,
            features,
            ioctls: 0,
        };
        this.request(UFFDIO_API, &mut api)?;
        Ok(this)
    }

    /// Registers a range of memory in write-protect mode, and in no other.
    pub(super) fn register(&self, start: usize, bytes: usize) -> Result<(), Why> {
        self.register_in(UFFDIO_REGISTER_MODE_WP, start, bytes)
    }

    /// Registers a range of memory so that [`zero`](Self::zero) may be used. A touch of a page that is not there
    /// traps until it is [registered](Self::register) otherwise.
    pub(super) fn register_to_zero(&self, start: usize, bytes: usize) -> Result<(), Why> {
        self.register_in(UFFDIO_REGISTER_MODE_MISSING, start, bytes)
    }

    fn register_in(&self, mode: u64, start: usize, bytes: usize) -> Result<(), Why> {
        let mut register = Register {
            range: Range::new(start, bytes),
            mode,
            ioctls: 0,
        };
        self.request(UFFDIO_REGISTER, &mut register)
    }

    /// Undoes [`register`](Self::register). What is write-protected there is so no longer; what is poisoned
    /// stays so.
    pub(super) fn unregister(&self, start: usize, bytes: usize) -> Result<(), Why> {
        self.request(UFFDIO_UNREGISTER, &mut Range::new(start, bytes))
    }

    /// Write-protects pages that are there, of a range that is registered.
    pub(super) fn write_protect(&self, start: usize, bytes: usize) -> Result<(), Why> {
        let mut protect = WriteProtect {
            range: Range::new(start, bytes),
            mode: UFFDIO_WRITEPROTECT_MODE_WP,
        };
        self.request(UFFDIO_WRITEPROTECT, &mut protect)
    }

    /// Makes pages be there that are not, as those of zeroes that nobody has written to are.
    pub(super) fn zero(&self, start: usize, bytes: usize) -> Result<(), Why> {
        let mut zero = Fill {
            range: Range::new(start, bytes),
            mode: 0,
            done: 0,
        };
        self.request(UFFDIO_ZEROPAGE, &mut zero)
    }

    /// Poisons pages that are not there, of a range that is registered.
    pub(super) fn poison(&self, start: usize, bytes: usize) -> Result<(), Why> {
        let mut poison = Fill {
            range: Range::new(start, bytes),
            mode: 0,
            done: 0,
        };
        self.request(UFFDIO_POISON, &mut poison)
    }

    /// `T` is what the request is defined for.
    fn request<T>(&self, request: libc::Ioctl, argument: &mut T) -> Result<(), Why> {
        // SAFETY: the argument is of the type of the request, and is only used within the call. What
        // the requests of this file change of memory, their callers answer for.
        match unsafe { libc::ioctl(self.0.as_raw_fd(), request, argument) } {
            -1 => Err(Why::last_os_error()),
            _ => Ok(()),
        }
    }

    /// What the descriptor refers to; `None` if there is no such descriptor.
    pub(super) fn identity(&self) -> Option<Identity> {
        let mut status = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: the status is written to a variable, which is read only then.
        unsafe {
            (libc::fstat(self.0.as_raw_fd(), status.as_mut_ptr()) == 0)
                .then(|| status.assume_init())
                .map(|status| Identity(status.st_dev, status.st_ino))
        }
    }

    /// Leaves the number of the descriptor alone for ever: somebody has closed it, and it may be another
    /// one's now.
    pub(super) fn abandon(self) {
        let _ = self.0.into_raw_fd();
    }
}

/// The file that a descriptor refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(libc::dev_t, libc::ino_t);
