//! Where a program spends its time, from what `perf script -F comm,ip,sym,dso` says: a flame graph, and the functions
//! with the largest shares. Called by `scripts/profile`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

/// A sample's frames, outermost first.
type Stack = Vec<Frame>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Frame {
    name: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Thread,
    Kernel,
    Program,
    Library,
}

/// All samples.
pub(crate) struct Profile(Vec<Stack>);

#[derive(Default)]
struct Node {
    samples: usize,
    below: BTreeMap<Frame, Node>,
}

impl Profile {
    /// Samples are apart by empty lines: the thread's name, then frames, innermost first.
    pub(crate) fn parse(text: &str) -> Self {
        let sample = |block: &str| {
            let mut lines = block.lines().filter(|line| !line.trim().is_empty());
            let thread = Frame { name: lines.next()?.trim().to_owned(), kind: Kind::Thread };
            let mut stack: Stack = lines.map(frame).collect();
            stack.push(thread);
            stack.reverse();
            Some(stack)
        };
        Self(text.split("\n\n").filter_map(sample).collect())
    }

    /// The functions that most samples are in: their own share, and the share with all they call.
    pub(crate) fn widest(&self, count: usize) -> String {
        let (mut own, mut all) = (HashMap::<&str, usize>::new(), HashMap::<&str, usize>::new());
        for stack in &self.0 {
            stack.last().into_iter().for_each(|frame| *own.entry(&frame.name).or_default() += 1);
            let functions = stack.iter().filter(|frame| frame.kind != Kind::Thread);
            let names: HashSet<&str> = functions.map(|frame| &frame.name[..]).collect();
            names.into_iter().for_each(|name| *all.entry(name).or_default() += 1);
        }
        let mut order: Vec<_> = own.into_iter().collect();
        order.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let share = |samples: usize| 100.0 * samples as f64 / self.0.len().max(1) as f64;
        let mut text = format!("{} samples\n   own  with callees\n", self.0.len());
        for (name, samples) in order.into_iter().take(count) {
            let with_callees = share(all.get(name).copied().unwrap_or(samples));
            _ = writeln!(text, "{:5.1}%  {with_callees:5.1}%  {name}", share(samples));
        }
        text
    }

    /// The flame graph: threads below, callees above; hovering tells names and shares.
    pub(crate) fn svg(&self) -> String {
        let mut root = Node::default();
        for stack in &self.0 {
            root.samples += 1;
            let mut node = &mut root;
            for frame in stack {
                node = node.below.entry(frame.clone()).or_default();
                node.samples += 1;
            }
        }
        let depth = self.0.iter().map(Vec::len).max().unwrap_or_default();
        let height = depth as f64 * ROW + 30.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" font-family=\"monospace\" font-size=\"11\">\n\
             <text x=\"4\" y=\"16\" fill=\"#7d8590\">{} samples; orange: the program, blue: kernel, grey: libraries, \
             green: threads</text>\n",
            self.0.len()
        );
        draw(&mut svg, &root, 0.0, WIDTH / root.samples.max(1) as f64, height - ROW, root.samples);
        svg.push_str("</svg>\n");
        svg
    }
}

const WIDTH: f64 = 1400.0;
const ROW: f64 = 16.0;
/// Narrower bars are left out.
const NARROWEST: f64 = 0.7;

fn draw(svg: &mut String, node: &Node, mut x: f64, per_sample: f64, y: f64, total: usize) {
    for (Frame { name, kind }, below) in &node.below {
        let width = below.samples as f64 * per_sample;
        if width >= NARROWEST {
            let colour = match kind {
                Kind::Thread => "#9cc5a1",
                Kind::Kernel => "#8ab6e1",
                Kind::Program => "#f0a868",
                Kind::Library => "#c8c8cc",
            };
            let share = 100.0 * below.samples as f64 / total as f64;
            // As much as fits; nothing if that is too little to read.
            let letters = Some((width / 6.7) as usize).filter(|&letters| letters >= 3).unwrap_or(0);
            let shown = escape(&name.chars().take(letters).collect::<String>());
            let name = escape(name);
            _ = writeln!(
                svg,
                "<g><title>{name} ({share:.1}%)</title><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{}\" \
                 fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{:.1}\">{shown}</text></g>",
                width - 0.3,
                ROW - 1.0,
                x + 2.0,
                y + 11.0
            );
            draw(svg, below, x, per_sample, y - ROW, total);
        }
        x += width;
    }
}

/// `     55d0c8 rocksdb::DBImpl::Write (/usr/bin/godwit)`.
fn frame(line: &str) -> Frame {
    let (_, rest) = line.trim().split_once(' ').unwrap_or(("", line));
    let (name, library) = rest.rsplit_once(" (").unwrap_or((rest, ""));
    let library = library.trim_end_matches(')');
    let kind = match library {
        "[kernel.kallsyms]" | "[unknown]" | "[vdso]" => Kind::Kernel,
        library if library.contains(".so") => Kind::Library,
        _ => Kind::Program,
    };
    // A hash at the end of Rust's names tells nothing.
    let hash =
        name.rsplit_once("::h").filter(|(_, hash)| hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()));
    Frame { name: hash.map_or(name, |(name, _)| name).to_owned(), kind }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "lane-0\n  1 core::fmt::h0123456789abcdef (/bin/godwit)\n  2 main (/bin/godwit)\n\n\
        lane-0\n  3 futex<T> ([kernel.kallsyms])\n  2 main (/bin/godwit)\n\n";

    #[test]
    fn shares_of_functions() {
        let widest = Profile::parse(TEXT).widest(20);
        assert_eq!(widest.lines().nth(2), Some(" 50.0%   50.0%  core::fmt"));
        assert_eq!(widest.lines().count(), 4, "main has no share of its own");
    }

    #[test]
    fn bars_are_as_wide_as_their_share() {
        let svg = Profile::parse(TEXT).svg();
        assert!(svg.contains("<title>main (100.0%)</title><rect x=\"0.0\" y=\"46.0\" width=\"1399.7\""), "{svg}");
        assert!(svg.contains("<title>futex&lt;T&gt; (50.0%)</title>"), "{svg}");
    }
}
