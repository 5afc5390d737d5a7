"""Green threads of Roving in gdb: `info green`, `green N COMMAND`, `green all bt`.

    gdb -x gdb.py PROGRAM CORE        or, in gdb:  source gdb.py

It reads memory and nothing else, so that a core file will do, and a process is as it was afterwards. What it knows of
the program begins with a table in the section `.roving`, which `src/runtime/debugger.rs` describes.

How a stack is walked that no OS thread runs on: gdb unwinds what an OS thread has in its registers. An unwinder of
our own claims the innermost frame of the selected one, and says that its caller has the registers that the green
thread has saved. From there on gdb goes its way, by the program's unwind tables. The frame claimed is not shown.
"""

import re
import struct

import gdb
import gdb.unwinder

# So many frames of a stack are shown, and told from others; so many stacks are told apart.
MOST_FRAMES = 128
MOST_GROUPS = 500
# So many threads of a group are named.
EXAMPLES = 5


class Trouble(Exception):
    """Why something cannot be told."""


# ---- Memory


def read(address, size):
    return gdb.selected_inferior().read_memory(address, size).tobytes()


def words(address, count):
    return struct.unpack("<%dQ" % count, read(address, 8 * count))


def word(address):
    return words(address, 1)[0]


def half(address):
    return struct.unpack("<I", read(address, 4))[0]


def text(address, size):
    """A text of Rust's."""
    return read(address, min(size, 4096)).decode("utf-8", "replace")


def quoted(string):
    return '"%s"' % string.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def only(found, what):
    found = list(found)
    if len(found) != 1:
        raise Trouble("the layout of %s is not as this script knows it" % what)
    return found[0]


# ---- What the program says of itself


