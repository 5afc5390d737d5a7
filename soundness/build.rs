//! Builds the C code: linked into the tests, and as two libraries that the tests load, one whose
//! thread-locals are allocated when they are used, one that wants them in the static block.

use std::env;
use std::path::Path;

const SOURCE: &str = "c/locals.c";

fn main() {
    println!("cargo:rerun-if-changed={SOURCE}");
    cc::Build::new()
        .file(SOURCE)
        .opt_level(2)
        .compile("roving_locals");
    let out = env::var("OUT_DIR").expect("cargo sets it");
    for (model, variable) in [
        ("global-dynamic", "LAZY_LIBRARY"),
        ("initial-exec", "STATIC_LIBRARY"),
    ] {
        let library = Path::new(&out).join(format!("liblocals-{model}.so"));
        let built = cc::Build::new()
            .opt_level(2)
            .get_compiler()
            .to_command()
            .args(["-shared", "-fPIC", &format!("-ftls-model={model}"), "-o"])
            .arg(&library)
            .arg(SOURCE)
            .status();
        assert!(built.is_ok_and(|status| status.success()), "{model}");
        println!("cargo:rustc-env={variable}={}", library.display());
    }
}
