//! The same work on a real runtime, with the one and the two workers that there are cores for here.

use std::hint::black_box;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use roving::net::{TcpListener, TcpStream};
use roving::{Builder, Handle, Runtime, spawn, thread};
use rustix::time::ClockId;
use serde::Serialize;

use crate::measure::{cpu_time, median};
use crate::simulation::Outcome;
use crate::workload::Kind;

/// What a run took, a piece of the work: by the clock, and of processors.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Took {
    pub(crate) ns: f64,
    pub(crate) cpu_ns: f64,
}

impl Took {
    pub(crate) fn simulated(outcome: &Outcome) -> Self {
        Self {
            ns: outcome.ns as f64 / outcome.done as f64,
            cpu_ns: outcome.cpu_each(),
        }
    }
}

/// How it is run.
const WAYS: usize = 3;

/// Medians of rounds in turn: with one worker; with two; and by two runtimes of one worker each at the same time, which share
/// nothing but the machine.
pub(crate) fn run(kind: Kind, pieces: u64, rounds: usize) -> Result<[Took; WAYS]> {
    let work = Work::calibrated();
    let mut samples = [(); WAYS].map(|()| (Vec::new(), Vec::new()));
    for _ in 0..rounds {
        let [one, two, another] = [1, 2, 1].map(|workers| Builder::new().workers(workers).build());
        let (one, two, another) = (one?, two?, another?);
        let ways = [vec![&one], vec![&two], vec![&one, &another]];
        for (runtimes, (ns, cpu_ns)) in ways.into_iter().zip(&mut samples) {
            // What is made once is made before.
            together(&runtimes, || do_work(kind, work, 1))?;
            let (begun, cpu) = (Instant::now(), cpu_time(ClockId::ProcessCPUTime));
            together(&runtimes, || do_work(kind, work, u32::MAX))?;
            let pieces = (pieces * runtimes.len() as u64) as f64;
            ns.push(begun.elapsed().as_nanos() as f64 / pieces);
            cpu_ns.push((cpu_time(ClockId::ProcessCPUTime) - cpu) / pieces);
        }
    }
    Ok(samples.map(|(ns, cpu_ns)| Took {
        ns: median(ns),
        cpu_ns: median(cpu_ns),
    }))
}

/// What a message between two green threads of one worker takes.
pub(crate) fn message() -> Result<f64> {
    let runtime = Builder::new().workers(1).build()?;
    let (pairs, messages) = (64, 100);
    let sample = |_| {
        let cpu = cpu_time(ClockId::ProcessCPUTime);
        runtime.run(|| exchange(pairs, messages))?;
        Ok((cpu_time(ClockId::ProcessCPUTime) - cpu) / (2 * pairs * messages as usize) as f64)
    };
    Ok(median((0..31).map(sample).collect::<Result<_>>()?))
}

/// The same on each runtime, at the same time.
fn together(runtimes: &[&Runtime], work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    let work = &work;
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for runtime in runtimes {
            threads.push(scope.spawn(move || runtime.run(work)));
        }
        let mut results = threads.into_iter().map(|thread| thread.join());
        results.try_for_each(|result| result.expect("it does not panic"))
    })
}

/// Turns of a loop a nanosecond.
#[derive(Debug, Clone, Copy)]
struct Work(f64);

impl Work {
    fn calibrated() -> Self {
        const TURNS: u64 = 20_000;
        let sample = |_| {
            let begun = Instant::now();
            turns(TURNS);
            TURNS as f64 / begun.elapsed().as_nanos() as f64
        };
        Self(median((0..101).map(sample).collect()))
    }

    fn lasts(self, ns: f64) {
        turns((ns * self.0) as u64);
    }
}

fn turns(count: u64) {
    (0..count).for_each(|turn| {
        black_box(turn);
    });
}

/// At most so many pieces of each thread.
fn do_work(kind: Kind, work: Work, most: u32) -> Result<()> {
    match kind {
        Kind::Skynet { levels } => node(levels.min(most)),
        Kind::Producers {
            producers,
            tasks,
            ns,
        } => {
            let tasks = tasks.min(most as usize);
            produce(producers, tasks, |done| {
                let producer = move || spawn_tasks(&done, tasks, work, ns);
                let producers: Vec<_> = (0..producers).map(|_| spawn(producer.clone())).collect();
                producers
                    .into_iter()
                    .for_each(|producer| drop(producer.join()));
            });
        }
        Kind::Injected {
            producers,
            tasks,
            ns,
        } => {
            let tasks = tasks.min(most as usize);
            let handle = Handle::current()?;
            produce(producers, tasks, |done| {
                for _ in 0..producers {
                    let (handle, done) = (handle.clone(), done.clone());
                    std::thread::spawn(move || {
                        for _ in 0..tasks {
                            let done = done.clone();
                            handle.spawn(move || finish_task(&done, work, ns));
                        }
                    });
                }
            });
        }
        Kind::Pairs { pairs, messages } => exchange(pairs, messages.min(most))?,
        Kind::Sleepers {
            threads,
            naps,
            most_ns,
            ns,
        } => {
            let sleeper = |seed: usize| {
                move || {
                    let mut random = fastrand::Rng::with_seed(seed as u64);
                    for _ in 0..naps.min(most) {
                        thread::sleep(Duration::from_nanos((random.f64() * most_ns) as u64));
                        work.lasts(ns);
                    }
                }
            };
            let threads: Vec<_> = (0..threads).map(|seed| spawn(sleeper(seed))).collect();
            threads.into_iter().for_each(|thread| drop(thread.join()));
        }
        Kind::Echo { .. } => unreachable!("its clients would want cores of their own"),
    }
    Ok(())
}

fn node(levels: u32) {
    if levels == 0 {
        return;
    }
    let children: Vec<_> = (0..10).map(|_| spawn(move || node(levels - 1))).collect();
    children.into_iter().for_each(|child| drop(child.join()));
}

/// Waits until as many tasks have ended as are produced.
fn produce(producers: usize, tasks: usize, begin: impl FnOnce(Arc<Done>)) {
    let done = Arc::new(Done {
        left: AtomicU64::new((producers * tasks) as u64),
        waiting: thread::current(),
    });
    begin(done.clone());
    while done.left.load(Ordering::Acquire) > 0 {
        thread::park();
    }
}

struct Done {
    left: AtomicU64,
    waiting: thread::Thread,
}

fn spawn_tasks(done: &Arc<Done>, tasks: usize, work: Work, ns: f64) {
    for _ in 0..tasks {
        let done = done.clone();
        spawn(move || finish_task(&done, work, ns));
    }
}

fn finish_task(done: &Done, work: Work, ns: f64) {
    work.lasts(ns);
    if done.left.fetch_sub(1, Ordering::AcqRel) == 1 {
        done.waiting.unpark();
    }
}

fn exchange(pairs: usize, messages: u32) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut threads = Vec::new();
    for _ in 0..pairs {
        let one = TcpStream::connect(listener.local_addr()?)?;
        let other = listener.accept()?.0;
        for (mut stream, begins) in [(one, true), (other, false)] {
            stream.set_nodelay(true)?;
            threads.push(spawn(move || -> std::io::Result<()> {
                let mut buffer = [0; 64];
                for _ in 0..messages {
                    if begins {
                        stream.write_all(&buffer)?;
                        stream.read_exact(&mut buffer)?;
                    } else {
                        stream.read_exact(&mut buffer)?;
                        stream.write_all(&buffer)?;
                    }
                }
                Ok(())
            }));
        }
    }
    for thread in threads {
        thread.join().expect("it does not panic")?;
    }
    Ok(())
}
