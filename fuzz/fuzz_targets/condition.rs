//! A condition that can be read is printed so that it reads back the same.
#![no_main]

use dark_factory::pipeline::Condition;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(condition) = Condition::parse(text) {
        assert_eq!(Condition::parse(&condition.to_string()), Ok(condition));
    }
});
