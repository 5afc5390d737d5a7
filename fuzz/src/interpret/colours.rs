//! Futures, threads in futures, coroutines.

use std::future::{self, Future, IntoFuture};
use std::panic::{self, AssertUnwindSafe};
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::thread as os_thread;
use std::time::Duration;

use async_executor::Executor;
use roving::channel::{self, Receiver, Sender};
use roving::coroutine::{self, Generator, Next, Yielder};
use roving::sync::{Mutex, Notify, RwLock, Semaphore};
use roving::{Builder, Greenly, ThreadLocals, await_, block_on, select, thread};

use super::Thread;
use super::patterns::{Part, part};
use crate::execute::STACK;
use crate::oracle::Caught;
use crate::program::{Body, Host, Op, Patience};
use crate::value::Item;

/// Whether what is in a future has thread-locals of its own, and goes from thread to thread with them.
pub(super) fn guests_move() -> bool {
    static MOVE: OnceLock<bool> = OnceLock::new();
    *MOVE.get_or_init(|| {
        let runtime = Builder::new().workers(1).build();
        runtime.is_ok_and(|runtime| runtime.thread_locals() == ThreadLocals::Own)
    })
}

/// Polls a future when nobody wants to know of its wake-ups.
pub(super) fn poll_in_vain<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future on a new OS thread each time.
pub(super) struct Moves<F>(pub(super) F);

impl<F> Future for Moves<F>
where
    F: Future + Send + Unpin,
    F::Output: Send,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let (future, waker) = (Pin::new(&mut self.get_mut().0), context.waker());
        let poll = || future.poll(&mut Context::from_waker(waker));
        match os_thread::scope(|scope| scope.spawn(poll).join()) {
            Ok(polled) => polled,
            Err(payload) => panic::resume_unwind(payload),
        }
    }
}

