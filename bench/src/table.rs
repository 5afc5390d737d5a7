//! How the tables of all benchmarks look.

use comfy_table::{LineStyle, Table, TableStyle};

/// A table with nothing in it: rules above and below, and under the header.
pub(crate) fn ruled() -> Table {
    let mut table = Table::new();
    let rule = LineStyle::none().fill('─').junction('─');
    table.load_style(
        TableStyle::new()
            .top_border(rule)
            .header_separator(rule)
            .bottom_border(rule),
    );
    table
}
