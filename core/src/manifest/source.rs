//! Where manifests come from: files, folders and standard input. Everything after this module works on
//! text, so that a program can bring its own.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Code, Diagnostic, Error};

/// A text with the name that errors give it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// A file name as the caller wrote it, or `-` for standard input.
    pub name: String,
    /// Its text: YAML with any number of documents, or JSON.
    pub text: String,
}

impl Source {
    /// A text under a name.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Source { name: name.into(), text: text.into() }
    }
}

/// Reads files, folders and standard input.
///
/// A folder stands for the `*.yml`, `*.yaml` and `*.json` files in it and in its sub-folders, in the order
/// of their names; names that start with a dot are passed over. `-` is standard input.
///
/// # Errors
/// [`Error::Input`] with one `E_READ` for each path that does not exist, cannot be read, is not UTF-8, or
/// is a folder without manifests.
///
/// ```
/// let error = podway::manifest::read_paths(&["no-such-file.yml"]).unwrap_err();
/// assert!(error.to_string().contains("no-such-file.yml"));
/// ```
pub fn read_paths<P: AsRef<Path>>(paths: &[P]) -> Result<Vec<Source>, Error> {
    let mut sources = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        let path = path.as_ref();
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes);
            take(path, read, &mut sources, &mut problems);
        } else if path.is_dir() {
            let mut files = Vec::new();
            if let Err(error) = manifests_below(path, &mut files) {
                problems.push(unreadable(path, &error));
            } else if files.is_empty() {
                problems.push(
                    Diagnostic::error(Code::E_READ, format!("no manifest in folder `{}`", path.display()))
                        .expected("at least one .yml, .yaml or .json file"),
                );
            }
            for file in files {
                take(&file, std::fs::read(&file), &mut sources, &mut problems);
            }
        } else {
            take(path, std::fs::read(path), &mut sources, &mut problems);
        }
    }
    if problems.is_empty() { Ok(sources) } else { Err(Error::Input(problems)) }
}

fn take(
    path: &Path,
    read: std::io::Result<Vec<u8>>,
    sources: &mut Vec<Source>,
    problems: &mut Vec<Diagnostic>,
) {
    match read {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => sources.push(Source { name: path.display().to_string(), text }),
            Err(_) => problems
                .push(Diagnostic::error(Code::E_READ, format!("`{}` is not UTF-8 text", path.display()))),
        },
        Err(error) => problems.push(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Diagnostic {
    let why = match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or folder".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string().to_lowercase(),
    };
    Diagnostic::error(Code::E_READ, format!("cannot read `{}`: {why}", path.display()))
}

fn manifests_below(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries =
        std::fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>()?;
    entries.sort();
    for entry in entries {
        if entry.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')) {
            continue;
        }
        // A link to a folder is passed over: it may lead back up.
        if entry.is_dir() {
            if !entry.is_symlink() {
                manifests_below(&entry, files)?;
            }
        } else if entry.extension().and_then(OsStr::to_str).is_some_and(is_manifest) {
            files.push(entry);
        }
    }
    Ok(())
}

fn is_manifest(extension: &str) -> bool {
    ["yml", "yaml", "json"].iter().any(|e| extension.eq_ignore_ascii_case(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_read_in_order_and_hidden_files_are_not() {
        let root = std::env::temp_dir().join(format!("podway-source-{}", std::process::id()));
        std::fs::create_dir_all(root.join("b")).unwrap();
        for name in ["02.yaml", "01.yml", "b/x.json", ".hidden.yml", "notes.txt"] {
            std::fs::write(root.join(name), name).unwrap();
        }
        let sources = read_paths(&[&root]).unwrap();
        let texts: Vec<_> = sources.iter().map(|s| s.text.as_str()).collect();
        assert_eq!(texts, ["01.yml", "02.yaml", "b/x.json"]);

        std::fs::create_dir_all(root.join("c")).unwrap();
        let error = read_paths(&[root.join("c"), root.join("none.yml")]).unwrap_err();
        assert_eq!(error.diagnostics().len(), 2);
        assert_eq!(error.code(), Code::E_READ);
        std::fs::remove_dir_all(root).unwrap();
    }
}
