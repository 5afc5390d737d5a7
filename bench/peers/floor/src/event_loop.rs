//! A hand-written event loop on one OS thread: level-triggered epoll, one `read` and one `write` a
//! request, no other system calls on the way.

use common::{BUFFER, OPEN, Protocol, Responder};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::sync::atomic::Ordering;

const LISTENER: u64 = u64::MAX;
const EVENTS: usize = 1024;

struct Connection {
    stream: TcpStream,
    /// What the peer has not taken yet.
    unsent: Vec<u8>,
    kind: Kind,
}

enum Kind {
    Echo(Box<[u8; BUFFER]>),
    Http(Responder),
}

struct EventLoop {
    epoll: RawFd,
    listener: TcpListener,
    new_kind: fn() -> Kind,
    /// By descriptor.
    connections: Vec<Option<Connection>>,
}

/// Serves on an OS thread of its own.
pub fn start(protocol: Protocol) {
    let new_kind = match protocol {
        Protocol::Echo => || Kind::Echo(Box::new([0; BUFFER])),
        Protocol::Http => || Kind::Http(Responder::new()),
        Protocol::Framework => return common::serves_no(protocol),
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    // SAFETY: no pointers.
    unsafe { libc::listen(listener.as_raw_fd(), 4096) };
    listener.set_nonblocking(true).expect("it is a socket");
    common::listening(listener.local_addr().expect("it is bound"));
    // SAFETY: no pointers.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    let mut event_loop = EventLoop {
        epoll,
        listener,
        new_kind,
        connections: Vec::new(),
    };
    event_loop.register(
        event_loop.listener.as_raw_fd(),
        LISTENER,
        libc::EPOLLIN,
        true,
    );
    std::thread::spawn(move || event_loop.run());
}

impl EventLoop {
    fn register(&self, descriptor: RawFd, key: u64, interest: i32, is_new: bool) {
        let operation = if is_new {
            libc::EPOLL_CTL_ADD
        } else {
            libc::EPOLL_CTL_MOD
        };
        let mut event = libc::epoll_event {
            events: interest as u32,
            u64: key,
        };
        // SAFETY: the pointer is to an event.
        let done = unsafe { libc::epoll_ctl(self.epoll, operation, descriptor, &mut event) };
        assert_eq!(done, 0, "epoll_ctl: {}", io::Error::last_os_error());
    }

    fn run(&mut self) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        loop {
            // SAFETY: there is room for so many events.
            let got =
                unsafe { libc::epoll_wait(self.epoll, events.as_mut_ptr(), EVENTS as i32, -1) };
            for event in &events[..got.max(0) as usize] {
                match event.u64 {
                    LISTENER => self.accept(),
                    descriptor => self.ready(descriptor as usize),
                }
            }
        }
    }

    /// Accepts one: if there are more, the listener is ready again. Of one whose client speaks first and goes, it need not
    /// be told anything.
    fn accept(&mut self) {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let none = std::ptr::null_mut();
        // SAFETY: no address is asked for.
        let accepted =
            unsafe { libc::accept4(self.listener.as_raw_fd(), none, none.cast(), flags) };
        if accepted < 0 {
            return;
        }
        // SAFETY: it is open, and nobody else's.
        let stream = unsafe { TcpStream::from_raw_fd(accepted) };
        let mut connection = Connection {
            stream,
            unsent: Vec::new(),
            kind: (self.new_kind)(),
        };
        let begun = connection.stream.set_nodelay(true);
        if begun
            .and_then(|()| connection.serve_what_is_there())
            .is_err()
        {
            return;
        }
        let descriptor = accepted as usize;
        if self.connections.len() <= descriptor {
            self.connections.resize_with(descriptor + 1, || None);
        }
        let interest = connection.interest();
        self.register(accepted, descriptor as u64, interest, true);
        self.connections[descriptor] = Some(connection);
        OPEN.fetch_add(1, Ordering::Relaxed);
    }

    fn ready(&mut self, descriptor: usize) {
        let Some(connection) = &mut self.connections[descriptor] else {
            return;
        };
        let before = connection.interest();
        match connection.serve() {
            Ok(()) => {
                let interest = connection.interest();
                if interest != before {
                    self.register(descriptor as RawFd, descriptor as u64, interest, false);
                }
            }
            Err(_) => {
                self.connections[descriptor] = None;
                OPEN.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

impl Connection {
    /// What it waits for.
    fn interest(&self) -> i32 {
        match self.unsent.is_empty() {
            true => libc::EPOLLIN,
            false => libc::EPOLLOUT,
        }
    }

    /// Serves until there is nothing to receive, or no room to send.
    fn serve_what_is_there(&mut self) -> io::Result<()> {
        while self.unsent.is_empty() {
            match self.serve() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                served => served?,
            }
        }
        Ok(())
    }

    /// Sends what is unsent, or else receives once and answers. An error ends the connection.
    fn serve(&mut self) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let sent = written(self.stream.write(&self.unsent))?;
            self.unsent.drain(..sent);
            return Ok(());
        }
        let answers = match &mut self.kind {
            Kind::Echo(buffer) => {
                let got = self.stream.read(&mut buffer[..])?;
                if got == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                &buffer[..got]
            }
            Kind::Http(responder) => {
                let got = self.stream.read(responder.space())?;
                let answers = responder.answers(got);
                answers
                    .filter(|_| got > 0)
                    .ok_or(ErrorKind::UnexpectedEof)?
            }
        };
        let sent = written(self.stream.write(answers))?;
        self.unsent.extend_from_slice(&answers[sent..]);
        Ok(())
    }
}

fn written(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}
