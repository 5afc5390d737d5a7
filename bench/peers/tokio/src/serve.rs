//! The servers: a task for each connection.

use common::{BUFFER, OPEN, PAUSE, Protocol, Responder};
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub async fn start(protocol: Protocol) {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    common::listening(listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            tokio::spawn(async move {
                OPEN.fetch_add(1, Ordering::Relaxed);
                // A peer that resets its connection ends it as one that closes it does.
                let _ = connection(stream, protocol).await;
                OPEN.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
}

async fn connection(stream: TcpStream, protocol: Protocol) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match protocol {
        Protocol::Echo => echo(stream).await,
        Protocol::Http => http(stream).await,
        Protocol::Framework => axum(stream).await,
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            got => stream.write_all(&buffer[..got]).await?,
        }
    }
}

async fn http(mut stream: TcpStream) -> io::Result<()> {
    let mut responder = Responder::new();
    loop {
        let got = stream.read(responder.space()).await?;
        match responder.answers(got) {
            Some(answers) if got > 0 => stream.write_all(answers).await?,
            _ => return Ok(()),
        }
    }
}

async fn axum(stream: TcpStream) -> io::Result<()> {
    let served = web::serve_connection(TokioIo::new(stream)).await;
    served.map_err(io::Error::other)
}
