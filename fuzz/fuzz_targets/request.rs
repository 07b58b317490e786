//! Any bytes are read as the head of a request to a proxy, or refused with a status; what goes on of
//! it reads back the same, names one host, and keeps nothing of the connection it came by.
#![no_main]

use dark_factory::wall::broker::{BadRequest, Kind, Next, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let request = match Request::parse(bytes) {
        Ok(request) => request,
        Err(bad) => {
            assert!((400..500).contains(&bad.status()) && !bad.to_string().contains('\n'));
            return;
        }
    };
    let Kind::Plain(plain) = &request.kind else { return };
    let head = plain.head(&request.method, &request.target, Next::Proxy(Some("Basic eA==")));
    match Request::parse(&head) {
        // What is near a bound grows beyond it.
        Err(BadRequest::Lines | BadRequest::Long) => {}
        again => assert_eq!(again.as_ref(), Ok(&request)),
    }
    let own = plain.head(&request.method, &request.target, Next::Host);
    let own = String::from_utf8_lossy(&own).to_lowercase();
    assert!(own.ends_with("\r\n\r\n") && own.matches("\r\n\r\n").count() == 1);
    assert_eq!(own.matches("\r\nhost:").count(), 1);
    assert_eq!(own.matches("\r\nconnection:").count(), 1);
    assert!(!own.contains("\r\nproxy-") && !own.contains("\r\ntransfer-encoding:"));
});