class Layout:
    """The places of fields, told by the program or learned from its examples."""

    MARK = b"roving debugger\0"

    def __init__(self, table):
        self.runtimes, self.forks, examples, parts = words(table + 16, 4)
        if not examples:
            raise Trouble("no runtime of Roving has started in this process")
        self.fields = {}
        for part in range(parts):
            fields, count = words(table + 48 + 16 * part, 2)
            for field in range(count):
                name, value = struct.unpack("<32sQ", read(fields + 40 * field, 40))
                self.fields[name.rstrip(b"\0").decode()] = value
        self.learn(lambda name: examples + self["Examples." + name])

    def __getitem__(self, name):
        try:
            return self.fields[name]
        except KeyError:
            raise Trouble("this script is for another version of Roving: the program does not tell of " + name)

    def learn(self, example):
        once, in_once = word(example("once")), word(example("in_once"))
        if once + 16 != in_once:
            once = word(example("once") + 8)
        self.in_arc = in_once - once
        self.in_once = only((at for at in (0, 8) if word(example("once") + at) == once), "OnceLock")

        nowhere = (2**64 - 1,) * 3
        size = example("place") - example("runtimes")
        values = words(example("runtimes"), size // 8)
        first = only((at for at, value in enumerate(values) if points_to(value, 24, nowhere)), "Vec")
        self.vec_pointer = 8 * first
        self.vec_length = 8 * only((at for at, value in enumerate(values) if value == 3), "Vec")

        size = example("first") - example("entered")
        values = words(example("entered"), size // 8)
        ends = [word(example(name)) - self.arc("Waiter") for name in ("first", "third")]
        holds = lambda value: points_to(value, 72, ends)
        first = only((at for at, value in enumerate(values) if holds(value)), "Slab")
        self.slab_pointer = 8 * first
        self.slab_length = 8 * only((at for at, value in enumerate(values) if value == 3), "Slab")
        entries = words(values[first], 9)
        at, last = entries.index(ends[0]), entries.index(ends[1])
        self.entry = (last - at) // 2
        self.in_entry = at
        tags = [at for at in range(self.entry) if at != self.in_entry]
        tag = only((at for at in tags if entries[at] == entries[2 * self.entry + at] != entries[self.entry + at]), "Slab")
        self.tag, self.occupied = tag, entries[tag]

        place = example("place")
        file, length, line, column = words(example("file"), 4)
        whole = words(place, 3)
        halves = struct.unpack("<6I", read(place, 24))
        self.file = 8 * only((at for at, value in enumerate(whole) if value == file), "Location")
        self.file_length = 8 * only((at for at, value in enumerate(whole) if value == length), "Location")
        self.line = 4 * only((at for at, value in enumerate(halves) if value == line), "Location")
        self.column = 4 * only((at for at, value in enumerate(halves) if value == column), "Location")

    def arc(self, type):
        """Where in what an `Arc` leads to the value is."""
        return max(self.in_arc, self[type + ".align"])


def points_to(address, size, wanted):
    """Whether all that is wanted is among the words there."""
    try:
        found = words(address, size // 8)
    except (gdb.MemoryError, OverflowError, struct.error):
        return False
    return all(value in found for value in wanted)


def find_tables():
    """The tables of this process: there may be one in each shared library."""
    sections = gdb.execute("info files", to_string=True)
    found = re.findall(r"^\s*0x([0-9a-f]+) - 0x[0-9a-f]+ is \.roving\b", sections, re.MULTILINE)
    return sorted({int(address, 16) for address in found})


def processes():
    """What each Roving in this process tells."""
    if not gdb.selected_inferior().pid or gdb.selected_thread() is None:
        raise Trouble("there is no process: start the program, attach to one, or open a core file")
    if not gdb.selected_inferior().architecture().name().startswith("i386:x86-64"):
        raise Trouble("this script knows green threads on x86-64 only")
    tables = find_tables()
    if not tables:
        raise Trouble("there is no Roving in this process, or gdb does not know its executable")
    if any(read(table, 16) != Layout.MARK for table in tables):
        raise Trouble("this script is for another version of Roving")
    return [Roving(Layout(table)) for table in tables]


# ---- Green threads


class Roving:
    """The runtimes of one Roving, and their green threads."""

    def __init__(self, layout):
        self.layout = layout
        self.places, self.types = {}, {}
        self.threads = []
        self.unreadable = 0
        alive = 0
        for runtime in self.runtimes():
            alive += self.look_at(runtime)
        # While some are spawned and others end, the count is about right.
        self.fresh = max(0, alive - len(self.threads) - self.unreadable)

    def runtimes(self):
        layout = self.layout
        made = word(layout.runtimes)
        if not made or half(made + layout["PerProcess.process"]) != half(layout.forks):
            return
        vec = made + layout["PerProcess.value"]
        count, first = word(vec + layout.vec_length), word(vec + layout.vec_pointer)
        for weak in words(first, count):
            if word(weak) > 0:
                yield weak + layout.arc("Shared")

    def look_at(self, runtime):
        """Finds the green threads of a runtime. Gives how many are said to be alive."""
        layout = self.layout
        running = {}
        for number, remote in enumerate(self.workers(runtime)):
            waiter = word(remote + layout["Remote.running"] + layout["Running.thread"])
            if waiter:
                running[waiter] = Worker(number, half(remote + layout["Remote.os_thread"]))
        alive = 0
        seen = set()
        shards, count = words(runtime + layout["Shared.registry"] + layout["Registry.shards"], 2)
        for number in range(count):
            shard = shards + number * layout["Shard.size"]
            alive += struct.unpack("<q", read(shard + layout["Shard.alive"], 8))[0]
            for waiter in self.entered(shard + layout["Shard.entered"]):
                if waiter not in seen:
                    seen.add(waiter)
                    self.add(waiter, running.get(waiter))
        for waiter, worker in running.items():
            if waiter not in seen:
                self.add(waiter, worker)
        return alive

    def workers(self, runtime):
        layout = self.layout
        first, count = words(runtime + layout["Shared.workers"], 2)
        for remote in words(first, count):
            yield remote + layout.arc("Remote")
        spares = runtime + layout["Shared.spares"]
        first, _ = words(spares + layout["Spares.remotes"], 2)
        for spare in range(word(spares + layout["Spares.taken"])):
            yield word(first + 16 * spare + layout.in_once) + layout.arc("Remote")

    def entered(self, slab):
        layout = self.layout
        count, first = word(slab + layout.slab_length), word(slab + layout.slab_pointer)
        entries = words(first, count * layout.entry) if count else ()
        for at in range(0, len(entries), layout.entry):
            if entries[at + layout.tag] == layout.occupied:
                yield entries[at + layout.in_entry] + layout.arc("Waiter")

    def add(self, waiter, worker):
        try:
            self.threads.append(Green(self, waiter, worker))
        except (gdb.MemoryError, OverflowError):
            # It was about to be entered or to go.
            self.unreadable += 1

    def type_of(self, functions):
        """The type that a table of functions is for."""
        if functions not in self.types:
            symbol = gdb.execute("info symbol %#x" % word(functions + 24), to_string=True)
            found = re.match(r"_?<(.+?)(?:<.*>)? as .*>::", symbol)
            self.types[functions] = found.group(1) if found else "a wait whose symbol is not there"
        return self.types[functions]

    def place(self, address):
        """A place in the source."""
        if address not in self.places:
            layout = self.layout
            file, length = word(address + layout.file), word(address + layout.file_length)
            line, column = half(address + layout.line), half(address + layout.column)
            self.places[address] = "%s:%d:%d" % (text(file, length), line, column)
        return self.places[address]


class Worker:
    def __init__(self, number, os_thread):
        self.number = number
        self.os_thread = os_thread

    def thread(self):
        """The thread of gdb that it is; `None` if gdb does not know it."""
        for thread in gdb.selected_inferior().threads():
            if thread.ptid[1] == self.os_thread:
                return thread
        return None


class Green:
    """One green thread."""

    def __init__(self, roving, address, worker):
        layout = self.layout = roving.layout
        self.roving = roving
        self.address = address
        self.worker = worker
        block = read(address, layout["Waiter.size"])
        field = lambda at: struct.unpack_from("<Q", block, at)[0]
        self.id = field(layout["Waiter.id"])
        name = field(layout["Waiter.name"])
        self.name = text(*words(name, 2)) if name else None
        own = layout["Waiter.kind"] + layout["Kind.green"] + layout["Green.own_stack"]
        self.site = roving.place(field(own + layout["OwnStack.site"]))
        coroutine = own + layout["OwnStack.stage"] + layout["Stage.started"] + layout["Started.coroutine"]
        stack = coroutine + layout["Coroutine.stack"]
        self.lowest, self.base = field(stack + layout["Bounds.lowest"]), field(stack + layout["Bounds.base"])
        inner = coroutine + layout["Coroutine.inner"]
        self.inner = struct.unpack_from("<%dQ" % (layout["Coroutine.inner.size"] // 8), block, inner)
        self.suspended_at = field(coroutine + layout["Coroutine.suspended_at"])
        self.is_parked = field(layout["Waiter.word"]) & layout["WaitWord.state"] == layout["WaitWord.parked"]
        # Without its mark.
        self.reason = field(layout["Waiter.reason"]) & ~1

    def state(self):
        if self.worker:
            return "running"
        return "parked" if self.is_parked else "runnable"

    def label(self):
        """What `green` knows it by: its number, or its address if nobody has asked for a number yet."""
        return str(self.id) if self.id else hex(self.address)

    def __str__(self):
        return "thread " + self.label() + (" " + quoted(self.name) if self.name else "")

    def doing(self):
        """What it waits for, or where it runs."""
        if self.worker:
            thread = self.worker.thread()
            known = " (gdb thread %d)" % thread.num if thread else ""
            return "worker %d, OS thread %d%s" % (self.worker.number, self.worker.os_thread, known)
        if not self.is_parked:
            return ""
        try:
            why, functions = words(self.reason + self.layout["Reason.why"], 2)
            place = self.roving.place(word(self.reason + self.layout["Reason.place"]))
            return "%s, at %s" % (Why(self.roving, why, functions), place)
        except (gdb.MemoryError, OverflowError):
            return "a wait on a stack that cannot be read"

    def saved(self):
        """The stack pointer that it has saved; `None` while it runs, or is being switched to or from."""
        nearest = self.suspended_at - self.layout["Coroutine.below_noted"]
        found = {value for value in self.inner if nearest < value < self.suspended_at}
        return found.pop() if len(found) == 1 else None

    def is_there(self):
        """Whether its stack is in the core file, if this is one."""
        try:
            return word(self.saved()) != 0
        except gdb.MemoryError:
            return False

    def end(self):
        """The frame in which its stack begins, as program counter and stack pointer.

        Where the first stack pointer led, which is the highest one on its own stack, lies where the first function
        would return to.
        """
        found = [value for value in self.inner if self.lowest <= value < self.base]
        return (word(max(found)), max(found) + 8) if found else None


class Why:
    """What a thread waits for: a value of a type that the name of its first function tells."""

    def __init__(self, roving, value, functions):
        self.roving = roving
        self.value = value
        self.type = roving.type_of(functions)

    def __str__(self):
        told = self.TOLD.get(re.sub("^roving_(scheduler|io)::", "", self.type))
        return told(self) if told else self.type

    def lock(self, kind):
        lock = word(self.value)
        state, place = words(lock, 2)
        # Beside an RwLock's count of readers there is no holder.
        stack = 0 if kind == "RwLock" and not state & 1 else state & ~7
        what = "the closure of Once" if kind == "Once" else "lock of " + kind
        told = "%s at %#x" % (what, lock)
        if not stack or not place:
            return told
        for thread in self.roving.threads:
            if thread.lowest <= stack < thread.base:
                told += ", held by %s" % thread
        return "%s, taken at %s" % (told, self.roving.place(place))

    def join(self):
        address = word(self.value)
        for thread in self.roving.threads:
            if thread.address == address:
                return "join of %s" % thread
        return "join of a thread at %#x" % address

    def channel(self):
        waits, senders, receivers = words(self.value, 3)
        sends = waits & 0xff == 0
        count = word(receivers if sends else senders)
        return "%s on a channel with %d %s%s" % (
            "send" if sends else "recv", count, "receiver" if sends else "sender", "" if count == 1 else "s")

    def operation(self):
        descriptor, direction = struct.unpack("<IB", read(self.value, 5))
        return "%s on descriptor %d" % (("read", "write", "priority")[direction], descriptor)

    TOLD = {
        "&str": lambda why: text(*words(why.value, 2)),
        "run::reason::Lasting": lambda why: text(*words(why.value, 2)),
        "thread::park::Parked": lambda why: "park",
        "future::block_on::Woken": lambda why: "block_on of a future",
        "sync::raw_mutex::LockOf": lambda why: why.lock("Mutex"),
        "sync::raw_rwlock::LockOf": lambda why: why.lock("RwLock"),
        "sync::once::RunOf": lambda why: why.lock("Once"),
        "sync::semaphore::PermitsOf": lambda why: "permits of a Semaphore",
        "sync::condvar::Condvar": lambda why: "notification of Condvar at %#x" % why.value,
        "sync::notify::Notify": lambda why: "notification of Notify at %#x" % why.value,
        "channel::core::OtherSide": lambda why: why.channel(),
        "channel::select::algorithm::ArmsOf": lambda why: "select over %d operations" % word(why.value),
        "thread::handle::EndOf": lambda why: why.join(),
        "thread::scope::EndOf": lambda why: "the end of a scope",
        "why::Operation": lambda why: why.operation(),
        "net::look_up::Question": lambda why: "look-up of a name",
        "process::child::EndOf": lambda why: "end of child %d" % struct.unpack("<I", read(why.value, 4)),
        "signal::OneOf": lambda why: "signal",
    }


def all_threads():
    """All green threads, and how many have not begun."""
    found = processes()
    threads = [thread for roving in found for thread in roving.threads]
    threads.sort(key=lambda thread: (thread.id == 0, thread.id, thread.address))
    return threads, sum(roving.fresh for roving in found), sum(roving.unreadable for roving in found)


# ---- Stacks


class Saved(gdb.unwinder.Unwinder):
    """Goes on from the registers that a green thread has saved, and ends where its stack begins."""

    def __init__(self):
        super().__init__("roving")
        self.enabled = False

    def __call__(self, frame):
        here = registers(frame)
        if here == self.real:
            pointer, (counter, rbx, rbp) = self.pointer, words(self.pointer, 3)
            return self.called_from(frame, pointer, rip=counter, rsp=pointer + 24, rbx=rbx, rbp=rbp)
        if here == self.end:
            return self.called_from(frame, here[1], rip=0, rsp=here[1], rbp=0)
        return None

    @staticmethod
    def called_from(frame, pointer, **registers):
        unwound = frame.create_unwind_info(FrameId(pointer, frame.read_register("rip")))
        for name, value in registers.items():
            unwound.add_saved_register(name, gdb.Value(value).cast(frame.read_register(name).type))
        return unwound


class FrameId:
    def __init__(self, sp, pc):
        self.sp = gdb.Value(sp)
        self.pc = pc


SAVED = Saved()
gdb.unwinder.register_unwinder(None, SAVED, replace=True)


# The code of the runtime by which a thread waits, and by which it begins, by the names of functions and of files.
WAITS = re.compile(r"<?roving_scheduler::(run|wait|stack|sync::parking)::|<?corosensei::|roving-scheduler[^/]*/src/"
                   r"(run|wait|stack)/|(^|/)scheduler/src/(run|wait|stack|sync/parking)\b|/corosensei-")
BEGINS = re.compile(r"roving_scheduler::thread::spawn::|scheduler[^/]*/src/thread/spawn\.rs|<?core::ops::function::|"
                    r"<?core::panic::|std::panic|<?alloc::boxed::|__rust_try|library/(core/src/(ops/function|panic/)|std/src/pani|"
                    r"alloc/src/boxed)|__rust_catch_unwind|roving_scheduler::stack::(coroutine|errand)::|"
                    r"scheduler[^/]*/src/stack/(coroutine|errand)\.rs|corosensei|stack_init_trampoline")


def is_of(frame, code):
    table = frame.find_sal().symtab
    return bool(code.search(frame.name() or "") or table and code.search(table.filename))


class Visit:
    """While it lasts, gdb walks the stack of a green thread."""

    def __init__(self, thread):
        self.thread = thread
        self.end = thread.end()

    def __enter__(self):
        self.before, self.level = gdb.selected_thread(), level_of(gdb.selected_frame())
        thread = self.thread
        if thread.worker:
            on = thread.worker.thread()
            if on is None:
                raise Trouble("%s runs on OS thread %d, which gdb does not know" % (thread, thread.worker.os_thread))
            on.switch()
        else:
            pointer = thread.saved()
            if pointer is None:
                raise Trouble("%s is just being switched to or from: let the process go on for a moment" % thread)
            if not thread.is_there():
                raise Trouble("the stack of %s is not in the core file: gdb's own cores lack what lies beside guards, those "
                              "that the system writes do not" % thread)
            SAVED.real, SAVED.pointer, SAVED.end = registers(gdb.newest_frame()), pointer, self.end
            SAVED.enabled = True
            gdb.invalidate_cached_frames()
        return self

    def __exit__(self, *_):
        if SAVED.enabled:
            SAVED.enabled = False
            gdb.invalidate_cached_frames()
        self.before.switch()
        gdb.execute("frame %d" % self.level, to_string=True)

    def walk(self, most=None):
        """The frames from the one that has suspended, or is the innermost one that runs, to the end of its stack, with their
        levels."""
        frames, frame = [], gdb.newest_frame()
        while frame is not None and len(frames) != most and registers(frame) != self.end:
            frames.append((len(frames), frame))
            frame = frame.older()
        if SAVED.enabled:
            # Before that is the one of the OS thread from which the walk has begun.
            begins = word(SAVED.pointer)
            first = next((at for at, (_, frame) in enumerate(frames) if frame.pc() == begins), len(frames))
            frames = frames[first:]
        return frames

    @staticmethod
    def own(frames):
        """Those of a walk that are neither of the runtime by which a thread waits nor by which it begins."""
        first = next((at for at, (_, frame) in enumerate(frames) if not is_of(frame, WAITS)), 0) if SAVED.enabled else 0
        frames = frames[first:]
        while frames and is_of(frames[-1][1], BEGINS):
            frames.pop()
        return frames

    @staticmethod
    def backtrace(frames, options=()):
        """What gdb prints of these frames."""
        if not frames:
            return ""
        levels = [level for level, _ in frames]
        printed = gdb.execute(" ".join(["backtrace", *options, str(levels[-1] + 1)]), to_string=True)
        found = re.finditer(r"^#(\d+) .*\n(?:(?!#\d|\(More ).*\n)*", printed, re.MULTILINE)
        return "".join(frame.group() for frame in found if int(frame.group(1)) in levels)


class Walked:
    """What was noted of stacks that gdb has walked, which takes it a millisecond each.

    One of a thread in the same state, on which the same return addresses are at the same places, counted from where it goes
    on at the same address, is equal, and need not be walked."""

    def __init__(self):
        self.known = {}

    @staticmethod
    def memory(thread):
        """Where the stack of a thread that has suspended on it is used from, and what is there."""
        pointer = None if thread.worker else thread.saved()
        if pointer is None or not thread.lowest <= pointer < thread.base:
            return None, b""
        return pointer, read(pointer, min(thread.base - pointer, 1 << 16))

    def find(self, thread):
        _, stack = self.memory(thread)
        for addresses, noted in self.known.get((thread.state(), stack[:8]), ()):
            if all(stack[at:at + 8] == address for at, address in addresses):
                return noted
        return None

    def note(self, thread, frames, what):
        """Notes it of a thread with these frames, if each is where a call has left it."""
        pointer, stack = self.memory(thread)
        if pointer is None:
            return
        # Those that are inlined have the registers of the one that they are in.
        callers = list(dict.fromkeys(registers(frame) for _, frame in frames))[1:]
        addresses = [(top - 8 - pointer, struct.pack("<Q", counter)) for counter, top in callers]
        if all(0 < at < len(stack) and stack[at:at + 8] == address for at, address in addresses):
            self.known.setdefault((thread.state(), stack[:8]), []).append((addresses, what))


def registers(frame):
    """The program counter and the stack pointer."""
    return tuple(int(frame.read_register(name)) & (2**64 - 1) for name in ("rip", "rsp"))


def level_of(frame):
    level = 0
    while frame.newer() is not None:
        frame, level = frame.newer(), level + 1
    return level


# ---- Commands


class Command(gdb.Command):
    """What goes wrong is told in a line."""

    def invoke(self, argument, from_tty):
        try:
            self.run(argument.strip(), from_tty)
        except Trouble as trouble:
            raise gdb.GdbError(str(trouble))
        except (gdb.MemoryError, OverflowError, struct.error) as error:
            raise gdb.GdbError("what is in the memory of this process cannot be made out: %s" % error)
        except gdb.error as error:
            raise gdb.GdbError(str(error))


class InfoGreen(Command):
    """List the green threads: number, state, name, where spawned, and why one waits or where it runs.

One that nobody has asked for its number has none yet, and is named by its address."""

    def __init__(self):
        super().__init__("info green", gdb.COMMAND_STATUS)

    def run(self, argument, _from_tty):
        threads, fresh, unreadable = all_threads()
        rows = [("Id", "State", "Name", "Spawned at", "Doing")]
        for thread in threads:
            name = quoted(thread.name) if thread.name else ""
            rows.append((thread.label(), thread.state(), name, thread.site, thread.doing()))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        if threads:
            for row in rows:
                print("  ".join([cell.ljust(width) for cell, width in zip(row, widths)] + [row[4]]).rstrip())
        else:
            print("No green threads.")
        if fresh:
            print("and %d that have not begun" % fresh)
        if unreadable:
            print("and %d that cannot be read just now" % unreadable)


class GreenCommand(Command):
    """Apply a command to a green thread, or show the stacks of all.

green N [COMMAND]    COMMAND, or `bt`, as if gdb were in green thread N: a number or an address of `info green`
green all bt         the stacks of all, equal ones once, the largest group first

The frames of the runtime by which a thread waits and begins are left out of a `bt`, and keep their levels:
`green N frame 0` and what follows are there."""

    def __init__(self):
        super().__init__("green", gdb.COMMAND_STACK)

    def run(self, argument, from_tty):
        which, _, command = argument.partition(" ")
        command = command.strip() or "bt"
        if which == "all":
            if command not in ("bt", "backtrace"):
                raise Trouble("of all green threads there is `green all bt`")
            return self.all()
        try:
            wanted = int(which, 0)
        except ValueError:
            raise Trouble("which green thread? `green N bt` with a number or an address of `info green`, or `green all bt`")
        threads, _, _ = all_threads()
        for thread in threads:
            if wanted and wanted in (thread.id, thread.address):
                return self.one(thread, command, from_tty)
        raise Trouble("there is no green thread %s: see `info green`" % which)

    def one(self, thread, command, from_tty):
        doing = thread.doing()
        with Visit(thread) as visit:
            print("%s %s%s, spawned at %s" % (thread, thread.state(), ": " + doing if doing else "", thread.site))
            frames = visit.own(visit.walk())
            if frames:
                frames[0][1].select()
            name, *options = command.split()
            if name not in ("bt", "backtrace", "where"):
                return gdb.execute(command, from_tty)
            counts = [int(option) for option in options if option.isdigit()]
            options = [option for option in options if not option.isdigit()]
            print(visit.backtrace(frames[:counts[0]] if counts else frames, options), end="")

    def all(self):
        groups, walked = {}, Walked()
        left_out = unseen = 0
        threads, fresh, unreadable = all_threads()
        for at, thread in enumerate(threads):
            try:
                group = self.group_of(thread, groups, walked)
            except KeyboardInterrupt:
                unseen = len(threads) - at
                break
            if group is None:
                left_out += 1
            else:
                group.members.append(thread)
        for group in sorted(groups.values(), key=lambda group: -len(group.members)):
            print(group)
        for count, what in ((left_out, "with other stacks"), (fresh, "that have not begun"),
                            (unreadable, "that cannot be read just now"), (unseen, "that were not looked at")):
            if count:
                print("and %d thread%s %s" % (count, "" if count == 1 else "s", what))
        if not threads and not fresh:
            print("No green threads.")

    @staticmethod
    def group_of(thread, groups, walked):
        """The group that a thread is in, which may be a new one; `None` if there are too many."""
        state = thread.state()
        known = walked.find(thread)
        if known is not None:
            return known
        try:
            with Visit(thread) as visit:
                frames = visit.walk(MOST_FRAMES)
                key = (state, tuple(registers(frame)[0] for _, frame in frames))
                if key not in groups and len(groups) < MOST_GROUPS:
                    groups[key] = Group(state, visit.backtrace(visit.own(frames)))
                if key in groups:
                    walked.note(thread, frames, groups[key])
        except Trouble as trouble:
            key = (state, str(trouble))
            if len(groups) < MOST_GROUPS:
                groups.setdefault(key, Group(state, "%s\n" % trouble))
        return groups.get(key)


class Group:
    """Threads with equal stacks."""

    def __init__(self, state, stack):
        self.state, self.stack, self.members = state, stack, []

    def __str__(self):
        count = len(self.members)
        lines = ["%d thread%s %s, spawned at %s" % (count, "" if count == 1 else "s", self.state, self.members[0].site)]
        for thread in self.members[:EXAMPLES]:
            doing = thread.doing()
            lines.append("  %s%s" % (thread, ": " + doing if doing else ""))
        if count > EXAMPLES:
            lines.append("  and %d more" % (count - EXAMPLES))
        return "\n".join(lines + [self.stack])


InfoGreen()
GreenCommand()
