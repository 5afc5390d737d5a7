//! Sending and receiving in futures.
//!
//! A future waits at the end of a channel as a select with one arm does: it gets a claim, which is its
//! own until it has done with it what the operation is, or is dropped and the claim given back. So
//! a message that was meant for a future that nobody polls any more goes to another receiver, in its
//! place.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use super::core::{Chan, Claim, GRACE, Key, Registered, Role, Side};
use super::error::{RecvError, SendError};
use super::receiver::Source;
use super::timer::Clock;
use super::{Receiver, Sender};
use crate::run::alarm::Alarm;
use crate::runtime;
use crate::wait::polled::Polled;

/// Receives a message: see [`Receiver::recv_async`].
#[must_use = "futures do nothing unless they are polled"]
pub struct RecvFuture<'a, T> {
    receiver: &'a Receiver<T>,
    state: Receiving<'a, T>,
    polled: Polled,
    alarm: Option<Alarm>,
}

enum Receiving<'a, T> {
    Begins,
    Waits(Registered<'a, T>),
    /// A select has been met, which will bring a message; for so long it is waited for.
    Meets(Key, Instant),
}

impl<T> Receiver<T> {
    /// Receives a message: [`recv`](Self::recv) as a future, in any executor.
    ///
    /// It is cancel-safe: if it is dropped before it completes, no message is lost.
    ///
    /// # Errors
    ///
    /// There is no message, and the senders are gone.
    ///
    /// # Panics
    ///
    /// The future panics if it needs a timer, is polled by a thread that is not green, and the global
    /// runtime cannot be started: on a receiver of the clock, or when a select without capacity is met.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::channel::bounded;
    /// use roving::{block_on, thread};
    ///
    /// let (sender, receiver) = bounded(0);
    /// thread::spawn(move || sender.send("hello"));
    /// assert_eq!(block_on(receiver.recv_async()), Ok("hello"));
    /// ```
    pub fn recv_async(&self) -> RecvFuture<'_, T> {
        RecvFuture {
            receiver: self,
            state: Receiving::Begins,
            polled: Polled::default(),
            alarm: None,
        }
    }
}

impl<T> Future for RecvFuture<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        let this = self.get_mut();
        match &this.receiver.source {
            Source::Chan(chan) => this.poll_chan(chan, context),
            Source::Clock(clock) => this.poll_clock(&**clock, context).map(Ok),
            Source::Never => Poll::Pending,
        }
    }
}

impl<'a, T> RecvFuture<'a, T> {
    fn poll_chan(
        &mut self,
        chan: &'a Chan<T>,
        context: &Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        loop {
            let claim = match mem::replace(&mut self.state, Receiving::Begins) {
                Receiving::Begins => match chan.claim(Side::Receive) {
                    Ok(claim) => claim,
                    Err(_) => {
                        let ticket = self.polled.begin();
                        if let Some(waits) = chan.register(Side::Receive, ticket, Role::Select) {
                            self.state = Receiving::Waits(waits);
                        }
                        continue;
                    }
                },
                Receiving::Waits(waits) => {
                    if self.polled.poll(context).is_pending() {
                        self.state = Receiving::Waits(waits);
                        return Poll::Pending;
                    }
                    match waits.end() {
                        Some(claim) => claim,
                        None => continue,
                    }
                }
                Receiving::Meets(key, until) => {
                    if self.alarm.is_some() && self.polled.poll(context).is_pending() {
                        self.state = Receiving::Meets(key, until);
                        return Poll::Pending;
                    }
                    self.alarm = None;
                    let mut ticket = None;
                    let begin = || ticket.insert(self.polled.begin()).clone();
                    match chan.has_come(key, begin) {
                        Some(true) => Claim::Message(key),
                        None => continue,
                        Some(false) if until <= Instant::now() => match chan.leave_meeting(key) {
                            Some(message) => return Poll::Ready(Ok(message)),
                            None => continue,
                        },
                        Some(false) => {
                            self.alarm = ticket
                                .and_then(|ticket| Alarm::set(runtime::current(), until, ticket));
                            self.state = Receiving::Meets(key, until);
                            continue;
                        }
                    }
                }
            };
            match claim {
                Claim::Message(key) => return Poll::Ready(Ok(chan.take_promised(key))),
                Claim::Meeting(key) => {
                    self.state = Receiving::Meets(key, Instant::now() + GRACE);
                }
                Claim::Disconnected => return Poll::Ready(Err(RecvError)),
                Claim::Room => unreachable!("room is for those who send"),
            }
        }
    }

