//! Log files: lines are handed to a thread that writes them, so that no request waits for a disk.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// So many lines may wait; when a disk is slower than that, lines are lost rather than requests.
const WAITING: usize = 64 * 1024;

/// Appends to `path` (`-` is standard output); what it gives takes lines without their ends.
pub(super) fn open(path: &Path) -> io::Result<impl Fn(&str) + Send + Sync + use<>> {
    let out: Box<dyn Write + Send> = if path == Path::new("-") {
        Box::new(io::stdout())
    } else {
        Box::new(OpenOptions::new().create(true).append(true).open(path)?)
    };
    let (sender, lines): (SyncSender<String>, _) = sync_channel(WAITING);
    std::thread::Builder::new().name("log".to_owned()).spawn(move || write(&lines, out))?;
    Ok(move |line: &str| match sender.try_send(format!("{line}\n")) {
        Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
    })
}

fn write(lines: &Receiver<String>, out: Box<dyn Write + Send>) {
    let mut out = BufWriter::new(out);
    while let Ok(first) = lines.recv() {
        let waiting = lines.try_iter().take(WAITING);
        for line in std::iter::once(first).chain(waiting) {
            if out.write_all(line.as_bytes()).is_err() {
                return;
            }
        }
        if out.flush().is_err() {
            return;
        }
    }
}
