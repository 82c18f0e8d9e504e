//! Every routing vector, run through the public Rust API. C, Python and Node run the same files.

#[test]
fn every_routing_vector_holds() {
    let cases = podway_tests::cases();
    assert!(!cases.is_empty(), "there are vectors");
    let misses: Vec<_> = cases
        .iter()
        .filter_map(|case| {
            let miss = podway_tests::run(case, &mut podway_tests::Plain).err()?;
            Some(format!("{} {}: {miss}", case.file, case.id))
        })
        .collect();
    println!("vectors rust: {} passed, {} failed", cases.len() - misses.len(), misses.len());
    assert!(misses.is_empty(), "{} of {} vectors:\n{}", misses.len(), cases.len(), misses.join("\n"));
}