impl Thread<'_> {
    #[inline(never)]
    pub(super) fn colour(&mut self, op: &Op) {
        match op {
            Op::AsFutures(body) => {
                let before = std::mem::replace(&mut self.as_futures, true);
                self.run(body);
                self.as_futures = before;
            }
            Op::Greenly { host, body } => self.greenly(*host, body),
            Op::Coroutine {
                resumes,
                transfers,
                body,
            } => {
                let known = self.known();
                if *transfers {
                    self.transfers(*resumes, body);
                } else {
                    self.generates(*resumes, body);
                }
                self.is_again(known);
            }
            _ => unreachable!("another file does the rest"),
        }
    }

    /// Waits for a future for as long as patience goes, and drops it then.
    pub(super) fn wait_for<F: IntoFuture>(patience: Patience, future: F) -> Option<F::Output> {
        match patience {
            Patience::Never => match poll_in_vain(pin!(future.into_future())) {
                Poll::Ready(value) => Some(value),
                Poll::Pending => None,
            },
            Patience::For(micros) => select! {
                future(future) -> value => Some(value),
                default(Duration::from_micros(micros)) => None,
            },
            Patience::Forever => Some(block_on(future)),
        }
    }

    fn greenly(&mut self, host: Host, body: &Body) {
        let mut start = self.start("in a future", body);
        start.owns = guests_move();
        start.is_of_guest = true;
        start.inherited = None;
        // What it spawns is in the runtime of whoever polls it, or in the global one.
        start.children_own = false;
        let status = start.status();
        let builder = thread::Builder::new().stack_size(STACK);
        let mut greenly = match builder.greenly(move || start.live()) {
            Ok(greenly) => greenly,
            Err(error) => {
                let what = format_args!("no stack for a thread in a future: {error}");
                return self.world.oracle.violated(what);
            }
        };
        let ended = panic::catch_unwind(AssertUnwindSafe(|| match host {
            Host::BlockOn => Some(block_on(greenly)),
            Host::Moves if guests_move() => Some(block_on(Moves(greenly))),
            Host::Await | Host::Moves => Some(await_(greenly)),
            Host::Drops(polls) => (0..polls).find_map(|_| Self::polled_once(&mut greenly)),
        }));
        let oracle = &self.world.oracle;
        match ended {
            Ok(Some(item)) => oracle.joined(&status, Ok(item)),
            Ok(None) => {}
            Err(payload) => match oracle.caught(payload) {
                Caught::Interrupt(payload) => panic::resume_unwind(payload),
                Caught::Panic => {}
            },
        }
    }

    fn polled_once(greenly: &mut Greenly<Item>) -> Option<Item> {
        thread::yield_now();
        // By whoever runs this thread, if that is in a future too.
        await_(future::poll_fn(|context| {
            let polled = Pin::new(&mut *greenly).poll(context);
            Poll::Ready(match polled {
                Poll::Ready(item) => Some(item),
                Poll::Pending => None,
            })
        }))
    }

    fn generates(&mut self, resumes: usize, body: &Body) {
        coroutine::scope(|scope| {
            let builder = coroutine::Builder::new().stack_size(STACK);
            let oracle = self.world.oracle.clone();
            let steps = |yielder: &Yielder<(), usize>| {
                for index in 0..body.0.len() {
                    self.run_part(body, index..index + 1);
                    yielder.yield_(index);
                }
            };
            match builder.generator_in(scope, steps) {
                Ok(generator) => {
                    let steps = generator.take(resumes).inspect(|_| thread::yield_now());
                    let in_order = steps.enumerate().all(|(number, step)| number == step);
                    oracle.check(in_order, "a generator gave its values in another order");
                }
                Err(error) => oracle.violated(format_args!("no stack for a generator: {error}")),
            }
        });
    }

    fn transfers(&mut self, resumes: usize, body: &Body) {
        coroutine::scope(|scope| {
            let (works, counts) = (scope.peer(), scope.peer());
            let oracle = self.world.oracle.clone();
            let new = || coroutine::Builder::new().stack_size(STACK);
            let made = new()
                .peer(works, move |transfer, ()| {
                    for index in 0..body.0.len() {
                        self.run_part(body, index..index + 1);
                        transfer.transfer(counts, index);
                    }
                    Next::Back(body.0.len())
                })
                .and_then(|()| {
                    new().peer(counts, move |transfer, mut count: usize| {
                        while count < resumes {
                            count = transfer.transfer(works, ()) + 1;
                            thread::yield_now();
                        }
                        Next::Back(count)
                    })
                });
            match made {
                Ok(()) => {
                    let count = works.enter(());
                    let most = body.0.len().max(resumes);
                    oracle.check(count <= most, format_args!("{count} transfers of {most}"));
                }
                Err(error) => oracle.violated(format_args!("no stack for peers: {error}")),
            }
        });
    }
}

/// OS threads that run tasks.
const HOSTS: usize = 3;

fn executor() -> &'static Executor<'static> {
    static EXECUTOR: Executor<'static> = Executor::new();
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        for _ in 0..HOSTS {
            // With a name of its own: it stays when the program has ended.
            let host = os_thread::Builder::new().name("host".to_owned());
            let spawned = host.spawn(|| block_on(EXECUTOR.run(future::pending::<()>())));
            drop(spawned.expect("there is an OS thread for it"));
        }
    });
    &EXECUTOR
}

/// What members of all colours share.
struct Shared {
    count: Mutex<u64>,
    both: RwLock<(u64, u64)>,
    semaphore: Semaphore,
    notify: Notify,
    sender: Sender<u64>,
    receiver: Receiver<u64>,
}

impl Shared {
    fn new() -> Arc<Self> {
        let (sender, receiver) = channel::bounded(1);
        let notify = Notify::new();
        notify.notify_one();
        Arc::new(Self {
            count: Mutex::new(0),
            both: RwLock::new((0, 0)),
            semaphore: Semaphore::new(1),
            notify,
            sender,
            receiver,
        })
    }

    /// A round of one that blocks. `None` if another was interrupted, and has poisoned a lock.
    fn block(&self, round: u64) -> Option<()> {
        {
            let _permit = self.semaphore.acquire();
            let mut count = self.count.lock().ok()?;
            let before = *count;
            thread::yield_now();
            *count = before + 1;
        }
        self.sender.send(round).ok()?;
        let _message: u64 = self.receiver.recv().ok()?;
        // The permit of the event goes from hand to hand.
        self.notify.wait();
        let mut both = self.both.write().ok()?;
        both.0 += 1;
        thread::yield_now();
        both.1 += 1;
        drop(both);
        self.notify.notify_one();
        let both = self.both.read().ok()?;
        (both.0 == both.1).then_some(())
    }

