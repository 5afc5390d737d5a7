//! Makes a program that fails smaller.
//!
//! What is taken away is taken away for good if the rest still fails in the same way. Threads are
//! threads, so a program need not fail each time: it is run as often as makes it likely that it does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::campaign::{Failure, repeat};
use crate::program::{Body, Op, Program};

/// How long a program may take that is made smaller.
const LIMIT: Duration = Duration::from_secs(3);

/// Makes a failure smaller for as long as the time allows. Gives it as it is if it does not come again.
pub(crate) fn shrink(failure: Failure, time: Duration) -> Result<Failure> {
    let until = Instant::now() + time;
    let left = || until.saturating_duration_since(Instant::now());
    let Some(mut smallest) = repeat(&failure.program, 100_000, time / 4, LIMIT)? else {
        return Ok(failure);
    };
    // What came once in so many runs comes again in four times as many, nearly always.
    let mut times = (4 * smallest.runs).clamp(20, 4000);
    // After a success, what was tried in vain before is tried again at the end.
    let (mut tried, mut in_vain) = (0, 0);
    loop {
        let all = candidates(&smallest.program);
        if in_vain >= all.len() || left().is_zero() {
            return Ok(smallest);
        }
        let candidate = &all[tried % all.len()];
        match repeat(candidate, times, left().min(time / 10), LIMIT)? {
            Some(failed) if failed.kind == smallest.kind => {
                times = times.max((4 * failed.runs).min(4000));
                smallest = failed;
                in_vain = 0;
            }
            _ => {
                tried += 1;
                in_vain += 1;
            }
        }
    }
}

/// Smaller programs, those first that are a good deal smaller.
fn candidates(program: &Program) -> Vec<Program> {
    let mut all = Vec::new();
    for root in (0..program.roots.len()).rev() {
        if program.roots.len() > 1 {
            let mut smaller = program.clone();
            smaller.roots.remove(root);
            all.push(smaller);
        }
    }
    for workers in [1, 2] {
        if workers < program.workers {
            all.push(Program {
                workers,
                ..program.clone()
            });
        }
    }
    if program.migrate {
        all.push(Program {
            migrate: false,
            ..program.clone()
        });
    }
    if program.pinned {
        all.push(Program {
            pinned: false,
            ..program.clone()
        });
    }
    let count = program.len();
    for length in [8, 4, 2] {
        for place in (0..count).step_by(length) {
            all.extend(edited(program, place, Edit::Remove(length)));
        }
    }
    for place in 0..count {
        all.extend(edited(program, place, Edit::Remove(1)));
        all.extend(edited(program, place, Edit::Hoist));
        all.extend(edited(program, place, Edit::FewerChildren));
    }
    all
}

/// A change at an operation.
#[derive(Clone, Copy)]
enum Edit {
    /// Takes it away, and those that follow in the same body.
    Remove(usize),
    /// Puts what is in it in its place.
    Hoist,
    /// Takes one of several bodies away.
    FewerChildren,
}

/// The program with a change at the operation with a number; `None` if that changes nothing.
fn edited(program: &Program, place: usize, edit: Edit) -> Option<Program> {
    let mut edited = program.clone();
    let mut place = place;
    for root in &mut edited.roots {
        match edit_body(&mut root.body, &mut place, edit) {
            Done::NotHere => {}
            Done::Changed => return Some(edited),
            Done::Unchanged => return None,
        }
    }
    None
}

enum Done {
    NotHere,
    Changed,
    Unchanged,
}

fn edit_body(body: &mut Body, place: &mut usize, edit: Edit) -> Done {
    let ops = Arc::make_mut(&mut body.0);
    for index in 0..ops.len() {
        if *place == 0 {
            return edit_at(ops, index, edit);
        }
        *place -= 1;
        for body in ops[index].bodies_mut() {
            match edit_body(body, place, edit) {
                Done::NotHere => {}
                done => return done,
            }
        }
    }
    Done::NotHere
}

fn edit_at(ops: &mut Vec<Op>, index: usize, edit: Edit) -> Done {
    match edit {
        Edit::Remove(count) => {
            let end = (index + count).min(ops.len());
            if count > 1 && end - index < 2 {
                return Done::Unchanged;
            }
            ops.drain(index..end);
        }
        Edit::Hoist => {
            let bodies = ops[index].bodies();
            let inner: Vec<Op> = bodies.iter().flat_map(|body| body.0.to_vec()).collect();
            if inner.is_empty() {
                return Done::Unchanged;
            }
            ops.splice(index..=index, inner);
        }
        Edit::FewerChildren => match &mut ops[index] {
            Op::Scope { children, .. } | Op::Nested { children, .. } if !children.is_empty() => {
                children.pop();
            }
            Op::Group { members, .. } if !members.is_empty() => {
                members.pop();
            }
            _ => return Done::Unchanged,
        },
    }
    Done::Changed
}
