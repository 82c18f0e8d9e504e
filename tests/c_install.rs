//! libpodway as a C project finds it: `include/install.sh` into a prefix of its own, then pkg-config, CMake,
//! the examples, what the shared library exports, and valgrind where it is there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const STRICT: &[&str] = &["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"];

#[test]
fn an_installed_library_is_found_linked_and_run() {
    let kit = Kit::install();
    kit.exports_only_podway();
    kit.examples_by_pkg_config();
    kit.examples_by_cmake();
    kit.valgrind();
    kit.uninstall();
}

struct Kit {
    root: PathBuf,
    prefix: PathBuf,
}

impl Kit {
    fn install() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the project");
        let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prefix");
        let _ = std::fs::remove_dir_all(&prefix);
        let kit = Kit { root, prefix };
        println!("c: {}", kit.script(&[]).trim());
        kit
    }

    fn script(&self, more: &[&str]) -> String {
        let mut command = Command::new("sh");
        command.arg(self.root.join("include/install.sh")).arg("--prefix").arg(&self.prefix);
        ok(command.args(["--profile", "dev"]).args(more).env_remove("DESTDIR"))
    }

    fn exports_only_podway(&self) {
        let Some(symbols) = tool("nm", &["-D", "--defined-only"], &self.prefix.join("lib/libpodway.so"))
        else {
            return;
        };
        let names: Vec<&str> = symbols.lines().filter_map(|line| line.split_whitespace().last()).collect();
        let foreign: Vec<_> = names.iter().filter(|n| !n.starts_with("podway_")).collect();
        assert!(foreign.is_empty(), "the library exports {foreign:?}");
        let header = std::fs::read_to_string(self.root.join("include/podway.h")).expect("the header");
        for name in &names {
            assert!(header.contains(&format!("{name}(")), "the header does not have {name}");
        }
        assert!(names.len() > 40);
        println!("c: the shared library exports {} functions, all of the header", names.len());
        if let Some(dynamic) = tool("readelf", &["-d"], &self.prefix.join("lib/libpodway.so")) {
            assert!(dynamic.contains("[libpodway.so.1]"), "the soname has the ABI's number: {dynamic}");
        }
    }

    fn examples_by_pkg_config(&self) {
        let requests = self.prefix.join("requests");
        let heads = "GET /app1/index.html HTTP/1.1\r\nHost: shop.example.com\r\n\r\n\
                     GET /other HTTP/1.1\nHost: shop.example.com\n\nnonsense\r\n\r\n";
        std::fs::write(&requests, heads).expect("a file");
        for mode in [&["--cflags", "--libs"][..], &["--cflags", "--libs", "--static"]] {
            let told = Command::new("pkg-config")
                .args(mode)
                .arg("podway")
                .env("PKG_CONFIG_PATH", self.prefix.join("lib/pkgconfig"))
                .output();
            let Ok(told) = told else { return println!("c: no pkg-config, so it was not tried: SKIPPED") };
            assert!(told.status.success(), "{}", said(&told));
            let flags = String::from_utf8(told.stdout).expect("text");
            let program = self.prefix.join(if mode.len() == 2 { "route" } else { "route-static" });
            let mut compile = cc();
            compile.args(STRICT).arg(self.root.join("core/examples/c/route.c")).arg("-o").arg(&program);
            if mode.len() == 3 {
                // Without the shared library beside it, so that the archive is what is linked.
                let flags = flags.replace("-lpodway", &self.prefix.join("lib/libpodway.a").to_string_lossy());
                ok(compile.args(flags.split_whitespace()));
            } else {
                ok(compile.args(flags.split_whitespace()));
            }
            let mut run = Command::new(&program);
            run.env("LD_LIBRARY_PATH", self.prefix.join("lib"));
            let demo = self.root.join("core/examples/target-type-ip");
            let told = ok(run.arg(demo).args(["target-type-ip", "443"]).arg(&requests));
            let lines: Vec<&str> = told.lines().collect();
            assert!(lines[0].starts_with("GET /app1/index.html -> forward 127.16."), "{told}");
            assert!(lines[1].starts_with("GET /other -> forward 127.16."), "{told}");
            assert_eq!(lines[2], "400 this is not a request");
        }
    }

    fn examples_by_cmake(&self) {
        let build = self.prefix.join("build");
        let configured = Command::new("cmake")
            .arg("-S")
            .arg(self.root.join("core/examples/c"))
            .arg("-B")
            .arg(&build)
            .arg(format!("-DCMAKE_PREFIX_PATH={}", self.prefix.display()))
            .output();
        let Ok(configured) = configured else { return println!("c: no CMake, so it was not tried: SKIPPED") };
        assert!(configured.status.success(), "{}", said(&configured));
        ok(Command::new("cmake").arg("--build").arg(&build));
        let told = ok(&mut Command::new(build.join("nginx")));
        assert_eq!(
            told,
            "/old/page: 301 http://shop.example.com:80/new\n/api?x=1: upstream port 8080\n/../..: 400 \n\
             reload: 0, broken: -5\n"
        );
        println!("c: examples built by CMake");
    }

    fn valgrind(&self) {
        let program = self.prefix.join("abi");
        let mut compile = cc();
        compile.args(STRICT).arg("-g").arg("-I").arg(self.prefix.join("include"));
        compile.arg(self.root.join("tests/c/abi.c")).arg("-L").arg(self.prefix.join("lib")).arg("-lpodway");
        ok(compile.arg("-o").arg(&program));
        let checked = Command::new("valgrind")
            .args(["-q", "--error-exitcode=9", "--leak-check=full", "--show-leak-kinds=definite,indirect"])
            .arg("--errors-for-leak-kinds=definite,indirect")
            .arg(&program)
            .env("LD_LIBRARY_PATH", self.prefix.join("lib"))
            .output();
        let Ok(checked) = checked else { return println!("c: no valgrind, so it was not tried: SKIPPED") };
        assert!(checked.status.success(), "{}", said(&checked));
        println!("c: valgrind finds nothing in abi.c");
    }

    fn uninstall(&self) {
        self.script(&["--uninstall"]);
        assert!(
            !self.prefix.join("include/podway.h").exists() && !self.prefix.join("lib/libpodway.so").exists()
        );
        assert!(!self.prefix.join("lib/cmake/podway").exists());
    }
}

fn cc() -> Command {
    Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
}

/// Runs a tool of the system on a file; `None`, loudly, where it is not there.
fn tool(name: &str, arguments: &[&str], file: &Path) -> Option<String> {
    match Command::new(name).args(arguments).arg(file).output() {
        Ok(output) if output.status.success() => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => panic!("{name}: {}", said(&output)),
        Err(e) => {
            println!("c: no {name} ({e}): SKIPPED");
            None
        }
    }
}

fn ok(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
