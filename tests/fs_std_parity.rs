//! One script, played with std's files and with Roving's, on green threads and on OS threads: it must go the same way,
//! step by step, down to the numbers and texts of the errors.

mod common;

use std::path::Path;

use common::everywhere;
use common::folder::Folder;
use common::script::{Script, assert_same};

macro_rules! script {
    ($name:ident, $fs:path, $unix:path) => {
        mod $name {
            use super::*;
            use std::io::{IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
            use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
            use std::time::{Duration, SystemTime};
            use $fs as fs;
            use $fs::{DirBuilder, File, FileTimes, OpenOptions};
            use $unix as unix;
            use $unix::{
                DirBuilderExt, DirEntryExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt,
                PermissionsExt,
            };

            /// Plays in an empty folder.
            pub(crate) fn play(folder: &Path) -> Vec<String> {
                let mut script = Script::default();
                opening(&mut script, &folder.join("opening"));
                transfers(&mut script, &folder.join("transfers"));
                at_offsets(&mut script, &folder.join("offsets"));
                settings(&mut script, &folder.join("settings"));
                locks(&mut script, &folder.join("locks"));
                whole_files(&mut script, folder);
                names(&mut script, folder);
                directories(&mut script, folder);
                devices(&mut script);
                conversions(&mut script, &folder.join("conversions"));
                let folder = folder.to_str().unwrap();
                let lines = script.lines.into_iter();
                lines.map(|line| line.replace(folder, "")).collect()
            }

            fn opening(s: &mut Script, path: &Path) {
                let options = || OpenOptions::new();
                s.step("not there", File::open(path).map(drop));
                s.step("no folder", File::create(path.join("a")).map(drop));
                s.step("no such text", File::open("a\0b").map(drop));
                s.step("no options", options().open(path).map(drop));
                s.step(
                    "not to be written",
                    options().read(true).create(true).open(path).map(drop),
                );
                s.step(
                    "truncated",
                    options().read(true).truncate(true).open(path).map(drop),
                );
                s.step(
                    "truncated and longer",
                    options().append(true).truncate(true).open(path).map(drop),
                );
                s.step("new", File::create_new(path).map(drop));
                s.step("not new", File::create_new(path).map(drop));
                s.step(
                    "not new",
                    options().write(true).create_new(true).open(path).map(drop),
                );
                s.step(
                    "create",
                    File::create(path).map(|file| format!("{file:?}").len() > 20),
                );
                s.step("a folder", File::create("/").map(drop));
                s.step("in a file", File::open(path.join("a")).map(drop));
                s.step(
                    "read only",
                    File::open(path).and_then(|mut file| file.write(b"x")),
                );
                s.step(
                    "write only",
                    options()
                        .write(true)
                        .open(path)
                        .and_then(|mut file| file.read(&mut [0])),
                );
                s.step(
                    "write only",
                    options()
                        .write(true)
                        .open(path)
                        .and_then(|mut file| file.read_to_end(&mut Vec::new())),
                );
                s.step(
                    "append",
                    options()
                        .append(true)
                        .open(path)
                        .and_then(|mut file| file.write(b"one")),
                );
                s.step(
                    "append",
                    options()
                        .append(true)
                        .read(true)
                        .open(path)
                        .and_then(|mut file| {
                            file.rewind()?;
                            file.write_all(b"two")?;
                            file.rewind()?;
                            std::io::read_to_string(file)
                        }),
                );
                s.note(
                    "options",
                    options().read(true).mode(0o600).custom_flags(1 << 20),
                );
                s.step("a folder can be opened", File::open("/").map(drop));
                s.step(
                    "but not read",
                    File::open("/").and_then(|mut file| file.read(&mut [0])),
                );
                s.step(
                    "nor this way",
                    File::open("/").and_then(|file| file.read_at(&mut [0], 0)),
                );
            }

            fn transfers(s: &mut Script, path: &Path) {
                let mut file = File::options()
                    .read(true)
                    .write(true)
                    .create(true)
                    .open(path)
                    .unwrap();
                s.step("read of nothing", file.read(&mut [0; 4]));
                s.step("write", file.write(b"0123456789"));
                s.step("at", file.stream_position());
                s.step("at the end", file.read(&mut [0; 4]));
                s.step("seek", file.seek(SeekFrom::Start(2)));
                s.step("seek", file.seek(SeekFrom::Current(3)));
                s.step("seek", file.seek(SeekFrom::End(-4)));
                s.step("before the beginning", file.seek(SeekFrom::End(-40)));
                s.step("before the beginning", file.seek(SeekFrom::Current(-40)));
                let mut buffer = [0; 8];
                s.step("short", file.read(&mut buffer));
                s.note("buffer", buffer);
                s.step("nothing", file.read(&mut []));
                s.step("write nothing", file.write(&[]));
                s.step("far", file.seek(SeekFrom::Start(20)));
                s.step("a hole", file.write(b"x"));
                s.step("flush", file.flush());
                s.step("rewind", file.rewind());
                let (mut one, mut other) = ([0; 3], [0; 40]);
                s.step(
                    "vectored",
                    file.read_vectored(&mut [
                        IoSliceMut::new(&mut one),
                        IoSliceMut::new(&mut []),
                        IoSliceMut::new(&mut other),
                    ]),
                );
                s.note("buffers", (one, other));
                s.step(
                    "vectored at the end",
                    file.read_vectored(&mut [IoSliceMut::new(&mut one)]),
                );
                s.step("of nothing", file.read_vectored(&mut []));
                s.step(
                    "write vectored",
                    file.write_vectored(&[
                        IoSlice::new(b"ab"),
                        IoSlice::new(b""),
                        IoSlice::new(b"c"),
                    ]),
                );
                s.step("nothing vectored", file.write_vectored(&[]));
                s.step("rewind", file.rewind());
                let mut all = b"before ".to_vec();
                s.step("to the end", file.read_to_end(&mut all));
                s.note("all", &all);
                s.step("to the end again", file.read_to_end(&mut all));
                file.set_len(4).unwrap();
                file.rewind().unwrap();
                let mut text = String::from("before ");
                s.step("text", file.read_to_string(&mut text));
                s.note("text", &text);
                file.write_all(b"\xff").unwrap();
                file.rewind().unwrap();
                s.step("no text", file.read_to_string(&mut text));
                s.note("as before", &text);
                s.step("rewind", file.rewind());
                s.step("exactly", file.read_exact(&mut [0; 5]));
                s.step("too much", file.read_exact(&mut [0; 5]));
                let clone = file.try_clone().unwrap();
                s.step("a shared cursor", (&clone).seek(SeekFrom::Start(1)));
                s.step("both see it", file.stream_position());
                s.step("by reference", (&file).read(&mut [0; 2]));
                s.step("both see it", (&clone).stream_position());
            }

            fn at_offsets(s: &mut Script, path: &Path) {
                let file = File::options()
                    .read(true)
                    .write(true)
                    .create(true)
                    .open(path)
                    .unwrap();
                s.step("write", file.write_at(b"abc", 3));
                s.step("all", file.write_all_at(b"xyz", 6));
                let mut buffer = [0; 6];
                s.step("read", file.read_at(&mut buffer, 5));
                s.note("buffer", buffer);
                s.step("past the end", file.read_at(&mut buffer, 9));
                s.step("nothing", file.read_at(&mut [], 2));
                s.step("exactly", file.read_exact_at(&mut buffer, 3));
                s.step("too much", file.read_exact_at(&mut buffer, 4));
                s.step("no such offset", file.read_at(&mut buffer, u64::MAX));
                s.step("no such offset", file.write_at(&buffer, u64::MAX));
                s.step("none", file.read_at(&mut buffer, 1 << 63));
                s.step("the last", file.read_at(&mut buffer, (1 << 63) - 1));
                s.step("too large", file.write_at(&buffer, (1 << 63) - 1));
                s.step("the cursor has not moved", (&file).stream_position());
            }

            fn settings(s: &mut Script, path: &Path) {
                let file = File::create(path).unwrap();
                s.step("length", file.set_len(100));
                s.step("too long", file.set_len(u64::MAX));
                s.step(
                    "metadata",
                    file.metadata().map(|m| {
                        (
                            m.len(),
                            m.is_file(),
                            m.is_dir(),
                            m.is_symlink(),
                            m.size(),
                            m.nlink(),
                        )
                    }),
                );
                s.step("sync", file.sync_all());
                s.step("sync data", file.sync_data());
                let mut permissions = file.metadata().unwrap().permissions();
                permissions.set_readonly(true);
                s.step("read only", file.set_permissions(permissions));
                s.step(
                    "permissions",
                    fs::metadata(path).map(|m| m.permissions().mode()),
                );
                s.step(
                    "others",
                    fs::set_permissions(path, fs::Permissions::from_mode(0o640)),
                );
                s.step(
                    "permissions",
                    fs::metadata(path).map(|m| m.permissions().mode()),
                );
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
                s.step("modified", file.set_modified(time));
                s.step(
                    "is it",
                    file.metadata()
                        .and_then(|m| m.modified())
                        .map(|modified| modified == time),
                );
                s.step(
                    "times",
                    file.set_times(FileTimes::new().set_accessed(time).set_modified(time)),
                );
                s.step(
                    "is it",
                    file.metadata()
                        .and_then(|m| m.accessed())
                        .map(|accessed| accessed == time),
                );
                s.step("owner", unix::fchown(&file, None, None));
                s.step(
                    "owner",
                    unix::chown(path, Some(file.metadata().unwrap().uid()), None),
                );
                s.step("owner of nothing", unix::lchown(path.join("a"), None, None));
                s.step("a root", unix::chroot(path.join("a")));
                let stream = std::os::unix::net::UnixStream::pair().unwrap().0;
                let socket = File::from(OwnedFd::from(stream));
                s.step("a socket is not synced", socket.sync_all());
                s.step("nor has it a length", socket.set_len(1));
                s.step("nor a place", (&socket).stream_position());
                s.step("nor offsets", socket.read_at(&mut [0], 0));
                s.step("nor offsets", socket.write_at(&[0], 0));
            }

            fn locks(s: &mut Script, path: &Path) {
                let one = File::create(path).unwrap();
                let other = File::create(path).unwrap();
                s.step("lock", one.lock());
                s.note("taken", other.try_lock());
                s.note("taken", other.try_lock_shared());
                s.step("shared", one.lock_shared());
                s.note("shared", other.try_lock_shared());
                s.note("not alone", one.try_lock());
                s.step("unlock", other.unlock());
                s.note("alone", one.try_lock());
                s.step("unlock", one.unlock());
                s.step("unlock", one.unlock());
                let error = std::io::Error::from({
                    one.lock().unwrap();
                    other.try_lock().unwrap_err()
                });
                s.note("error", error);
                drop(one);
                s.note("closed", other.try_lock());
            }

            fn whole_files(s: &mut Script, folder: &Path) {
                let (path, copy) = (folder.join("whole"), folder.join("copy"));
                s.step("write", fs::write(&path, "some text"));
                s.step("read", fs::read(&path));
                s.step("text", fs::read_to_string(&path));
                s.step("write less", fs::write(&path, b"\xff"));
                s.step("no text", fs::read_to_string(&path));
                s.step("read", fs::read(&path));
                s.step("of nothing", fs::read(folder.join("not there")));
                s.step("a folder", fs::read(folder));
                s.step("a folder", fs::write(folder, "x"));
                s.step(
                    "what has no length",
                    fs::read_to_string("/proc/self/status").map(|text| text.contains("Threads:")),
                );
                s.step("copy", fs::copy(&path, &copy));
                s.step("the copy", fs::read(&copy));
                s.step("copy a folder", fs::copy(folder, &copy));
                s.step("copy nothing", fs::copy(folder.join("not there"), &copy));
                s.step("to a folder", fs::copy(&copy, folder));
            }

            #[allow(deprecated)]
            fn names(s: &mut Script, folder: &Path) {
                let (file, link) = (folder.join("file"), folder.join("link"));
                fs::write(&file, "x").unwrap();
                s.step("symlink", unix::symlink(&file, &link));
                s.step("again", unix::symlink(&file, &link));
                s.step("where to", fs::read_link(&link).map(|path| path == file));
                s.step("no link", fs::read_link(&file));
                s.step("through it", fs::metadata(&link).map(|m| m.file_type()));
                s.step("it", fs::symlink_metadata(&link).map(|m| m.file_type()));
                s.step(
                    "canonical",
                    fs::canonicalize(&link).map(|path| path == fs::canonicalize(&file).unwrap()),
                );
                s.step(
                    "soft link",
                    fs::soft_link("nowhere", folder.join("dangles")),
                );
                s.step("it dangles", fs::exists(folder.join("dangles")));
                s.step("it dangles", fs::metadata(folder.join("dangles")).map(drop));
                s.step("it dangles", fs::canonicalize(folder.join("dangles")));
                s.step("it is there", fs::exists(&file));
                s.step("whether it is cannot be told", fs::exists(file.join("a")));
                s.step("hard link", fs::hard_link(&file, folder.join("second")));
                s.step("hard link", fs::hard_link(&file, folder.join("second")));
                s.step("names", fs::metadata(&file).map(|m| m.nlink()));
                s.step(
                    "rename",
                    fs::rename(folder.join("second"), folder.join("third")),
                );
                s.step(
                    "rename",
                    fs::rename(folder.join("second"), folder.join("third")),
                );
                s.step("remove", fs::remove_file(folder.join("third")));
                s.step("remove", fs::remove_file(folder.join("third")));
                s.step("a folder is no file", fs::remove_file(folder));
                s.step("remove a link", fs::remove_file(&link));
                s.step("what it led to", fs::read(&file));
            }

            fn directories(s: &mut Script, folder: &Path) {
                let dir = folder.join("directory");
                s.step("list nothing", fs::read_dir(&dir).map(drop));
                s.step("create", fs::create_dir(&dir));
                s.step("again", fs::create_dir(&dir));
                s.step("deep", fs::create_dir(dir.join("a/b")));
                s.step("deep", fs::create_dir_all(dir.join("a/b")));
                s.step("again", fs::create_dir_all(dir.join("a/b")));
                s.step(
                    "empty",
                    fs::read_dir(dir.join("a/b")).map(|entries| entries.count()),
                );
                fs::write(dir.join("c"), "file").unwrap();
                unix::symlink("c", dir.join("d")).unwrap();
                s.step("in a file", fs::create_dir_all(dir.join("c/e")));
                s.step("list a file", fs::read_dir(dir.join("c")).map(drop));
                s.step(
                    "builder",
                    DirBuilder::new().mode(0o700).create(dir.join("e")),
                );
                s.step(
                    "builder",
                    DirBuilder::new()
                        .recursive(true)
                        .mode(0o700)
                        .create(dir.join("f/g")),
                );
                s.step("mode", fs::metadata(dir.join("f/g")).map(|m| m.mode()));
                s.note("builder", DirBuilder::new().recursive(true));
                let mut entries: Vec<_> = fs::read_dir(&dir).unwrap().map(Result::unwrap).collect();
                entries.sort_by_key(|entry| entry.file_name());
                for entry in entries {
                    s.note("entry", &entry);
                    s.note("path", entry.path());
                    s.note("name", entry.file_name());
                    s.step(
                        "type",
                        entry.file_type().map(|t| {
                            (
                                t,
                                t.is_fifo(),
                                t.is_block_device(),
                                t.is_char_device(),
                                t.is_socket(),
                            )
                        }),
                    );
                    s.step(
                        "length",
                        entry.metadata().map(|m| (m.is_file(), m.is_symlink())),
                    );
                    s.step(
                        "number",
                        fs::symlink_metadata(entry.path()).map(|m| m.ino() == entry.ino()),
                    );
                }
                s.note("list", fs::read_dir(&dir).unwrap());
                let mut entries = fs::read_dir(dir.join("e")).unwrap();
                s.note("none", entries.next().map(drop));
                s.note("none", entries.next().map(drop));
                s.step("remove what is not empty", fs::remove_dir(&dir));
                s.step("remove", fs::remove_dir(dir.join("e")));
                s.step("remove a file", fs::remove_dir(dir.join("c")));
                s.step("remove all of a file", fs::remove_dir_all(dir.join("c")));
                s.step("remove all of a link", fs::remove_dir_all(dir.join("d")));
                s.step("remove all of nothing", fs::remove_dir_all(dir.join("h")));
                s.step("remove all", fs::remove_dir_all(&dir));
                s.step("is it there", fs::exists(&dir));
                s.step("no such text", fs::create_dir("a\0b"));
            }

            fn devices(s: &mut Script) {
                s.step(
                    "full",
                    OpenOptions::new()
                        .write(true)
                        .open("/dev/full")
                        .and_then(|mut file| file.write(b"x")),
                );
                s.step(
                    "full",
                    OpenOptions::new()
                        .write(true)
                        .open("/dev/full")
                        .and_then(|mut file| file.write_all(&[1; 100_000])),
                );
                s.step("full", fs::write("/dev/full", "x"));
                s.step("null", fs::read("/dev/null"));
                s.step(
                    "null",
                    OpenOptions::new()
                        .write(true)
                        .open("/dev/null")
                        .and_then(|mut file| file.write(&[1; 100_000])),
                );
                // Whoever must not wait may be given no more than a page.
                s.step(
                    "zero",
                    File::open("/dev/zero").and_then(|mut file| file.read(&mut [1; 4096])),
                );
                s.step(
                    "zero",
                    File::open("/dev/zero").and_then(|file| file.read_at(&mut [1; 10], 77)),
                );
                s.step(
                    "random",
                    File::open("/dev/urandom").and_then(|mut file| file.read(&mut [0; 100])),
                );
                s.step(
                    "no terminal",
                    File::open("/dev/null")
                        .map(|file| std::io::IsTerminal::is_terminal(&file.as_fd())),
                );
            }

            fn conversions(s: &mut Script, path: &Path) {
                fs::write(path, "text").unwrap();
                let file = File::open(path).unwrap();
                s.note("raw", file.as_raw_fd() == file.as_fd().as_raw_fd());
                let mut file = File::from(OwnedFd::from(file));
                s.step("read", file.read(&mut [0; 2]));
                let raw = file.into_raw_fd();
                // SAFETY: the descriptor has just been given away by its only owner.
                let mut file = unsafe { File::from_raw_fd(raw) };
                let mut rest = String::new();
                s.step("read", file.read_to_string(&mut rest));
                s.note("rest", rest);
                file.rewind().unwrap();
                let output = std::process::Command::new("cat").stdin(file).output();
                s.step("a child's", output.map(|output| output.stdout));
            }
        }
    };
}

script!(theirs, std::fs, std::os::unix::fs);
script!(ours, roving::fs, roving::os::unix::fs);

#[test]
fn both_play_alike() {
    let play = |play: fn(&Path) -> Vec<String>| {
        let folder = Folder::new();
        play(&folder)
    };
    let expected = play(theirs::play);
    everywhere(|| assert_same(&play(ours::play), &expected));
}
