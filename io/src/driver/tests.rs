use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use roving_scheduler::driver::Driver as _;
use rustix::event::{PollFd, PollFlags, poll};

use super::*;
use crate::readiness::{Direction, Tick, Woken};

const LONG: Duration = Duration::from_secs(600);

fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    near.set_nonblocking(true).unwrap();
    (near, far)
}

/// What every way of polling promises.
mod contract {
    use super::*;

    /// Waits until there are events, and gives them.
    fn events<P: Poll>(poller: &P) -> Vec<Event> {
        let mut batch = P::batch();
        loop {
            poller.wait(&mut batch, Some(LONG)).unwrap();
            let events: Vec<_> = P::events(&batch).collect();
            if !events.is_empty() {
                return events;
            }
        }
    }

    /// The events of `fd` that are there now, all together.
    fn pending<P: Poll>(poller: &P, key: Key) -> Option<Event> {
        let mut batch = P::batch();
        poller.wait(&mut batch, Some(Duration::ZERO)).unwrap();
        let mut events = P::events(&batch).filter(|event| event.key == key);
        let event = events.next();
        assert_eq!(events.next(), None);
        event
    }

    /// Waits until `condition` holds of an event of `key`.
    fn until<P: Poll>(poller: &P, key: Key, condition: impl Fn(Event) -> bool) {
        while !events(poller)
            .into_iter()
            .any(|event| event.key == key && condition(event))
        {}
    }

    fn being_ready_is_the_first_edge<P: Poll>() {
        let poller = P::new().unwrap();
        let (near, mut far) = connection();
        far.write_all(b"x").unwrap();
        near.peek_blocking();
        let key = Key::new(3, 7);
        poller.add(near.as_fd(), key).unwrap();
        let event = pending(&poller, key).expect("an edge");
        assert!(event.readable && event.writable && !event.hung_up);
        assert_eq!(pending(&poller, key), None, "an edge is told once");
        poller.remove(near.as_fd(), key).unwrap();
    }

    fn each_arrival_is_an_edge<P: Poll>() {
        let poller = P::new().unwrap();
        let (near, mut far) = connection();
        let key = Key::new(0, 0);
        poller.add(near.as_fd(), key).unwrap();
        for _ in 0..100 {
            // Without reading in between.
            far.write_all(b"x").unwrap();
            until(&poller, key, |event| event.readable);
        }
        poller.remove(near.as_fd(), key).unwrap();
    }

    fn the_end_is_told<P: Poll>() {
        let poller = P::new().unwrap();
        let (near, mut far) = connection();
        let key = Key::new(0, 0);
        poller.add(near.as_fd(), key).unwrap();
        far.write_all(b"x").unwrap();
        drop(far);
        until(&poller, key, |event| {
            event.readable && (event.irregular || !P::SEES_IRREGULARITIES)
        });
        poller.remove(near.as_fd(), key).unwrap();
    }

    fn a_reset_is_told_to_both_directions<P: Poll>() {
        let poller = P::new().unwrap();
        let (mut near, far) = connection();
        let key = Key::new(0, 0);
        poller.add(near.as_fd(), key).unwrap();
        // Data that nobody has read turn a close into a reset.
        near.write_all(b"x").unwrap();
        far.peek_blocking();
        drop(far);
        until(&poller, key, |event| {
            event.hung_up && event.readable && event.writable
        });
        poller.remove(near.as_fd(), key).unwrap();
    }

    fn what_is_removed_is_silent<P: Poll>() {
        let poller = P::new().unwrap();
        let (near, mut far) = connection();
        // The description lives on in it.
        let duplicate = near.try_clone().unwrap();
        let key = Key::new(0, 0);
        poller.add(near.as_fd(), key).unwrap();
        poller.remove(near.as_fd(), key).unwrap();
        drop(near);
        far.write_all(b"x").unwrap();
        duplicate.peek_blocking();
        assert_eq!(pending(&poller, key), None);
    }

