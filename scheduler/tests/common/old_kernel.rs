//! Systems that lack something, as this one plays them for a test.

// Each file of tests is a program of its own, and uses a part of this.
#![allow(dead_code)]

const MADV_GUARD_INSTALL: u32 = 102;

/// Makes the system answer `MADV_GUARD_INSTALL` as kernels before 6.13 do, which do not know it,
/// for this thread and all that it starts.
pub(crate) fn refuse_guard_install() {
    answer(
        libc::SYS_madvise,
        Some((2, MADV_GUARD_INSTALL)),
        libc::EINVAL,
    );
}

/// Hides the handler of the C library's signal to all threads, without which green threads cannot
/// have their own thread-locals.
pub(crate) fn hide_handler_of_signal_to_all_threads() {
    const SIGSETXID: u32 = 33;
    answer(libc::SYS_rt_sigaction, Some((0, SIGSETXID)), libc::EPERM);
}

/// Makes the system say that it has installed guards, though it has not.
pub(crate) fn pretend_guard_install() {
    answer(libc::SYS_madvise, Some((2, MADV_GUARD_INSTALL)), 0);
}

/// Makes the system answer `userfaultfd` as container engines do.
pub(crate) fn refuse_userfaultfd() {
    answer(libc::SYS_userfaultfd, None, libc::EPERM);
}

pub(crate) fn refuse_memfd() {
    answer(libc::SYS_memfd_create, None, libc::ENOSYS);
}

/// Makes the system refuse to let memory be written to that is there and could not be.
pub(crate) fn refuse_access() {
    const ACCESS: u32 = (libc::PROT_READ | libc::PROT_WRITE) as u32;
    answer(libc::SYS_mprotect, Some((2, ACCESS)), libc::ENOMEM);
}

/// Makes the system answer a call with an error, or with success and 0 if that is 0, for this thread and all that
/// it starts; with an argument and a value, only if that argument, the first being 0, has the value.
fn answer(call: libc::c_long, argument: Option<(u32, u32)>, error: libc::c_int) {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const UNLESS_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const ANSWER: u32 = libc::BPF_RET | libc::BPF_K;
    // Of `struct seccomp_data`: the number of the call, and its arguments, eight bytes each, of which
    // the lower half comes first.
    const CALL: u32 = 0;
    const ARGUMENTS: u32 = 16;

    let step = |code: u32, k: u32, skip: u8| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: skip,
        k,
    };
    let mut program = vec![
        step(LOAD, CALL, 0),
        step(
            UNLESS_EQUAL,
            call as u32,
            if argument.is_some() { 3 } else { 1 },
        ),
    ];
    if let Some((argument, value)) = argument {
        program.push(step(LOAD, ARGUMENTS + 8 * argument, 0));
        program.push(step(UNLESS_EQUAL, value, 1));
    }
    program.push(step(ANSWER, libc::SECCOMP_RET_ERRNO | error as u32, 0));
    program.push(step(ANSWER, libc::SECCOMP_RET_ALLOW, 0));
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the filter and its program live until the system has copied them.
    let refused = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            | libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const filter,
            )
    };
    assert_eq!(refused, 0, "{}", std::io::Error::last_os_error());
}
