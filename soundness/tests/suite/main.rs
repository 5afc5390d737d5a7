//! What safe code may rely on, seen from threads that move. It is one program, since to link one with all
//! optimisations takes longer than to run it; what wants a process of its own is beside it.

mod borrows;
mod channels;
mod coroutines;
mod crates;
mod destructors;
mod identity;
mod interruptions;
mod kernel;
mod locks;
mod reuse;
mod stack_bounds;
mod standard_library;
