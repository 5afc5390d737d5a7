//! Locks on files, and FIFOs, in a program that is adopted.

mod common;

use std::ffi::{CString, c_int};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::{in_programs, is_the_same, on_a_green_thread, or_error};

/// A path that nobody else has, for something that goes with this.
struct Path(PathBuf);

impl Path {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("roving-adopt-{name}-{}", process::id())))
    }

    fn fifo(name: &str) -> Self {
        let path = Self::new(name);
        let name = CString::new(path.0.to_str().unwrap()).unwrap();
        // SAFETY: a string.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        path
    }

    fn open(&self) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.open(&self.0).unwrap()
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_lock_is_waited_for_by_green_threads() {
    in_programs("a_lock_is_waited_for_by_green_threads", || {
        on_a_green_thread(|| {
            let path = Path::new("lock");
            let has = path.open();
            has.lock().unwrap();
            let is_free = Arc::new(AtomicBool::new(false));
            let waits: Vec<_> = (0..5)
                .map(|_| {
                    let (file, is_free) = (path.open(), is_free.clone());
                    thread::spawn(move || {
                        file.lock().unwrap();
                        assert!(is_free.load(Ordering::Relaxed));
                        thread::sleep(Duration::from_millis(1));
                        file.unlock().unwrap();
                    })
                })
                .collect();
            thread::sleep(Duration::from_millis(50));
            is_free.store(true, Ordering::Relaxed);
            has.unlock().unwrap();
            waits.into_iter().for_each(|thread| thread.join().unwrap());
        });
    });
}

#[test]
fn locks_tell_the_same() {
    is_the_same("locks_tell_the_same", || {
        let path = Path::new("locks");
        let (one, other) = (path.open(), path.open());
        let flock = |file: &File, operation: c_int| {
            // SAFETY: it asks for nothing.
            or_error(unsafe { libc::flock(file.as_raw_fd(), operation) })
        };
        let lockf = |file: c_int, command: c_int| {
            // SAFETY: as above.
            or_error(unsafe { libc::lockf(file, command, 0) })
        };
        [
            flock(&one, libc::LOCK_EX),
            flock(&one, libc::LOCK_SH),
            flock(&other, libc::LOCK_SH),
            flock(&other, libc::LOCK_EX | libc::LOCK_NB),
            flock(&other, 0),
            flock(&one, libc::LOCK_UN),
            lockf(one.as_raw_fd(), libc::F_LOCK),
            lockf(one.as_raw_fd(), libc::F_ULOCK),
            lockf(one.as_raw_fd(), 77),
            lockf(-1, libc::F_LOCK),
            // SAFETY: as above.
            or_error(unsafe { libc::flock(-1, libc::LOCK_EX) }),
        ]
    });
}

#[test]
fn a_fifo_is_opened_from_both_sides() {
    in_programs("a_fifo_is_opened_from_both_sides", || {
        on_a_green_thread(|| {
            let path = Path::fifo("fifo");
            let name = path.0.clone();
            let reads = thread::spawn(move || File::open(name).unwrap().metadata().unwrap());
            // The other one waits for this one, or this one for the other.
            thread::yield_now();
            drop(OpenOptions::new().write(true).open(&path.0).unwrap());
            assert!(reads.join().unwrap().file_type().is_fifo());
        });
    });
}

#[test]
fn opening_tells_the_same() {
    is_the_same("opening_tells_the_same", || {
        let path = Path::fifo("opening");
        let open = |name: &str, flags: c_int| {
            let name = CString::new(name).unwrap();
            // SAFETY: a string, and a descriptor that is closed if it was opened.
            unsafe {
                let opened = [
                    libc::open(name.as_ptr(), flags, 0o600),
                    libc::open64(name.as_ptr(), flags, 0o600),
                    libc::openat(libc::AT_FDCWD, name.as_ptr(), flags, 0o600),
                ];
                opened.map(|file| {
                    let error = io::Error::last_os_error();
                    if libc::close(file) == 0 {
                        None
                    } else {
                        error.raw_os_error()
                    }
                })
            }
        };
        let fifo = path.0.to_str().unwrap();
        [
            open(fifo, libc::O_RDONLY | libc::O_NONBLOCK),
            open(fifo, libc::O_WRONLY | libc::O_NONBLOCK),
            open(fifo, libc::O_RDWR),
            open(fifo, libc::O_PATH),
            open(fifo, libc::O_RDONLY | libc::O_DIRECTORY),
            open("/dev/null", libc::O_RDONLY),
            open("/no such file", libc::O_RDONLY),
            open("", libc::O_WRONLY),
        ]
    });
}

#[test]
fn what_is_created_has_its_mode() {
    is_the_same("what_is_created_has_its_mode", || {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        let path = Path::new("mode");
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .mode(0o640)
            .open(&path.0)
            .unwrap();
        file.sync_all().unwrap();
        file.sync_data().unwrap();
        file.metadata().unwrap().permissions().mode()
    });
}

/// Each record is of as many pages, of which the last are not in memory when it is read.
#[test]
fn what_one_reads_lies_together_in_the_file() {
    const PAGE: usize = 4096;
    const RECORD: usize = 16 * PAGE;
    const RECORDS: usize = 200;
    in_programs("what_one_reads_lies_together_in_the_file", || {
        let path = Path::new("records");
        let mut file = path.open();
        for number in 0..RECORDS {
            file.write_all(&[number as u8; RECORD]).unwrap();
        }
        file.sync_all().unwrap();
        let forget = |from: usize, bytes: usize| {
            let (from, bytes) = (from as libc::off_t, bytes as libc::off_t);
            let fd = file.as_raw_fd();
            // SAFETY: it changes what is in memory of a file of the test's own.
            unsafe { libc::posix_fadvise(fd, from, bytes, libc::POSIX_FADV_DONTNEED) };
        };
        forget(0, 0);
        for number in 0..RECORDS {
            let at = number * RECORD;
            file.read_at(&mut [0], at as u64).unwrap();
            forget(at + 3 * PAGE, RECORD - 3 * PAGE);
        }
        (&file).seek(SeekFrom::Start(0)).unwrap();
        let file = Arc::new(file);
        let read = on_a_green_thread(move || {
            let read_all = || {
                let mut read = 0;
                let mut record = vec![0; RECORD];
                while (&*file).read(&mut record).unwrap() == RECORD {
                    assert!(record.iter().all(|byte| *byte == record[0]));
                    read += 1;
                }
                read
            };
            thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(read_all)).collect();
                threads
                    .into_iter()
                    .map(|read| read.join().unwrap())
                    .sum::<usize>()
            })
        });
        assert_eq!(read, RECORDS);
    });
}