    fn poll_clock(&mut self, clock: &dyn Clock<T>, context: &Context<'_>) -> Poll<T> {
        loop {
            if self.alarm.is_some() && self.polled.poll(context).is_pending() {
                return Poll::Pending;
            }
            self.alarm = None;
            if let Some(time) = clock.take() {
                return Poll::Ready(clock.message(time));
            }
            self.alarm = clock
                .next()
                .and_then(|next| Alarm::set(runtime::current(), next, self.polled.begin()));
            if self.alarm.is_none() {
                return Poll::Pending;
            }
        }
    }
}

impl<T> Drop for RecvFuture<'_, T> {
    fn drop(&mut self) {
        if let (Receiving::Meets(key, _), Source::Chan(chan)) = (&self.state, &self.receiver.source)
        {
            chan.give_back(Claim::Meeting(*key));
        }
    }
}

/// Sends a message: see [`Sender::send_async`].
#[must_use = "futures do nothing unless they are polled"]
pub struct SendFuture<'a, T> {
    sender: &'a Sender<T>,
    /// `None` once it has been sent or given back.
    message: Option<T>,
    waits: Option<Registered<'a, T>>,
    polled: Polled,
}

// The message is moved and never pinned.
impl<T> Unpin for SendFuture<'_, T> {}

impl<T> Sender<T> {
    /// Sends a message: [`send`](Self::send) as a future, in any executor.
    ///
    /// If it is dropped before it has sent the message, it drops the message.
    ///
    /// # Errors
    ///
    /// The receivers are gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::channel::bounded;
    /// use roving::{block_on, thread};
    ///
    /// let (sender, receiver) = bounded(1);
    /// let received = thread::spawn(move || receiver.iter().sum::<u32>());
    /// block_on(async move {
    ///     for n in 0..4 {
    ///         sender.send_async(n).await.unwrap();
    ///     }
    /// });
    /// assert_eq!(received.join().unwrap(), 6);
    /// ```
    pub fn send_async(&self, message: T) -> SendFuture<'_, T> {
        SendFuture {
            sender: self,
            message: Some(message),
            waits: None,
            polled: Polled::default(),
        }
    }
}

impl<T> Future for SendFuture<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), SendError<T>>> {
        let this = self.get_mut();
        let chan: &Chan<T> = &this.sender.chan;
        let mut message = this.message.take().expect("polled after it was ready");
        loop {
            let claimed = match this.waits.take() {
                None => chan.claim(Side::Send).ok(),
                Some(waits) => {
                    if this.polled.poll(context).is_pending() {
                        this.waits = Some(waits);
                        this.message = Some(message);
                        return Poll::Pending;
                    }
                    waits.end()
                }
            };
            let result = match claimed {
                Some(Claim::Room) => chan.send_promised(message).map_err(SendError),
                Some(Claim::Disconnected) => Err(SendError(message)),
                Some(Claim::Meeting(key)) => match chan.bring(key, message) {
                    None => Ok(()),
                    // The one who would receive has left.
                    Some(back) => {
                        message = back;
                        continue;
                    }
                },
                Some(Claim::Message(_)) => unreachable!("messages are for those who receive"),
                None => {
                    this.waits = chan.register(Side::Send, this.polled.begin(), Role::Select);
                    continue;
                }
            };
            return Poll::Ready(result);
        }
    }
}

impl<T> fmt::Debug for RecvFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("RecvFuture { .. }")
    }
}

impl<T> fmt::Debug for SendFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SendFuture { .. }")
    }
}
