//! Programs that must not compile: what a green thread takes along is `Send` and borrows nothing
//! that may end before it, a coroutine stays on its thread and in its scope, and a future goes to
//! another thread with all that it holds or not at all.
//!
//! Each is compiled against the library that these tests are linked with, next to one that must
//! compile, so that it is refused for its own fault.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles the body of a `main` without making code, and gives what the compiler says against it.
fn compile(library: &Path, case: &str, body: &str) -> Result<(), String> {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("compile_fail_{case}"));
    fs::create_dir_all(&out).unwrap();
    let source = out.join("main.rs");
    fs::write(&source, format!("fn main() {{\n{body}\n}}\n")).unwrap();
    let output = Command::new(env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args(["--edition=2024", "--crate-type=bin", "--emit=metadata"])
        .arg("--extern")
        .arg(format!("roving={}", library.display()))
        .arg("-L")
        .arg(format!(
            "dependency={}",
            library.parent().unwrap().display()
        ))
        .arg("--out-dir")
        .arg(&out)
        .arg(&source)
        .output()
        .unwrap();
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The library beside this program. There may be more than one, of other builds; any that can be
/// used will do.
fn library() -> PathBuf {
    let program = env::current_exe().unwrap();
    let beside = fs::read_dir(program.parent().unwrap()).unwrap();
    let mut libraries: Vec<_> = beside
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap_or("");
            name.starts_with("libroving-") && name.ends_with(".rlib")
        })
        .collect();
    libraries.sort_by_key(|path| fs::metadata(path).and_then(|file| file.modified()).ok());
    let mut complaints = Vec::new();
    for library in libraries.into_iter().rev() {
        match compile(&library, "control", CONTROL) {
            Ok(()) => return library,
            Err(complaint) => complaints.push(complaint),
        }
    }
    panic!("no library works: {complaints:#?}");
}

const CONTROL: &str = r#"
    let mut numbers = vec![1, 2, 3];
    let sent = std::sync::Arc::new(4);
    roving::go!(move || println!("{sent}"));
    roving::go!(name = "named", stack_size = 65536, || ());
    let runtime = roving::Builder::new().build().unwrap();
    runtime.run(|| numbers.push(4));
    runtime.spawn(|| 5);
    roving::blocking(|| numbers.push(6));
    roving::coroutine::scope(|scope| scope.generator(|y| y.yield_(&numbers)).count());
    let rc = std::rc::Rc::new(7);
    roving::block_on(async { numbers.push(*rc); roving::time::sleep_async(std::time::Duration::ZERO).await; drop(rc) });
    roving::block_on(roving::greenly(|| {
        let rc = std::rc::Rc::new(8);
        roving::await_(async {});
        *rc
    }));
    fn send<T: Send>(_: T) {}
    send(async {
        let (sender, receiver) = roving::channel::bounded(1);
        sender.send_async(9).await.unwrap();
        receiver.recv_async().await.unwrap();
        roving::go!(|| 10).await.unwrap();
        let semaphore = roving::sync::Semaphore::new(1);
        let permit = semaphore.acquire_async().await;
        roving::channel::ready_async(&roving::CancelToken::new()).await.unwrap();
        let listener = roving::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = roving::net::TcpStream::connect_async(&listener.local_addr().unwrap()).await.unwrap();
        let (other, _) = listener.accept_async().await.unwrap();
        stream.write_async(&[11]).await.unwrap();
        other.read_async(&mut [0]).await.unwrap();
        drop((roving::io::Async::from(other), permit));
    });
    async fn yields() {}
    let mutex = roving::sync::Mutex::new(std::cell::Cell::new(1));
    let lock = roving::sync::RwLock::new(1);
    let (_sender, mut receiver) = roving::sync::mpsc::channel::<u8>();
    send(async {
        let (_guard, _writing) = (mutex.lock_async().await.unwrap(), lock.write_async().await.unwrap());
        let _reading = lock.read_async().await.unwrap();
        receiver.recv_async().await.unwrap();
        yields().await;
    });
"#;

