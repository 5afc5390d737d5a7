//! `datagrams`: batches of datagrams beside single calls.
//!
//! A green thread sends a burst to itself over the loopback interface, and then receives it, so nobody waits, and
//! nothing is lost: what is seen is what the calls cost. Echoes with others are in `peers`.

use crate::table;
use ::roving::Builder;
use ::roving::net::UdpSocket;
use ::roving::os::linux::net::{RecvDatagram, SendDatagram, UdpSocketExt};
use anyhow::Result;
use comfy_table::CellAlignment;
use std::io::{self, Write};
use std::time::Instant;

/// The arguments of `datagrams`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds, of which each figure is the median
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Bursts of each round
    #[arg(long, value_name = "N", default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(1..))]
    bursts: u32,
}

/// How many datagrams a burst has.
const BURST: usize = 32;

/// How long they are.
const LENGTHS: [usize; 2] = [64, 1200];

struct Way {
    name: &'static str,
    /// Moves so many bursts of datagrams of a length.
    bursts: fn(u32, usize) -> io::Result<()>,
}

const WAYS: [Way; 4] = [
    Way {
        name: "std, one a call",
        bursts: std_singly,
    },
    Way {
        name: "one a call",
        bursts: singly,
    },
    Way {
        name: "sendmmsg and recvmmsg",
        bursts: |bursts, length| batched(bursts, length, false),
    },
    Way {
        name: "GSO and GRO",
        bursts: |bursts, length| batched(bursts, length, true),
    },
];

pub(crate) fn run(options: Options) -> Result<()> {
    let mut samples = [const { [const { Vec::new() }; LENGTHS.len()] }; WAYS.len()];
    let runtime = Builder::new().workers(1).build()?;
    for _ in 0..options.rounds {
        for (way, samples) in WAYS.iter().zip(&mut samples) {
            for (length, samples) in LENGTHS.into_iter().zip(samples) {
                let start = Instant::now();
                runtime.run(|| (way.bursts)(options.bursts, length))?;
                let datagrams = f64::from(options.bursts) * BURST as f64;
                samples.push(start.elapsed().as_nanos() as f64 / datagrams);
            }
        }
    }
    let mut table = table::ruled();
    let header = LENGTHS.map(|length| format!("{length} bytes, ns"));
    table.set_header(["sent and received".to_owned()].into_iter().chain(header));
    for (way, samples) in WAYS.iter().zip(samples) {
        let medians = samples.map(|mut samples| {
            samples.sort_by(f64::total_cmp);
            format!("{:.0}", samples[samples.len() / 2])
        });
        table.add_row([way.name.to_owned()].into_iter().chain(medians));
    }
    for column in 1..=LENGTHS.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(
        io::stdout(),
        "a datagram of bursts of {BURST}; medians of {} interleaved rounds of {} bursts\n\n{table}",
        options.rounds,
        options.bursts
    )?;
    Ok(())
}

macro_rules! singly {
    ($name:ident, $UdpSocket:ty) => {
        fn $name(bursts: u32, length: usize) -> io::Result<()> {
            let socket = <$UdpSocket>::bind("127.0.0.1:0")?;
            socket.connect(socket.local_addr()?)?;
            let data = vec![7; length];
            let mut buffer = vec![0; length];
            for _ in 0..bursts {
                for _ in 0..BURST {
                    socket.send(&data)?;
                }
                for _ in 0..BURST {
                    assert_eq!(socket.recv(&mut buffer)?, length);
                }
            }
            Ok(())
        }
    };
}

singly!(singly, UdpSocket);
singly!(std_singly, std::net::UdpSocket);

/// With one call for each direction; with `offload`, of one piece that the system takes apart and puts together.
fn batched(bursts: u32, length: usize, offload: bool) -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(socket.local_addr()?)?;
    socket.set_gro(offload)?;
    let data = vec![7; length * BURST];
    let sent: Vec<_> = if offload {
        vec![SendDatagram::new(&data).segmented(u16::try_from(length).expect("it fits"))]
    } else {
        data.chunks(length).map(SendDatagram::new).collect()
    };
    let mut buffers = vec![vec![0; data.len() / sent.len()]; sent.len()];
    let mut room: Vec<_> = buffers
        .iter_mut()
        .map(|buffer| RecvDatagram::new(buffer))
        .collect();
    for _ in 0..bursts {
        assert_eq!(socket.send_mmsg(&sent)?, sent.len());
        let mut received = 0;
        while received < BURST {
            let len = socket.recv_mmsg(&mut room)?;
            let segments = room[..len].iter().flat_map(RecvDatagram::segments);
            received += segments.filter(|segment| segment.len() == length).count();
        }
    }
    Ok(())
}
