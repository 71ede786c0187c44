//! Aligned columns without lines. The last column is cut to the terminal; all others are shown whole.

use crate::printer::{Tint, paint};

/// Between two columns.
const GAP: &str = "  ";
/// The last column is never cut to fewer characters.
const LAST_AT_LEAST: usize = 20;

/// One cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) tint: Option<Tint>,
}

impl Cell {
    /// Returns a cell; an empty text is shown as a dash.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        if text.is_empty() {
            Self {
                text: "-".to_owned(),
                tint: Some(Tint::Dim),
            }
        } else {
            Self { text, tint: None }
        }
    }

    pub(crate) fn tinted(text: impl Into<String>, tint: Option<Tint>) -> Self {
        let cell = Self::new(text);
        Self {
            tint: cell.tint.or(tint),
            ..cell
        }
    }
}

/// Renders rows under their heads.
pub(crate) fn render(heads: &[String], rows: &[Vec<Cell>], width: Option<usize>, colored: bool) -> String {
    let heads: Vec<Cell> = heads
        .iter()
        .map(|head| Cell::tinted(head.clone(), Some(Tint::Bold)))
        .collect();
    let all = || std::iter::once(&heads).chain(rows);
    let columns = heads.len();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            all()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.text.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let before: usize = widths
        .iter()
        .take(columns.saturating_sub(1))
        .map(|width| width + GAP.len())
        .sum();
    let last = width.map_or(usize::MAX, |width| {
        width.saturating_sub(before).max(LAST_AT_LEAST)
    });
    let mut out = String::new();
    for row in all() {
        for (column, cell) in row.iter().enumerate() {
            let tint = cell.tint.filter(|_| colored);
            if column + 1 == columns {
                out.push_str(&paint(&cut(&cell.text, last), tint));
            } else {
                out.push_str(&paint(&cell.text, tint));
                let padding = widths[column] - cell.text.chars().count();
                out.extend(std::iter::repeat_n(' ', padding));
                out.push_str(GAP);
            }
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }
    out
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(cells: &[&str]) -> Vec<Cell> {
        cells.iter().map(|text| Cell::new(*text)).collect()
    }

    #[test]
    fn columns_are_aligned_and_the_last_is_cut() {
        let heads = ["A", "LONG", "MESSAGE"].map(str::to_owned);
        let rows = [
            row(&[
                "przełącznik",
                "",
                "a message that is longer than the terminal is wide",
            ]),
            row(&["b", "x", ""]),
        ];
        insta::assert_snapshot!(render(&heads, &rows, Some(45), false), @r"
        A            LONG  MESSAGE
        przełącznik  -     a message that is longer…
        b            x     -
        ");
    }

    #[test]
    fn colours_do_not_move_columns() {
        let heads = ["A", "B"].map(str::to_owned);
        let rows = [vec![Cell::tinted("x", Some(Tint::Bad)), Cell::new("y")]];
        assert!(render(&heads, &rows, None, true).ends_with("\u{1b}[1;31mx\u{1b}[0m  y\n"));
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(
            rows in proptest::collection::vec(("[a-z]{1,10}", "[a-zżó ]{0,90}"), 0..8),
            width in 40_usize..120,
        ) {
            let heads = ["NAME", "MESSAGE"].map(str::to_owned);
            let rows: Vec<_> = rows.iter().map(|(a, b)| row(&[a, b])).collect();
            for line in render(&heads, &rows, Some(width), false).lines() {
                prop_assert!(line.chars().count() <= width, "{line}");
            }
        }
    }
}