/// A name, a program, and what the compiler must say of it.
const CASES: &[(&str, &str, &str)] = &[
    (
        "not_send",
        "let rc = std::rc::Rc::new(1); roving::go!(move || println!(\"{rc}\"));",
        "E0277",
    ),
    (
        "not_send_with_options",
        "let rc = std::rc::Rc::new(1); roving::go!(name = \"n\", move || println!(\"{rc}\"));",
        "E0277",
    ),
    (
        "result_not_send",
        "roving::go!(|| std::rc::Rc::new(1));",
        "E0277",
    ),
    (
        "borrows_a_local",
        "let local = 1; roving::go!(|| println!(\"{}\", &local));",
        "E0373",
    ),
    (
        "borrows_by_reference",
        "let local = String::new(); let borrow = &local; roving::go!(move || println!(\"{borrow}\"));",
        "E0597",
    ),
    (
        "runtime_spawn_borrows",
        "let local = String::new(); let runtime = roving::Builder::new().build().unwrap();
         let borrow = &local; runtime.spawn(move || borrow.len());",
        "E0597",
    ),
    (
        "run_lends_nothing_out",
        "let runtime = roving::Builder::new().build().unwrap(); let mut kept = None;
         runtime.run(|| { let inner = 1; kept = Some(&inner); }); println!(\"{kept:?}\");",
        "E0521",
    ),
    (
        "run_is_not_for_what_is_not_send",
        "let runtime = roving::Builder::new().build().unwrap(); let rc = std::rc::Rc::new(1);
         runtime.run(|| rc.as_ref() + 1);",
        "E0277",
    ),
    (
        "shared_thread_locals_are_unsafe",
        "roving::Builder::new().shared_thread_locals();",
        "E0133",
    ),
    (
        "a_guard_stays_on_its_thread",
        "let mutex = roving::sync::Mutex::new(1); let guard = mutex.lock().unwrap();
         roving::thread::scope(|scope| { scope.spawn(move || drop(guard)); });",
        "E0277",
    ),
    (
        "a_guard_over_an_await_stays_on_its_thread",
        "fn sent<T: Send>(_: T) {} async fn yields() {}
         let mutex = roving::sync::Mutex::new(1);
         sent(async { let _guard = mutex.lock().unwrap(); yields().await; });",
        "future cannot be sent between threads safely",
    ),
    (
        "the_guard_of_a_task_is_not_sent_with_what_is_not_send",
        "let mutex = roving::sync::Mutex::new(std::rc::Rc::new(1));
         let guard = roving::block_on(mutex.lock_async()).unwrap();
         roving::thread::scope(|scope| { scope.spawn(move || drop(guard)); });",
        "E0277",
    ),
    (
        "a_task_that_reads_is_not_sent_with_what_is_not_sync",
        "let lock = roving::sync::RwLock::new(std::cell::Cell::new(1));
         let guard = roving::block_on(lock.read_async()).unwrap();
         roving::thread::scope(|scope| { scope.spawn(move || drop(guard)); });",
        "E0277",
    ),
    (
        "a_task_that_writes_is_not_sent_with_what_is_not_sync",
        "let lock = roving::sync::RwLock::new(std::cell::Cell::new(1));
         let guard = roving::block_on(lock.write_async()).unwrap();
         roving::thread::scope(|scope| { scope.spawn(move || drop(guard)); });",
        "E0277",
    ),
    (
        "the_guard_of_a_task_stays_with_its_lock",
        "let guard = { let mutex = roving::sync::Mutex::new(1); roving::block_on(mutex.lock_async()).unwrap() };
         drop(guard);",
        "E0597",
    ),
    (
        "a_receiver_is_awaited_once_at_a_time",
        "let (_sender, mut receiver) = roving::sync::mpsc::channel::<u8>();
         let (one, two) = (receiver.recv_async(), receiver.recv_async()); drop((one, two));",
        "E0499",
    ),
    (
        "a_mutex_of_what_is_not_send",
        "let mutex = roving::sync::Mutex::new(std::rc::Rc::new(1));
         roving::thread::scope(|scope| { scope.spawn(|| drop(mutex.lock())); });",
        "E0277",
    ),
    (
        "scoped_threads_borrow_one_mutably",
        "let mut n = 1; roving::thread::scope(|scope| { scope.spawn(|| n += 1); scope.spawn(|| n += 1); });",
        "E0499",
    ),
    (
        "a_scoped_handle_stays_in_its_scope",
        "let handle = roving::thread::scope(|scope| scope.spawn(|| 1)); drop(handle);",
        "lifetime may not live long enough",
    ),
    (
        "the_future_of_a_scoped_handle_stays_in_its_scope",
        "let join = roving::thread::scope(|scope| IntoFuture::into_future(scope.spawn(|| 1))); drop(join);",
        "lifetime may not live long enough",
    ),
    (
        "a_scoped_thread_borrows_nothing_of_the_closure",
        "roving::thread::scope(|scope| { let local = 1; scope.spawn(|| println!(\"{}\", &local)); });",
        "E0373",
    ),
    (
        "a_select_without_arms",
        "roving::select! {}",
        "has no arm",
    ),
    (
        "go_has_no_such_option",
        "roving::go!(stack = 65536, || ());",
        "`go!` expects a closure, and before it none, one or both of the options `name = ...` and `stack_size = ...`, found: stack = 65536, || ()",
    ),
    (
        "go_has_no_third_option",
        "roving::go!(name = \"n\", priority = 1, || ());",
        "`go!` expects a closure",
    ),
    (
        "go_without_a_closure",
        "roving::go!(stack_size = 65536);",
        "`go!` expects a closure",
    ),
    (
        "go_of_nothing",
        "roving::go!();",
        "`go!` expects a closure",
    ),
    (
        "select_has_no_such_arm",
        "let (_sender, receiver) = roving::channel::unbounded::<u8>(); roving::select! { receive(receiver) -> _ => () }",
        "`select!` expects arms of the forms `recv(receiver) -> pattern => body`, `send(",
    ),
    (
        "a_local_has_no_value",
        "roving::local! { static LOCAL: u8 = 1; }",
        "`local!` expects declarations such as `static NAME: Type;`",
    ),
    (
        "a_message_that_is_not_send",
        "let (sender, receiver) = roving::channel::unbounded(); sender.send(std::rc::Rc::new(1)).unwrap();
         roving::go!(move || drop(receiver));",
        "E0277",
    ),
    (
        "a_coroutine_stays_on_its_thread",
        "let coroutine = roving::coroutine::Coroutine::<(), (), ()>::new(|_, ()| ());
         roving::go!(move || drop(coroutine));",
        "E0277",
    ),
    (
        "a_coroutine_is_not_shared_by_threads",
        "let coroutine = roving::coroutine::Coroutine::<(), (), ()>::new(|_, ()| ());
         std::thread::scope(|scope| { scope.spawn(|| { coroutine.resume(()); }); });",
        "E0277",
    ),
    (
        "a_generator_stays_on_its_thread",
        "let generator = roving::coroutine::Generator::new(|y| y.yield_(1));
         std::thread::spawn(move || drop(generator));",
        "E0277",
    ),
    (
        "a_generator_is_not_shared_by_threads",
        "fn shared<T: Sync>(_: &T) {} shared(&roving::coroutine::Generator::new(|y| y.yield_(1)));",
        "E0277",
    ),
    (
        "a_yielder_is_not_shared_by_threads",
        "roving::coroutine::Generator::new(|y| { std::thread::scope(|scope| { scope.spawn(|| y.yield_(1)); }); });",
        "E0277",
    ),
    (
        "a_yielder_stays_in_its_coroutine",
        "let mut kept = None;
         roving::coroutine::scope(|scope| { scope.generator(|y| { kept = Some(y); y.yield_(1); }).next(); });",
        "E0521",
    ),
    (
        "a_coroutine_borrows_only_in_a_scope",
        "let local = 1; roving::coroutine::Generator::new(|y| y.yield_(&local)).next();",
        "E0373",
    ),
    (
        "a_coroutine_borrows_by_reference_only_in_a_scope",
        "let local = 1; let borrow = &local;
         roving::coroutine::Generator::new(move |y| y.yield_(*borrow)).next();",
        "E0597",
    ),
    (
        "a_coroutine_of_a_scope_stays_in_it",
        "let generator = roving::coroutine::scope(|scope| scope.generator(|y| y.yield_(1))); drop(generator);",
        "lifetime may not live long enough",
    ),
    (
        "a_coroutine_of_a_scope_borrows_nothing_of_the_closure",
        "roving::coroutine::scope(|scope| { let local = 1; scope.generator(|y| y.yield_(local)).next(); });",
        "E0373",
    ),
    (
        "an_input_outlives_the_scope",
        "roving::coroutine::scope(|scope| {
             let coroutine = scope.coroutine(|y, input: &String| { loop { y.yield_(input.len()); } });
             let local = String::new(); let _: roving::coroutine::State<usize, ()> = coroutine.resume(&local);
         });",
        "E0597",
    ),
    (
        "a_peer_stays_in_its_scope",
        "let peer = roving::coroutine::scope(|scope| scope.peer::<u8, u8>()); peer.enter(1);",
        "lifetime may not live long enough",
    ),
    (
        "a_peer_stays_on_its_thread",
        "roving::coroutine::scope(|scope| {
             let peer = scope.peer::<u8, u8>();
             std::thread::scope(|threads| { threads.spawn(move || peer.enter(1)); });
         });",
        "E0277",
    ),
    (
        "a_scope_of_coroutines_stays_on_its_thread",
        "roving::coroutine::scope(|scope| {
             std::thread::scope(|threads| { threads.spawn(|| scope.generator(|y| y.yield_(1)).next()); });
         });",
        "E0277",
    ),
    (
        "a_future_that_holds_a_guard_stays_on_its_thread",
        "fn send<T: Send>(_: T) {} let mutex = roving::sync::Mutex::new(1);
         send(async { let guard = mutex.lock(); async {}.await; drop(guard); });",
        "future cannot be sent between threads safely",
    ),
    (
        "a_future_that_holds_a_guard_of_readers_stays_on_its_thread",
        "fn send<T: Send>(_: T) {} let lock = roving::sync::RwLock::new(1);
         send(async { let guard = lock.read(); async {}.await; drop(guard); });",
        "future cannot be sent between threads safely",
    ),
    (
        "a_future_that_holds_a_coroutine_stays_on_its_thread",
        "fn send<T: Send>(_: T) {}
         send(async {
             let mut generator = roving::coroutine::Generator::new(|y| y.yield_(1));
             async {}.await;
             generator.next();
         });",
        "future cannot be sent between threads safely",
    ),
    (
        "a_message_that_is_not_send_is_sent_by_no_future",
        "fn send<T: Send>(_: T) {}
         let (sender, _receiver) = roving::channel::bounded(1); send(sender.send_async(std::rc::Rc::new(1)));",
        "E0277",
    ),
    (
        "a_message_that_is_not_send_is_received_by_no_future",
        "fn send<T: Send>(_: T) {}
         let (_sender, receiver) = roving::channel::bounded::<std::rc::Rc<u8>>(1); send(receiver.recv_async());",
        "E0277",
    ),
    (
        "a_future_in_a_select_goes_nowhere_that_it_cannot",
        "let rc = std::rc::Rc::new(1); let future = roving::channel::SelectFuture::new(async move { *rc });
         roving::go!(move || drop(future));",
        "future cannot be sent between threads safely",
    ),
    (
        "a_future_on_sockets_stays_with_them",
        "let reads = { let stream = roving::net::TcpStream::connect(\"127.0.0.1:1\").unwrap(); stream.read_async(&mut [0]) };
         roving::block_on(reads).unwrap();",
        "E0597",
    ),
    (
        "a_buffer_is_lent_to_its_read",
        "let stream = roving::net::TcpStream::connect(\"127.0.0.1:1\").unwrap(); let mut buffer = [0];
         let reads = stream.read_async(&mut buffer); buffer[0] = 1; roving::block_on(reads).unwrap();",
        "E0506",
    ),
    (
        "greenly_takes_nothing_that_is_not_send",
        "let rc = std::rc::Rc::new(1); drop(roving::greenly(move || *rc));",
        "E0277",
    ),
    (
        "greenly_gives_nothing_that_is_not_send",
        "drop(roving::greenly(|| std::rc::Rc::new(1)));",
        "E0277",
    ),
    (
        "greenly_borrows",
        "let local = String::new(); let borrow = &local; drop(roving::greenly(move || borrow.len()));",
        "E0597",
    ),
    (
        "what_is_awaited_in_greenly_is_send",
        "roving::await_(async { let rc = std::rc::Rc::new(1); async {}.await; drop(rc); });",
        "future cannot be sent between threads safely",
    ),
    (
        "what_is_awaited_in_greenly_shares_nothing_that_is_not_send",
        "let cell = std::cell::Cell::new(1); roving::await_(async { cell.set(2); });",
        "E0277",
    ),
    (
        "what_is_awaited_in_greenly_gives_what_is_send",
        "roving::await_(async { std::rc::Rc::new(1) });",
        "E0277",
    ),
    (
        "a_handle_is_joined_once",
        "let handle = roving::go!(|| 1); handle.join().unwrap(); handle.join().unwrap();",
        "E0382",
    ),
];

#[test]
fn these_do_not_compile() {
    let library = library();
    for (case, program, code) in CASES {
        match compile(&library, case, program) {
            Ok(()) => panic!("{case} compiles"),
            Err(complaint) => assert!(
                complaint.contains(code),
                "{case}: expected {code} in\n{complaint}"
            ),
        }
    }
}
