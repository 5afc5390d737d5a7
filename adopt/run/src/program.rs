//! What is to be run: where it is, and whether a library can be loaded before it.
//!
//! The loader of the C library does that: so there must be one, and it must be glibc's, for this machine. It refuses where
//! the program has rights that whoever starts it has not. A script is run by its interpreter, so that is what is looked at.

use std::env;
use std::ffi::{CString, OsStr};
use std::fmt::{self, Display};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use object::elf::{EM_386, EM_AARCH64, EM_ARM, EM_RISCV, EM_X86_64, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, FileKind, ReadCache};

/// So many interpreters may be scripts in turn.
const SCRIPTS: usize = 4;

/// As much as the kernel reads of a script to find its interpreter.
const FIRST_LINE: u64 = 256;

/// Why a program is not run.
#[derive(Debug)]
pub(crate) struct Unfit {
    program: PathBuf,
    why: Why,
}

#[derive(Debug)]
enum Why {
    NotFound,
    Unreadable(io::Error),
    NoProgram,
    OtherMachine(&'static str),
    Static,
    Musl,
    OtherLoader(String),
    Rights,
    NotExecuted(io::Error),
}

impl Unfit {
    pub(crate) fn cannot_execute(program: &Path, error: &io::Error) -> Self {
        let error = io::Error::new(error.kind(), error.to_string());
        Why::NotExecuted(error).of(program)
    }

    /// That of shells.
    pub(crate) fn status(&self) -> u8 {
        match self.why {
            Why::NotFound => 127,
            _ => 126,
        }
    }
}

impl Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.program.display())?;
        match &self.why {
            Why::NotFound => f.write_str("there is no such program"),
            Why::Unreadable(error) => write!(f, "it cannot be read: {error}"),
            Why::NoProgram => f.write_str("it is neither a program nor a script that names its interpreter"),
            Why::OtherMachine(machine) => write!(f, "it is a program for {machine}, and this command is for {THIS_MACHINE}"),
            Why::Static => f.write_str("it is linked statically, and no library can be preloaded"),
            Why::Musl => f.write_str("it is linked against musl, and adoption requires glibc"),
            Why::OtherLoader(loader) => write!(f, "its dynamic linker is {loader}, and adoption requires glibc"),
            Why::Rights => f.write_str("it has privileges that you do not have (setuid, setgid or capabilities), and the dynamic linker preloads no library then"),
            Why::NotExecuted(error) => write!(f, "it cannot be executed: {error}"),
        }
    }
}

impl std::error::Error for Unfit {}

impl Why {
    fn of(self, program: &Path) -> Unfit {
        Unfit {
            program: program.to_owned(),
            why: self,
        }
    }
}

/// Where a shell would find a program of that name.
pub(crate) fn find(name: &OsStr) -> Result<PathBuf, Unfit> {
    let is_program = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|file| file.is_file() && file.mode() & 0o111 != 0)
    };
    let has_folder = name.as_bytes().contains(&b'/');
    let folders = env::var_os("PATH").unwrap_or_default();
    let mut candidates = env::split_paths(&folders).map(|folder| folder.join(name));
    if has_folder {
        Some(PathBuf::from(name)).filter(|path| path.exists())
    } else {
        candidates.find(is_program)
    }
    .ok_or_else(|| Why::NotFound.of(Path::new(name)))
}

/// Whether a library can be loaded before it.
pub(crate) fn check(program: &Path) -> Result<(), Unfit> {
    let mut executed = program.to_owned();
    for _ in 0..=SCRIPTS {
        match interpreter(&executed).map_err(|error| Why::Unreadable(error).of(&executed))? {
            Some(interpreter) => executed = interpreter,
            None => return check_binary(&executed).map_err(|why| why.of(&executed)),
        }
    }
    Err(Why::NoProgram.of(program))
}

/// That of a script.
fn interpreter(program: &Path) -> io::Result<Option<PathBuf>> {
    let mut begin = Vec::new();
    File::open(program)?
        .take(FIRST_LINE)
        .read_to_end(&mut begin)?;
    let Some(line) = begin.strip_prefix(b"#!") else {
        return Ok(None);
    };
    let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let is_blank = |byte: &u8| b" \t".contains(byte);
    let path = line.split(is_blank).find(|word| !word.is_empty());
    Ok(path.map(|path| PathBuf::from(OsStr::from_bytes(path))))
}

#[cfg(target_arch = "x86_64")]
const THIS_MACHINE: &str = "x86-64";
#[cfg(target_arch = "aarch64")]
const THIS_MACHINE: &str = "aarch64";
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const THIS_MACHINE: &str = "a machine on which it is not possible";

fn check_binary(program: &Path) -> Result<(), Why> {
    let file = File::open(program).map_err(Why::Unreadable)?;
    let has_rights = has_rights(program, &file).map_err(Why::Unreadable)?;
    let data = ReadCache::new(file);
    let loader = match FileKind::parse(&data) {
        Ok(FileKind::Elf64) => loader(&data)?,
        Ok(FileKind::Elf32) => return Err(Why::OtherMachine("32 bits")),
        _ => return Err(Why::NoProgram),
    };
    let name = Path::new(&loader).file_name().unwrap_or_default();
    match name.as_bytes() {
        name if name.starts_with(b"ld-musl") => Err(Why::Musl),
        name if !name.starts_with(b"ld-linux") => Err(Why::OtherLoader(loader)),
        _ if has_rights => Err(Why::Rights),
        _ => Ok(()),
    }
}

/// What loads it.
fn loader(data: &ReadCache<File>) -> Result<String, Why> {
    let broken = |_| Why::NoProgram;
    let header = FileHeader64::<Endianness>::parse(data).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    let machine = match header.e_machine(endian) {
        EM_X86_64 => "x86-64",
        EM_AARCH64 => "aarch64",
        EM_386 => "i386",
        EM_ARM => "ARM",
        EM_RISCV => "RISC-V",
        _ => "another machine",
    };
    if machine != THIS_MACHINE {
        return Err(Why::OtherMachine(machine));
    }
    let segments = header.program_headers(endian, data).map_err(broken)?;
    for segment in segments {
        if let Some(loader) = segment.interpreter(endian, data).map_err(broken)? {
            return Ok(String::from_utf8_lossy(loader).into_owned());
        }
    }
    Err(Why::Static)
}

/// Whether it runs with rights that whoever starts it has not.
fn has_rights(program: &Path, file: &File) -> io::Result<bool> {
    let file = file.metadata()?;
    // SAFETY: they have no preconditions.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    let is_other_user = file.mode() & libc::S_ISUID != 0 && file.uid() != user;
    let is_other_group = file.mode() & libc::S_ISGID != 0 && file.gid() != group;
    Ok(is_other_user || is_other_group || user != 0 && has_capabilities(program))
}

fn has_capabilities(program: &Path) -> bool {
    let Ok(path) = CString::new(program.as_os_str().as_bytes()) else {
        return false;
    };
    let name = c"security.capability";
    // SAFETY: the strings end, and nothing is to be written.
    unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) > 0 }
}
