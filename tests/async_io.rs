//! Sockets in futures: in this crate's `block_on`, in tokio's runtimes, and in the executor of `futures`.
//!
//! - bytes go both ways at once, whole, in one piece or scattered, and end with the end
//! - a future that is dropped leaves nothing behind and loses nothing
//! - one goes on wherever it is polled, also when the runtime that it waits with has ended
//! - errors are those of blocking calls; timeouts and modes are not for futures

mod common;
#[path = "../scheduler/tests/common/executors.rs"]
mod executors;

use std::future::{self, Future};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::{
    closed_address, connection, on_each_mode, on_each_worker_count, pattern, runtime,
    uses_global_runtime,
};
use executors::{in_each_executor, woken};
use futures::future::{join_all, try_join};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use roving::channel::ready_async;
use roving::io::Async;
use roving::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use roving::{block_on, blocking, greenly, select, thread};

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn async_connection() -> (Async<TcpStream>, Async<TcpStream>) {
    let (near, far) = connection();
    (near.into(), far.into())
}

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// Sends back what comes on one connection.
async fn echo(listener: &TcpListener) -> io::Result<u64> {
    let (stream, _) = listener.accept_async().await?;
    let stream = Async::from(stream);
    futures::io::copy(&stream, &mut &stream).await
}

/// Sends `len` bytes and receives them at once, over one socket.
async fn talk(address: SocketAddr, len: usize) -> io::Result<()> {
    let stream = Async::from(TcpStream::connect_async(&address).await?);
    let sent = pattern(len, len);
    let writes = async {
        (&stream).write_all(&sent).await?;
        (&stream).close().await
    };
    let mut received = Vec::new();
    try_join(writes, async { (&stream).read_to_end(&mut received).await }).await?;
    assert!(received == sent);
    Ok(())
}

#[test]
fn an_echo_comes_back_whole() {
    in_each_executor(|| async {
        for len in [0, 1, 1000, 3_000_000] {
            let (listener, address) = listener();
            let (echoed, _) = try_join(echo(&listener), talk(address, len)).await.unwrap();
            assert_eq!(echoed, len as u64);
        }
    });
}

#[test]
fn many_connections_share_one_task() {
    in_each_executor(|| async {
        let (listener, address) = listener();
        let servers = join_all((0..100).map(|_| echo(&listener)));
        let clients = join_all((0..100).map(|n| talk(address, n * 100)));
        let (servers, clients) = futures::join!(servers, clients);
        for client in clients {
            client.unwrap();
        }
        let echoed: u64 = servers.into_iter().map(Result::unwrap).sum();
        assert_eq!(echoed, 99 * 100 / 2 * 100);
    });
}

#[test]
fn blocking_threads_and_futures_talk_to_each_other() {
    in_each_executor(|| async {
        let (mut near, far) = connection();
        let serves = thread::spawn(move || {
            let mut got = [0; 5];
            near.read_exact(&mut got).unwrap();
            near.write_all(&got).unwrap();
        });
        assert_eq!(far.write_async(b"hello").await.unwrap(), 5);
        let mut got = Vec::new();
        Async::from(far).read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"hello");
        serves.await.unwrap();
    });
}

#[test]
fn several_tasks_read_one_socket_and_each_byte_goes_to_one() {
    in_each_executor(|| async {
        let (near, far) = connection();
        let near = Arc::new(near);
        let reads = join_all((0..8).map(|_| async {
            let mut sum = 0;
            let mut buffer = [0; 3];
            loop {
                match near.read_async(&mut buffer).await.unwrap() {
                    0 => return sum,
                    read => sum += buffer[..read].iter().map(|n| u64::from(*n)).sum::<u64>(),
                }
            }
        }));
        let sent = pattern(1, 10_000);
        let writes = async {
            let mut far = Async::from(far);
            for piece in sent.chunks(100) {
                far.write_all(piece).await.unwrap();
            }
            far.close().await.unwrap();
        };
        let (sums, ()) = futures::join!(reads, writes);
        let expected: u64 = sent.iter().map(|n| u64::from(*n)).sum();
        assert_eq!(sums.iter().sum::<u64>(), expected);
    });
}

#[test]
fn a_direction_is_closed_and_the_other_goes_on() {
    in_each_executor(|| async {
        let (mut near, mut far) = async_connection();
        near.write_all(b"question").await.unwrap();
        near.close().await.unwrap();
        let mut got = String::new();
        far.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "question");
        let error = near.write(b"more").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);

        far.write_all(b"answer").await.unwrap();
        far.close().await.unwrap();
        let mut got = String::new();
        near.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "answer");
        assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 0, "the end stays");
        far.close().await.unwrap();
        drop(near);
        far.close().await.unwrap();
    });
}

