//! Files on a disk, used by many threads at once.
//!
//! - everybody reads what is there: at offsets, and each byte once at a shared cursor, out of the page cache or not
//! - a read is short at the end of the file only, also where the cache ends before it
//! - files that grow, that have been removed, that are converted
//! - large directories, deep ones, and entries that go meanwhile
//! - who waits for a lock keeps its worker from nobody
//! - waits in the system outlast cancellations and deadlines, which take effect afterwards

mod common;

use std::io::{self, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::folder::Folder;
use common::{everywhere, on_each_mode, on_each_that_moves, pattern};
use roving::coroutine::{self, Yielder};
use roving::fs::{self, File, OpenOptions};
use roving::{ThreadLocals, deadline, go, thread};

/// What is written there is in the page cache no more.
fn drop_from_cache(file: &File) {
    file.sync_all().unwrap();
    // SAFETY: it is open.
    let dropped = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    assert_eq!(dropped, 0);
}

fn file_of(folder: &Folder, contents: &[u8]) -> File {
    let path = folder.join("file");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .unwrap();
    file.write_all(contents).unwrap();
    file.rewind().unwrap();
    file
}

#[test]
fn many_read_at_offsets() {
    const PART: usize = 5_000;
    const PARTS: usize = 100;

    let contents = &pattern(3, PART * PARTS);
    on_each_mode(|| {
        let folder = Folder::new();
        let file = &file_of(&folder, contents);
        for cold in [false, true] {
            if cold {
                drop_from_cache(file);
            }
            thread::scope(|scope| {
                for part in 0..PARTS {
                    scope.spawn(move || {
                        let mut buffer = [0; PART];
                        let offset = part * PART;
                        assert_eq!(file.read_at(&mut buffer, offset as u64).unwrap(), PART);
                        assert!(buffer == contents[offset..][..PART]);
                    });
                }
            });
        }
    });
}

#[test]
fn many_write_at_offsets() {
    const PART: usize = 5_000;
    const PARTS: usize = 50;

    let contents = &pattern(5, PART * PARTS);
    on_each_mode(|| {
        let folder = Folder::new();
        let file = &file_of(&folder, b"");
        thread::scope(|scope| {
            for part in (0..PARTS).rev() {
                scope.spawn(move || {
                    let offset = part * PART;
                    let part = &contents[offset..][..PART];
                    file.write_all_at(part, offset as u64).unwrap();
                });
            }
        });
        assert!(fs::read(folder.join("file")).unwrap() == *contents);
    });
}

#[test]
fn many_share_a_cursor() {
    const READERS: usize = 20;
    const RECORD: usize = 8;
    const RECORDS: usize = 5_000;

    let contents: Vec<u8> = (0..RECORDS as u64).flat_map(u64::to_le_bytes).collect();
    on_each_mode(|| {
        let folder = Folder::new();
        let file = &file_of(&folder, &contents);
        drop_from_cache(file);
        thread::scope(|scope| {
            let readers: Vec<_> = (0..READERS)
                .map(|_| {
                    scope.spawn(move || {
                        let mut file = file;
                        let mut records = Vec::new();
                        let mut record = [0; RECORD];
                        while file.read(&mut record).unwrap() == RECORD {
                            records.push(u64::from_le_bytes(record));
                        }
                        records
                    })
                })
                .collect();
            let mut records: Vec<u64> = readers
                .into_iter()
                .flat_map(|reader| reader.join().unwrap())
                .collect();
            records.sort();
            assert!((0..RECORDS as u64).eq(records));
        });
    });
}

/// Of each record the first page is in the cache, and the second is not.
#[cfg(target_os = "linux")]
#[test]
fn a_read_at_a_shared_cursor_is_of_one_piece() {
    const PAGE: usize = 4096;
    const RECORDS: usize = 500;
    const READERS: usize = 3;

    let page = |n: usize| [n as u8 ^ (n >> 8) as u8, (n >> 8) as u8].repeat(PAGE / 2);
    let contents: Vec<u8> = (0..RECORDS).flat_map(|n| page(n).repeat(2)).collect();
    let reads_records = |mut file: &File| {
        let mut record = [0; 2 * PAGE];
        let mut read = 0;
        loop {
            match file.read(&mut record).unwrap() {
                0 => return read,
                more => assert_eq!(more, record.len()),
            }
            let (first, second) = record.split_at(PAGE);
            assert!(first == second);
            read += 1;
            // So that it is not always at the same part of a read that others run.
            assert_eq!(file.read_at(&mut [0], 0).unwrap(), 1);
        }
    };
    on_each_mode(|| {
        let folder = Folder::new();
        let file = &file_of(&folder, &contents);
        // SAFETY: it is open.
        unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM) };
        drop_from_cache(file);
        for record in 0..RECORDS as u64 {
            let offset = record * 2 * PAGE as u64;
            assert_eq!(file.read_at(&mut [0; PAGE], offset).unwrap(), PAGE);
        }
        let read = thread::scope(|scope| {
            let readers = [(); READERS].map(|()| scope.spawn(|| reads_records(file)));
            readers.map(|reader| reader.join().unwrap())
        });
        assert_eq!(read.iter().sum::<usize>(), RECORDS);
    });
}

