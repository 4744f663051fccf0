//! Tables as kubectl prints them.

/// A table that kubectl printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads what kubectl printed. Cells may be empty and hold single spaces: columns begin where their
    /// headers do.
    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let header = lines.next().unwrap_or_default();
        let starts = column_starts(header);
        let cut = |line: &str| -> Vec<String> {
            let ends = starts.iter().skip(1).copied().chain([usize::MAX]);
            starts.iter().zip(ends).map(|(from, to)| cell(line, *from, to)).collect()
        };
        Self { header: cut(header), rows: lines.filter(|line| !line.is_empty()).map(cut).collect() }
    }

    /// The headers of the columns.
    pub fn header(&self) -> Vec<&str> {
        self.header.iter().map(String::as_str).collect()
    }

    /// The cells of these columns, row by row. Panics when there is no such column.
    pub fn select(&self, columns: &[&str]) -> Vec<Vec<&str>> {
        let index = |name: &&str| {
            let found = self.header.iter().position(|header| header == name);
            found.unwrap_or_else(|| panic!("no column {name} in {:?}", self.header))
        };
        let wanted: Vec<usize> = columns.iter().map(index).collect();
        self.rows.iter().map(|row| wanted.iter().map(|at| row[*at].as_str()).collect()).collect()
    }
}

/// Columns are two spaces or more apart.
fn column_starts(header: &str) -> Vec<usize> {
    let bytes = header.as_bytes();
    let gap = |at: usize| bytes[..at].ends_with(b"  ");
    (0..bytes.len()).filter(|at| bytes[*at] != b' ' && (*at == 0 || gap(*at))).collect()
}

fn cell(line: &str, from: usize, to: usize) -> String {
    line.chars().skip(from).take(to.saturating_sub(from)).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_found_below_their_headers() {
        let table = Table::parse("NAME   ACCESS MODES   AGE\nweb    RWO            2s\nodd                   1s\n");
        assert_eq!(table.header(), ["NAME", "ACCESS MODES", "AGE"]);
        assert_eq!(table.select(&["ACCESS MODES", "NAME"]), [["RWO", "web"], ["", "odd"]]);
    }
}
