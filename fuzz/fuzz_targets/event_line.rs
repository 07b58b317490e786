//! A line that is an event is written so that it reads back the same.
#![no_main]

use dark_factory::event::Envelope;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(envelope) = Envelope::from_line(text) {
        let line = envelope.to_line().unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(Envelope::from_line(&line).unwrap(), envelope);
    }
});
