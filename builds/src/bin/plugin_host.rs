//! A program that loads plugins, each with a Roving of its own, and has one itself.

use std::env;
use std::ffi::{CStr, CString, OsString, c_int, c_void};
use std::os::unix::ffi::OsStringExt;
use std::sync::{Arc, Barrier};
use std::thread;

use roving::go;

type Check = extern "C" fn() -> c_int;

#[derive(Clone, Copy)]
struct Plugin(*mut c_void);

// SAFETY: a handle is for all threads.
unsafe impl Send for Plugin {}
// SAFETY: the same.
unsafe impl Sync for Plugin {}

impl Plugin {
    fn load(path: OsString) -> Self {
        let name = CString::new(path.into_vec()).expect("a path has no null byte");
        // SAFETY: the constructors of a plugin of ours have no preconditions.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null(), "cannot load {name:?}");
        Self(handle)
    }

    fn check(&self, name: &CStr) {
        // SAFETY: a handle, and a name.
        let function = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        assert!(!function.is_null(), "the plugin has no {name:?}");
        // SAFETY: plugins have functions of this type only.
        let function = unsafe { std::mem::transmute::<*mut c_void, Check>(function) };
        assert_eq!(function(), 0, "{name:?}");
    }

    fn unload(self) {
        // SAFETY: a handle, which nobody uses any more.
        let refused = unsafe { libc::dlclose(self.0) };
        assert_eq!(refused, 0);
    }
}

fn main() {
    roving_builds::everything();
    let plugins: Vec<_> = env::args_os().skip(1).map(Plugin::load).collect();
    for name in [c"roving_plugin_comes_and_goes", c"roving_plugin_works"] {
        // All at once, on OS threads; then on green threads of this program, which for the plugins are OS threads.
        thread::scope(|scope| {
            for plugin in &plugins {
                scope.spawn(move || plugin.check(name));
            }
        });
        roving::thread::scope(|scope| {
            for plugin in &plugins {
                scope.spawn(move || plugin.check(name));
            }
        });
    }
    // An OS thread that has waited in each ends when it is gone.
    let all = plugins.len() + 1;
    let (used, gone) = (Arc::new(Barrier::new(all)), Arc::new(Barrier::new(all)));
    let outlive = plugins.iter().map(|&plugin| {
        let (used, gone) = (used.clone(), gone.clone());
        thread::spawn(move || {
            plugin.check(c"roving_plugin_works");
            used.wait();
            gone.wait();
        })
    });
    let outlive: Vec<_> = outlive.collect();
    used.wait();
    // Threads of the plugins wait in them.
    plugins.into_iter().for_each(Plugin::unload);
    gone.wait();
    for thread in outlive {
        thread.join().expect("it has done nothing but wait");
    }
    roving_builds::everything();
    assert_eq!(go!(|| 42).join().unwrap(), 42);
    println!("{}: works", roving_builds::what());
}