    fn a_wake_ends_a_wait<P: Poll>() {
        let poller = P::new().unwrap();
        let mut batch = P::batch();
        for _ in 0..100 {
            // Nobody waits yet: the next one returns at once.
            poller.wake();
            poller.wake();
            poller.wait(&mut batch, None).unwrap();
        }
        for _ in 0..100 {
            thread::scope(|scope| {
                scope.spawn(|| poller.wake());
                poller.wait(&mut batch, None).unwrap();
            });
        }
    }

    fn a_timeout_ends_a_wait<P: Poll>() {
        let poller = P::new().unwrap();
        let mut batch = P::batch();
        poller.wait(&mut batch, Some(Duration::ZERO)).unwrap();
        for timeout in [Duration::from_nanos(1), Duration::from_micros(1500)] {
            let start = Instant::now();
            poller.wait(&mut batch, Some(timeout)).unwrap();
            assert!(start.elapsed() >= timeout);
        }
        // Long ones may end early, but not again and again, nor late or never.
        for timeout in [200, 300, 150].map(Duration::from_millis) {
            poller.wake();
            poller.wait(&mut batch, Some(2 * timeout)).unwrap();
            let deadline = Instant::now() + timeout;
            let waits = (1..).take_while(|_| {
                let left = deadline.saturating_duration_since(Instant::now());
                poller.wait(&mut batch, Some(left)).unwrap();
                !left.is_zero()
            });
            assert!(waits.count() < 10);
        }
        // It must not overflow to something short, or to an error.
        poller.wake();
        poller.wait(&mut batch, Some(Duration::MAX)).unwrap();
    }

    fn what_cannot_be_polled_is_refused<P: Poll>() {
        let poller = P::new().unwrap();
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert!(poller.add(file.as_fd(), Key::new(0, 0)).is_err());
    }

    macro_rules! contract {
        ($Poller:ty: $($promise:ident)*) => {
            $(
                #[test]
                fn $promise() {
                    super::$promise::<$Poller>();
                }
            )*
        };
        ($($module:ident: $Poller:ty;)*) => {
            $(
                mod $module {
                    contract! {
                        $Poller:
                        being_ready_is_the_first_edge
                        each_arrival_is_an_edge
                        the_end_is_told
                        a_reset_is_told_to_both_directions
                        what_is_removed_is_silent
                        a_wake_ends_a_wait
                        a_timeout_ends_a_wait
                        what_cannot_be_polled_is_refused
                    }
                }
            )*
        };
    }

    contract! {
        system: super::super::super::System;
        portable: super::super::super::portable::Portable;
    }

    /// Where no edges are reported.
    mod one_shot {
        use super::super::super::one_shot::OneShot;
        use super::*;

        contract! {
            OneShot:
            what_is_removed_is_silent
            a_wake_ends_a_wait
            a_timeout_ends_a_wait
            what_cannot_be_polled_is_refused
        }

        fn registered() -> (OneShot, Key, TcpStream, TcpStream) {
            let poller = OneShot::new().unwrap();
            let (near, far) = connection();
            let key = Key::new(3, 7);
            poller.add(near.as_fd(), key).unwrap();
            (poller, key, near, far)
        }

        #[test]
        fn what_is_ready_when_it_is_asked_for_is_reported_once() {
            let (poller, key, near, mut far) = registered();
            far.write_all(b"x").unwrap();
            near.peek_blocking();
            assert_eq!(pending(&poller, key), None, "nobody has asked");
            for _ in 0..3 {
                poller.ask(key, Direction::Read).unwrap();
                let event = pending(&poller, key).expect("an event");
                assert!(event.readable && !event.hung_up);
                assert_eq!(pending(&poller, key), None, "nobody has asked again");
            }
            poller.remove(near.as_fd(), key).unwrap();
        }