    /// The same, of one that awaits.
    async fn wait(&self, round: u64) -> Option<()> {
        {
            let _permit = self.semaphore.acquire_async().await;
            let mut count = self.count.lock_async().await.ok()?;
            let before = *count;
            yields().await;
            *count = before + 1;
        }
        self.sender.send_async(round).await.ok()?;
        let _message: u64 = self.receiver.recv_async().await.ok()?;
        self.notify.wait_async().await;
        let mut both = self.both.write_async().await.ok()?;
        both.0 += 1;
        yields().await;
        both.1 += 1;
        drop(both);
        self.notify.notify_one();
        let both = self.both.read_async().await.ok()?;
        (both.0 == both.1).then_some(())
    }

    /// Begins to wait for something, and thinks better of it.
    fn give_up(&self, number: u64) {
        let mut waits: [Pin<Box<dyn Future<Output = ()> + '_>>; 5] = [
            Box::pin(async { drop(self.count.lock_async().await) }),
            Box::pin(async { drop(self.both.write_async().await) }),
            Box::pin(async { drop(self.both.read_async().await) }),
            Box::pin(async { drop(self.semaphore.acquire_async().await) }),
            Box::pin(async {
                self.notify.wait_async().await;
                self.notify.notify_one();
            }),
        ];
        let one = &mut waits[(number % 5) as usize];
        if poll_in_vain(one.as_mut()).is_pending() {
            thread::yield_now();
            let _ended: Poll<()> = poll_in_vain(one.as_mut());
        }
    }

    fn block_all(&self, rounds: u64) -> Option<u64> {
        (0..rounds).try_for_each(|round| {
            self.give_up(round);
            self.block(round)
        })?;
        Some(rounds)
    }

    async fn wait_for_all(self: Arc<Self>, rounds: u64) -> Option<u64> {
        for round in 0..rounds {
            self.give_up(round);
            self.wait(round).await?;
        }
        Some(rounds)
    }

    /// The rounds of one that blocks in a future, in turn by itself and by the task around it.
    fn both_ways(self: &Arc<Self>, rounds: u64) -> Option<u64> {
        (0..rounds).try_for_each(|round| match round % 3 {
            0 => self.block(round),
            1 => await_(self.wait(round)),
            _ => block_on(self.wait(round)),
        })?;
        Some(rounds)
    }
}

async fn yields() {
    let mut has_yielded = false;
    future::poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Does the rounds in one of the colours.
fn member(number: usize, shared: Arc<Shared>, rounds: u64) -> Part<'static> {
    let guest = move |shared: Arc<Shared>| {
        let builder = thread::Builder::new().stack_size(STACK);
        let greenly = builder.greenly(move || shared.both_ways(rounds));
        greenly.expect("there is a stack")
    };
    part(move || match number % 7 {
        0 => shared.block_all(rounds),
        1 => block_on(shared.wait_for_all(rounds)),
        2 => block_on(guest(shared)),
        3 => block_on(executor().spawn(shared.wait_for_all(rounds))),
        4 if guests_move() => block_on(executor().spawn(guest(shared))),
        5 if guests_move() => block_on(Moves(guest(shared))),
        _ => {
            let steps = Generator::new(move |yielder| {
                for round in 0..rounds {
                    yielder.yield_(match round % 2 {
                        0 => shared.block(round),
                        _ => block_on(shared.wait(round)),
                    });
                }
            });
            let done = steps.map_while(|step| step).count() as u64;
            (done == rounds).then_some(rounds)
        }
    })
}

impl Thread<'_> {
    pub(super) fn colours(&self, members: usize, rounds: u64) -> Option<u64> {
        let shared = Shared::new();
        // Which colours there are depends on who asks.
        let first = self.status.number as usize;
        let parts = (0..members).map(|number| member(first + number, shared.clone(), rounds));
        let sum = self.crew(parts)?;
        let count = *shared.count.lock().ok()?;
        Some(sum + count)
    }
}
