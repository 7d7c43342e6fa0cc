//! Puts the files of the page into the program: those of the folder that `GODWIT_WEB_DIST` names, which `scripts/web` builds. Without
//! it, or if the folder has no page, the program has none.

use std::collections::hash_map::DefaultHasher;
use std::fmt::Write as _;
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Files of so many bytes are there only compressed: all browsers take that, and the program is that much smaller.
const COMPRESSED_FROM: usize = 4_096;

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed=GODWIT_WEB_DIST");
    let dist = env::var_os("GODWIT_WEB_DIST").map(PathBuf::from).filter(|dist| dist.join("index.html").is_file());
    let mut files = Vec::new();
    if let Some(dist) = &dist {
        collect(dist, &mut files)?;
    }
    files.sort();
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let mut table = String::from("&[\n");
    for (number, file) in files.iter().enumerate() {
        let name = dist.as_deref().and_then(|dist| file.strip_prefix(dist).ok()).unwrap_or(file).display();
        let bytes = fs::read(file)?;
        let mut hasher = DefaultHasher::new();
        hasher.write(&bytes);
        let etag = format!("\"\\\"{:016x}\\\"\"", hasher.finish());
        // Copies, so that nobody misses what is built anew meanwhile.
        for end in ["", ".gz", ".br"] {
            fs::copy(format!("{}{end}", file.display()), out.join(format!("{number}{end}")))?;
        }
        let include = |end: &str| format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{number}{end}\"))");
        let plain = if bytes.len() < COMPRESSED_FROM { include("") } else { "&[]".to_owned() };
        let (gzip, brotli) = (include(".gz"), include(".br"));
        let line = format!("path: \"/{name}\", plain: {plain}, gzip: {gzip}, brotli: {brotli}, etag: {etag}");
        _ = writeln!(table, "PageFile {{ {line} }},");
        println!("cargo::rerun-if-changed={}", file.display());
    }
    table.push(']');
    fs::write(out.join("files.rs"), table)
}

/// All files but those that are others, compressed.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if !path.extension().is_some_and(|end| end == "gz" || end == "br") {
            files.push(path);
        }
    }
    Ok(())
}
