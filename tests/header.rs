//! `include/podway.h` is what the sources of the C ABI say. `BLESS=1 cargo test -p podway-tests --test
//! header` writes it again.

use std::path::Path;

#[test]
fn the_header_is_generated_from_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let committed = root.join("include/podway.h");
    let generated = generate(&root);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(root.join("include")).expect("the folder of the header");
        std::fs::write(&committed, &generated).expect("the header can be written");
    }
    let text = std::fs::read_to_string(&committed).expect("include/podway.h");
    let stale = text.lines().zip(generated.lines()).position(|(a, b)| a != b);
    assert!(
        text == generated,
        "include/podway.h is stale from line {}: BLESS=1 cargo test -p podway-tests --test header",
        stale.unwrap_or_else(|| text.lines().count().min(generated.lines().count())) + 1
    );
}

fn generate(root: &Path) -> String {
    let mut config =
        cbindgen::Config::from_file(root.join("core/cbindgen.toml")).expect("core/cbindgen.toml");
    // One version for all languages: that of the workspace.
    let version = env!("CARGO_PKG_VERSION");
    let mut numbers = version.split(['.', '-']);
    let mut defines = format!("\n#define PODWAY_VERSION \"{version}\"\n");
    for part in ["MAJOR", "MINOR", "PATCH"] {
        let number = numbers.next().expect("a version has three numbers");
        defines.push_str(&format!("#define PODWAY_VERSION_{part} {number}\n"));
    }
    config.after_includes = Some(defines);
    // In the order a reader wants them.
    let files = [
        "status", "view", "error", "model", "numbers", "decision", "output", "router", "poll", "tell",
        "operate",
    ];
    let builder = files.iter().fold(cbindgen::Builder::new().with_config(config), |builder, file| {
        builder.with_src(root.join(format!("core/src/capi/{file}.rs")))
    });
    let mut header = Vec::new();
    builder.generate().expect("the sources of the C ABI can be parsed").write(&mut header);
    String::from_utf8(header).expect("a header is text")
}
