//! `files`: reads, writes and commits beside std on OS threads and tokio, measured as [`sync`](crate::sync) is.

mod tokio_tasks;
mod work;

use crate::sync::{Row, Suite, Work};

pub(crate) const SUITE: Suite = Suite {
    name: "files",
    rows,
    meaning: MEANING,
};

macro_rules! row {
    ($what:literal, $unit:literal, $count:literal, $work:ident) => {
        Row {
            what: $what,
            unit: $unit,
            counts: [$count; 2],
            peers: [
                Some(Work::Blocking(work::green_threads::$work)),
                Some(Work::Blocking(work::os_threads::$work)),
                None,
                Some(Work::Async(|count| Box::pin(tokio_tasks::$work(count)))),
                None,
            ],
        }
    };
}

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    vec![
        row!("cached, 4 KiB, one thread", "read", 200_000, cached_reads_of_one),
        row!("cached, 4 KiB, 64 threads", "read", 200_000, cached_reads_of_many),
        row!("whole files of 4 KiB, 64 threads", "file", 50_000, whole_files),
        row!("metadata, 64 threads", "look", 100_000, looks),
        row!("writes of 4 KiB, one thread", "write", 50_000, writes_of_one),
        row!("writes of 4 KiB, 64 threads", "write", 50_000, writes_of_many),
        row!("write and sync, 32 threads", "commit", 3_200, commits),
        row!("cold, 4 KiB, 1,000 threads", "read", 20_000, cold_reads),
        row!("lateness of a heart beside that, p99", "beat", 20_000, heart_beside_cold_reads),
    ]
}

const MEANING: &str = "\
std runs on OS threads, the others on their workers; tokio does its calls on threads of a pool. What is cached is in the
page cache; what is cold is read from the disk at places that look random, while a heart beats each millisecond.
";
