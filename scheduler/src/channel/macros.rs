//! [`select!`](crate::select!): sugar for [`Select`](super::Select).
//!
//! The arms are parsed one by one into a list of `(kind result index handle (arguments) pattern
//! body)`, where the three names are made at each step, so that they are different for each arm.
//! Then the list is expanded: add all operations, select, do the one that was selected and keep its
//! result; and, when nothing is borrowed any more, run its body.

/// Waits for several operations at once, does one of them, and runs its body.
///
/// | arm                              | when it is selected                                      |
/// |----------------------------------|----------------------------------------------------------|
/// | `recv(receiver) -> pattern =>`   | a message has been received, or the senders are gone      |
/// | `send(sender, message) -> pattern =>` | the message has been sent, or the receivers are gone |
/// | `join(handle) -> pattern =>`     | the thread has ended and been joined; takes the handle     |
/// | `future(future) -> pattern =>`   | the future is ready; takes it, or a reference to one that is `Unpin` |
/// | `ready(selectable) =>`           | it is [ready](crate::channel::Selectable)                 |
/// | `readable(socket) =>`, `writable(socket) =>` | the socket would not block                     |
/// | `default =>`                     | nothing else is possible at once                           |
/// | `default(timeout) =>`            | nothing else has been possible for so long                 |
///
/// If several are possible, one is chosen at random; [`select_biased!`](crate::select_biased!)
/// takes the first. No body runs unless its operation was done, and the other operations leave
/// nothing behind. `default` is taken only if there was a moment at which no operation was possible.
/// Bodies may `break`, `return` and use `?`.
///
/// A message is evaluated when its arm has been selected. That should not take long: without capacity
/// somebody waits for it, who leaves after 100 ms, and then sending it blocks until another receives
/// it.
///
/// `readable` tells of the socket: a `BufReader` around it is asked for its
/// [buffer](std::io::BufReader::buffer) first.
///
/// # Examples
///
/// ```
/// use roving::channel::{after, unbounded};
/// use roving::{select, thread};
/// use std::time::Duration;
///
/// let (sender, receiver) = unbounded();
/// thread::spawn(move || sender.send("hello").unwrap());
/// let got = select! {
///     recv(receiver) -> message => message.unwrap(),
///     recv(after(Duration::from_secs(10))) -> _ => "nothing",
/// };
/// assert_eq!(got, "hello");
/// ```
///
/// Futures are polled by the thread that selects. One that is to go on in a later select is lent:
///
/// ```
/// use roving::channel::tick;
/// use roving::select;
/// use roving::time::{Duration, sleep_async};
///
/// async fn answer() -> u32 {
///     sleep_async(Duration::from_millis(5)).await;
///     42
/// }
///
/// let ticks = tick(Duration::from_millis(1));
/// let mut answer = Box::pin(answer());
/// let answered = loop {
///     select! {
///         future(&mut answer) -> value => break value,
///         recv(ticks) -> _ => println!("it takes its time"),
///     }
/// };
/// assert_eq!(answered, 42);
/// ```
#[macro_export]
macro_rules! select {
    ($($arms:tt)*) => {
        $crate::__select!(@parse new () () $($arms)*)
    };
}