        #[test]
        fn what_a_report_does_not_tell_of_is_still_asked_for() {
            let (poller, key, near, mut far) = registered();
            poller.ask(key, Direction::Read).unwrap();
            poller.ask(key, Direction::Write).unwrap();
            until(&poller, key, |event| event.writable && !event.readable);
            assert_eq!(pending(&poller, key), None);
            far.write_all(b"x").unwrap();
            until(&poller, key, |event| event.readable && !event.writable);
            poller.remove(near.as_fd(), key).unwrap();
        }

        #[test]
        fn what_is_asked_for_while_somebody_waits_is_reported() {
            let (poller, key, near, mut far) = registered();
            for _ in 0..100 {
                thread::scope(|scope| {
                    let waits = scope.spawn(|| until(&poller, key, |event| event.readable));
                    poller.ask(key, Direction::Read).unwrap();
                    far.write_all(b"x").unwrap();
                    waits.join().unwrap();
                });
            }
            poller.remove(near.as_fd(), key).unwrap();
        }
    }
}

trait PeekBlocking {
    /// Waits until there is something to read.
    fn peek_blocking(&self);
}

impl PeekBlocking for TcpStream {
    fn peek_blocking(&self) {
        self.set_nonblocking(false).unwrap();
        assert_ne!(self.peek(&mut [0]).unwrap(), 0);
        self.set_nonblocking(true).unwrap();
    }
}

fn driver() -> Arc<Driver> {
    Arc::new(Driver::new().unwrap())
}

/// Looks for events once, without waiting.
fn look(driver: &Driver) -> Vec<Ticket> {
    let mut ready = Vec::new();
    driver.wait(Some(Duration::ZERO), &mut ready).unwrap();
    ready
}

/// Waits in the driver until the direction has seen an edge after `tick`.
fn edge_after(
    driver: &Driver,
    registration: &Registration,
    direction: Direction,
    tick: Tick,
) -> Tick {
    loop {
        driver.wait(Some(LONG), &mut Vec::new()).unwrap();
        let now = registration.glance(direction).tick;
        if now != tick {
            return now;
        }
    }
}

#[test]
fn a_late_event_does_not_reach_the_successor() {
    let driver = driver();
    let (near, mut far) = connection();
    let registration = driver.register(near.as_fd()).unwrap();
    far.write_all(b"x").unwrap();
    near.peek_blocking();

    let mut batch = System::batch();
    driver.poller.wait(&mut batch, Some(LONG)).unwrap();
    assert!(System::events(&batch).any(|event| event.key == registration.key()));

    // The event is under way while its descriptor goes and another one takes its slot.
    driver.deregister(&registration, near.as_fd());
    drop(near);
    let (next, _next_far) = connection();
    let successor = driver.register(next.as_fd()).unwrap();
    assert_eq!(successor.key().slot(), registration.key().slot());
    driver.deliver(&batch, &mut Vec::new());
    assert_eq!(successor.glance(Direction::Read).tick, Tick::START);
    assert_eq!(registration.glance(Direction::Read).tick, Tick::START);
    driver.deregister(&successor, next.as_fd());
}

#[test]
fn nothing_stays_registered() {
    let driver = driver();
    let connections: Vec<_> = (0..10).map(|_| connection()).collect();
    let registrations: Vec<_> = connections
        .iter()
        .map(|(near, _)| driver.register(near.as_fd()).unwrap())
        .collect();
    assert_eq!(driver.registered.lock().slots.len(), 10);
    for (registration, (near, _)) in registrations.iter().zip(&connections) {
        driver.deregister(registration, near.as_fd());
    }
    assert_eq!(driver.registered.lock().slots.len(), 0);

    let file = std::fs::File::open("/proc/self/exe").unwrap();
    assert!(driver.register(file.as_fd()).is_err());
    assert_eq!(driver.registered.lock().slots.len(), 0);
}

