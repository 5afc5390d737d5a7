//! Three things that are loops and recursions when they may stop in the middle: a walk through
//! directories as an iterator, the comparison of two trees leaf by leaf, and a protocol that would be a
//! state machine of callbacks.
//!
//! ```text
//! cargo run --release --example generators
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use roving::coroutine::{self, Coroutine, Generator, State, Yielder};

fn main() -> io::Result<()> {
    let sources = walk("src".into()).filter(|path| path.extension().is_some_and(|e| e == "rs"));
    for path in sources.take(3) {
        println!("{}", path.display());
    }
    compare_trees();
    read_frames();
    Ok(())
}

/// All files below a directory, each when it is asked for.
fn walk(root: PathBuf) -> Generator<'static, PathBuf> {
    fn descend(directory: &Path, found: &Yielder<(), PathBuf>) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                descend(&path, found)?;
            } else {
                found.yield_(path);
            }
        }
        Ok(())
    }
    Generator::new(move |found| {
        if let Err(error) = descend(&root, found) {
            eprintln!("{}: {error}", root.display());
        }
    })
}

enum Tree {
    Leaf(char),
    Fork(Box<[Tree; 2]>),
}

/// A tree whose leaves are the letters of a text, which is cut by `cut` in two, and so on.
fn tree(letters: &[char], cut: fn(usize) -> usize) -> Tree {
    match letters {
        [leaf] => Tree::Leaf(*leaf),
        _ => {
            let (left, right) = letters.split_at(cut(letters.len()));
            Tree::Fork(Box::new([tree(left, cut), tree(right, cut)]))
        }
    }
}

fn leaves(tree: &Tree, yielder: &Yielder<(), char>) {
    match tree {
        Tree::Leaf(leaf) => yielder.yield_(*leaf),
        Tree::Fork(sides) => sides.iter().for_each(|side| leaves(side, yielder)),
    }
}

/// Trees of different shapes have the same fringe if their leaves are the same from left to right. No
/// more of them is visited than it takes to know.
fn compare_trees() {
    let same_fringe = |one: &Tree, other: &Tree| {
        coroutine::scope(|scope| {
            let one = scope.generator(|yielder| leaves(one, yielder));
            one.eq(scope.generator(|yielder| leaves(other, yielder)))
        })
    };
    let letters: Vec<_> = "coroutine".chars().collect();
    let (balanced, leaning) = (tree(&letters, |n| n / 2), tree(&letters, |_| 1));
    let other = tree(&letters[1..], |n| n / 2);
    assert!(same_fringe(&balanced, &leaning));
    assert!(!same_fringe(&balanced, &other));
    println!("two trees have the same fringe, and a third has not");
}

/// Frames come in pieces, as a network has them: a length in one byte, and so many bytes. Whoever has a
/// piece pushes it; the reader is a function that waits for bytes.
fn read_frames() {
    let reader = Coroutine::new(|yielder, first: Vec<u8>| {
        let (mut piece, mut frames) = (first.into_iter(), Vec::new());
        let mut next_byte = || {
            loop {
                match piece.next() {
                    Some(byte) => return byte,
                    None => piece = yielder.yield_(()).into_iter(),
                }
            }
        };
        loop {
            match next_byte() {
                0 => return frames,
                length => frames.push((0..length).map(|_| next_byte() as char).collect()),
            }
        }
    });
    let stream = b"\x05hello\x02a \x06worlds\0";
    let mut pieces = stream.chunks(4);
    let frames: Vec<String> = loop {
        let piece = pieces.next().expect("the stream has an end");
        match reader.resume(piece.to_vec()) {
            State::Yielded(()) => println!("{piece:?}: more"),
            State::Complete(frames) => break frames,
        }
    };
    assert_eq!(frames, ["hello", "a ", "worlds"]);
    println!("{frames:?}");
}