#[test]
fn many_append() {
    const WRITERS: usize = 20;
    const LINES: usize = 50;

    on_each_mode(|| {
        let folder = Folder::new();
        let path = &folder.join("log");
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                scope.spawn(move || {
                    let mut log = OpenOptions::new();
                    let mut log = log.append(true).create(true).open(path).unwrap();
                    for line in 0..LINES {
                        log.write_all(format!("{writer} {line}\n").as_bytes())
                            .unwrap();
                    }
                });
            }
        });
        let text = fs::read_to_string(path).unwrap();
        let mut next = [0; WRITERS];
        for line in text.lines() {
            let (writer, line) = line.split_once(' ').unwrap();
            let next = &mut next[writer.parse::<usize>().unwrap()];
            assert_eq!(line.parse(), Ok(*next));
            *next += 1;
        }
        assert_eq!(next, [LINES; WRITERS]);
    });
}

/// The first pages are in the cache, and the others are not.
#[test]
fn a_read_goes_on_where_the_cache_ends() {
    const LENGTH: usize = 4 << 20;

    let contents = &pattern(11, LENGTH);
    on_each_mode(|| {
        let folder = Folder::new();
        let mut file = file_of(&folder, contents);
        let begin = || {
            drop_from_cache(&file);
            assert_eq!(file.read_at(&mut [0; 10_000], 0).unwrap(), 10_000);
        };
        let mut buffer = vec![0; LENGTH + 1];
        begin();
        assert_eq!(file.read_at(&mut buffer, 0).unwrap(), LENGTH);
        assert!(buffer[..LENGTH] == *contents);

        begin();
        let mut buffer = vec![0; LENGTH + 1];
        assert_eq!((&file).read(&mut buffer).unwrap(), LENGTH);
        assert!(buffer[..LENGTH] == *contents);
        assert_eq!((&file).stream_position().unwrap(), LENGTH as u64);

        begin();
        (&file).rewind().unwrap();
        let mut buffer = vec![0; LENGTH];
        let (one, other) = buffer.split_at_mut(3_000);
        let (two, three) = other.split_at_mut(LENGTH / 2);
        let mut bufs = [one, &mut [], two, three].map(IoSliceMut::new);
        assert_eq!((&file).read_vectored(&mut bufs).unwrap(), LENGTH);
        assert!(buffer == *contents);

        // More than the system takes in one call.
        begin();
        (&file).rewind().unwrap();
        let mut buffer = [0; 3_000];
        let mut bufs: Vec<_> = buffer.chunks_mut(1).map(IoSliceMut::new).collect();
        let read = (&file).read_vectored(&mut bufs).unwrap();
        assert!(read >= 1024 && buffer[..read] == contents[..read]);

        begin();
        file.seek(SeekFrom::Start(7)).unwrap();
        let mut rest = vec![1, 2, 3];
        assert_eq!(file.read_to_end(&mut rest).unwrap(), LENGTH - 7);
        assert!(rest[..3] == [1, 2, 3] && rest[3..] == contents[7..]);
    });
}

