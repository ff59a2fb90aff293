//! Names the build: a hash of the sources that a run executes. Two programs with the same name make the same runs,
//! whichever machine built them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

/// The crates in a run, beside `raft-sim`.
const CRATES: [&str; 7] = ["raft-check", "raft-core", "raft-kv", "raft-node", "raft-proto", "raft-sim", "raft-store"];

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut hash = Xxh3::new();
    let sources = CRATES.map(|name| format!("crates/{name}/src"));
    for path in sources.iter().map(String::as_str).chain(["crates/raft-proto/build.rs", "proto", "Cargo.lock"]) {
        println!("cargo:rerun-if-changed={}", root.join(path).display());
        add(&root, &root.join(path), &mut hash)?;
    }
    println!("cargo:rustc-env=RAFT_SIM_BUILD={:016x}", hash.digest());
    Ok(())
}

/// Adds a file, or the files of a folder in the order of their names: path, length, content.
fn add(root: &Path, path: &Path, hash: &mut Xxh3) -> io::Result<()> {
    if path.is_dir() {
        let mut inside: Vec<PathBuf> =
            fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
        inside.sort();
        return inside.iter().try_for_each(|path| add(root, path, hash));
    }
    let bytes = fs::read(path)?;
    let name = path.strip_prefix(root).unwrap_or(path);
    hash.update(name.to_string_lossy().as_bytes());
    hash.update(&(bytes.len() as u64).to_le_bytes());
    hash.update(&bytes);
    Ok(())
}
