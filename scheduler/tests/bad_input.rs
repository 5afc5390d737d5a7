//! Stack sizes and names that make no sense, or nearly: an error or what was meant, and nothing is
//! left behind.

mod common;

use std::io::ErrorKind;
use std::panic::{self, AssertUnwindSafe};

use common::each_worker_count;
use roving_scheduler::thread::{Builder, stack_usage};

#[test]
fn odd_stack_sizes_are_rounded_up() {
    each_worker_count(|runtime| {
        runtime.run(|| {
            for bytes in [0, 1, 4095, 4097, 16_385, 100_001] {
                let spawned = Builder::new().stack_size(bytes).spawn(stack_usage).unwrap();
                let usage = spawned.join().unwrap().unwrap();
                assert!(usage.size >= bytes.max(16 << 10), "{bytes}: {usage:?}");
                assert!(usage.high_water <= usage.size, "{usage:?}");
            }
        });
    });
}

#[test]
fn stacks_that_are_too_large_are_refused() {
    each_worker_count(|runtime| {
        runtime.run(|| {
            for bytes in [
                (1 << 30) + 1,
                isize::MAX as usize,
                usize::MAX - 4095,
                usize::MAX,
            ] {
                let error = Builder::new().stack_size(bytes).spawn(|| ()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert!(error.to_string().contains(&bytes.to_string()), "{error}");
            }
        });
        assert_eq!(runtime.green_threads(), 0);
    });
}

#[test]
fn a_name_with_a_null_byte_panics_as_std_does_and_any_other_name_is_kept() {
    each_worker_count(|runtime| {
        runtime.run(|| {
            let with_null = Builder::new().name("nu\0ll".to_owned());
            let spawned = panic::catch_unwind(AssertUnwindSafe(|| with_null.spawn(|| ())));
            assert!(spawned.is_err());
            for name in ["", "with space", "öäü 線", &"long".repeat(1000)] {
                let named = Builder::new().name(name.to_owned()).spawn(|| ()).unwrap();
                assert_eq!(named.thread().name(), Some(name));
                named.join().unwrap();
            }
        });
        assert_eq!(runtime.green_threads(), 0);
    });
}