#[test]
fn a_file_that_grows() {
    on_each_mode(|| {
        let folder = Folder::new();
        let mut writer = file_of(&folder, b"");
        let path = folder.join("file");
        let writes = go!(move || {
            for n in 0..200_u8 {
                writer.write_all(&[n; 100]).unwrap();
                if n % 10 == 0 {
                    thread::yield_now();
                }
            }
        });
        let mut reader = File::open(path).unwrap();
        let mut seen = Vec::new();
        while seen.len() < 20_000 {
            let before = seen.len();
            let read = reader.read_to_end(&mut seen).unwrap();
            assert_eq!(seen.len(), before + read);
            if read == 0 {
                thread::yield_now();
            }
        }
        assert!(seen.chunks(100).zip(0..).all(|(part, n)| part == [n; 100]));
        writes.join().unwrap();
        assert_eq!(reader.read(&mut [0; 4]).unwrap(), 0);
    });
}

#[test]
fn a_file_that_has_been_removed() {
    everywhere(|| {
        let folder = Folder::new();
        let mut file = file_of(&folder, b"still there");
        fs::remove_file(folder.join("file")).unwrap();
        drop_from_cache(&file);
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "still there");
        file.write_all(b", and longer").unwrap();
        assert_eq!(file.metadata().unwrap().len(), 23);
        assert!(!fs::exists(folder.join("file")).unwrap());
    });
}

#[test]
fn files_in_memory() {
    const LENGTH: usize = 100_000;

    // Where there is no such file system this is one on a disk.
    let path = format!("/dev/shm/roving-test-{}", std::process::id());
    let contents = &pattern(2, LENGTH);
    let path = match std::fs::write(&path, contents) {
        Ok(()) => path.into(),
        Err(_) => std::env::temp_dir().join(path.replace('/', "-")),
    };
    std::fs::write(&path, contents).unwrap();
    on_each_mode(|| {
        let file = &File::open(&path).unwrap();
        thread::scope(|scope| {
            for n in 0..20 {
                scope.spawn(move || {
                    let mut buffer = vec![0; LENGTH];
                    let from = n * 1000;
                    let read = file.read_at(&mut buffer, from as u64).unwrap();
                    assert!(buffer[..read] == contents[from..]);
                });
            }
        });
        let mut file = File::open(&path).unwrap();
        let mut all = Vec::new();
        file.read_to_end(&mut all).unwrap();
        assert!(all == *contents);
    });
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn files_that_the_system_makes_up() {
    on_each_mode(|| {
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let text = fs::read_to_string("/proc/self/maps").unwrap();
                    assert!(text.lines().count() > 10);
                });
            }
        });
    });
}

#[test]
fn a_large_directory() {
    // More than are read at once, and no multiple of that.
    const FILES: usize = 1_000;

    let folder = Folder::new();
    for n in 0..FILES {
        std::fs::write(folder.join(n.to_string()), "").unwrap();
    }
    everywhere(|| {
        let mut entries = fs::read_dir(&*folder).unwrap();
        let mut names: Vec<usize> = entries
            .by_ref()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .map(|name| name.parse().unwrap())
            .collect();
        names.sort();
        assert!((0..FILES).eq(names));
        assert!(entries.next().is_none());
    });
}

#[test]
fn an_entry_that_is_gone() {
    everywhere(|| {
        let folder = Folder::new();
        drop(file_of(&folder, b"x"));
        let entry = fs::read_dir(&*folder).unwrap().next().unwrap().unwrap();
        fs::remove_file(entry.path()).unwrap();
        let error = entry.metadata().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(entry.file_type().unwrap().is_file());
    });
}

/// Of which std has each open meanwhile.
const DEPTH: usize = 1_500;

/// Lets this process have as many descriptors as it takes.
fn allow_descriptors() {
    let enough = DEPTH as libc::rlim_t + 200;
    // SAFETY: zeroes are limits, which are asked for, and set.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_cur.max(enough);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
}

/// A thread of std goes as deep, and a small stack does not.
#[test]
fn a_deep_directory() {
    allow_descriptors();
    let _stacks = common::stacks_returned();
    let _watchdog = common::watchdog("");
    let runtime = common::runtime(2);
    let all = || {
        let folder = Folder::new();
        let path = folder.join("d/".repeat(DEPTH));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("file"), "x").unwrap();
        fs::remove_dir_all(folder.join("d")).unwrap();
        assert_eq!(fs::read_dir(&*folder).unwrap().count(), 0);
    };
    runtime.run(|| {
        let small = thread::Builder::new().stack_size(64 << 10);
        small.spawn(all).unwrap().join().unwrap();
    });
    let in_a_coroutine = || {
        let small = coroutine::Builder::new().stack_size(64 << 10);
        let does_it = small.generator(move |_: &Yielder<(), ()>| all()).unwrap();
        assert_eq!(does_it.count(), 0);
    };
    in_a_coroutine();
    runtime.run(in_a_coroutine);
    runtime.shutdown();
}

