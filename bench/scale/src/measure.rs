//! What everything costs here. Each figure is the median of many short rounds, so that those in which the system ran somebody else
//! do not count.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use crossbeam_deque::{Injector, Stealer, Worker};
use roving::{Builder, Runtime};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::thread::CpuSet;
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::costs::Costs;
use crate::real;

const ROUNDS: usize = 301;
/// Operations of a round, each some nanoseconds.
const OPERATIONS: u32 = 1_000;
/// Green threads of a round.
const THREADS: u32 = 200;
const SOCKETS: usize = 128;
const MESSAGE: [u8; 64] = [7; 64];

pub(crate) fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// The median of what the rounds give.
fn rounds(mut round: impl FnMut() -> f64) -> f64 {
    median((0..ROUNDS).map(|_| round()).collect())
}

/// Nanoseconds for each of so many.
fn each(count: u32, run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_nanos() as f64 / f64::from(count)
}

fn operations(mut operation: impl FnMut()) -> f64 {
    rounds(|| each(OPERATIONS, || (0..OPERATIONS).for_each(|_| operation())))
}

pub(crate) fn measure() -> Result<Costs> {
    let counter = AtomicU64::new(0);
    let locked = operations(|| {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let queues: Vec<_> = (0..32).map(|_| Worker::<u64>::new_lifo()).collect();
    let stealers: Vec<_> = queues.iter().map(Worker::stealer).collect();
    let look = rounds(|| {
        each(32, || {
            black_box(stealers.iter().all(Stealer::is_empty));
        })
    });
    let queue = &queues[0];
    let push_pop = operations(|| {
        queue.push(1);
        black_box(queue.pop());
    });
    let (steal, steal_each) = steals();
    let (inject, take_injected) = injections();
    let green = green_threads(locked, push_pop)?;
    let (epoll_wait, epoll_event, hand_over) = sockets()?;
    let message = real::message()?;
    let (unpark, wake_up, park) = sleeps();
    Ok(Costs {
        locked,
        fence: operations(|| {
            counter.store(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
        }),
        look,
        push_pop,
        steal,
        steal_each,
        inject,
        take_injected,
        switch: green.switch,
        spawn: green.spawn,
        end: green.end,
        fire: green.fire,
        timer: green.timer,
        request: message - epoll_event - 3.0 * locked - green.fire - push_pop - green.switch,
        epoll_wait,
        epoll_event,
        hand_over,
        unpark,
        wake_up,
        park,
        transfer: transfer(),
    })
}

/// A batch of none but the one that is popped, and each that comes with it.
fn steals() -> (f64, f64) {
    let (from, to) = (Worker::new_lifo(), Worker::new_lifo());
    let stealer = from.stealer();
    let batch = |queued: u64| {
        rounds(|| {
            (0..queued).for_each(|n| from.push(n));
            let taken = each(1, || {
                let _ = black_box(stealer.steal_batch_and_pop(&to));
            });
            while from.pop().or_else(|| to.pop()).is_some() {}
            taken
        })
    };
    let (one, many) = (batch(1), batch(64));
    (one, (many - one).max(0.0) / 31.0)
}

/// A push to the injector, and what a batch of it takes.
fn injections() -> (f64, f64) {
    let (injector, to) = (Injector::new(), Worker::new_fifo());
    let inject = rounds(|| {
        let pushed = each(200, || (0..200u64).for_each(|n| injector.push(n)));
        while injector.steal().success().is_some() {}
        pushed
    });
    let take = rounds(|| {
        (0..64u64).for_each(|n| injector.push(n));
        let taken = each(1, || {
            let _ = black_box(injector.steal_batch_and_pop(&to));
        });
        while injector.steal().success().or_else(|| to.pop()).is_some() {}
        taken
    });
    (inject, take)
}

struct Green {
    switch: f64,
    spawn: f64,
    end: f64,
    fire: f64,
    timer: f64,
}

/// On one worker, apart from queues.
fn green_threads(locked: f64, push_pop: f64) -> Result<Green> {
    let runtime = Builder::new().workers(1).build()?;
    let queue = push_pop + locked;
    let yields = on_worker(&runtime, || {
        let threads: Vec<_> = (0..8)
            .map(|_| roving::spawn(|| (0..100).for_each(|_| roving::thread::yield_now())))
            .collect();
        each(800, || {
            threads.into_iter().for_each(|thread| drop(thread.join()))
        })
    });
    let spawned = on_worker(&runtime, || {
        let mut threads = Vec::with_capacity(THREADS as usize);
        let spawn = || (0..THREADS).for_each(|_| threads.push(roving::spawn(|| ())));
        let spawned = each(THREADS, spawn);
        threads.into_iter().for_each(|thread| drop(thread.join()));
        spawned
    });
    let ran = on_worker(&runtime, || {
        let spawn = |_| roving::spawn(|| ());
        let threads: Vec<_> = (0..THREADS).map(spawn).collect();
        each(THREADS, || {
            threads.into_iter().for_each(|thread| drop(thread.join()))
        })
    });
    let unparked = on_worker(&runtime, || {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| roving::spawn(roving::thread::park))
            .collect();
        roving::thread::yield_now();
        roving::thread::sleep(Duration::from_micros(200));
        let unparked = each(THREADS, || {
            threads.iter().for_each(|thread| thread.thread().unpark())
        });
        threads.into_iter().for_each(|thread| drop(thread.join()));
        unparked
    });
    // Those of a round that are due together take no sleep of the worker each.
    let naps = on_worker(&runtime, || {
        let before = cpu_time(ClockId::ThreadCPUTime);
        let nap = || roving::thread::sleep(Duration::from_micros(500));
        let threads: Vec<_> = (0..THREADS).map(|_| roving::spawn(nap)).collect();
        threads.into_iter().for_each(|thread| drop(thread.join()));
        (cpu_time(ClockId::ThreadCPUTime) - before) / f64::from(THREADS)
    });
    let switch = (yields - queue - 2.0 * locked).max(0.0);
    let fire = (unparked - queue).max(0.0);
    Ok(Green {
        switch,
        spawn: (spawned - queue).max(0.0),
        end: (ran - switch - locked).max(0.0),
        fire,
        // Armed and expired.
        timer: (naps - spawned - ran - switch - queue - fire).max(0.0) / 2.0,
    })
}

fn on_worker(runtime: &Runtime, round: impl Fn() -> f64 + Send + Sync) -> f64 {
    runtime.run(|| rounds(&round))
}

/// Nanoseconds.
pub(crate) fn cpu_time(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// A wait, each event of one, a descriptor that changes instances.
fn sockets() -> Result<(f64, f64, f64)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut pairs = Vec::new();
    for _ in 0..SOCKETS {
        let client = TcpStream::connect(listener.local_addr()?)?;
        let server = listener.accept()?.0;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        pairs.push((client, server));
    }
    let edges = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
    let [one, other] = [(); 2].map(|()| epoll::create(CreateFlags::CLOEXEC));
    let (one, other) = (one?, other?);
    let mut wait = |ready: usize| -> Result<f64> {
        for (_, server) in &pairs {
            epoll::add(&one, server, EventData::new_u64(0), edges)?;
        }
        let mut room = Vec::with_capacity(SOCKETS);
        let none = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut waits = |pairs: &mut [(TcpStream, TcpStream)]| -> Result<f64> {
            for (client, _) in &mut *pairs {
                client.write_all(&MESSAGE)?;
            }
            room.clear();
            let waited = each(1, || {
                let _ = black_box(epoll::wait(
                    &one,
                    rustix::buffer::spare_capacity(&mut room),
                    Some(&none),
                ));
            });
            for (_, server) in pairs {
                server.read_exact(&mut [0; MESSAGE.len()])?;
            }
            Ok(waited)
        };
        // The first tells of all.
        waits(&mut [])?;
        let samples: Result<Vec<_>> = (0..ROUNDS).map(|_| waits(&mut pairs[..ready])).collect();
        for (_, server) in &pairs {
            epoll::delete(&one, server)?;
        }
        Ok(median(samples?))
    };
    let (few, many) = (wait(1)?, wait(SOCKETS)?);
    let event = (many - few) / (SOCKETS - 1) as f64;
    let fd = pairs[0].1.as_fd();
    epoll::add(&one, fd, EventData::new_u64(0), edges)?;
    let hand_over = operations(|| {
        for (from, to) in [(&one, &other), (&other, &one)] {
            let _ = black_box(epoll::delete(from, fd));
            let _ = black_box(epoll::add(to, fd, EventData::new_u64(0), edges));
        }
    }) / 2.0;
    Ok((few - event, event, hand_over))
}

fn bind(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    // Where it is refused, the system chooses.
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

/// What it costs to wake an OS thread; how long until it runs; and what its falling asleep costs.
fn sleeps() -> (f64, f64, f64) {
    const SLEEPS: usize = 1_000;
    let begun = Instant::now();
    let now = || begun.elapsed().as_nanos() as u64;
    let (woken, seen) = (AtomicU64::new(0), AtomicU64::new(0));
    let (mut unparks, mut wake_ups, mut park) = (Vec::new(), Vec::new(), 0.0);
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            bind(1);
            let before = cpu_time(ClockId::ThreadCPUTime);
            for _ in 0..SLEEPS {
                thread::park();
                seen.store(now(), Ordering::Release);
            }
            (cpu_time(ClockId::ThreadCPUTime) - before) / SLEEPS as f64
        });
        bind(0);
        for _ in 0..SLEEPS {
            thread::sleep(Duration::from_micros(200));
            seen.store(0, Ordering::Relaxed);
            woken.store(now(), Ordering::Release);
            unparks.push(each(1, || sleeper.thread().unpark()));
            while seen.load(Ordering::Acquire) == 0 {
                thread::yield_now();
            }
            wake_ups.push((seen.load(Ordering::Acquire) - woken.load(Ordering::Acquire)) as f64);
        }
        park = sleeper.join().expect("it does not panic");
    });
    (median(unparks), median(wake_ups), park)
}

/// A line that two cores write in turn.
fn transfer() -> f64 {
    const TURNS: usize = 200_000;
    const TURNS_A_SAMPLE: usize = 20;
    let (turn, both) = (AtomicUsize::new(0), Barrier::new(2));
    let (turn, both) = (&turn, &both);
    let writes = |me: usize| {
        move || {
            bind(me);
            both.wait();
            let mut begun = Instant::now();
            let mut samples = Vec::new();
            for round in 0..TURNS {
                while turn.load(Ordering::Acquire) != 2 * round + me {
                    std::hint::spin_loop();
                }
                turn.store(2 * round + me + 1, Ordering::Release);
                if round % TURNS_A_SAMPLE == 0 {
                    samples.push(begun.elapsed().as_nanos() as f64 / (2 * TURNS_A_SAMPLE) as f64);
                    begun = Instant::now();
                }
            }
            samples
        }
    };
    thread::scope(|scope| {
        scope.spawn(writes(1));
        let samples = scope.spawn(writes(0)).join();
        median(samples.expect("it does not panic"))
    })
}
