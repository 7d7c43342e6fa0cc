//! Shows what `scripts/bench` measured: `figures RESULTS.jsonl PAGE.md FOLDER` replaces what stands between the page's
//! markers `figures:begin` and `figures:end`, and draws plots into the folder. `figures compare RESULTS.jsonl` prints how
//! a build compares with an earlier one. And what `scripts/profile` sampled: `figures flame STACKS OUT.svg` draws it and
//! prints the widest functions.

mod figure;
mod flame;
mod page;
mod plot;
mod plots;
mod results;
mod table;

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use flame::Profile;
use results::Results;

/// Functions that are printed.
const WIDEST: usize = 20;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["flame", stacks, svg] => flame(stacks, svg),
        ["compare", results] => compare(results),
        [results, page, folder] => show(results, page, folder),
        _ => bail!(
            "usage: figures RESULTS.jsonl PAGE.md FOLDER, figures compare RESULTS.jsonl, or figures flame STACKS OUT.svg"
        ),
    }
}

fn show(results: &str, page: &str, folder: &str) -> Result<()> {
    let results = Results::parse(&read(results)?).with_context(|| results.to_owned())?;
    let text = page::replace(&read(page)?, &page::render(&results)).with_context(|| page.to_owned())?;
    save(Path::new(page), &text)?;
    fs::create_dir_all(folder).with_context(|| format!("make {folder}"))?;
    for (name, svg) in plots::all(&results) {
        save(&Path::new(folder).join(name), &svg)?;
    }
    Ok(())
}

/// Every figure of a build beside that of an earlier one.
fn compare(results: &str) -> Result<()> {
    let results = Results::parse(&read(results)?).with_context(|| results.to_owned())?;
    let builds = [("new", "godwit"), ("old", "godwit-old")];
    write!(io::stdout(), "{}", table::compare(&results, &builds, &figure::of_every_server()))?;
    Ok(())
}

fn flame(stacks: &str, svg: &str) -> Result<()> {
    // Names may hold any bytes.
    let text = fs::read(stacks).with_context(|| format!("read {stacks}"))?;
    let profile = Profile::parse(&String::from_utf8_lossy(&text));
    save(Path::new(svg), &profile.svg())?;
    write!(io::stdout(), "{}\n{svg}: the flame graph\n", profile.widest(WIDEST))?;
    Ok(())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {path}"))
}

fn save(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
