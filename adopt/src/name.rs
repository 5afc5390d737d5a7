//! Looking up names: of hosts, networks, services, users and groups.
//!
//! The C library reads files, asks servers and loads modules for it, within itself, and holds locks meanwhile. So all of it is
//! handed over. The functions that are not for several threads keep what they have found in one place, here too.

use std::ffi::{c_char, c_int, c_uchar, c_uint, c_void};

use libc::{addrinfo, gid_t, group, hostent, passwd, sockaddr, socklen_t, spwd, timespec, uid_t};

use crate::hand_over::handed_over;

/// What the C library describes and this crate only passes on.
type Opaque = *mut c_void;
type Name = *const c_char;
type Buffer = *mut c_char;

// Hosts, by whatever means the system is set up for.
handed_over! {
    fn getaddrinfo(node: Name, service: Name, hints: *const addrinfo, found: *mut *mut addrinfo) -> c_int;
    fn getnameinfo(address: *const sockaddr, length: socklen_t, host: Buffer, host_length: socklen_t,
        service: Buffer, service_length: socklen_t, flags: c_int) -> c_int;
    fn gai_suspend(list: *const Opaque, count: c_int, timeout: *const timespec) -> c_int;
    fn gethostbyname(name: Name) -> *mut hostent;
    fn gethostbyname2(name: Name, family: c_int) -> *mut hostent;
    fn gethostbyaddr(address: *const c_void, length: socklen_t, family: c_int) -> *mut hostent;
    fn gethostent() -> *mut hostent;
    fn gethostbyname_r(name: Name, host: *mut hostent, buffer: Buffer, length: usize,
        found: *mut *mut hostent, error: *mut c_int) -> c_int;
    fn gethostbyname2_r(name: Name, family: c_int, host: *mut hostent, buffer: Buffer, length: usize,
        found: *mut *mut hostent, error: *mut c_int) -> c_int;
    fn gethostbyaddr_r(address: *const c_void, address_length: socklen_t, family: c_int, host: *mut hostent,
        buffer: Buffer, length: usize, found: *mut *mut hostent, error: *mut c_int) -> c_int;
    fn gethostent_r(host: *mut hostent, buffer: Buffer, length: usize, found: *mut *mut hostent,
        error: *mut c_int) -> c_int;
    fn gethostid() -> std::ffi::c_long;
}

// The name servers themselves.
handed_over! {
    fn res_query(name: Name, class: c_int, kind: c_int, answer: *mut c_uchar, length: c_int) -> c_int;
    fn __res_query(name: Name, class: c_int, kind: c_int, answer: *mut c_uchar, length: c_int) -> c_int;
    fn res_search(name: Name, class: c_int, kind: c_int, answer: *mut c_uchar, length: c_int) -> c_int;
    fn __res_search(name: Name, class: c_int, kind: c_int, answer: *mut c_uchar, length: c_int) -> c_int;
    fn res_querydomain(name: Name, domain: Name, class: c_int, kind: c_int, answer: *mut c_uchar,
        length: c_int) -> c_int;
    fn __res_querydomain(name: Name, domain: Name, class: c_int, kind: c_int, answer: *mut c_uchar,
        length: c_int) -> c_int;
    fn res_send(message: *const c_uchar, message_length: c_int, answer: *mut c_uchar, length: c_int) -> c_int;
    fn __res_send(message: *const c_uchar, message_length: c_int, answer: *mut c_uchar, length: c_int) -> c_int;
    fn res_nquery(state: Opaque, name: Name, class: c_int, kind: c_int, answer: *mut c_uchar,
        length: c_int) -> c_int;
    fn __res_nquery(state: Opaque, name: Name, class: c_int, kind: c_int, answer: *mut c_uchar,
        length: c_int) -> c_int;
    fn res_nsearch(state: Opaque, name: Name, class: c_int, kind: c_int, answer: *mut c_uchar,
        length: c_int) -> c_int;
    fn __res_nsearch(state: Opaque, name: Name, class: c_int, kind: c_int, answer: *mut c_uchar,
        length: c_int) -> c_int;
    fn res_nquerydomain(state: Opaque, name: Name, domain: Name, class: c_int, kind: c_int,
        answer: *mut c_uchar, length: c_int) -> c_int;
    fn __res_nquerydomain(state: Opaque, name: Name, domain: Name, class: c_int, kind: c_int,
        answer: *mut c_uchar, length: c_int) -> c_int;
    fn res_nsend(state: Opaque, message: *const c_uchar, message_length: c_int, answer: *mut c_uchar,
        length: c_int) -> c_int;
    fn __res_nsend(state: Opaque, message: *const c_uchar, message_length: c_int, answer: *mut c_uchar,
        length: c_int) -> c_int;
}

