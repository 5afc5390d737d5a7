//! The list of the functions that the C library exports, `blocking-functions.txt`, is whole and true.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs;
use std::mem::MaybeUninit;

/// What POSIX says may wait, as far as there is such a function: its points of cancellation.
const OF_POSIX: &str = "accept aio_suspend clock_nanosleep close connect creat fcntl fdatasync fsync getaddrinfo getnameinfo \
    lockf mq_receive mq_send mq_timedreceive mq_timedsend msgrcv msgsnd msync mtx_lock mtx_timedlock cnd_wait cnd_timedwait \
    nanosleep open openat pause pclose poll popen pread pselect pthread_barrier_wait pthread_cond_timedwait pthread_cond_wait \
    pthread_join pthread_mutex_lock pthread_mutex_timedlock pthread_once pthread_rwlock_rdlock pthread_rwlock_timedrdlock \
    pthread_rwlock_timedwrlock pthread_rwlock_wrlock pthread_spin_lock pwrite read readv recv recvfrom recvmsg select \
    sem_timedwait sem_wait send sendmsg sendto sigsuspend sigtimedwait sigwait sigwaitinfo sleep system tcdrain thrd_join \
    thrd_sleep wait waitid waitpid write writev";

/// What becomes of each function, by its name.
fn lists() -> BTreeMap<&'static str, &'static str> {
    let mut all = BTreeMap::new();
    let mut list = None;
    for line in include_str!("../blocking-functions.txt").lines() {
        if let Some(title) = line.strip_prefix("== ") {
            list = Some(title.split(':').next().unwrap());
        } else if let Some(list) = list {
            for name in line.split_whitespace() {
                assert_eq!(all.insert(name, list), None, "{name} is in two lists");
            }
        }
    }
    all
}

fn is_defined_here(list: &str) -> bool {
    ["taken", "handed over"].contains(&list)
}

/// Where something is that is asked for by its name, or by an address in it.
fn file_of(name: &str) -> Option<String> {
    let name = CString::new(name).unwrap();
    let mut found = MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: a string, and room for an answer that is there if it succeeds.
    unsafe {
        let address = libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr());
        if address.is_null() || libc::dladdr(address, found.as_mut_ptr()) == 0 {
            return None;
        }
        let file = CStr::from_ptr(found.assume_init().dli_fname);
        Some(file.to_str().unwrap().to_owned())
    }
}

/// The functions that a library exports: of its dynamic symbols those that are defined, and code. And whether it is for programs that are
/// linked today, or only for those that were linked with an older one.
fn exported(library: &[u8]) -> BTreeMap<String, bool> {
    let number = |at: usize, bytes: usize| {
        let mut number = [0; 8];
        number[..bytes].copy_from_slice(&library[at..at + bytes]);
        u64::from_le_bytes(number) as usize
    };
    let section = |index: usize| number(0x28, 8) + index * number(0x3a, 2);
    let section_of_type = |wanted| {
        let is_wanted = |&index: &usize| number(section(index) + 4, 4) == wanted;
        section((0..number(0x3c, 2)).find(is_wanted).unwrap())
    };
    const DYNSYM: usize = 11;
    const VERSIONS: usize = 0x6fff_ffff;
    let symbols = section_of_type(DYNSYM);
    let versions = number(section_of_type(VERSIONS) + 0x18, 8);
    let names = number(section(number(symbols + 0x28, 4)) + 0x18, 8);
    let (start, size) = (number(symbols + 0x18, 8), number(symbols + 0x20, 8));
    let mut exported = BTreeMap::new();
    for (index, at) in (start..start + size).step_by(24).enumerate() {
        const CODE: [usize; 2] = [2, 10];
        let is_defined = number(at + 6, 2) != 0;
        let is_local = number(at + 4, 1) >> 4 == 0;
        if is_defined && !is_local && CODE.contains(&(number(at + 4, 1) & 0xf)) {
            let name = CStr::from_bytes_until_nul(&library[names + number(at, 4)..]).unwrap();
            const IS_HIDDEN: usize = 0x8000;
            let is_of_today = number(versions + 2 * index, 2) & IS_HIDDEN == 0;
            *exported
                .entry(name.to_str().unwrap().to_owned())
                .or_default() |= is_of_today;
        }
    }
    exported
}

#[test]
fn the_list_is_whole_and_true() {
    roving_adopt::adopt().unwrap();
    let lists = lists();
    // Of these, nobody defines the one anew, and everybody the other.
    let c_library = file_of("gnu_get_libc_version").unwrap();
    let program = file_of("pthread_create").unwrap();
    let exported = exported(&fs::read(&c_library).unwrap());
    assert!(exported.len() > 1000);
    let mut faults = Vec::new();
    for (name, is_of_today) in &exported {
        let is_here = file_of(name).is_some_and(|file| file == program);
        match lists.get(&**name) {
            None => faults.push(format!("{name} is in no list")),
            // The linker keeps only what a program may be asked for: `__send` of aarch64 is for programs of old.
            Some(list) if is_defined_here(list) && !is_here && *is_of_today => {
                faults.push(format!("{name} is not defined here"));
            }
            Some(list) if !is_defined_here(list) && is_here => {
                faults.push(format!("{name} is defined here"));
            }
            Some(_) => {}
        }
    }
    for name in OF_POSIX.split_whitespace() {
        if lists.get(name).is_none_or(|&list| list == "no wait") {
            faults.push(format!("{name} may wait"));
        }
    }
    assert!(
        faults.is_empty(),
        "with {c_library}:\n{}",
        faults.join("\n")
    );
}
