//! The stack of a thread that goes on, as it was at some moment: a copy that can be walked.
//!
//! The unwinder walks the stack of whoever calls it. [`call_above`] says of itself, as the return from a handler
//! of a signal does, that its caller has the registers that lie somewhere in memory. These are the thread's, made to lead
//! into the copy, so what it calls finds the frames of the thread above its own.
//!
//! # Why a walk does not leave the copy
//!
//! To get from a frame to the next, the unwinder adds a distance that it has from the tables of the code to a
//! register, and reads registers and a return address there. A distance fits into 32 bits, and registers
//! that it is added to are stack pointers. So each register, and each word of the copy, is one of these:
//!
//! - an address in the part of the stack that was copied, which is moved to where that lies in the copy;
//! - in the copy, an address of code that the unwinder knows, which is kept: it may be one to return to;
//! - for all else, that of the *sink*, whose words are all this address. It is in no code, so a walk ends there.
//!
//! Behind the copy is the sink, and behind that are zeroes for as far as a distance reaches; a return address of
//! zero ends a walk too. So the stack may have been copied in part, and may go on at a stack that was not.

use std::ffi::c_void;
use std::io;
use std::mem;
use std::ops::Range;
use std::ptr;
use std::slice;

use super::{Bounds, coroutine, frames, slab};

/// The registers in the order of their numbers in DWARF: the stack pointer is the eighth, the last is the
/// address of the code.
pub(crate) type Registers = [usize; 17];

const FRAME_POINTER: usize = 6;
pub(crate) const STACK_POINTER: usize = 7;
pub(crate) const CODE: usize = 16;

const WORD: usize = size_of::<usize>();

/// So much of a stack is copied at most.
const MOST: usize = 256 << 10;
/// More than the unwinder looks at below an address.
const MARGIN: usize = 64 << 10;
/// How far a distance may reach.
const REACH: usize = 1 << 31;

/// Where the parts of the mapping end: the end of the thread's own stack, what it runs on if that is another
/// one, and the sink.
const OWN_END: usize = MARGIN + MOST;
const HERE_END: usize = OWN_END + MOST;
const SINK_END: usize = HERE_END + 2 * MARGIN;
const MAPPED: usize = SINK_END + REACH;

/// See the [module](self).
pub(crate) struct Copied {
    map: usize,
    registers: Registers,
    parts: [Part; 2],
}

/// What is copied from `from` on to `to`.
#[derive(Clone, Copy, Default)]
struct Part {
    from: usize,
    to: usize,
    bytes: usize,
}

impl Part {
    /// Where it is in a mapping.
    fn range(&self, map: usize) -> Range<usize> {
        let start = self.to.saturating_sub(map);
        start..start + self.bytes
    }

    /// Where the address of something in this part is in the copy. The end is in it.
    fn moved(&self, address: usize) -> Option<usize> {
        let offset = address.wrapping_sub(self.from);
        (self.bytes > 0 && offset <= self.bytes).then(|| self.to + offset)
    }
}

