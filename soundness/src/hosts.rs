//! An executor for guests: it polls each future on another OS thread than the time before.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};
use std::thread;

type Polled = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    /// `None` when it has ended.
    future: Mutex<Option<Polled>>,
    /// Who polls it next.
    next: AtomicUsize,
    hosts: Arc<[Sender<Option<Arc<Task>>>]>,
    done: Sender<()>,
}

impl Task {
    fn poll(self: &Arc<Self>) {
        let waker = Waker::from(self.clone());
        let mut future = self.future.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(polled) = &mut *future else { return };
        if polled
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
        {
            *future = None;
            self.done.send(()).expect("they are waited for");
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let host = self.next.fetch_add(1, Ordering::Relaxed) % self.hosts.len();
        // Whoever wakes it late finds nobody.
        let _late = self.hosts[host].send(Some(self.clone()));
    }
}

/// Polls futures to their ends on so many OS threads.
pub(crate) fn poll_on(hosts: usize, futures: impl IntoIterator<Item = Polled>) {
    let (queues, tasks): (Vec<_>, Vec<_>) = (0..hosts).map(|_| mpsc::channel()).unzip();
    let queues: Arc<[_]> = queues.into();
    let (done, ended) = mpsc::channel();
    thread::scope(|scope| {
        for tasks in tasks {
            scope.spawn(move || {
                while let Ok(Some(task)) = tasks.recv() {
                    Task::poll(&task);
                }
            });
        }
        let mut left = 0;
        for (number, future) in futures.into_iter().enumerate() {
            let task = Arc::new(Task {
                future: Mutex::new(Some(future)),
                next: AtomicUsize::new(number),
                hosts: queues.clone(),
                done: done.clone(),
            });
            task.wake();
            left += 1;
        }
        (0..left).for_each(|_| ended.recv().expect("a host is alive"));
        for queue in &*queues {
            queue.send(None).expect("a host is alive");
        }
    });
}
