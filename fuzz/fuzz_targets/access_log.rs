//! Any bytes are an access log, or are refused; what is made of one can be read as a scenario, up to its gaps.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rbac_bench::access::AccessReader;
use rbac_bench::init::access_log::draft;
use rbac_bench::init::file::write;
use rbac_bench::init::known_paths::KnownPaths;
use rbac_bench::scenario::source::problems;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((draft, _)) = draft(&mut &*bytes, "fuzz", None, AccessReader::default(), KnownPaths::default()) {
        let written = write(&draft, "fuzz.toml").text;
        problems("fuzz.toml", &written, &[]).expect(&written);
    }
});