impl Copied {
    /// Room for a copy.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: it maps what nobody uses, and changes the protection of that.
        let map = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            let map = libc::mmap(ptr::null_mut(), MAPPED, libc::PROT_READ, flags, -1, 0);
            if map == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            let writable = libc::PROT_READ | libc::PROT_WRITE;
            if libc::mprotect(map, SINK_END, writable) != 0 {
                let error = io::Error::last_os_error();
                libc::munmap(map, MAPPED);
                return Err(error);
            }
            map.expose_provenance()
        };
        let mut this = Self {
            map,
            registers: [0; 17],
            parts: [Part::default(); 2],
        };
        let sink = this.sink();
        this.words(0..SINK_END).fill(sink);
        Ok(this)
    }

    /// What may be written, between two places in the mapping.
    fn words(&mut self, bytes: Range<usize>) -> &mut [usize] {
        let Range { start, end } = bytes;
        assert!(start <= end && end <= SINK_END);
        // SAFETY: it is a part of the mapping, and this one's alone.
        unsafe {
            let first = ptr::with_exposed_provenance_mut(self.map + start);
            slice::from_raw_parts_mut(first, (end - start) / WORD)
        }
    }

    /// Forgets what was copied last. To be called before the next is.
    pub(crate) fn clear(&mut self) {
        let sink = self.sink();
        for part in mem::take(&mut self.parts) {
            self.words(part.range(self.map)).fill(sink);
        }
    }

    /// Copies the stack of a thread that is where `registers` say: what it is on, and of its `own` the outer part if that
    /// is another one. `read` gives how many bytes it has copied from an address to another one, and this may be
    /// done in a handler of a signal if that may be.
    pub(crate) fn take(
        &mut self,
        registers: Registers,
        own: Bounds,
        read: impl Fn(usize, *mut u8, usize) -> usize,
    ) {
        let from = registers[STACK_POINTER] & !(WORD - 1);
        let left = if own.holds(from) {
            own.base - from
        } else {
            MOST
        };
        let copy = |from: usize, bytes: usize, end: usize| {
            let to = self.map + end - bytes;
            let bytes = read(from, ptr::with_exposed_provenance_mut(to), bytes) & !(WORD - 1);
            Part { from, to, bytes }
        };
        let here = copy(from, left.min(MOST), HERE_END);
        let outer = if own.holds(from) {
            Part::default()
        } else {
            let bytes = (own.base - own.lowest).min(MOST);
            copy(own.base - bytes, bytes, OWN_END)
        };
        self.registers = registers;
        self.parts = [here, outer];
    }

    /// Calls `call` with the frames of the thread that was copied last above its own. It must not unwind. `false`
    /// if the thread is in code that the unwinder does not know. Of one that waits in the system only the stack pointer is
    /// known beside that, and the rest of the registers are 0.
    pub(crate) fn walk(&mut self, call: &mut dyn FnMut()) -> bool {
        if !is_in_function(self.registers[CODE]) {
            return false;
        }
        self.seal();
        if self.registers[FRAME_POINTER] == self.sink()
            && let Some(frame_pointer) = self.missing_frame_pointer()
        {
            self.registers[FRAME_POINTER] = frame_pointer;
        }
        self.call(call);
        true
    }

    fn call(&self, mut call: &mut dyn FnMut()) {
        extern "C" fn call_it(call: *mut c_void) {
            // SAFETY: it is what is given below.
            unsafe { (*call.cast::<&mut dyn FnMut()>())() };
        }
        // SAFETY: the registers lead nowhere but into the mapping: see the module. Nobody changes it.
        unsafe { call_above(&raw const self.registers, call_it, (&raw mut call).cast()) };
    }

    fn sink(&self) -> usize {
        self.map + HERE_END + MARGIN
    }

    /// Makes what was copied lead nowhere else: see the module.
    fn seal(&mut self) {
        let (sink, parts) = (self.sink(), self.parts);
        let moved = |word: usize| parts.iter().find_map(|part| part.moved(word));
        let is_code = |word: usize| {
            let is_address = word > MARGIN && word >> 47 == 0;
            is_address && frames::function_of(word) != 0
        };
        for part in parts {
            for word in self.words(part.range(self.map)) {
                let code = || is_code(*word).then_some(*word);
                *word = moved(*word).or_else(code).unwrap_or(sink);
            }
        }
        for register in &mut self.registers[..CODE] {
            *register = moved(*register).unwrap_or(sink);
        }
    }

    /// The frame pointer, if nobody knows it and it is still that of the first function that needs it. That one
    /// has put it where it does as it begins, and the distance to the stack pointer is in its code.
    fn missing_frame_pointer(&self) -> Option<usize> {
        let mut last = None;
        self.call(&mut || {
            let mut seen = Vec::new();
            frames::each_with_stack_pointer(|address, stack_pointer| {
                seen.push((address, stack_pointer));
                true
            });
            let ends = seen.iter().position(|(address, _)| *address == self.sink());
            last = ends.and_then(|end| seen.get(end.checked_sub(1)?).copied());
        });
        let (address, stack_pointer) = last?;
        let function = match frames::function_of(address) {
            0 => return None,
            function => function,
        };
        // SAFETY: it is the code of a function that is there, up to an address in it.
        let code = unsafe {
            let start = ptr::with_exposed_provenance::<u8>(function);
            slice::from_raw_parts(start, address.saturating_sub(function))
        };
        let frame_pointer = stack_pointer + frame_size(code)?;
        let [here, _] = self.parts;
        let return_address = frame_pointer + WORD;
        if !(here.to..here.to + here.bytes).contains(&return_address) {
            return None;
        }
        // SAFETY: it is in the mapping, and all words there have been written.
        let returns_to = unsafe { *ptr::with_exposed_provenance::<usize>(return_address) };
        (frames::function_of(returns_to) != 0).then_some(frame_pointer)
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        // SAFETY: it is this one's mapping.
        unsafe { slab::unmap(self.map, MAPPED) };
    }
}

