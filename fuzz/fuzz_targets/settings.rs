//! Any bytes are read as settings; what makes sense comes back from the record as it was, and what
//! does not is shown where it stands.
#![no_main]

use dark_factory::config::{Config, ConfigError, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match parse("dark-factory.yaml", bytes) {
        Ok(config) => {
            let json = serde_json::to_vec(&config).unwrap();
            assert_eq!(serde_json::from_slice::<Config>(&json).unwrap(), config);
        }
        Err(ConfigError::Invalid { findings, .. }) => {
            assert!(!findings.is_empty());
            for found in &findings {
                assert!(found.line >= 1 && found.column >= 1 && !found.message.is_empty());
                let Some(span) = &found.span else { continue };
                assert!(span.start <= span.end && span.end <= bytes.len(), "{found:?}");
            }
        }
        Err(error) => panic!("{error}"),
    }
});
