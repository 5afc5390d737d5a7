//! Operations that are polled: the loop of [`source`](crate::source) for futures.
//!
//! The steps are the same. Where a thread would block, the ticket stays with the registration, and the
//! operation is pending. Until an edge has fired it, a poll takes its waker and does nothing else: no system
//! call, and no look at the socket.
//!
//! An operation waits with the runtime of the green thread that polls it, or with the global one. Once
//! it waits it may be polled anywhere. If its runtime ends meanwhile, it is woken and waits with that
//! of whoever polls it then.
//!
//! How long a thread waits is settled by the socket's timeouts and its mode. A future waits for as
//! long as somebody wants it, so neither counts here.

use std::future;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use roving_scheduler::wait::{Polled, Ticket};

use crate::readiness::{Direction, Registration, Tick};
use crate::source::{Attempt, Signs, Source};

/// The wait of an operation, for one direction of one source. Dropping it takes its ticket back.
#[derive(Debug, Default)]
pub struct Pending {
    polled: Polled,
    /// Where the ticket of the wait was left, until it has been fired.
    left: Option<Left>,
}

#[derive(Debug)]
struct Left {
    registration: Arc<Registration>,
    direction: Direction,
    ticket: Ticket,
}

impl Pending {
    /// Leaves a ticket for an edge since `seen`. `false` if there has been one.
    fn wait(&mut self, registration: &Arc<Registration>, direction: Direction, seen: Tick) -> bool {
        let ticket = self.polled.begin();
        let waits = registration.watch(direction, seen, ticket.clone());
        self.left = waits.then(|| Left {
            registration: registration.clone(),
            direction,
            ticket,
        });
        waits
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(left) = &self.left {
            left.registration.unwatch(left.direction, &left.ticket);
        }
    }
}

impl Source {
    /// Does what `attempt` does, as [`operate`](Self::operate) does it, or leaves a ticket for `context` in
    /// `pending`, which is of this source and direction.
    ///
    /// # Errors
    ///
    /// Those of the closure; and the driver's, if it cannot be made or does not take another
    /// descriptor.
    pub(crate) fn poll_operate<T>(
        &self,
        pending: &mut Pending,
        direction: Direction,
        context: &Context<'_>,
        mut attempt: impl FnMut(Signs) -> io::Result<Attempt<T>>,
    ) -> Poll<io::Result<T>> {
        if pending.left.is_none() && self.operations().is_others_turn() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        // The registration of the wait that has ended last.
        let mut waited: Option<Arc<Registration>> = None;
        loop {
            if pending.left.is_some() {
                ready!(pending.polled.poll(context));
                waited = pending.left.take().map(|left| left.registration);
            }
            let registration = waited.as_ref().or_else(|| self.first());
            let looked =
                registration.map(|registration| (registration, registration.glance(direction)));
            let in_vain = looked.is_some_and(|(_, glance)| glance.drained);
            let signs = Signs {
                hung_up: waited.as_ref().is_some_and(|waited| waited.hung_up()),
                irregular: waited.is_some() || looked.is_some_and(|(_, glance)| glance.irregular),
            };
            if !in_vain && let Some(value) = attempt(signs)?.done(direction, looked) {
                return Poll::Ready(Ok(value));
            }
            let mine = self.current_registration()?;
            self.ask(&mine, direction)?;
            let seen = match looked {
                Some((registration, glance)) if Arc::ptr_eq(registration, &mine) => glance.tick,
                // The try was made without a look at this registration.
                _ => Tick::START,
            };
            if !pending.wait(&mine, direction, seen) {
                waited = Some(mine);
            }
        }
    }

    /// Does what `attempt` does, as a future.
    ///
    /// # Errors
    ///
    /// As [`poll_operate`](Self::poll_operate).
    pub(crate) async fn operate_async<T>(
        &self,
        direction: Direction,
        mut attempt: impl FnMut(Signs) -> io::Result<Attempt<T>>,
    ) -> io::Result<T> {
        let mut pending = Pending::default();
        future::poll_fn(|context| self.poll_operate(&mut pending, direction, context, &mut attempt))
            .await
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::task::Waker;

    use super::*;

    /// A source, whose operations read, and the other end.
    fn source() -> (Source, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near, _) = listener.accept().unwrap();
        (Source::new(near.into()), far)
    }

    fn poll_read(source: &Source, pending: &mut Pending, tries: &mut u32) -> Poll<usize> {
        let context = Context::from_waker(Waker::noop());
        let polled = source.poll_operate(pending, Direction::Read, &context, |_| {
            *tries += 1;
            Attempt::of(rustix::net::recv(
                source.fd(),
                &mut [0; 8][..],
                rustix::net::RecvFlags::DONTWAIT,
            ))
        });
        polled.map(|result| result.unwrap().0)
    }

    #[test]
    fn only_an_edge_makes_it_try_again() {
        let (source, mut far) = source();
        let mut pending = Pending::default();
        let mut tries = 0;
        assert!(poll_read(&source, &mut pending, &mut tries).is_pending());
        // Registering makes an edge if there is room to write, but that is another direction.
        let tried = tries;
        for _ in 0..1000 {
            assert!(poll_read(&source, &mut pending, &mut tries).is_pending());
        }
        assert_eq!(tries, tried);
        far.write_all(b"hello").unwrap();
        let read = loop {
            if let Poll::Ready(read) = poll_read(&source, &mut pending, &mut tries) {
                break read;
            }
            std::thread::yield_now();
        };
        assert_eq!((read, tries), (5, tried + 1));
    }

    #[test]
    fn one_that_is_dropped_is_in_nobodys_list() {
        let (source, _far) = source();
        let mut waits = Pending::default();
        assert!(poll_read(&source, &mut waits, &mut 0).is_pending());
        let registration = waits.left.as_ref().unwrap().registration.clone();
        for _ in 0..3 {
            let mut pending = Pending::default();
            assert!(poll_read(&source, &mut pending, &mut 0).is_pending());
            assert_eq!(registration.waiting(Direction::Read), 2);
            drop(pending);
            assert_eq!(registration.waiting(Direction::Read), 1);
        }
        drop(waits);
        assert_eq!(registration.waiting(Direction::Read), 0);
    }
}
