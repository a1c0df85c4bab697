//! Numbers and tables.

use std::fmt::Display;

/// The middle one; of an even number the upper of the two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The heading of a table.
pub(crate) fn head(columns: &[&str]) {
    row(columns);
    row(&vec!["---"; columns.len()]);
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
pub(crate) fn row<D: Display>(cells: &[D]) {
    let cells: Vec<_> = cells.iter().map(ToString::to_string).collect();
    println!("| {} |", cells.join(" | "));
}

/// How many times as much.
pub(crate) fn ratio(one: f64, other: f64) -> String {
    if other.is_finite() && other > 0.0 { format!("{:.2}", one / other) } else { "–".to_owned() }
}

/// A count as a float, for figures of a table.
#[expect(clippy::cast_precision_loss, reason = "a figure for a table")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}
