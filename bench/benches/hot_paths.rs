//! Micro-benchmarks of the hot paths: `cargo bench`, or one of them with `cargo bench -- NAME`.
//!
//! They run on one worker, with thread-locals of their own where the platform has them. Time is
//! noisy: what decides whether a path has become slower is `make bench-check`.

use criterion::{Criterion, criterion_group, criterion_main};
use roving::Builder;
use std::time::Instant;

#[path = "../src/check/paths.rs"]
mod paths;

fn hot_paths(criterion: &mut Criterion) {
    if cfg!(debug_assertions) {
        eprintln!("warning: this is a debug build, whose figures say nothing");
    }
    let runtime = Builder::new().workers(1).build().expect("a runtime starts");
    for name in paths::NAMES {
        let path = paths::find(name).expect("each name has a path");
        criterion.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                runtime.run(|| {
                    let start = Instant::now();
                    path(count as usize);
                    start.elapsed()
                })
            });
        });
    }
}

criterion_group!(benches, hot_paths);
criterion_main!(benches);
