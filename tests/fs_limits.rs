//! Limits of the system, in processes of their own that have low ones: descriptors, the size of a file, and a disk
//! that is full.

mod common;

use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::process::Command;

use common::folder::Folder;
use common::{child_with_few_descriptors, child_with_limits, everywhere, is_child, run, watchdog};
use roving::fs::{self, File};

/// In the child that is made for it, calls `test` on OS threads and in all modes; elsewhere, starts that child.
fn in_child(name: &str, child: impl FnOnce(&str) -> Command, test: fn()) {
    let _watchdog = watchdog("");
    if is_child(name) {
        everywhere(test);
    } else {
        run(child(name));
    }
}

#[test]
fn descriptors() {
    in_child("descriptors", child_with_few_descriptors, || {
        let folder = Folder::new();
        let path = folder.join("file");
        fs::write(&path, "x").unwrap();
        let is_emfile = |error: io::Error| assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        for _ in 0..3 {
            let mut files = Vec::new();
            let error = loop {
                match File::open(&path) {
                    Ok(file) => files.push(file),
                    Err(error) => break error,
                }
            };
            is_emfile(error);
            is_emfile(files[0].try_clone().unwrap_err());
            is_emfile(fs::read_dir(&*folder).map(drop).unwrap_err());
            is_emfile(fs::read(&path).unwrap_err());
            // What is open can be used.
            assert_eq!(files[0].read_at(&mut [0; 2], 0).unwrap(), 1);
            assert_eq!(fs::metadata(&path).unwrap().len(), 1);
            drop(files);
            fs::read(&path).unwrap();
        }
    });
}

#[test]
fn the_size_of_a_file() {
    // In blocks of 512 bytes. The signal that comes with it is ignored.
    let child = |name: &str| child_with_limits(name, "trap '' XFSZ; ulimit -f 16");
    in_child("the_size_of_a_file", child, || {
        let folder = Folder::new();
        let path = folder.join("file");
        let mut file = File::create(&path).unwrap();
        // What there is room for.
        assert_eq!(file.write(&[1; 10_000]).unwrap(), 8192);
        let error = file.write(&[1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        let error = file.set_len(10_000).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        let error = fs::write(&path, [1; 10_000]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(fs::read(&path).unwrap(), [1; 8192]);
    });
}

#[test]
fn a_full_disk() {
    everywhere(|| {
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        for _ in 0..3 {
            let error = full.write_all(&[1; 10_000]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
    });
}