#[test]
fn a_lock_waits_and_others_go_on() {
    const WAITERS: usize = 20;

    on_each_that_moves(|| {
        let folder = Folder::new();
        let holder = file_of(&folder, b"");
        let path = &folder.join("file");
        holder.lock().unwrap();
        let (begun, got) = (&AtomicUsize::new(0), &AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..WAITERS {
                scope.spawn(move || {
                    let file = File::open(path).unwrap();
                    begun.fetch_add(1, Ordering::Relaxed);
                    file.lock().unwrap();
                    // The lock is what makes this right.
                    let before = got.load(Ordering::Relaxed);
                    thread::yield_now();
                    got.store(before + 1, Ordering::Relaxed);
                    file.unlock().unwrap();
                });
            }
            while begun.load(Ordering::Relaxed) < WAITERS {
                thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(got.load(Ordering::Relaxed), 0);
            assert!(File::open(path).unwrap().try_lock().is_err());
            holder.unlock().unwrap();
        });
        assert_eq!(got.load(Ordering::Relaxed), WAITERS);
    });
}

#[test]
fn a_lock_outlasts_a_cancellation() {
    on_each_that_moves(|| {
        let folder = Folder::new();
        let holder = file_of(&folder, b"");
        holder.lock().unwrap();
        let path = folder.join("file");
        let (begun, has_lock) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let waits = go!({
            let (begun, has_lock) = (begun.clone(), has_lock.clone());
            move || {
                let file = File::open(path).unwrap();
                begun.store(true, Ordering::Relaxed);
                file.lock().unwrap();
                has_lock.store(true, Ordering::Relaxed);
                thread::sleep(Duration::MAX);
            }
        });
        while !begun.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        waits.cancel();
        thread::sleep(Duration::from_millis(1));
        assert!(!waits.is_finished());
        holder.unlock().unwrap();
        assert!(waits.join().is_err());
        assert!(has_lock.load(Ordering::Relaxed));
        // Its file is closed, and its lock gone.
        holder.try_lock().unwrap();
    });
}

#[test]
fn conversions_keep_the_cursor() {
    everywhere(|| {
        let folder = Folder::new();
        let mut file = file_of(&folder, b"0123456789");
        file.read_exact(&mut [0; 2]).unwrap();
        let mut theirs = std::fs::File::from(file);
        theirs.read_exact(&mut [0; 2]).unwrap();
        let mut ours = File::from(theirs);
        let mut rest = String::new();
        ours.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "456789");
    });
}

/// Memory that is not there: what touches it in the system waits until it is [filled](Self::fill).
#[cfg(target_os = "linux")]
struct Missing {
    faults: std::os::fd::OwnedFd,
    page: usize,
}

#[cfg(target_os = "linux")]
impl Missing {
    const LEN: usize = 4 << 10;
    const API: libc::c_ulong = 0xc018_aa3f;
    const REGISTER: libc::c_ulong = 0xc020_aa00;
    const ZERO: libc::c_ulong = 0xc020_aa04;

