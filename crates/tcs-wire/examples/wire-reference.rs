//! Writes `docs/wire.md` to standard output.

use std::io::Write;

fn main() -> std::io::Result<()> {
    std::io::stdout()
        .lock()
        .write_all(tcs_wire::reference::document().as_bytes())
}
