//! Any results file, an older one or a damaged one, is read without a panic, and what was read is
//! written so that it says the same.
#![no_main]

use dark_factory::report::results::Results;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(results) = serde_json::from_slice::<Results>(bytes) {
        let judged = results.judged();
        assert_eq!(judged.len(), results.results.len());
        let again: Results = serde_json::from_slice(&results.to_json()).unwrap();
        assert_eq!(again.judged(), judged);
    }
});