    /// `None` where the system has no such thing, or not for everybody.
    fn new() -> Option<Self> {
        use std::os::fd::{FromRawFd, OwnedFd};

        // SAFETY: it makes a descriptor, which nobody else has, and a mapping; the system is given what its calls ask for.
        unsafe {
            let faults = libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC);
            let faults = i32::try_from(faults).ok().filter(|fd| *fd >= 0)?;
            let faults = OwnedFd::from_raw_fd(faults);
            let (access, kind) = (
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            );
            let page = libc::mmap(std::ptr::null_mut(), Self::LEN, access, kind, -1, 0);
            assert_ne!(page, libc::MAP_FAILED);
            let missing = Self {
                faults,
                page: page.addr(),
            };
            missing.tell(Self::API, [0xaa, 0, 0, 0]);
            missing.tell(Self::REGISTER, [page.addr() as u64, Self::LEN as u64, 1, 0]);
            Some(missing)
        }
    }

    fn tell(&self, request: libc::c_ulong, mut what: [u64; 4]) {
        // SAFETY: no request takes or gives more.
        let done = unsafe { libc::ioctl(self.faults.as_raw_fd(), request as _, &raw mut what) };
        assert_eq!(done, 0);
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: it is mapped for as long as this process lives, and only ever read.
        unsafe { std::slice::from_raw_parts(self.page as *const u8, Self::LEN) }
    }

    /// Waits until somebody waits for it.
    fn wait(&self) {
        let mut fault = [0_u8; 32];
        // SAFETY: it writes at most as many bytes as there are.
        let read = unsafe {
            let at = fault.as_mut_ptr().cast();
            libc::read(self.faults.as_raw_fd(), at, fault.len())
        };
        assert_eq!(usize::try_from(read), Ok(fault.len()));
    }

    fn fill(&self) {
        self.tell(Self::ZERO, [self.page as u64, Self::LEN as u64, 0, 0]);
    }
}

/// Whoever wants the cursor while a call is there that takes long does not hold up others.
#[cfg(target_os = "linux")]
#[test]
fn a_cursor_is_waited_for_and_others_go_on() {
    type Use = fn(&File);
    let uses: [Use; 5] = [
        |mut file| assert_eq!(file.read(&mut [0]).unwrap(), 0),
        |mut file| assert_eq!(file.read_to_end(&mut Vec::new()).unwrap(), 0),
        |mut file| assert_eq!(file.stream_position().unwrap(), Missing::LEN as u64),
        |file| assert_eq!(file.try_clone().unwrap().read(&mut [0]).unwrap(), 0),
        |file| file.try_clone().unwrap().rewind().unwrap(),
    ];
    let _stacks = common::stacks_returned();
    for uses_cursor in uses {
        let Some(missing) = Missing::new() else {
            return;
        };
        let _watchdog = common::watchdog("");
        let runtime = common::lone_worker();
        if runtime.thread_locals() == ThreadLocals::Pinned {
            // A call that waits in the system holds those up.
            return;
        }
        runtime.run(|| {
            let folder = Folder::new();
            let file = &file_of(&folder, b"");
            let begun = AtomicBool::new(false);
            thread::scope(|scope| {
                let mut writer = file;
                let missing = &missing;
                let writes = scope.spawn(move || writer.write(missing.bytes()).unwrap());
                roving::blocking(|| missing.wait());
                let begun = &begun;
                scope.spawn(move || {
                    begun.store(true, Ordering::Relaxed);
                    uses_cursor(file);
                });
                while !begun.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
                missing.fill();
                assert_eq!(writes.join().unwrap(), Missing::LEN);
            });
        });
        runtime.shutdown();
    }
}

/// A thread that finds everything in the cache lets others run now and then.
#[test]
fn who_never_waits_lets_others_run() {
    let _stacks = common::stacks_returned();
    let runtime = common::lone_worker();
    let _watchdog = common::watchdog("");
    runtime.run(|| {
        let folder = Folder::new();
        let file = file_of(&folder, b"x");
        let done = Arc::new(AtomicBool::new(false));
        let seen = done.clone();
        let other = go!(move || done.store(true, Ordering::Relaxed));
        while !seen.load(Ordering::Relaxed) {
            assert_eq!(file.read_at(&mut [0], 0).unwrap(), 1);
        }
        other.join().unwrap();
    });
    runtime.shutdown();
}

/// A counter of events, which has no place in a folder.
#[cfg(target_os = "linux")]
#[test]
fn what_has_no_kind_is_waited_for() {
    everywhere(|| {
        // SAFETY: it takes numbers.
        let events = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        assert!(events >= 0);
        // SAFETY: nobody else has it.
        let mut events = File::from(unsafe { OwnedFd::from_raw_fd(events) });
        let late = deadline(Duration::from_millis(1), || events.read(&mut [0; 8]));
        assert!(!matches!(late, Ok(Ok(_))));
        events.write_all(&3_u64.to_ne_bytes()).unwrap();
        let mut count = [0; 8];
        events.read_exact(&mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 3);
    });
}
