//! Figures, and how they are shown: a table for people, JSON for comparing runs over time.

use serde::Serialize;

use crate::rows::{Bound, Row, row};

/// One measured row.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) row: &'static str,
    /// Median of the runs, in the row's unit.
    pub(crate) value: f64,
    /// What this machine does at best, measured beside it, in the same unit.
    pub(crate) floor: Option<f64>,
    pub(crate) runs: usize,
}

impl Figure {
    pub(crate) fn new(row: &'static str, value: f64, runs: usize) -> Self {
        Self { row, value, floor: None, runs }
    }
}

/// One element of the JSON list. A field that does not apply is null.
#[derive(Serialize)]
struct Record<'a> {
    row: &'a str,
    value: f64,
    unit: &'a str,
    floor: Option<f64>,
    peer: Option<f64>,
    runs: usize,
}

/// The figures as a JSON list.
pub(crate) fn json(figures: &[Figure]) -> serde_json::Result<String> {
    let records: Vec<Record<'_>> = figures
        .iter()
        .map(|figure| {
            let Row { name, unit, peer, .. } = row(figure.row);
            Record { row: name, value: figure.value, unit, floor: figure.floor, peer: *peer, runs: figure.runs }
        })
        .collect();
    Ok(serde_json::to_string_pretty(&records)? + "\n")
}

/// One figure with its name and unit.
pub(crate) fn line(figure: &Figure) -> String {
    let runs = if figure.runs == 1 { "1 run".to_owned() } else { format!("median of {} runs", figure.runs) };
    format!("{}: {} {} ({runs})", figure.row, number(figure.value), row(figure.row).unit)
}

/// The figures beside their targets, floors and peers.
pub(crate) fn table(figures: &[Figure]) -> String {
    let header =
        ["row", "value", "unit", "target", "", "floor", "value/floor", "Kubernetes", "runs"].map(str::to_owned);
    let lines: Vec<[String; 9]> = std::iter::once(header).chain(figures.iter().map(cells)).collect();
    let widths: [usize; 9] =
        std::array::from_fn(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0));
    let shown = lines.iter().map(|line| {
        let cells: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    });
    shown.collect::<Vec<_>>().join("\n")
}

fn cells(figure: &Figure) -> [String; 9] {
    let row = row(figure.row);
    let maybe = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
    let bound = row.target.bound(figure.floor);
    let verdict = match bound {
        Some(bound) if bound.holds(figure.value) => "met",
        Some(_) => "MISSED",
        None => "",
    };
    [
        figure.row.to_owned(),
        number(figure.value),
        row.unit.to_owned(),
        bound.map_or_else(|| "-".to_owned(), shown),
        verdict.to_owned(),
        maybe(figure.floor),
        maybe(figure.floor.map(|floor| figure.value / floor)),
        maybe(row.peer),
        figure.runs.to_string(),
    ]
}

fn shown(bound: Bound) -> String {
    match bound {
        Bound::AtMost(most) => format!("≤ {}", number(most)),
        Bound::AtLeast(least) => format!("≥ {}", number(least)),
    }
}

/// Three significant digits are more than these measurements carry.
fn number(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> [Figure; 2] {
        let written = Figure { row: "durable-writes-64", value: 4000.0, floor: Some(10_000.0), runs: 3 };
        [Figure::new("exec-to-ready-empty", 98.76, 5), written]
    }

    #[test]
    fn the_table_says_which_targets_are_met() {
        let table = table(&figures());
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[1].starts_with("exec-to-ready-empty  98.8   ms        ≤ 150"), "{table}");
        assert!(lines[1].contains("met"), "{table}");
        assert!(lines[2].contains("≥ 5000  MISSED  10000  0.40"), "{table}");
    }

    #[test]
    fn the_json_has_a_null_where_nothing_applies() {
        let list: serde_json::Value = serde_json::from_str(&json(&figures()).expect("JSON")).expect("JSON");
        assert_eq!(
            list[0],
            serde_json::json!({
                "row": "exec-to-ready-empty", "value": 98.76, "unit": "ms", "floor": null, "peer": 3900.0, "runs": 5,
            })
        );
        assert_eq!(list[1]["floor"], 10_000.0);
    }
}
