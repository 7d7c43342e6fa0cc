//! Bars as SVG. Colours and text are of middle brightness and the background is left out: it reads on light and dark
//! pages alike.

use std::fmt::Write as _;

use crate::figure::number;
use crate::results::Spread;

/// Groups of horizontal bars on one scale.
pub(crate) struct Plot {
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    /// Names for the legend.
    pub(crate) series: Vec<&'static str>,
    pub(crate) groups: Vec<Group>,
}

/// What is compared.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) bars: Vec<Bar>,
}

/// One figure.
pub(crate) struct Bar {
    /// Index of its series.
    pub(crate) series: usize,
    pub(crate) spread: Spread,
}

const COLOURS: [&str; 5] = ["#d9730d", "#3d85c6", "#6aa9d8", "#4c9f70", "#8e8e93"];
const TEXT: &str = "#7d8590";
const WIDTH: f64 = 760.0;
/// Where bars begin and where the longest ends; beyond it there is room for its number.
const LEFT: f64 = 190.0;
const RIGHT: f64 = 600.0;
const BAR: f64 = 14.0;
const GAP: f64 = 12.0;

impl Plot {
    pub(crate) fn has_bars(&self) -> bool {
        self.groups.iter().any(|group| !group.bars.is_empty())
    }

    pub(crate) fn svg(&self) -> String {
        let top = 62.0;
        let bars: usize = self.groups.iter().map(|group| group.bars.len()).sum();
        let height = top + bars as f64 * (BAR + 2.0) + self.groups.len() as f64 * GAP;
        let title = self.title;
        let mut svg = String::new();
        _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"{TEXT}\">\n\
             <title>{title}</title>\n<text x=\"8\" y=\"20\" font-size=\"15\" font-weight=\"600\">{title}</text>"
        );
        self.legend(&mut svg);
        self.bars(&mut svg, top);
        svg.push_str("</svg>\n");
        svg
    }

    fn legend(&self, svg: &mut String) {
        let mut x = 8.0;
        for (name, colour) in self.series.iter().zip(COLOURS) {
            _ = writeln!(svg, "<rect x=\"{x}\" y=\"32\" width=\"11\" height=\"11\" rx=\"2\" fill=\"{colour}\"/>");
            _ = writeln!(svg, "<text x=\"{}\" y=\"42\">{name}</text>", x + 16.0);
            x += 36.0 + 6.4 * name.len() as f64;
        }
    }

    fn bars(&self, svg: &mut String, mut y: f64) {
        let all = self.groups.iter().flat_map(|group| &group.bars);
        let most = all.map(|bar| bar.spread.high).fold(f64::MIN_POSITIVE, f64::max);
        let x_of = |value: f64| LEFT + value.max(0.0) / most * (RIGHT - LEFT);
        for group in &self.groups {
            let middle = y + group.bars.len() as f64 * (BAR + 2.0) / 2.0;
            let x = LEFT - 10.0;
            _ = writeln!(svg, "<text x=\"{x}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", middle + 3.0, group.name);
            for Bar { series, spread } in &group.bars {
                let (colour, centre) = (COLOURS[series % COLOURS.len()], y + BAR / 2.0);
                let (end, low, high) = (x_of(spread.median), x_of(spread.low), x_of(spread.high));
                let width = (end - LEFT).max(1.0);
                _ = writeln!(
                    svg,
                    "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{colour}\"/>\n\
                     <path d=\"M{low:.1} {centre:.1}H{high:.1}\" stroke=\"{TEXT}\" stroke-width=\"2\"/>\n\
                     <text x=\"{:.1}\" y=\"{:.1}\">{} {}</text>",
                    high.max(LEFT + width) + 6.0,
                    centre + 4.0,
                    number(spread.median),
                    self.unit
                );
                y += BAR + 2.0;
            }
            y += GAP;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_to_the_longest() {
        let bar = |series, value| Bar { series, spread: Spread { median: value, low: value, high: value, failed: 0 } };
        let groups = vec![Group { name: "g", bars: vec![bar(0, 200.0), bar(1, 50.0)] }];
        let plot = Plot { title: "t", unit: "msg/s", series: vec!["a", "b"], groups };
        let svg = plot.svg();
        assert!(svg.contains("width=\"410.0\"") && svg.contains("width=\"102.5\""), "{svg}");
        assert!(svg.contains(">200 msg/s<") && svg.contains(">b</text>"), "{svg}");
        assert!(plot.has_bars());
    }
}
