//! A line that is an event is written so that it reads back the same.
#![no_main]

use dark_factory::event::{Envelope, event_name_of};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = event_name_of(text);
    if let Ok(envelope) = Envelope::from_line(text) {
        let line = envelope.to_line().unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(Envelope::from_line(&line).unwrap(), envelope);
    }
});