/// How far the frame pointer is above the stack pointer in a function that has begun with `push rbp; mov rbp, rsp`,
/// pushes of other registers and a subtraction. `None` if it begins otherwise, or makes room in another way.
fn frame_size(code: &[u8]) -> Option<usize> {
    let code = code.strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa]).unwrap_or(code);
    let mut code = code.strip_prefix(&[0x55, 0x48, 0x89, 0xe5])?;
    let mut size = 0;
    loop {
        code = match code {
            [0x50..=0x57, rest @ ..] | [0x41, 0x50..=0x57, rest @ ..] => rest,
            [0x48, 0x83, 0xec, bytes, ..] => return Some(size + usize::from(*bytes)),
            [0x48, 0x81, 0xec, a, b, c, d, ..] => {
                let bytes = u32::from_le_bytes([*a, *b, *c, *d]);
                return Some(size + bytes as usize);
            }
            // It aligns the stack pointer, or touches the pages of a large frame.
            [0x48, 0x83, 0xe4, ..] | [0xb8, ..] | [0x4c, 0x8d, 0x9c, ..] => return None,
            _ => return Some(size),
        };
        size += WORD;
    }
}

/// Of the frames that a walk finds, those of what the thread does: between this and how it begins, as far as
/// they are known.
pub(crate) fn frames_of_thread(addresses: &[usize]) -> Range<usize> {
    let is_this = |frame: &usize| frames::function_of(*frame) == (call_above as *const ()).addr();
    let start = addresses.iter().position(is_this).map_or(0, |at| at + 1);
    // The first is where the thread is, and not where it returns to.
    let mut outer = addresses.iter().enumerate().skip(start + 1);
    let ends = |frame: usize| matches!(frames::function_of(frame), 0) || coroutine::begins(frame);
    let end = outer.find(|(_, frame)| ends(**frame));
    start..end.map_or(addresses.len(), |(at, _)| at)
}

/// Calls `call` with `data`, and says that it was called by whoever has these registers.
///
/// # Safety
///
/// `call` may be called with `data`, and does not unwind. Whoever walks the stack in it may follow the
/// registers.
#[unsafe(naked)]
unsafe extern "C" fn call_above(
    registers: *const Registers,
    call: extern "C" fn(*mut c_void),
    data: *mut c_void,
) {
    // All is found by `rbx`, where the registers are. An expression is its length, `DW_OP_breg3` (0x73) and
    // the distance.
    std::arch::naked_asm!(
        ".cfi_startproc",
        // Who has called is where the code address says, and has not called from before that.
        ".cfi_signal_frame",
        // DW_CFA_def_cfa_expression: the stack pointer that is there (DW_OP_deref).
        ".cfi_escape 0x0f, 3, 0x73, 7 * 8, 0x06",
        // DW_CFA_expression for each register.
        ".cfi_escape 0x10, 0, 2, 0x73, 0",
        ".cfi_escape 0x10, 1, 2, 0x73, 1 * 8",
        ".cfi_escape 0x10, 2, 2, 0x73, 2 * 8",
        ".cfi_escape 0x10, 3, 2, 0x73, 3 * 8",
        ".cfi_escape 0x10, 4, 2, 0x73, 4 * 8",
        ".cfi_escape 0x10, 5, 2, 0x73, 5 * 8",
        ".cfi_escape 0x10, 6, 2, 0x73, 6 * 8",
        // From 64 on, a distance takes two bytes.
        ".cfi_escape 0x10, 8, 3, 0x73, 0xc0, 0",
        ".cfi_escape 0x10, 9, 3, 0x73, 0xc8, 0",
        ".cfi_escape 0x10, 10, 3, 0x73, 0xd0, 0",
        ".cfi_escape 0x10, 11, 3, 0x73, 0xd8, 0",
        ".cfi_escape 0x10, 12, 3, 0x73, 0xe0, 0",
        ".cfi_escape 0x10, 13, 3, 0x73, 0xe8, 0",
        ".cfi_escape 0x10, 14, 3, 0x73, 0xf0, 0",
        ".cfi_escape 0x10, 15, 3, 0x73, 0xf8, 0",
        ".cfi_escape 0x10, 16, 3, 0x73, 0x80, 1",
        "push rbx",
        "mov rbx, rdi",
        "mov rdi, rdx",
        "call rsi",
        "pop rbx",
        "ret",
        ".cfi_endproc",
    )
}

