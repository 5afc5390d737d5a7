//! What is refused, and with which error.
//!
//! An engine's profile lists what it allows. Here it is the other way round, since that is the shorter list and the one that
//! says something: what a kernel would do and the profile does not let it. It is that of a container without
//! added capabilities. Calls that came to kernels after the profile are not in it.

use libc::c_long;

use crate::Feature;

/// A system call that is refused, if its arguments meet all conditions.
pub(crate) struct Refusal {
    pub(crate) call: c_long,
    pub(crate) when: Vec<Condition>,
    pub(crate) errno: i32,
}

/// What an argument, counted from 0, is compared with. Arguments have 32 bits here.
pub(crate) enum Condition {
    Is(u8, u32),
    IsNot(u8, u32),
    HasBit(u8, u32),
}

/// Docker's default profile.
pub(crate) fn docker() -> Vec<Refusal> {
    let mut refusals: Vec<Refusal> = DOCKER_REFUSES
        .iter()
        .map(|&call| Refusal::always(call, libc::EPERM))
        .collect();
    // A C library that hears so makes its threads by `clone`, whose flags a filter can read.
    refusals.push(Refusal::always(libc::SYS_clone3, libc::ENOSYS));
    for flag in [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ] {
        refusals.push(Refusal {
            call: libc::SYS_clone,
            when: vec![Condition::HasBit(0, flag.cast_unsigned())],
            errno: libc::EPERM,
        });
    }
    for family in [libc::AF_ALG, libc::AF_VSOCK] {
        refusals.push(Refusal {
            call: libc::SYS_socket,
            when: vec![Condition::Is(0, family.cast_unsigned())],
            errno: libc::EPERM,
        });
    }
    refusals.push(Refusal {
        call: libc::SYS_personality,
        when: PERSONALITIES.map(|one| Condition::IsNot(0, one)).into(),
        errno: libc::EPERM,
    });
    refusals
}

/// A kernel, or a profile, without `feature`.
pub(crate) fn of(feature: Feature) -> Vec<Refusal> {
    /// What Linux 6.13 calls them; the C library's headers may not know.
    const MADV_GUARD_INSTALL: u32 = 102;
    const MADV_GUARD_REMOVE: u32 = 103;
    const UFFDIO_POISON: u32 = 0xC020_AA08;

    match feature {
        Feature::GuardInstall => [MADV_GUARD_INSTALL, MADV_GUARD_REMOVE]
            .map(|advice| Refusal {
                call: libc::SYS_madvise,
                when: vec![Condition::Is(2, advice)],
                errno: libc::EINVAL,
            })
            .into(),
        Feature::Poison => vec![Refusal {
            call: libc::SYS_ioctl,
            when: vec![Condition::Is(1, UFFDIO_POISON)],
            errno: libc::EINVAL,
        }],
        Feature::Userfaultfd => vec![Refusal::always(libc::SYS_userfaultfd, libc::EPERM)],
        Feature::Memfd => vec![Refusal::always(libc::SYS_memfd_create, libc::EPERM)],
    }
}

impl Refusal {
    fn always(call: c_long, errno: i32) -> Self {
        Self {
            call,
            when: Vec::new(),
            errno,
        }
    }
}

/// Linux, its 32-bit address space, their `uname` of 2.6, and the question which it is.
const PERSONALITIES: [u32; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];

const DOCKER_REFUSES: &[c_long] = &[
    // Memory of others, and page faults handled by programs.
    libc::SYS_userfaultfd,
    libc::SYS_process_madvise,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    libc::SYS_mbind,
    libc::SYS_get_mempolicy,
    libc::SYS_set_mempolicy,
    libc::SYS_set_mempolicy_home_node,
    // Requests that a filter does not see.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Other processes.
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_perf_event_open,
    libc::SYS_bpf,
    libc::SYS_acct,
    // Namespaces and mounts.
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // Files past their permissions.
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_lookup_dcookie,
    // Keys, which no namespace parts.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // The machine.
    libc::SYS_clock_settime,
    libc::SYS_settimeofday,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_nfsservctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    // What nothing has used for long.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_sysfs,
    #[cfg(target_arch = "x86_64")]
    libc::SYS__sysctl,
];
