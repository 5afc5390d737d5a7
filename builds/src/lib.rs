//! What programs rely on, each part of it once: however the program was built, it must hold.

use std::cell::Cell;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use roving;
use roving::net::{TcpListener, TcpStream};
use roving::sync::{Condvar, Mutex, mpsc};
use roving::{Builder, channel, coroutine, deadline, fs, go, process, select, thread, time};

/// Far longer than anything takes here that comes to its end.
const LONG: Duration = Duration::from_secs(3600);

/// What was built how, as far as the program knows it.
pub fn what() -> String {
    let runtime = Builder::new().workers(1).build().expect("a runtime starts");
    format!(
        "panic = {}, debug assertions {}, thread-locals {:?}",
        if cfg!(panic = "unwind") {
            "unwind"
        } else {
            "abort"
        },
        if cfg!(debug_assertions) { "on" } else { "off" },
        runtime.thread_locals()
    )
}

/// Panics at the first part that is not as it should be.
pub fn everything() {
    threads();
    thread_locals();
    channels();
    locks();
    sockets();
    files();
    processes();
    coroutines();
    futures();
    limits();
    dumps();
    own_runtime();
    if cfg!(panic = "unwind") {
        unwinding();
    } else {
        what_is_parked_keeps_what_it_has_lent();
    }
}

fn threads() {
    let numbers: Vec<_> = (0..1000_u64).map(|n| go!(move || n)).collect();
    let sum: u64 = numbers.into_iter().map(|n| n.join().unwrap()).sum();
    assert_eq!(sum, 499_500);
    let mut sum = 0;
    let text = String::from("borrowed");
    thread::scope(|scope| {
        let length = scope.spawn(|| text.len());
        sum = length.join().unwrap();
    });
    assert_eq!(sum, 8);
}

thread_local! {
    static OWN: Cell<u32> = const { Cell::new(0) };
}

/// Each keeps what it has set over suspensions, where thread-locals are a green thread's own.
fn thread_locals() {
    let runtime = Builder::new().workers(2).build().unwrap();
    let is_own = runtime.thread_locals() == roving::ThreadLocals::Own;
    let threads: Vec<_> = (1..100)
        .map(|n| {
            runtime.spawn(move || {
                OWN.set(n);
                for _ in 0..10 {
                    thread::yield_now();
                }
                OWN.get() == n
            })
        })
        .collect();
    let kept = threads.into_iter().map(|thread| thread.join().unwrap());
    assert_eq!(kept.filter(|&kept| kept).count() == 99, is_own);
}

fn channels() {
    let (sender, receiver) = mpsc::channel();
    for n in 0..10_u32 {
        let sender = sender.clone();
        go!(move || sender.send(n).unwrap());
    }
    drop(sender);
    assert_eq!(receiver.iter().sum::<u32>(), 45);
    let (sender, receiver) = channel::bounded(0);
    let (_never, nothing) = channel::bounded::<()>(1);
    go!(move || sender.send("met").unwrap());
    let met = select! {
        recv(receiver) -> message => message.unwrap(),
        recv(nothing) -> _ => "nothing",
    };
    assert_eq!(met, "met");
}

fn locks() {
    let (count, is_full) = (Mutex::new(0), Condvar::new());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                *count.lock().unwrap() += 1;
                is_full.notify_one();
            });
        }
        drop(is_full.wait_while(count.lock().unwrap(), |count| *count < 8));
    });
}

fn sockets() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let server = go!(move || {
        let (stream, _) = listener.accept()?;
        io::copy(&mut &stream, &mut &stream)
    });
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"there and back").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "there and back");
    assert_eq!(server.join().unwrap().unwrap(), 14);
}

fn files() {
    // Copies of this in one process, as plugins have them, count their threads each from the first.
    let path = std::env::temp_dir().join(format!(
        "roving-builds-{}-{:p}-{:?}",
        std::process::id(),
        files as fn(),
        std::thread::current().id()
    ));
    fs::write(&path, "kept").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
    fs::remove_file(&path).unwrap();
}

fn processes() {
    let output = go!(|| process::Command::new("echo").arg("child").output());
    let output = output.join().unwrap().unwrap();
    assert_eq!(output.stdout, b"child\n");
}

fn coroutines() {
    let squares = coroutine::Generator::new(|yielder| {
        for n in 1..=3 {
            yielder.yield_(n * n);
        }
    });
    assert_eq!(squares.collect::<Vec<u32>>(), [1, 4, 9]);
}

fn futures() {
    let answer = roving::block_on(async {
        time::sleep_async(Duration::from_millis(1)).await;
        42
    });
    assert_eq!(answer, 42);
}

/// What ends calls that give errors does so without unwinding too.
fn limits() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let begun = Instant::now();
    let late = deadline(Duration::from_millis(5), || stream.read(&mut [0]));
    let is_late = match late {
        Ok(read) => read.unwrap_err().kind() == io::ErrorKind::TimedOut,
        Err(_) => cfg!(panic = "unwind"),
    };
    assert!(is_late && begun.elapsed() < LONG);
    let reads = go!(move || stream.read(&mut [0]).map_err(|error| error.to_string()));
    reads.cancel();
    match reads.join() {
        Ok(read) => assert_eq!(read.unwrap_err(), "the green thread was cancelled"),
        Err(payload) => assert!(payload.is::<roving::Cancelled>()),
    }
}

/// The stack of a thread that waits can be told in every build.
fn dumps() {
    let (sender, receiver) = mpsc::channel::<()>();
    let waits = go!(name = "waits for ever", move || receiver.recv().is_err());
    loop {
        let dump = roving::dump().to_string();
        if dump.contains("waits for ever") && dump.contains("on a channel with 1 sender") {
            break;
        }
        thread::yield_now();
    }
    drop(sender);
    assert!(waits.join().unwrap());
}

/// One runtime that begins and ends.
pub fn own_runtime() {
    let runtime = Builder::new().workers(2).build().unwrap();
    let sum: u32 = runtime
        .spawn(|| {
            (0..10)
                .map(|n| go!(move || n))
                .map(|n| n.join().unwrap())
                .sum()
        })
        .join()
        .unwrap();
    assert_eq!(sum, 45);
    runtime.shutdown();
}

fn unwinding() {
    let panics = go!(|| std::panic::resume_unwind(Box::new("a payload")));
    let payload: Result<(), _> = panics.join();
    assert_eq!(payload.unwrap_err().downcast_ref(), Some(&"a payload"));
    let sleeps = go!(|| thread::sleep(LONG));
    sleeps.cancel();
    sleeps.join().unwrap_err();
    let late: Result<(), _> = deadline(Duration::from_millis(1), || thread::sleep(LONG));
    let error: Box<dyn Error> = late.unwrap_err().into();
    assert!(!error.to_string().is_empty());
}

/// Nothing ends it, so its worker keeps the thread-locals that it may have lent.
fn what_is_parked_keeps_what_it_has_lent() {
    static IS_GONE: AtomicBool = AtomicBool::new(false);

    struct Lent;

    impl Drop for Lent {
        fn drop(&mut self) {
            IS_GONE.store(true, Ordering::SeqCst);
        }
    }

    thread_local! {
        static LENT: Lent = const { Lent };
    }

    let builder = Builder::new().workers(1).pinned_thread_locals();
    let runtime = builder.build().unwrap();
    let (sender, begun) = mpsc::channel();
    runtime.spawn(move || {
        LENT.with(|_| {
            sender.send(()).unwrap();
            thread::park();
        });
    });
    begun.recv().unwrap();
    drop(runtime);
    assert!(!IS_GONE.load(Ordering::SeqCst));
}
