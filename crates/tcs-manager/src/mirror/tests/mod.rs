//! Sequences as systemd 252 sends them, recorded from a booted machine, and what must come out.

mod machine;
mod readings;
mod runs;