/// Whether it is known which function the instruction at this address is one of, be it the first.
fn is_in_function(code: usize) -> bool {
    [code, code.wrapping_add(1)]
        .into_iter()
        .any(|address| frames::enclosing(address) != 0)
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_instruction_of_a_function_is_known() {
        let functions = [
            frame_size as *const (),
            is_in_function as *const (),
            frames::enclosing as *const (),
            each_instruction_of_a_function_is_known as *const (),
        ];
        for function in functions {
            assert!((0..4).all(|offset| is_in_function(function.addr() + offset)));
        }
        assert!(!is_in_function(ptr::from_ref(&functions).addr()));
    }

    #[test]
    fn the_size_of_a_frame_is_in_its_code() {
        let begin = [0x55, 0x48, 0x89, 0xe5];
        let with = |rest: &[u8]| frame_size(&[&begin, rest].concat());
        assert_eq!(with(&[0x48, 0x83, 0xec, 0x20, 0x90]), Some(0x20));
        assert_eq!(
            with(&[0x41, 0x57, 0x53, 0x48, 0x83, 0xec, 0x18, 0x90]),
            Some(0x28)
        );
        assert_eq!(with(&[0x53, 0x50, 0x90]), Some(16));
        let large = [0x41, 0x56, 0x48, 0x81, 0xec, 0, 1, 0, 0, 0x90];
        assert_eq!(with(&large), Some(0x108));
        let aligns = [0x48, 0x83, 0xe4, 0xe0];
        assert_eq!(with(&aligns), None);
        assert_eq!(frame_size(&[0x48, 0x83, 0xec, 8]), None);
        assert_eq!(
            frame_size(&[&[0xf3, 0x0f, 0x1e, 0xfa][..], &begin, &[0x90]].concat()),
            Some(0)
        );
    }

    /// Whatever is on a stack, the walk of its copy ends, and so does that of what it is not.
    #[test]
    fn a_walk_does_not_leave_the_copy() {
        let promise = crate::stack::Promise::new(crate::stack::Class::of(1 << 16).unwrap());
        let own = promise.unwrap().redeem().bounds();
        let code = frame_size as *const () as usize + 1;
        let mut copied = Copied::new().unwrap();
        // Words that lead to code, to nowhere, to the kernel, into the stack, and beyond its end.
        let from = own.base - 4096;
        let words = [code, 16, usize::MAX, from + 64, own.base + (1 << 30), 0];
        for seed in 0..300_usize {
            let pick = |n: usize| {
                words[((seed + n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % words.len()]
            };
            let mut registers = [0; 17].map(|_| pick(seed));
            registers[STACK_POINTER] = if seed % 3 == 0 { from } else { 4096 };
            registers[CODE] = code + seed % 64;
            copied.clear();
            copied.take(registers, own, |_, to, bytes| {
                let bytes = if seed % 5 == 0 { bytes / 16 * 8 } else { bytes };
                // SAFETY: there is room.
                let to = unsafe { slice::from_raw_parts_mut(to.cast(), bytes / WORD) };
                to.iter_mut()
                    .enumerate()
                    .for_each(|(n, word)| *word = pick(n));
                bytes
            });
            let mut walks = 0;
            assert!(copied.walk(&mut || {
                frames::each(|_| {
                    walks += 1;
                    walks < 100_000
                });
            }));
            assert!(walks > 0);
        }
    }
}
