//! The work of bare coroutines: to be made, and to yield in turn.

use common::{absent, each, too_many_mappings, yielders};
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use serde_json::Value;
use std::collections::VecDeque;
use std::time::Instant;

pub fn work(name: &str, count: usize) -> Value {
    match name {
        "spawn_join" => spawn_join(count),
        _ => match yielders(name) {
            Some(coroutines) => {
                too_many_mappings(coroutines).unwrap_or_else(|| yields(coroutines, count))
            }
            None => absent("a coroutine alone does not do that"),
        },
    }
}

/// A stack is used again, as in a pool.
fn spawn_join(count: usize) -> Value {
    let mut stack = DefaultStack::new(256 << 10).expect("there is room for a stack");
    let start = Instant::now();
    for n in 0..count {
        let mut coroutine = Coroutine::<(), (), usize, _>::with_stack(stack, move |_, ()| n);
        match coroutine.resume(()) {
            CoroutineResult::Return(returned) => assert_eq!(returned, n),
            CoroutineResult::Yield(()) => unreachable!("it does not yield"),
        }
        stack = coroutine.into_stack();
    }
    each(start, count)
}

fn yields(coroutines: usize, count: usize) -> Value {
    let times = count / coroutines;
    let mut queue: VecDeque<_> = (0..coroutines)
        .map(|_| {
            let mut coroutine = Coroutine::<(), (), ()>::new(move |yielder, ()| {
                for _ in 0..=times {
                    yielder.suspend(());
                }
            });
            coroutine.resume(());
            coroutine
        })
        .collect();
    let start = Instant::now();
    while let Some(mut coroutine) = queue.pop_front() {
        if let CoroutineResult::Yield(()) = coroutine.resume(()) {
            queue.push_back(coroutine);
        }
    }
    each(start, coroutines * times)
}