#[test]
fn all_who_wait_for_a_direction_are_told() {
    let driver = driver();
    let (near, mut far) = connection();
    let registration = driver.register(near.as_fd()).unwrap();
    let tick = edge_after(&driver, &registration, Direction::Write, Tick::START);
    assert_eq!(registration.glance(Direction::Write).tick, tick);
    let read_tick = registration.glance(Direction::Read).tick;

    let woken = thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    registration
                        .wait(Direction::Read, read_tick, None, &"a test")
                        .unwrap()
                })
            })
            .collect();
        far.write_all(b"x").unwrap();
        while readers.iter().any(|reader| !reader.is_finished()) {
            let mut ready = Vec::new();
            driver
                .wait(Some(Duration::from_millis(1)), &mut ready)
                .unwrap();
            for ticket in ready {
                ticket.fire();
            }
        }
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(woken, [Woken::Ready { hung_up: false }; 3]);
    driver.deregister(&registration, near.as_fd());
}

#[test]
fn an_event_hands_out_the_tickets_once() {
    let driver = driver();
    let (near, mut far) = connection();
    let registration = driver.register(near.as_fd()).unwrap();
    edge_after(&driver, &registration, Direction::Write, Tick::START);

    let seen = registration.glance(Direction::Read).tick;
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            registration
                .wait(Direction::Read, seen, None, &"a test")
                .unwrap()
        });
        far.write_all(b"x").unwrap();
        let mut ready = Vec::new();
        while ready.is_empty() && !reader.is_finished() {
            driver
                .wait(Some(Duration::from_millis(1)), &mut ready)
                .unwrap();
        }
        for ticket in ready {
            assert!(ticket.clone().fire());
            assert!(!ticket.fire());
        }
        assert_eq!(reader.join().unwrap(), Woken::Ready { hung_up: false });
    });
    far.write_all(b"y").unwrap();
    near.peek_blocking();
    assert!(look(&driver).is_empty());
    driver.deregister(&registration, near.as_fd());
}

#[test]
fn a_wait_that_times_out_leaves_no_ticket() {
    let driver = driver();
    let (near, mut far) = connection();
    let registration = driver.register(near.as_fd()).unwrap();
    let seen = registration.glance(Direction::Read).tick;
    let woken = registration
        .wait(Direction::Read, seen, Some(Instant::now()), &"a test")
        .unwrap();
    assert_eq!(woken, Woken::TimedOut);
    far.write_all(b"x").unwrap();
    near.peek_blocking();
    assert!(look(&driver).is_empty());
    assert_ne!(registration.glance(Direction::Read).tick, seen);
    driver.deregister(&registration, near.as_fd());
}

#[test]
fn a_drained_direction_is_known_until_the_next_edge() {
    let driver = driver();
    let (near, mut far) = connection();
    let registration = driver.register(near.as_fd()).unwrap();
    far.write_all(b"x").unwrap();
    let tick = edge_after(&driver, &registration, Direction::Write, Tick::START);
    near.peek_blocking();
    look(&driver);

    let glance = registration.glance(Direction::Read);
    assert!(!glance.drained);
    registration.mark_drained(Direction::Read, glance.tick);
    assert_eq!(
        registration.glance(Direction::Read).drained,
        System::SEES_IRREGULARITIES
    );
    far.write_all(b"y").unwrap();
    edge_after(&driver, &registration, Direction::Read, glance.tick);
    assert!(!registration.glance(Direction::Read).drained);

    // A mark that comes late is worth nothing.
    registration.mark_drained(Direction::Read, glance.tick);
    assert!(!registration.glance(Direction::Read).drained);
    assert!(!registration.glance(Direction::Write).drained);
    assert_ne!(tick, Tick::START);
    driver.deregister(&registration, near.as_fd());
}

