//! Clients that are written for tokio, called from green threads, a thousand at once: see `tests/`.
//!
//! Each program of tests has one test, since it counts the OS threads of its process: that they are the workers of Roving, one of
//! tokio, and what there was before, whatever the number of green threads.
