//! Brings up the loopback of a fresh network namespace, which begins without one.

use std::io;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, sendto, socket};

const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
const IFF_UP: u32 = 1;
/// The loopback is the first interface of every namespace.
const LOOPBACK: i32 = 1;

/// Brings it up.
///
/// # Errors
/// This process may not configure its network namespace.
pub(super) fn up() -> io::Result<()> {
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    sendto(&socket, &request(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0; 1024];
    let (_, length) = recv(&socket, &mut answer, RecvFlags::empty())?;
    match refusal(&answer[..length]) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code)),
        None => Err(io::Error::other("the kernel's answer about the loopback makes no sense")),
    }
}

/// A header, and which flags of which interface are set.
fn request() -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    out.extend(32_u32.to_ne_bytes());
    out.extend(RTM_NEWLINK.to_ne_bytes());
    out.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    out.extend([0; 8]);
    out.extend([0; 4]);
    out.extend(LOOPBACK.to_ne_bytes());
    out.extend(IFF_UP.to_ne_bytes());
    out.extend(IFF_UP.to_ne_bytes());
    out
}

/// Returns the error's number in an answer, 0 for none; nothing where it is no answer of that kind.
fn refusal(answer: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?);
    (kind == NLMSG_ERROR).then(|| code.saturating_neg())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_an_error_a_zero_or_nothing() {
        let mut answer = vec![0; 36];
        assert_eq!(refusal(&answer), None);
        answer[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        assert_eq!(refusal(&answer), Some(0));
        answer[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(refusal(&answer), Some(1));
        assert_eq!(refusal(&answer[..10]), None);
        assert_eq!(request().len(), 32);
    }
}
