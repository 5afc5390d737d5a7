//! What is recorded of the scheduler's events, and that a viewer of traces can draw it.

mod common;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{alone, each_kind, watchdog};
use roving::channel::bounded;
use roving::{Builder, Record, Runtime, dump, record, thread};
use serde_json::Value;

/// Runs `test` on runtimes of each size that keep so many events, in the mode that is asked for.
fn each_size(events: usize, test: impl Fn(&Runtime)) {
    let _alone = alone();
    each_kind(|builder| [builder.record(events)], test);
}

/// In microseconds: times are written to a thousandth.
const ROUNDING: f64 = 0.0021;

fn json(record: &Record) -> Value {
    serde_json::from_str(&serde_json::to_string(record).unwrap()).unwrap()
}

/// The events of all tracks, the earliest first.
fn events(record: &Value) -> Vec<Value> {
    let tracks = record["tracks"].as_array().unwrap();
    let events = |track: &Value| track["events"].as_array().unwrap().clone();
    let mut all: Vec<_> = tracks.iter().flat_map(events).collect();
    all.sort_by(|one, other| seconds(one).total_cmp(&seconds(other)));
    all
}

fn seconds(event: &Value) -> f64 {
    event["seconds"].as_f64().unwrap()
}

/// The trace of a record, which must be one that a viewer can draw: in each track times do not fall, slices do not overlap,
/// and both ends of an arrow lie in slices.
fn drawn(record: &Record) -> Vec<Value> {
    let mut text = Vec::new();
    record.write_trace(&mut text).unwrap();
    let trace: Value = serde_json::from_slice(&text).unwrap();
    let events = trace["traceEvents"].as_array().unwrap().clone();
    let track = |event: &Value| {
        (
            event["pid"].as_u64().unwrap(),
            event["tid"].as_u64().unwrap(),
        )
    };
    let time = |event: &Value| event["ts"].as_f64().unwrap();
    let mut slices: HashMap<_, Vec<(f64, f64)>> = HashMap::new();
    for event in events.iter().filter(|event| event["ph"] == "X") {
        let (begin, length) = (time(event), event["dur"].as_f64().unwrap());
        assert!(length >= 0.0, "{event}");
        slices
            .entry(track(event))
            .or_default()
            .push((begin, begin + length));
    }
    for slices in slices.values() {
        for pair in slices.windows(2) {
            assert!(pair[0].1 <= pair[1].0 + ROUNDING, "{pair:?}");
        }
    }
    let in_slice = |event: &Value| {
        let (time, slices) = (time(event), &slices[&track(event)]);
        let next = slices.partition_point(|(begin, _)| *begin <= time + ROUNDING);
        next > 0 && time <= slices[next - 1].1 + ROUNDING
    };
    let arrows = |end: &str| -> HashMap<u64, f64> {
        let ends = events.iter().filter(|event| event["ph"] == end);
        let ends: Vec<_> = ends.collect();
        for event in &ends {
            assert!(in_slice(event), "{event}");
        }
        let ids = ends
            .iter()
            .map(|event| (event["id"].as_u64().unwrap(), time(event)));
        let ids: HashMap<_, _> = ids.collect();
        assert_eq!(ids.len(), ends.len());
        ids
    };
    let (begins, ends) = (arrows("s"), arrows("f"));
    assert_eq!(begins.len(), ends.len());
    for (id, begin) in begins {
        assert!(ends[&id] >= begin);
    }
    for named in events.iter().map(track).collect::<HashSet<_>>() {
        let names = events
            .iter()
            .filter(|event| track(event) == named && event["name"] == "thread_name");
        assert_eq!(names.count(), 1);
    }
    events
}

/// What the events say of one thread, in their order.
fn story(record: &Value, thread: u64) -> Vec<String> {
    let events = events(record);
    let of_it = events.iter().filter(|event| event["thread"] == thread);
    let told = of_it.map(|event| match event["event"].as_str().unwrap() {
        "ran" => format!("ran: {}", event["ran"].as_str().unwrap()),
        "waits" => format!("waits: {}", event["why"].as_str().unwrap()),
        other => other.to_owned(),
    });
    told.filter(|told| told != "stolen").collect()
}

