//! Tables of the page.

use std::fmt::Write as _;

use crate::figure::{Figure, number};
use crate::results::{Results, Spread};

/// A row for each figure, a column for each of `servers` (title, name in the results), and the ratio of the first to
/// each other. Figures that nobody has are left out.
pub(crate) fn compare(results: &Results, servers: &[(&str, &str)], figures: &[Figure]) -> String {
    let mut table = String::from("| what |");
    servers.iter().for_each(|(title, _)| _ = write!(table, " {title} |"));
    servers.iter().skip(1).for_each(|(title, _)| _ = write!(table, " × {title} |"));
    _ = write!(table, "\n|---|{}\n", "---|".repeat(2 * servers.len() - 1));
    for figure in figures {
        let of: Vec<_> = servers.iter().map(|(_, server)| figure.of(results, server)).collect();
        if of.iter().all(Option::is_none) {
            continue;
        }
        _ = write!(table, "| {} |", label(figure));
        of.iter().for_each(|spread| _ = write!(table, " {} |", cell(*spread)));
        for other in &of[1..] {
            let ratio = of[0].zip(*other).filter(|(_, other)| other.median > 0.0);
            let text = ratio.map_or_else(|| "–".to_owned(), |(own, other)| number(own.median / other.median));
            _ = write!(table, " {text} |");
        }
        table.push('\n');
    }
    table
}

/// A row for each figure of one server.
pub(crate) fn list(results: &Results, server: &str, figures: &[Figure]) -> String {
    let mut table = String::from("| what | |\n|---|---|\n");
    for figure in figures {
        if let Some(spread) = figure.of(results, server) {
            _ = writeln!(table, "| {} | {} |", label(figure), cell(Some(spread)));
        }
    }
    table
}

fn label(figure: &Figure) -> String {
    match figure.unit {
        "" => figure.name.to_owned(),
        unit => format!("{}, {unit}", figure.name),
    }
}

fn cell(spread: Option<Spread>) -> String {
    let Some(Spread { median, low, high, failed }) = spread else { return "–".to_owned() };
    let mut cell = number(median);
    if number(low) != number(high) {
        _ = write!(cell, " ({} to {})", number(low), number(high));
    }
    if failed > 0 {
        _ = write!(cell, ", {failed} failed");
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::PAIRS;
    use crate::results::sample;

    #[test]
    fn medians_spreads_and_ratios() {
        let table = compare(&sample(), &[("Godwit", "godwit"), ("mosquitto", "mosquitto"), ("x", "x")], &PAIRS);
        let expected = "| what | Godwit | mosquitto | x | × mosquitto | × x |\n|---|---|---|---|---|---|\n\
            | 50 pairs, window 8, msg/s | 2,000 (1,000 to 3,000) | 1,000, 1 failed | – | 2.00 | – |\n";
        assert_eq!(table, expected);
    }
}
