//! Watches the input: editors write in several steps, so changes are collected for a moment.

use std::path::PathBuf;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// How long it has to be quiet.
const QUIET: Duration = Duration::from_millis(200);

/// Sends once for each burst of changes below `paths`.
pub(super) fn watch(paths: &[PathBuf]) -> notify::Result<mpsc::Receiver<()>> {
    let (raw, mut changed) = mpsc::unbounded_channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading the files is an access too; only what may change them counts.
        if event.is_ok_and(|e| !e.kind.is_access()) {
            let _ = raw.send(());
        }
    })?;
    for path in paths.iter().filter(|p| p.as_os_str() != "-") {
        // An editor may put a new file in the place of the old one: the folder sees that.
        let place = if path.is_dir() { path.clone() } else { folder_of(path) };
        watcher.watch(&place, RecursiveMode::Recursive)?;
    }
    let (send, receive) = mpsc::channel(1);
    tokio::spawn(async move {
        let _watcher = watcher; // lives as long as somebody listens
        while changed.recv().await.is_some() {
            while let Ok(Some(())) = tokio::time::timeout(QUIET, changed.recv()).await {}
            if send.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(receive)
}

fn folder_of(path: &std::path::Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}
