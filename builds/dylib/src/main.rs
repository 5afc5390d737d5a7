//! A program that has Roving from a dynamic library, what is generic and what is a macro made anew here.

use roving_builds_dylib::builds::{self, roving};

fn main() {
    builds::everything();
    let doubled = roving::go!(|| 21).join().map(|number| 2 * number);
    assert_eq!(doubled.ok(), Some(42));
    println!("{}: works", builds::what());
}
