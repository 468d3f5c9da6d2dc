#[test]
fn scratch_soak() {
    let path = std::env::var("SCRATCH_LOG").unwrap();
    let file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(std::sync::Mutex::new(file))
        .init();
    crate::soak::row_22_every_clause_holds_through_a_long_run_of_all_faults();
}
