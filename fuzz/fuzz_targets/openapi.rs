//! Any text is an OpenAPI document, or is refused; what is made of one can be read as a scenario, up to its gaps.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rbac_bench::init::file::write;
use rbac_bench::init::openapi::{OpenApiSource, draft};
use rbac_bench::scenario::source::problems;

fuzz_target!(|text: &str| {
    if let Ok(draft) = draft(text, &OpenApiSource::default()) {
        let written = write(&draft, "fuzz.toml").text;
        problems("fuzz.toml", &written, &[]).expect(&written);
    }
});