/// Like [`select!`](crate::select!), but takes the first of several operations that are possible.
///
/// # Examples
///
/// ```
/// use roving::channel::unbounded;
/// use roving::select_biased;
///
/// let (high, low) = (unbounded(), unbounded());
/// low.0.send(1).unwrap();
/// high.0.send(2).unwrap();
/// let first = select_biased! {
///     recv(high.1) -> message => message,
///     recv(low.1) -> message => message,
/// };
/// assert_eq!(first, Ok(2));
/// ```
#[macro_export]
macro_rules! select_biased {
    ($($arms:tt)*) => {
        $crate::__select!(@parse new_biased () () $($arms)*)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    // The end of the list.
    (@parse $new:ident () ()) => {
        ::std::compile_error!("`select!` has no arm: it would wait for ever")
    };
    (@parse $new:ident $arms:tt $default:tt) => {
        $crate::__select!(@expand $new $arms $default)
    };

    // The arm `default`.
    (@parse $new:ident $arms:tt () default => $($rest:tt)*) => {
        $crate::__select!(@body $new $arms () (default try_select () ()) => $($rest)*)
    };
    (@parse $new:ident $arms:tt () default() => $($rest:tt)*) => {
        $crate::__select!(@body $new $arms () (default try_select () ()) => $($rest)*)
    };
    (@parse $new:ident $arms:tt () default($timeout:expr $(,)?) => $($rest:tt)*) => {
        $crate::__select!(@body $new $arms () (default select_timeout ($timeout) ()) => $($rest)*)
    };
    (@parse $new:ident $arms:tt $default:tt default $($rest:tt)*) => {
        ::std::compile_error!("`select!` has more than one `default` arm, or it is not `default => body` or `default(timeout) => body`")
    };

    // The other arms.
    (@parse $new:ident $arms:tt $default:tt recv($r:expr $(,)?) -> $p:pat => $($rest:tt)*) => {
        $crate::__select!(@body $new $arms $default (recv ($r) ($p)) => $($rest)*)
    };
    (@parse $new:ident $arms:tt $default:tt send($s:expr, $m:expr $(,)?) -> $p:pat => $($rest:tt)*) => {
        $crate::__select!(@body $new $arms $default (send ($s, $m) ($p)) => $($rest)*)
    };
    (@parse $new:ident $arms:tt $default:tt join($h:expr $(,)?) -> $p:pat => $($rest:tt)*) => {
        $crate::__select!(@body $new $arms $default (join ($h) ($p)) => $($rest)*)
    };
    (@parse $new:ident $arms:tt $default:tt future($f:expr $(,)?) -> $p:pat => $($rest:tt)*) => {
        $crate::__select!(@body $new $arms $default (future ($f) ($p)) => $($rest)*)
    };
    (@parse $new:ident $arms:tt $default:tt ready($s:expr $(,)?) => $($rest:tt)*) => {
        $crate::__select!(@body $new $arms $default (ready ($s) (())) => $($rest)*)
    };
    (@parse $new:ident $arms:tt $default:tt readable($s:expr $(,)?) => $($rest:tt)*) => {
        $crate::__select!(@body $new $arms $default (ready (($s).readable()) (())) => $($rest)*)
    };
    (@parse $new:ident $arms:tt $default:tt writable($s:expr $(,)?) => $($rest:tt)*) => {
        $crate::__select!(@body $new $arms $default (ready (($s).writable()) (())) => $($rest)*)
    };
    (@parse $new:ident $arms:tt $default:tt $($rest:tt)*) => {
        ::std::compile_error!(::std::concat!(
            "`select!` expects arms of the forms `recv(receiver) -> pattern => body`, \
             `send(sender, message) -> pattern => body`, `join(handle) -> pattern => body`, `future(future) -> pattern => body`, \
             `ready(selectable) => body`, `readable(socket) => body`, `writable(socket) => body`, \
             `default => body` and `default(timeout) => body`, found: ",
            ::std::stringify!($($rest)*)
        ))
    };

    // A body: an expression with a comma or at the end, or a block.
    (@body $new:ident $arms:tt $default:tt $arm:tt => $body:expr, $($rest:tt)*) => {
        $crate::__select!(@add $new $arms $default $arm ($body) $($rest)*)
    };
    (@body $new:ident $arms:tt $default:tt $arm:tt => $body:expr) => {
        $crate::__select!(@add $new $arms $default $arm ($body))
    };
    (@body $new:ident $arms:tt $default:tt $arm:tt => $body:block $($rest:tt)*) => {
        $crate::__select!(@add $new $arms $default $arm ($body) $($rest)*)
    };

    // An arm joins the list, with names of its own.
    (@add $new:ident $arms:tt () (default $method:ident ($($timeout:expr)?) ()) ($body:expr) $($rest:tt)*) => {
        $crate::__select!(@parse $new $arms ($method ($($timeout)?) $body) $($rest)*)
    };
    (@add $new:ident ($($arms:tt)*) $default:tt ($kind:ident $arguments:tt ($p:pat)) ($body:expr) $($rest:tt)*) => {
        $crate::__select!(@parse $new ($($arms)* {$kind result index handle $arguments ($p) ($body)}) $default $($rest)*)
    };

    // The list is complete.
    (@expand $new:ident
        ($({$kind:ident $result:ident $index:ident $handle:ident $arguments:tt ($p:pat) ($body:expr)})*)
        ($($method:ident ($($timeout:expr)?) $default:expr)?)
    ) => {{
        $(let mut $result = ::std::option::Option::None;)*
        // A `match` keeps temporaries of the arguments for as long as they are used.
        match ($(&$crate::__select!(@handle $kind $arguments),)*) { ($($handle,)*) => {
            #[allow(unused_mut)]
            let mut select = $crate::channel::Select::$new();
            $(let $index = $crate::__select!(@operation select $kind $handle);)*
            let selected = $crate::__select!(@select select $($method ($($timeout)?))?);
            if let ::std::option::Option::Some(operation) = selected {
                match operation.index() {
                    $(
                        selected if selected == $index => {
                            $result = ::std::option::Option::Some(
                                $crate::__select!(@complete operation $kind $handle $arguments)
                            );
                        }
                    )*
                    _ => ::std::unreachable!("an operation that was not added"),
                }
            }
        }}
        $(
            if let ::std::option::Option::Some(result) = $result {
                let $p = $crate::__select!(@result result $kind $arguments);
                $body
            } else
        )* {
            $crate::__select!(@otherwise $($default)?)
        }
    }};

    (@handle send ($s:expr, $m:expr)) => { $s };
    (@handle future ($f:expr)) => { $crate::channel::SelectFuture::new($f) };
    (@handle $kind:ident ($s:expr)) => { $s };

    (@operation $select:ident recv $handle:ident) => { $select.recv($handle) };
    (@operation $select:ident send $handle:ident) => { $select.send($handle) };
    (@operation $select:ident $kind:ident $handle:ident) => { $select.ready_of($handle) };

    (@select $select:ident) => { ::std::option::Option::Some($select.select()) };
    (@select $select:ident $method:ident ($($timeout:expr)?)) => { $select.$method($($timeout)?).ok() };

    (@complete $operation:ident recv $handle:ident $arguments:tt) => { $operation.recv($handle) };
    (@complete $operation:ident send $handle:ident ($s:expr, $m:expr)) => { $operation.send($handle, $m) };
    (@complete $operation:ident future $handle:ident $arguments:tt) => {{
        $operation.done();
        $handle.take().expect("a future that was selected is ready")
    }};
    (@complete $operation:ident $kind:ident $handle:ident $arguments:tt) => { $operation.done() };

    (@result $result:ident join ($h:expr)) => {{ let () = $result; ($h).join() }};
    (@result $result:ident $kind:ident $arguments:tt) => { $result };

    (@otherwise) => { ::std::unreachable!("it waits for ever") };
    (@otherwise $default:expr) => { $default };
}