fn number(record: &Value, name: &str) -> u64 {
    let events = events(record);
    let runs = events.iter().find(|event| event["name"] == name);
    runs.unwrap()["thread"].as_u64().unwrap()
}

/// Waits until it is parked, without a trace in the record.
fn until_it_waits<T>(thread: &thread::JoinHandle<T>) {
    while !matches!(thread.thread().state(), thread::State::Parked(_)) {
        std::thread::yield_now();
    }
}

/// A record in which these threads have ended: that is noted when whoever waited for it has been woken.
fn record_to_the_end_of(names: &[&str]) -> Record {
    loop {
        let record = record();
        let told = json(&record);
        let has_ended = |name: &&str| {
            let story = story(&told, number(&told, name));
            story.last().is_some_and(|last| last == "ran: ends")
        };
        if names.iter().all(has_ended) {
            return record;
        }
        std::thread::yield_now();
    }
}

#[test]
fn the_life_of_a_thread_is_told_from_its_spawn_to_its_end() {
    each_size(1000, |runtime| {
        let (sender, receiver) = bounded(0);
        let waits = runtime.run(|| {
            roving::go!(name = "waits \"with\" a name that is longer", move || {
                let got: i32 = receiver.recv().unwrap();
                thread::yield_now();
                thread::sleep(Duration::from_millis(50));
                got
            })
        });
        until_it_waits(&waits);
        sender.send(7).unwrap();
        assert_eq!(waits.join().unwrap(), 7);
        let name = "waits \"with\" a name that";
        let record = record_to_the_end_of(&[name]);
        let told = json(&record);
        let thread = number(&told, name);
        let mut story = story(&told, thread);
        // One whose time has come before it is parked was woken earlier.
        let woken = story.iter().rposition(|told| told == "woken");
        if let Some(early @ 8..10) = woken {
            story[early..=10].rotate_left(1);
        }
        let expected = [
            "spawned",
            "runs",
            "waits: recv",
            "ran: waits",
            "woken",
            "runs",
            "ran: yields",
            "runs",
            "waits: sleep",
            "ran: waits",
            "woken",
            "runs",
            "ran: ends",
        ];
        assert_eq!(story, expected, "{record}");
        let text = record.to_string();
        assert!(text.contains("record.rs:"), "{text}");
        drawn(&record);
    });
}

#[test]
fn a_viewer_shows_who_ran_and_who_woke_whom() {
    each_size(1000, |runtime| {
        let (sender, receiver) = bounded(0);
        let receives =
            runtime.run(|| roving::go!(name = "receives", move || receiver.recv().unwrap()));
        until_it_waits(&receives);
        runtime.run(|| {
            let sends = roving::go!(name = "sends", move || sender.send(7).unwrap());
            sends.join().unwrap();
        });
        assert_eq!(receives.join().unwrap(), 7);
        let record = record_to_the_end_of(&["receives", "sends"]);
        let events = drawn(&record);
        let of = |name: &'static str| events.iter().filter(move |event| event["name"] == name);
        let time = |event: &Value| event["ts"].as_f64().unwrap();
        // It may have run on the one worker, and then on one that is drawn before.
        let mut slices: Vec<_> = of("receives").collect();
        slices.sort_by(|one, other| time(one).total_cmp(&time(other)));
        let [before, after] = slices[..] else {
            panic!("it has run twice: {slices:?}");
        };
        let ends = before["args"]["ends with"].as_str().unwrap();
        assert!(ends.starts_with("recv, at tests/record.rs:"), "{ends}");
        assert_eq!(after["args"]["ends with"], "end");
        assert!(
            after["args"]["spawned at"]
                .as_str()
                .unwrap()
                .starts_with("tests/record.rs:")
        );
        let wakes = |event: &&Value| event["ph"] == "f" && time(event) == time(after);
        let arrow = of("wake").find(wakes).expect("an arrow leads to it");
        let begin = of("wake").find(|event| event["ph"] == "s" && event["id"] == arrow["id"]);
        let begin = begin.unwrap();
        let sends = of("sends").find(|slice| {
            (time(slice)..=time(slice) + slice["dur"].as_f64().unwrap() + ROUNDING)
                .contains(&time(begin))
        });
        let sends = sends.expect("it comes from who has sent");
        assert_eq!(
            (&sends["pid"], &sends["tid"]),
            (&begin["pid"], &begin["tid"])
        );
    });
}

