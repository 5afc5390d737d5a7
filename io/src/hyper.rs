//! What hyper asks of a runtime: executing futures, and timers.
//!
//! With these and an [`Async`](crate::io::Async) connection, servers and clients of hyper run on green threads, one for each
//! connection and, with HTTP/2, one for each request. Their services may block as any code on a green thread
//! may: that holds up nothing but the connection, or the request.
//!
//! With HTTP/1 the body of a request comes while the connection's future is polled. A service that awaits it lets that
//! happen; one that blocks until it has come, by [`block_on`] for example, waits for ever.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ::hyper::rt::{self, Sleep};
use roving_scheduler::{block_on, thread, time};

/// Executes each future on a green thread of its own, which [blocks](block_on) until it is ready.
///
/// It is a green thread of the runtime of whoever asks for it, as [`spawn`](thread::spawn)'s are. A panic
/// of the future ends that green thread.
///
/// # Panics
///
/// Panics, as [`spawn`](thread::spawn) does, if the system refuses a stack.
///
/// # Examples
///
/// ```
/// use hyper::rt::Executor as _;
/// use roving::channel::bounded;
/// use roving::hyper::Executor;
///
/// let (sender, receiver) = bounded(0);
/// Executor.execute(async move { sender.send(roving::is_green()) });
/// assert_eq!(receiver.recv(), Ok(true));
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Executor;

impl<F> rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[track_caller]
    fn execute(&self, future: F) {
        drop(thread::spawn(|| block_on(future)));
    }
}

/// The [timers](time::sleep_async) of the runtime, which work in any executor.
///
/// # Examples
///
/// ```
/// use hyper::rt::Timer as _;
/// use roving::block_on;
/// use roving::hyper::Timer;
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// block_on(Timer.sleep(Duration::from_millis(2)));
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Timer;

impl rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Sleeping(time::sleep_async(duration)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Sleeping(time::sleep_until_async(deadline)))
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<Sleeping>() {
            Some(mut sleeping) => sleeping.set(Sleeping(time::sleep_until_async(deadline))),
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

struct Sleeping(time::Sleep);

impl Future for Sleeping {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl Sleep for Sleeping {}
