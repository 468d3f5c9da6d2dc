//! The `franking` program.

fn main() {}