#[test]
fn buffers_are_gathered_and_scattered() {
    in_each_executor(|| async {
        let (near, mut far) = async_connection();
        // More buffers than the system takes at once, and more bytes than it has room for.
        let sent = pattern(3, 4_000_000);
        let writes = async {
            let mut pieces: Vec<_> = sent.chunks(1000).map(IoSlice::new).collect();
            let mut pieces = &mut pieces[..];
            while !pieces.is_empty() {
                let written = (&near).write_vectored(pieces).await.unwrap();
                IoSlice::advance_slices(&mut pieces, written);
            }
            (&near).close().await.unwrap();
        };
        let reads = async {
            let mut received = Vec::<u8>::new();
            let mut buffers = vec![[0_u8; 100]; 1500];
            loop {
                let mut room: Vec<_> = buffers.iter_mut().map(|b| IoSliceMut::new(b)).collect();
                let read = far.read_vectored(&mut room).await.unwrap();
                if read == 0 {
                    return received;
                }
                received.extend(buffers.iter().flatten().take(read));
            }
        };
        let ((), received) = futures::join!(writes, reads);
        assert!(received == sent);
    });
}

#[test]
fn tokios_traits_do_the_same() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, split};

    in_each_executor(|| async {
        let (near, far) = async_connection();
        let sent = pattern(5, 2_000_000);
        let (mut far_reads, mut far_writes) = split(far);
        let (mut reads, mut writes) = split(near);
        let echoes = async {
            tokio::io::copy(&mut far_reads, &mut far_writes)
                .await
                .unwrap();
            far_writes.shutdown().await.unwrap();
        };
        let sends = async {
            writes.write_all(&sent).await.unwrap();
            writes.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let receives = async { reads.read_to_end(&mut received).await.unwrap() };
        futures::join!(echoes, sends, receives);
        assert!(received == sent);
    });
}

#[test]
fn a_read_that_is_dropped_has_read_nothing() {
    on_each_mode(|| {
        let (near, mut far) = connection();
        let (woken, waker) = woken();
        for _ in 0..100 {
            let mut buffer = [0; 16];
            let mut read = pin!(near.read_async(&mut buffer));
            assert!(poll_once(read.as_mut(), &waker).is_pending());
            assert!(poll_once(read.as_mut(), &waker).is_pending());
        }
        // This one's task is woken, and then it is dropped all the same.
        let mut buffer = [0; 16];
        {
            let mut read = pin!(near.read_async(&mut buffer));
            assert!(poll_once(read.as_mut(), &waker).is_pending());
            far.write_all(b"hello").unwrap();
            woken.wait_for(1);
        }
        let read = block_on(near.read_async(&mut buffer)).unwrap();
        assert_eq!(&buffer[..read], b"hello");
        assert_eq!(woken.times(), 1);
        drop(waker);
        // Nothing keeps the waker, once whoever has called it is done.
        while Arc::strong_count(&woken) > 1 {
            thread::yield_now();
        }
    });
}

#[test]
fn a_write_that_is_dropped_has_written_nothing() {
    on_each_mode(|| {
        let (near, mut far) = connection();
        let (_, waker) = woken();
        let mut written = 0;
        loop {
            let mut write = pin!(near.write_async(&[7; 10_000]));
            // One of many is pending only to let others run.
            let polled = match poll_once(write.as_mut(), &waker) {
                Poll::Pending => poll_once(write.as_mut(), &waker),
                ready => ready,
            };
            match polled {
                Poll::Ready(part) => written += part.unwrap(),
                Poll::Pending => break,
            }
        }
        near.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        far.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), written);
    });
}

#[test]
fn an_accept_that_is_dropped_has_accepted_nothing() {
    on_each_mode(|| {
        let (listener, address) = listener();
        let (woken, waker) = woken();
        let stream = {
            let mut accept = pin!(listener.accept_async());
            assert!(poll_once(accept.as_mut(), &waker).is_pending());
            let stream = TcpStream::connect(address).unwrap();
            woken.wait_for(1);
            stream
        };
        let (_, peer) = block_on(listener.accept_async()).unwrap();
        assert_eq!(peer, stream.local_addr().unwrap());
    });
}

#[test]
fn a_connect_that_is_dropped_closes_its_socket() {
    on_each_mode(|| {
        let (listener, address) = listener();
        let (_, waker) = woken();
        {
            let mut connect = pin!(TcpStream::connect_async(&address));
            // One of many is pending only to let others run.
            if poll_once(connect.as_mut(), &waker).is_pending() {
                let _ = poll_once(connect.as_mut(), &waker);
            }
            // Who closes before he is connected does not come to be accepted.
            select! { readable(listener) => {} }
        }
        let (mut accepted, _) = listener.accept().unwrap();
        assert_eq!(accepted.read(&mut [0; 8]).unwrap(), 0);
    });
}

#[test]
fn a_future_goes_on_where_it_is_polled() {
    on_each_mode(|| {
        let (near, mut far) = connection();
        let (earlier, waker) = woken();
        let mut read = Box::pin(async move {
            let mut buffer = [0; 16];
            let read = near.read_async(&mut buffer).await?;
            io::Result::Ok(buffer[..read].to_vec())
        });
        assert!(poll_once(read.as_mut(), &waker).is_pending());
        let goes_on = move || {
            let mut tokio = tokio::runtime::Builder::new_current_thread();
            let tokio = tokio.build().unwrap();
            tokio.block_on(async {
                let first = future::poll_fn(|context| {
                    assert!(read.as_mut().poll(context).is_pending());
                    Poll::Ready(())
                });
                first.await;
                far.write_all(b"hello").unwrap();
                assert_eq!(read.await.unwrap(), b"hello");
            });
        };
        blocking(goes_on);
        assert_eq!(earlier.times(), 0, "its task is not waited for any more");
    });
}

