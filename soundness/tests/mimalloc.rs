//! The global allocator mimalloc, which keeps a heap in thread-locals: allocated on one OS thread, freed on
//! another, by threads that come and go.

mod allocator;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[test]
fn memory_moves_between_threads_that_move() {
    allocator::storm();
}

#[test]
fn threads_that_come_and_go_leave_no_heap_behind() {
    allocator::threads_come_and_go();
}
