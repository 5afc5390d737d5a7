//! What is in `tests/programs`.

use std::env;
use std::ffi::{CStr, CString, c_int};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

/// Loads what is in `tests/programs`, built by `compiler`, each time anew. `None`, and says so, if that is not there.
pub(crate) fn load(name: &str, compiler: &str) -> Option<Library> {
    let built = built(name, compiler)?;
    // The loader knows a file again, and would give what has been loaded.
    let library = env::temp_dir().join(format!("roving-adopt-{name}-{}.so", process::id()));
    fs::copy(built, &library).unwrap();
    let path = CString::new(library.to_str().unwrap()).unwrap();
    // SAFETY: a string, and a library whose constructors do nothing.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!handle.is_null());
    fs::remove_file(library).unwrap();
    Some(Library(handle as usize))
}

const OPTIONS: [&str; 6] = ["-shared", "-fPIC", "-O1", "-w", "-pthread", "-o"];

/// Builds it where that is not done yet: each test loads it in many processes, and a compiler takes longer than most of them.
fn built(name: &str, compiler: &str) -> Option<PathBuf> {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/programs")
        .join(name);
    // Where the programs of tests are built elsewhere than they run.
    let of_target = match compiler {
        "cc" => "TARGET_CC",
        _ => "TARGET_CXX",
    };
    let compiler = env::var(of_target).unwrap_or_else(|_| compiler.to_owned());
    let mut hasher = DefaultHasher::new();
    (fs::read(&source).unwrap(), &compiler, OPTIONS).hash(&mut hasher);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let library = folder.join(format!("{name}-{:x}.so", hasher.finish()));
    if library.exists() {
        return Some(library);
    }
    fs::create_dir_all(folder).unwrap();
    // Others may be about it, too.
    let new = library.with_extension(format!("{}", process::id()));
    let run = Command::new(&compiler)
        .args(OPTIONS)
        .args([&new, &source])
        .status();
    let Ok(status) = run else {
        eprintln!("not tested: there is no {compiler}");
        return None;
    };
    assert!(status.success());
    fs::rename(new, &library).unwrap();
    Some(library)
}

/// One that stays.
#[derive(Clone, Copy)]
pub(crate) struct Library(usize);

impl Library {
    /// # Safety
    ///
    /// The function is of this type, that of a function.
    pub(crate) unsafe fn function<F: Copy>(self, name: &CStr) -> F {
        // SAFETY: a string, and a library that is there.
        let function = unsafe { libc::dlsym(self.0 as *mut _, name.as_ptr()) };
        assert!(!function.is_null());
        // SAFETY: the caller's promise.
        unsafe { mem::transmute_copy(&function) }
    }

    /// What a function tells, in as many numbers as it returns.
    ///
    /// # Safety
    ///
    /// It is of the type `int (int *told)`, and tells no more than there is room for.
    pub(crate) unsafe fn told(self, name: &CStr) -> Vec<c_int> {
        // SAFETY: the caller's promise.
        let run: extern "C" fn(*mut c_int) -> c_int = unsafe { self.function(name) };
        let mut told = [0; 256];
        let count = run(told.as_mut_ptr());
        told[..count as usize].to_vec()
    }
}