#[test]
fn records_and_dumps_are_whole_while_a_storm_runs() {
    for events in [4, 512] {
        each_size(events, |runtime| {
            let stop = Arc::new(AtomicBool::new(false));
            let storm = |_| {
                let stop = stop.clone();
                runtime.spawn(move || {
                    while !stop.load(Ordering::Acquire) {
                        let (sender, receiver) = bounded(0);
                        let sends = thread::spawn(move || sender.send(()).unwrap());
                        receiver.recv().unwrap();
                        sends.join().unwrap();
                        thread::sleep(Duration::from_nanos(1));
                    }
                })
            };
            let storm: Vec<_> = (0..4).map(storm).collect();
            for _ in 0..3 {
                let record = record();
                drawn(&record);
                for track in json(&record)["tracks"].as_array().unwrap() {
                    let events = track["events"].as_array().unwrap();
                    assert!(events.is_sorted_by_key(seconds));
                }
                let dump = dump();
                drawn(dump.record());
                assert!(dump.green_threads() >= 1);
                assert!(!dump.to_string().is_empty());
            }
            stop.store(true, Ordering::Release);
            storm.into_iter().for_each(|one| one.join().unwrap());
        });
    }
}

#[test]
fn what_another_takes_over_is_told() {
    let _alone = alone();
    let _watchdog = watchdog("");
    let runtime = Builder::new().workers(1).record(1000).build().unwrap();
    runtime.run(|| {
        let computes = thread::spawn(|| {
            let done = Arc::new(AtomicBool::new(false));
            let sees = done.clone();
            // It has not begun, so in each mode another worker may run it.
            thread::spawn(move || done.store(true, Ordering::Release));
            while !sees.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
        });
        computes.join().unwrap();
    });
    let at = |events: &[Value], what: &str| events.iter().position(|event| event["event"] == what);
    // Who is back notes that when it has woken whoever waited for the thread.
    let told = loop {
        let told = json(&record());
        if at(&events(&told), "is_back").is_some() {
            break told;
        }
        std::thread::yield_now();
    };
    let events = events(&told);
    let handed_over = at(&events, "handed_over").unwrap();
    let is_back = at(&events, "is_back").unwrap();
    assert!(handed_over < is_back, "{told}");
    assert_eq!(events[handed_over]["worker"], 0);
    let names = drawn(&record());
    let mut names = names.iter().map(|event| event["name"].as_str().unwrap());
    assert!(names.any(|name| name == "the place of worker 0 is handed over"));
    runtime.shutdown();
}

#[test]
fn the_last_events_are_kept() {
    let _alone = alone();
    let _watchdog = watchdog("");
    // All is in one track.
    let builder = Builder::new().workers(1).stuck_after(Duration::ZERO);
    let runtime = builder.record(8).build().unwrap();
    runtime.run(|| (0..100).for_each(|_| thread::yield_now()));
    // What is overwritten meanwhile is in no record.
    let track = loop {
        let mut told = json(&record());
        let track = told["tracks"][0].take();
        let last = track["events"].as_array().and_then(|events| events.last());
        if last.is_some_and(|last| last["ran"] == "ends") {
            break track;
        }
        std::thread::yield_now();
    };
    assert_eq!(track["events"].as_array().unwrap().len(), 8);
    assert!(track["gone"].as_u64().unwrap() > 190);
    runtime.shutdown();
}

#[test]
fn nothing_is_recorded_that_nobody_has_asked_for() {
    let _alone = alone();
    let _watchdog = watchdog("");
    for builder in [Builder::new(), Builder::new().record(0)] {
        let runtime = builder.workers(2).build().unwrap();
        runtime.run(thread::yield_now);
        assert!(record().is_empty());
        assert_eq!(record().to_string(), "");
        assert_eq!(drawn(&record()), Vec::<Value>::new());
        runtime.shutdown();
    }
}
