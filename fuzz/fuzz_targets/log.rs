//! Any bytes are lines of a log; what is kept of them is bounded.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rbac_bench::logs::LogReader;

fuzz_target!(|bytes: &[u8]| {
    let mut reader = LogReader::default();
    String::from_utf8_lossy(bytes).split_inclusive('\n').for_each(|line| reader.line(line));
    let report = reader.end();
    let counted: u64 = report.counts.iter().map(|(_, _, it)| it.count).sum();
    assert!(counted <= report.lines, "{counted} failures in {} lines", report.lines);
});
