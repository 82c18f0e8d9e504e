//! The fuzz targets on stable Rust: their bodies over the committed seeds, and the files of the fuzz crate
//! against each other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[allow(unreachable_pub)] // a library of its own in the fuzz crate
#[path = "fuzz/bodies.rs"]
mod bodies;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

#[test]
fn no_seed_breaks_its_target() {
    for (name, body) in bodies::TARGETS {
        let mut seeds: Vec<PathBuf> = std::fs::read_dir(fuzz().join("seeds").join(name))
            .expect("a folder of seeds")
            .map(|e| e.expect("an entry").path())
            .collect();
        seeds.sort();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in &seeds {
            let data = std::fs::read(seed).expect("a seed");
            let outcome = std::panic::catch_unwind(|| body(&data));
            assert!(outcome.is_ok(), "{} breaks {name}", seed.display());
        }
        println!("fuzz {name}: {} seeds", seeds.len());
    }
}

#[test]
fn a_target_is_everywhere_it_has_to_be() {
    let names: BTreeSet<String> = bodies::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let stems = |folder: &str| -> BTreeSet<String> {
        std::fs::read_dir(fuzz().join(folder))
            .expect("a folder")
            .map(|e| e.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned())
            .collect()
    };
    assert_eq!(stems("targets"), names);
    assert_eq!(stems("seeds"), names);
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).expect("the fuzz crate's manifest");
    let bins: BTreeSet<String> = manifest
        .split("[[bin]]")
        .skip(1)
        .filter_map(|bin| bin.split_once("name = \"")?.1.split('"').next().map(str::to_owned))
        .collect();
    assert_eq!(bins, names);
}
