//! Stacks as people read them.
//!
//! The addresses on a stack are taken by the [unwinder](crate::stack::frames), which is quick, so equal stacks
//! are known by them. Of each stack that is new, std takes a backtrace too: it knows the names. What
//! that prints is cut to what is the program's: above is how a thread suspends and is visited, below how it
//! begins, and whoever visits it.

use std::backtrace::Backtrace;
use std::env;
use std::fmt;
use std::ops::Range;

use crate::stack::frames;

/// So many frames of a stack are shown, and told from others.
pub(super) const MOST_FRAMES: usize = 128;

/// The addresses on a stack, from the inside to the outside.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Addresses(Box<[usize]>);

/// A function that a thread is in.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub(in crate::runtime) struct Frame {
    function: String,
    place: Option<String>,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.function)?;
        let place = |place| write!(f, "\n        at {place}");
        self.place.as_ref().map_or(Ok(()), place)
    }
}

impl Addresses {
    /// Those of the current stack.
    pub(super) fn here(buffer: &mut Vec<usize>) {
        buffer.clear();
        frames::each(|address| {
            buffer.push(address);
            buffer.len() < MOST_FRAMES
        });
    }

    pub(super) fn of(buffer: &[usize]) -> Self {
        Self(buffer.into())
    }
}

/// The frames of the current stack, which a visitor walks, with the names that std has for them.
pub(in crate::runtime) struct Named {
    backtrace: Backtrace,
    /// The addresses of those that are the thread's own.
    own: Range<usize>,
    addresses: Addresses,
}

impl Named {
    /// `own` is which of the addresses on the stack are the thread's own.
    pub(super) fn here(addresses: &[usize], own: Range<usize>) -> Self {
        Self {
            backtrace: Backtrace::force_capture(),
            own,
            addresses: Addresses::of(addresses),
        }
    }

    /// As people read them.
    pub(in crate::runtime) fn frames(&self) -> Vec<Frame> {
        let mut named = parse(&format!("{:#}", self.backtrace));
        let Range { start, end } = self.own;
        let addresses = &self.addresses.0;
        if let Some(begins) = addresses.get(end) {
            let first = named.iter().position(|(address, _)| address == begins);
            named.truncate(first.unwrap_or(named.len()));
        }
        if start > 0 {
            let suspends = addresses[start - 1];
            let last = named.iter().rposition(|(address, _)| *address == suspends);
            named.drain(..last.map_or(0, |last| last + 1));
        }
        let mut frames: Vec<_> = named.into_iter().map(|(_, frame)| frame).collect();
        let waits = frames
            .iter()
            .take_while(|frame| frame.is_of(&WAITS))
            .count();
        frames.drain(..waits);
        while frames.last().is_some_and(|frame| frame.is_of(&BEGINS)) {
            frames.pop();
        }
        frames.truncate(MOST_FRAMES);
        frames.iter_mut().for_each(Frame::shorten);
        frames
    }
}

/// The code of this crate by which a thread waits or begins, and what it calls std for, by the places of files and
/// by the beginnings of names.
type Code = [(&'static str, &'static str)];

const WAITS: [(&str, &str); 4] = [
    ("src/run/", "roving_scheduler::run::"),
    ("src/wait/", "roving_scheduler::wait::"),
    ("src/stack/", "roving_scheduler::stack::"),
    ("src/sync/parking.rs", "roving_scheduler::sync::parking::"),
];

const BEGINS: [(&str, &str); 7] = [
    ("src/thread/spawn.rs", "roving_scheduler::thread::spawn::"),
    ("src/stack/errand.rs", "roving_scheduler::stack::errand::"),
    ("library/core/src/ops/function.rs", "core::ops::function::"),
    ("library/core/src/panic/unwind_safe.rs", "core::panic::"),
    ("library/std/src/pani", "std::panic"),
    ("library/alloc/src/boxed.rs", "alloc::boxed::"),
    // It has no place.
    ("__rust_try", "__rust_try"),
];

/// Where the source of this crate is: what its places begin with.
fn root() -> &'static str {
    let this = file!();
    this.strip_suffix("src/runtime/dump/frames.rs")
        .unwrap_or(this)
}

impl Frame {
    /// Tells the place from where the process is, as std does where it leaves the addresses out.
    fn shorten(&mut self) {
        let here = env::current_dir().unwrap_or_default();
        if let Some(place) = &mut self.place
            && let Some(rest) = here.to_str().and_then(|here| place.strip_prefix(here))
            && let Some(rest) = rest.strip_prefix('/')
        {
            *place = format!("./{rest}");
        }
    }

    fn is_of(&self, code: &Code) -> bool {
        let function = self.function.trim_start_matches('<');
        code.iter().any(|(file, name)| {
            let is_there = |place: &String| {
                place.contains(file) && (file.starts_with("library") || place.contains(root()))
            };
            function.starts_with(name) || self.place.as_ref().is_some_and(is_there)
        })
    }
}

/// What std has printed: a line for each function, with the address that it goes on at, which may be followed
/// by one with its place.
fn parse(text: &str) -> Vec<(usize, Frame)> {
    let mut frames: Vec<(usize, Frame)> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(place) = line.strip_prefix("at ") {
            if let Some((_, frame)) = frames.last_mut() {
                frame.place = Some(place.to_owned());
            }
        } else if let Some((_, rest)) = line.split_once(": ")
            && let Some((address, function)) = rest.trim_start().split_once(" - ")
            && let Some(address) = address.strip_prefix("0x")
            && let Ok(address) = usize::from_str_radix(address, 16)
        {
            let function = match function {
                "<unknown>" => format!("{address:#x}"),
                named => without_hash(named).to_owned(),
            };
            let place = None;
            frames.push((address, Frame { function, place }));
        }
    }
    frames
}

/// A name without what the compiler adds to tell instances apart.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            name
        }
        _ => name,
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_std_prints_is_understood() {
        let text = "   0:     0x10 - alpha::beta::h0123456789abcdef\n             at ./src/lib.rs:3:5\n   1:  0xff - <unknown>\n";
        let frames: Vec<_> = parse(text)
            .iter()
            .map(|(_, frame)| frame.to_string())
            .collect();
        assert_eq!(frames, ["alpha::beta\n        at ./src/lib.rs:3:5", "0xff"]);
        let mut addresses = Vec::new();
        Addresses::here(&mut addresses);
        let here = parse(&format!("{:#}", Backtrace::force_capture()));
        let this = |frame: &Frame| frame.function.contains("what_std_prints_is_understood");
        assert!(here.iter().any(|(_, frame)| this(frame)));
        // Whoever has called this is in both, at one address.
        assert!(
            here.iter()
                .filter(|(address, _)| addresses.contains(address))
                .count()
                > 2
        );
    }
}