/// Something that waits for `far` to write: an owned stream, so that it can leave the runtime that it
/// began to wait with.
type Waits = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

fn read_async(near: TcpStream) -> Waits {
    Box::pin(async move {
        assert_eq!(near.read_async(&mut [0; 16]).await?, 5);
        Ok(())
    })
}

fn read_adapted(near: TcpStream) -> Waits {
    Box::pin(async move { Async::from(near).read_exact(&mut [0; 5]).await })
}

fn be_ready(near: TcpStream) -> Waits {
    Box::pin(async move { ready_async(&near.readable()).await })
}

fn read_greenly(mut near: TcpStream) -> Waits {
    Box::pin(greenly(move || near.read_exact(&mut [0; 5])))
}

#[test]
fn a_runtime_ends_under_a_future_that_waits() {
    uses_global_runtime();
    // What `greenly` runs may not leave its OS thread where it has no thread-locals of its own.
    let own = runtime(1).no_own_thread_locals().is_none()
        && std::env::var_os("ROVING_THREAD_LOCALS").is_none()
        && !cfg!(roving_shared);
    let with_own = own.then_some(read_greenly as fn(_) -> _);
    for wait in [read_async, read_adapted, be_ready]
        .into_iter()
        .chain(with_own)
    {
        for workers in [1, 2, 8] {
            let runtime = runtime(workers);
            let (near, mut far) = connection();
            let (woken, waker) = woken();
            let mut waits = runtime.run(|| {
                let mut waits = wait(near);
                assert!(poll_once(waits.as_mut(), &waker).is_pending());
                waits
            });
            runtime.shutdown();
            woken.wait_for(1);
            assert!(poll_once(waits.as_mut(), &waker).is_pending());
            far.write_all(b"hello").unwrap();
            woken.wait_for(2);
            block_on(waits).unwrap();
        }
    }
}

#[test]
fn errors_are_those_of_blocking_calls() {
    in_each_executor(|| async {
        let (nobody, _kept) = closed_address();
        let error = TcpStream::connect_async(&nobody).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

        // One that has unread data and is closed is reset.
        let (near, far) = async_connection();
        (&near).write_all(b"unread").await.unwrap();
        ready_async(&far.get_ref().readable()).await.unwrap();
        let reads = async { (&near).read(&mut [0; 8]).await.unwrap_err() };
        let resets = async { drop(far) };
        let (error, ()) = futures::join!(reads, resets);
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let error = (&near).write(b"more").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn timeouts_and_modes_are_for_blocking_calls() {
    in_each_executor(|| async {
        let (near, far) = connection();
        near.set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        near.set_nonblocking(true).unwrap();
        let writes = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            (&far).write_all(b"late").unwrap();
        });
        assert_eq!(near.read_async(&mut [0; 8]).await.unwrap(), 4);
        writes.await.unwrap();

        let (listener, address) = listener();
        listener.set_nonblocking(true).unwrap();
        let accepts = listener.accept_async();
        let (accepted, connected) = futures::join!(accepts, TcpStream::connect_async(&address));
        drop((accepted.unwrap(), connected.unwrap()));
        let error = listener.accept().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn one_that_is_always_ready_lets_others_run() {
    in_each_executor(|| async {
        let (near, far) = connection();
        let done = AtomicBool::new(false);
        let busy = async {
            let mut buffer = [0; 1];
            while !done.load(Ordering::Relaxed) {
                assert_eq!(near.write_async(&[1]).await.unwrap(), 1);
                assert_eq!(far.read_async(&mut buffer).await.unwrap(), 1);
            }
        };
        futures::join!(busy, async { done.store(true, Ordering::Relaxed) });
    });
}

#[test]
fn what_is_adapted_is_given_back() {
    on_each_worker_count(|| {
        let (near, mut far) = async_connection();
        let (_, waker) = woken();
        let mut buffer = [0; 8];
        let mut context = Context::from_waker(&waker);
        let poll = Pin::new(&mut far).poll_read(&mut context, &mut buffer);
        assert!(poll.is_pending());
        let mut far: TcpStream = far.into_inner();
        near.get_ref().write_all(b"blocking").unwrap();
        far.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"blocking");

        let shared = Arc::new(far);
        let mut half = Async::from(shared.clone());
        let flushed = Pin::new(&mut half).poll_flush(&mut context);
        assert!(matches!(flushed, Poll::Ready(Ok(()))));
        block_on(half.write_all(b"and back")).unwrap();
        let mut answer = [0; 8];
        block_on((&near).read_exact(&mut answer)).unwrap();
        assert_eq!(&answer, b"and back");
    });
}
