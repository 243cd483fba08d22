//! Which queueing discipline an interface has for what comes in. `clsact` and the older `ingress` take the same place
//! (`TC_H_CLSACT` is `TC_H_INGRESS` of `linux/pkt_sched.h`), and with `ingress` a filter of either direction sees the
//! packets that come in. Messages: `linux/netlink.h` and `linux/rtnetlink.h`.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::RecvFlags;
use rustix::net::SendFlags;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::recv;
use rustix::net::send;
use rustix::net::socket_with;
use rustix::net::sockopt::Timeout;
use rustix::net::sockopt::set_socket_timeout;

const NLMSG_ERROR: u16 = 2;
const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
/// `NLM_F_REQUEST`, `NLM_F_ACK` and `NLM_F_ECHO`: older kernels answer only who asks for an echo.
const FLAGS: u16 = 0x01 | 0x04 | 0x08;
const TC_H_CLSACT: u32 = 0xffff_fff1;
const TCA_KIND: u16 = 1;
/// `struct nlmsghdr` and `struct tcmsg`.
const HEADER_BYTES: usize = 16;
const TCMSG_BYTES: usize = 20;
const REQUEST_BYTES: u32 = 36;
/// Longer than an answer, which describes one queueing discipline.
const ANSWER_BYTES: usize = 16 * 1024;
/// The answer and its acknowledgement; more are not for us.
const MAX_ANSWERS: usize = 16;
/// The kernel answers at once.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The kind of the queueing discipline for incoming packets, in the namespace of the calling thread; `None` without one.
pub(super) fn ingress_kind(ifindex: u32) -> io::Result<Option<String>> {
    let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
    // No protocol is protocol 0, `NETLINK_ROUTE`.
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(TIMEOUT))?;
    send(&socket, &request(ifindex), SendFlags::empty())?;
    let mut found = None;
    let mut buffer = vec![0; ANSWER_BYTES];
    for _ in 0..MAX_ANSWERS {
        let (received, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = &buffer[..received];
        while let Some((message_type, payload, after)) = message(rest) {
            match message_type {
                RTM_NEWQDISC => found = kind_of(payload).or(found),
                NLMSG_ERROR => return acknowledged(payload, found),
                _ => {}
            }
            rest = after;
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn request(ifindex: u32) -> Vec<u8> {
    let mut request = Vec::with_capacity(HEADER_BYTES + TCMSG_BYTES);
    request.extend(REQUEST_BYTES.to_ne_bytes());
    request.extend(RTM_GETQDISC.to_ne_bytes());
    request.extend(FLAGS.to_ne_bytes());
    // Sequence number and port, then the family with its padding.
    request.extend([0; 12]);
    request.extend(ifindex.to_ne_bytes());
    // Any handle.
    request.extend([0; 4]);
    request.extend(TC_H_CLSACT.to_ne_bytes());
    request.extend([0; 4]);
    request
}

/// The first message: its type, what it holds, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
    let message_type = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let payload = bytes.get(HEADER_BYTES..length)?;
    let after = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((message_type, payload, after))
}

/// The kind that a description of a queueing discipline names.
fn kind_of(payload: &[u8]) -> Option<String> {
    let mut attributes = payload.get(TCMSG_BYTES..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(*attributes.first_chunk()?));
        let attribute_type = u16::from_ne_bytes(*attributes.get(2..)?.first_chunk()?);
        let value = attributes.get(4..length)?;
        if attribute_type == TCA_KIND {
            let name = value.split(|byte| *byte == 0).next()?;
            return Some(String::from_utf8_lossy(name).into_owned());
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

/// What the end of an answer says. Without a queueing discipline it is `ENOENT`; `EINVAL` where one was and is gone.
fn acknowledged(payload: &[u8], found: Option<String>) -> io::Result<Option<String>> {
    let number = payload
        .first_chunk()
        .map(|bytes| i32::from_ne_bytes(*bytes));
    match number.ok_or(io::ErrorKind::InvalidData)? {
        0 => Ok(found),
        number => {
            let error = io::Error::from_raw_os_error(number.saturating_neg());
            match is_absent(&error) {
                true => Ok(None),
                false => Err(error),
            }
        }
    }
}

/// Whether an answer of netlink says that filter, queueing discipline or interface is not there.
pub(super) fn is_absent(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::NOENT | Errno::NODEV | Errno::INVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(attribute_type: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), attribute_type.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn a_kind_is_found_among_other_attributes_and_damage_is_none() {
        let mut payload = vec![0; TCMSG_BYTES];
        payload.extend(attribute(12, &[1]));
        payload.extend(attribute(TCA_KIND, b"ingress\0"));
        assert_eq!(kind_of(&payload).as_deref(), Some("ingress"));
        for cut in 0..payload.len() {
            let _ = kind_of(&payload[..cut]);
        }
        // An attribute that says to be shorter than its own head.
        let mut endless = vec![0; TCMSG_BYTES];
        endless.extend([0; 8]);
        assert_eq!(kind_of(&endless), None);
        assert!(message(&[0; 16]).is_none());
    }
}
