//! The work by std, which a program may be adopted for.

super::work::work!(
    std::thread,
    std::sync,
    std::net,
    std::os::unix::net,
    std::io::pipe,
    std::sync::mpsc::channel
);

/// What does one row.
pub(crate) fn find(what: &str) -> Option<fn(usize) -> f64> {
    match what {
        "mutex of the C library" => Some(mutex_of_c),
        _ => common(what),
    }
}

fn mutex_of_c(count: usize) -> f64 {
    let mut mutex = libc::PTHREAD_MUTEX_INITIALIZER;
    let mutex = black_box(&raw mut mutex);
    let start = Instant::now();
    for _ in 0..count {
        // SAFETY: it is a mutex that stays where it is, and its owner unlocks it.
        unsafe {
            libc::pthread_mutex_lock(mutex);
            libc::pthread_mutex_unlock(mutex);
        }
    }
    each(start, count)
}