// Users and groups, which a directory server may know.
handed_over! {
    fn getpwnam(name: Name) -> *mut passwd;
    fn getpwuid(user: uid_t) -> *mut passwd;
    fn getpwent() -> *mut passwd;
    fn getpwnam_r(name: Name, user: *mut passwd, buffer: Buffer, length: usize, found: *mut *mut passwd) -> c_int;
    fn getpwuid_r(id: uid_t, user: *mut passwd, buffer: Buffer, length: usize, found: *mut *mut passwd) -> c_int;
    fn getpwent_r(user: *mut passwd, buffer: Buffer, length: usize, found: *mut *mut passwd) -> c_int;
    fn getpw(id: uid_t, buffer: Buffer) -> c_int;
    fn getgrnam(name: Name) -> *mut group;
    fn getgrgid(group: gid_t) -> *mut group;
    fn getgrent() -> *mut group;
    fn getgrnam_r(name: Name, group: *mut group, buffer: Buffer, length: usize, found: *mut *mut group) -> c_int;
    fn getgrgid_r(id: gid_t, group: *mut group, buffer: Buffer, length: usize, found: *mut *mut group) -> c_int;
    fn getgrent_r(group: *mut group, buffer: Buffer, length: usize, found: *mut *mut group) -> c_int;
    fn getgrouplist(user: Name, group: gid_t, groups: *mut gid_t, count: *mut c_int) -> c_int;
    fn initgroups(user: Name, group: gid_t) -> c_int;
    fn getspnam(name: Name) -> *mut spwd;
    fn getspent() -> *mut spwd;
    fn getspnam_r(name: Name, user: *mut spwd, buffer: Buffer, length: usize, found: *mut *mut spwd) -> c_int;
    fn getspent_r(user: *mut spwd, buffer: Buffer, length: usize, found: *mut *mut spwd) -> c_int;
    fn getsgnam(name: Name) -> Opaque;
    fn getsgent() -> Opaque;
    fn getsgnam_r(name: Name, group: Opaque, buffer: Buffer, length: usize, found: *mut Opaque) -> c_int;
    fn getsgent_r(group: Opaque, buffer: Buffer, length: usize, found: *mut Opaque) -> c_int;
}

// Networks, services, protocols and the like.
handed_over! {
    fn getnetbyname(name: Name) -> Opaque;
    fn getnetbyaddr(network: c_uint, family: c_int) -> Opaque;
    fn getnetent() -> Opaque;
    fn getnetbyname_r(name: Name, network: Opaque, buffer: Buffer, length: usize, found: *mut Opaque,
        error: *mut c_int) -> c_int;
    fn getnetbyaddr_r(address: c_uint, family: c_int, network: Opaque, buffer: Buffer, length: usize,
        found: *mut Opaque, error: *mut c_int) -> c_int;
    fn getnetent_r(network: Opaque, buffer: Buffer, length: usize, found: *mut Opaque, error: *mut c_int) -> c_int;
    fn getservbyname(name: Name, protocol: Name) -> Opaque;
    fn getservbyport(port: c_int, protocol: Name) -> Opaque;
    fn getservent() -> Opaque;
    fn getservbyname_r(name: Name, protocol: Name, service: Opaque, buffer: Buffer, length: usize,
        found: *mut Opaque) -> c_int;
    fn getservbyport_r(port: c_int, protocol: Name, service: Opaque, buffer: Buffer, length: usize,
        found: *mut Opaque) -> c_int;
    fn getservent_r(service: Opaque, buffer: Buffer, length: usize, found: *mut Opaque) -> c_int;
    fn getprotobyname(name: Name) -> Opaque;
    fn getprotobynumber(number: c_int) -> Opaque;
    fn getprotoent() -> Opaque;
    fn getprotobyname_r(name: Name, protocol: Opaque, buffer: Buffer, length: usize, found: *mut Opaque) -> c_int;
    fn getprotobynumber_r(number: c_int, protocol: Opaque, buffer: Buffer, length: usize,
        found: *mut Opaque) -> c_int;
    fn getprotoent_r(protocol: Opaque, buffer: Buffer, length: usize, found: *mut Opaque) -> c_int;
    fn getrpcbyname(name: Name) -> Opaque;
    fn getrpcbynumber(number: c_int) -> Opaque;
    fn getrpcent() -> Opaque;
    fn getrpcbyname_r(name: Name, program: Opaque, buffer: Buffer, length: usize, found: *mut Opaque) -> c_int;
    fn getrpcbynumber_r(number: c_int, program: Opaque, buffer: Buffer, length: usize,
        found: *mut Opaque) -> c_int;
    fn getrpcent_r(program: Opaque, buffer: Buffer, length: usize, found: *mut Opaque) -> c_int;
    fn getaliasbyname(name: Name) -> Opaque;
    fn getaliasent() -> Opaque;
    fn getaliasbyname_r(name: Name, alias: Opaque, buffer: Buffer, length: usize, found: *mut Opaque) -> c_int;
    fn getaliasent_r(alias: Opaque, buffer: Buffer, length: usize, found: *mut Opaque) -> c_int;
    fn innetgr(group: Name, host: Name, user: Name, domain: Name) -> c_int;
    fn setnetgrent(group: Name) -> c_int;
    fn getnetgrent(host: *mut Buffer, user: *mut Buffer, domain: *mut Buffer) -> c_int;
    fn getnetgrent_r(host: *mut Buffer, user: *mut Buffer, domain: *mut Buffer, buffer: Buffer,
        length: usize) -> c_int;
}
