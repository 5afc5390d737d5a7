//! tokio: tasks of its multi-threaded runtime, with its own files.

use super::work::{
    BEAT, CACHED_PAGES, COLD_PAGES, COMMITTERS, CROWD, Folder, MANY, PAGE, forget, scattered,
};
use crate::sync::work::{each, quantile};
use std::io::SeekFrom;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::task::JoinSet;

/// Runs so many tasks that each do their part of `count` operations.
async fn on_tasks<F>(tasks: usize, count: usize, task: impl Fn(usize, usize) -> F) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let start = Instant::now();
    let mut set = JoinSet::new();
    for number in 0..tasks {
        set.spawn(task(number, count / tasks));
    }
    while let Some(done) = set.join_next().await {
        done.unwrap();
    }
    each(start, count)
}

async fn cached_reads(tasks: usize, count: usize) -> f64 {
    let folder = Folder::new();
    let path = folder.file(CACHED_PAGES);
    on_tasks(tasks, count, |_, count| {
        let path = path.clone();
        async move {
            let mut file = File::open(path).await.unwrap();
            let mut page = [0; PAGE];
            for _ in 0..count {
                if file.read(&mut page).await.unwrap() == 0 {
                    file.rewind().await.unwrap();
                }
            }
        }
    })
    .await
}

pub(crate) async fn cached_reads_of_one(count: usize) -> f64 {
    cached_reads(1, count).await
}

pub(crate) async fn cached_reads_of_many(count: usize) -> f64 {
    cached_reads(MANY, count).await
}

pub(crate) async fn whole_files(count: usize) -> f64 {
    let folder = Folder::new();
    let path = folder.file(1);
    on_tasks(MANY, count, |_, count| {
        let path = path.clone();
        async move {
            for _ in 0..count {
                assert_eq!(fs::read(&path).await.unwrap().len(), PAGE);
            }
        }
    })
    .await
}

pub(crate) async fn looks(count: usize) -> f64 {
    let folder = Folder::new();
    let path = folder.file(1);
    on_tasks(MANY, count, |_, count| {
        let path = path.clone();
        async move {
            for _ in 0..count {
                assert_eq!(fs::metadata(&path).await.unwrap().len(), PAGE as u64);
            }
        }
    })
    .await
}

async fn writes(tasks: usize, count: usize) -> f64 {
    let folder = Folder::new();
    on_tasks(tasks, count, |number, count| {
        let path = folder.path(number);
        async move {
            let mut file = File::create(path).await.unwrap();
            for written in 0..count {
                if written % CACHED_PAGES == 0 {
                    file.rewind().await.unwrap();
                }
                file.write_all(&[7; PAGE]).await.unwrap();
            }
            // The last write is under way.
            file.flush().await.unwrap();
        }
    })
    .await
}

pub(crate) async fn writes_of_one(count: usize) -> f64 {
    writes(1, count).await
}

pub(crate) async fn writes_of_many(count: usize) -> f64 {
    writes(MANY, count).await
}

pub(crate) async fn commits(count: usize) -> f64 {
    let folder = Folder::new();
    let path = folder.file(CACHED_PAGES);
    on_tasks(COMMITTERS, count, |number, count| {
        let path = path.clone();
        async move {
            let mut file = OpenOptions::new().write(true).open(path).await.unwrap();
            for n in 0..count {
                let page = (number + n * COMMITTERS) % CACHED_PAGES;
                let offset = SeekFrom::Start((page * PAGE) as u64);
                file.seek(offset).await.unwrap();
                file.write_all(&[7; PAGE]).await.unwrap();
                file.sync_data().await.unwrap();
            }
        }
    })
    .await
}

async fn crowd(count: usize) -> (f64, Vec<f64>) {
    let folder = Folder::new();
    let path: PathBuf = folder.file(COLD_PAGES);
    forget(&path);
    let done = Arc::new(AtomicBool::new(false));
    let seen = done.clone();
    let heart = tokio::spawn(async move {
        let mut late = Vec::new();
        while !seen.load(Ordering::Relaxed) {
            let due = Instant::now() + BEAT;
            tokio::time::sleep(BEAT).await;
            late.push(due.elapsed().as_nanos() as f64);
        }
        late
    });
    let nanos = on_tasks(CROWD, count, |number, count| {
        let path = path.clone();
        async move {
            let mut file = File::open(path).await.unwrap();
            let mut page = [0; PAGE];
            for n in 0..count {
                let offset = scattered(number + n * CROWD, COLD_PAGES);
                file.seek(SeekFrom::Start(offset)).await.unwrap();
                file.read_exact(&mut page).await.unwrap();
            }
        }
    })
    .await;
    done.store(true, Ordering::Relaxed);
    (nanos, heart.await.unwrap())
}

pub(crate) async fn cold_reads(count: usize) -> f64 {
    crowd(count).await.0
}

pub(crate) async fn heart_beside_cold_reads(count: usize) -> f64 {
    quantile(crowd(count).await.1, 0.99)
}