#[test]
fn data_and_the_end_that_come_together_are_both_found() {
    let driver = driver();
    let (mut near, mut far) = connection();
    let registration = driver.register(near.as_fd()).unwrap();
    far.write_all(b"last words").unwrap();
    drop(far);
    // Both are there before anybody looks.
    near.set_nonblocking(false).unwrap();
    while near.peek(&mut [0; 64]).unwrap() < 10 {}
    wait_for(&near, PollFlags::RDHUP);
    edge_after(&driver, &registration, Direction::Read, Tick::START);

    // A short read, and no edge will follow.
    let glance = registration.glance(Direction::Read);
    let mut last = [0; 64];
    assert_eq!(near.read(&mut last).unwrap(), 10);
    registration.mark_drained(Direction::Read, glance.tick);
    assert!(!registration.glance(Direction::Read).drained);
    assert_eq!(near.read(&mut last).unwrap(), 0);
    driver.deregister(&registration, near.as_fd());
}

#[test]
fn data_behind_urgent_data_are_found() {
    use rustix::net::{SendFlags, send};

    let driver = driver();
    let (mut near, far) = connection();
    let registration = driver.register(near.as_fd()).unwrap();
    send(&far, b"before", SendFlags::empty()).unwrap();
    send(&far, b"!", SendFlags::OOB).unwrap();
    send(&far, b"after", SendFlags::empty()).unwrap();
    wait_for(&near, PollFlags::PRI);
    edge_after(&driver, &registration, Direction::Read, Tick::START);

    // A short read, and no edge will follow.
    let glance = registration.glance(Direction::Read);
    let mut buffer = [0; 64];
    assert_eq!(near.read(&mut buffer).unwrap(), 6);
    registration.mark_drained(Direction::Read, glance.tick);
    assert!(!registration.glance(Direction::Read).drained);
    near.set_nonblocking(false).unwrap();
    near.read_exact(&mut buffer[..5]).unwrap();
    assert_eq!(&buffer[..5], b"after");
    driver.deregister(&registration, near.as_fd());
}

/// Blocks until the system tells of `flags`.
fn wait_for(stream: &TcpStream, flags: PollFlags) {
    let mut fds = [PollFd::new(stream, flags)];
    assert_eq!(poll(&mut fds, None).unwrap(), 1);
}

#[test]
fn no_edge_is_lost() {
    const BYTES: usize = 10_000;

    let driver = driver();
    let (mut near, mut far) = connection();
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let registration = driver.register(near.as_fd()).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut ready = Vec::new();
            while !done.load(Ordering::Relaxed) {
                driver.wait(None, &mut ready).unwrap();
                for ticket in ready.drain(..) {
                    ticket.fire();
                }
            }
        });
        scope.spawn(move || {
            let mut answer = [0];
            for n in 0..BYTES {
                far.write_all(&[n as u8]).unwrap();
                // In step now and then, so that both a full and an empty buffer are met.
                if n % 7 == 0 {
                    far.read_exact(&mut answer).unwrap();
                    assert_eq!(answer[0], n as u8);
                }
            }
        });

        let mut read = 0;
        let mut buffer = [0; 64];
        while read < BYTES {
            let glance = registration.glance(Direction::Read);
            if !glance.drained {
                match near.read(&mut buffer) {
                    Ok(0) => panic!("the stream ended early"),
                    Ok(n) => {
                        if n < buffer.len() {
                            registration.mark_drained(Direction::Read, glance.tick);
                        }
                        for byte in &buffer[..n] {
                            assert_eq!(*byte, read as u8);
                            if read % 7 == 0 {
                                near.write_all(&[read as u8]).unwrap();
                            }
                            read += 1;
                        }
                        continue;
                    }
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
            }
            let deadline = Instant::now() + LONG;
            let woken = registration
                .wait(Direction::Read, glance.tick, Some(deadline), &"a test")
                .unwrap();
            assert_ne!(woken, Woken::TimedOut, "after {read} bytes");
        }
        done.store(true, Ordering::Relaxed);
        driver.wake();
    });
    driver.deregister(&registration, near.as_fd());
}
