//! Kernels before 6.13, as the system plays them for a test.

/// Makes the system answer `MADV_GUARD_INSTALL` as kernels before 6.13 do, which do not know it,
/// for this thread and all that it starts.
pub(crate) fn refuse_guard_install() {
    const MADV_GUARD_INSTALL: u32 = 102;
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const UNLESS_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const ANSWER: u32 = libc::BPF_RET | libc::BPF_K;
    // Of `struct seccomp_data`: the number of the call, and the lower half of its third argument.
    const CALL: u32 = 0;
    const THIRD_ARGUMENT: u32 = 16 + 2 * 8;

    let step = |code: u32, k: u32, skip: u8| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: skip,
        k,
    };
    let mut program = [
        step(LOAD, CALL, 0),
        step(UNLESS_EQUAL, libc::SYS_madvise as u32, 3),
        step(LOAD, THIRD_ARGUMENT, 0),
        step(UNLESS_EQUAL, MADV_GUARD_INSTALL, 1),
        step(ANSWER, libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32, 0),
        step(ANSWER, libc::SECCOMP_RET_ALLOW, 0),
    ];
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
