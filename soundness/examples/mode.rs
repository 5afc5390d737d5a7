//! Prints which thread-locals the green threads of a default runtime have here, and why not their own.
//!
//! With the argument `beside`, while other threads of the program come and go, on stacks of the C library's and on others.

use std::env;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use libc::c_void;
use roving::Builder;

static STOP: AtomicBool = AtomicBool::new(false);

fn main() {
    let acts: &[fn()] = match env::args().nth(1).as_deref() {
        Some("beside") => &[on_a_stack_of_the_c_library, on_another_stack],
        _ => &[],
    };
    thread::scope(|scope| {
        for act in acts {
            scope.spawn(move || {
                while !STOP.load(Ordering::Relaxed) {
                    act();
                }
            });
        }
        let built = Builder::new().workers(2).build();
        STOP.store(true, Ordering::Relaxed);
        let runtime = built.expect("a runtime");
        match runtime.no_own_thread_locals() {
            None => println!("{:?}", runtime.thread_locals()),
            Some(why) => println!("{:?}: {why}", runtime.thread_locals()),
        }
    });
}

fn on_a_stack_of_the_c_library() {
    thread::spawn(|| ()).join().expect("it does nothing");
}

fn on_another_stack() {
    extern "C" fn nothing(_: *mut c_void) -> *mut c_void {
        ptr::null_mut()
    }

    let mut stack = vec![0_u128; 256 << 10 >> 4];
    let mut attributes = MaybeUninit::uninit();
    let mut thread = 0;
    // SAFETY: the attributes are initialised first, and the thread has ended before its stack goes.
    let refused = unsafe {
        libc::pthread_attr_init(attributes.as_mut_ptr());
        let start = stack.as_mut_ptr().cast();
        libc::pthread_attr_setstack(attributes.as_mut_ptr(), start, size_of_val(&*stack));
        let created =
            libc::pthread_create(&mut thread, attributes.as_ptr(), nothing, ptr::null_mut());
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        if created == 0 {
            libc::pthread_join(thread, ptr::null_mut())
        } else {
            created
        }
    };
    assert_eq!(refused, 0, "a thread has come and gone");
}
