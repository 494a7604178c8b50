//! Credentials are blanked before a message reaches a timeline.

use bytes::Bytes;

/// The message as it may be shown: the same bytes, unless it carries credentials.
pub(crate) fn redacted(bytes: &Bytes) -> Bytes {
    let head_end = find(bytes, b"\r\n\r\n").unwrap_or(bytes.len());
    if !contains_ignoring_case(&bytes[..head_end], b"authorization") {
        return bytes.clone();
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut blanking = false;
    for line in bytes[..head_end].split_inclusive(|byte| *byte == b'\n') {
        let folded = line.starts_with(b" ") || line.starts_with(b"\t");
        let name_end = line.iter().position(|byte| *byte == b':');
        let name = line[..name_end.unwrap_or(0)].trim_ascii();
        if !folded {
            blanking = name.eq_ignore_ascii_case(b"authorization")
                || name.eq_ignore_ascii_case(b"proxy-authorization");
            if blanking {
                out.extend_from_slice(name);
                out.extend_from_slice(b": (removed)\r\n");
            }
        }
        if !blanking {
            out.extend_from_slice(line);
        }
    }
    if blanking && head_end < bytes.len() {
        out.truncate(out.len() - 2);
    }
    out.extend_from_slice(&bytes[head_end..]);
    out.into()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn contains_ignoring_case(bytes: &[u8], wanted: &[u8]) -> bool {
    // Only at the start of a header name: after a line break or after "Proxy-".
    bytes.iter().enumerate().any(|(at, byte)| {
        (*byte | 0x20) == wanted[0]
            && at > 0
            && matches!(bytes[at - 1], b'\n' | b'-')
            && bytes
                .get(at..at + wanted.len())
                .is_some_and(|name| name.eq_ignore_ascii_case(wanted))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &str) {
        let shown = redacted(&Bytes::from(input.to_owned()));
        assert_eq!(String::from_utf8_lossy(&shown), expected);
    }

    #[test]
    fn blanks_credentials_and_nothing_else() {
        check(
            "REGISTER x\r\nauthorization : Digest a\r\n b\r\nTo: y\r\n\r\nbody",
            "REGISTER x\r\nauthorization: (removed)\r\nTo: y\r\n\r\nbody",
        );
        check(
            "REGISTER x\r\nTo: y\r\nProxy-Authorization: Digest a\r\n\r\nauthorization: 1",
            "REGISTER x\r\nTo: y\r\nProxy-Authorization: (removed)\r\n\r\nauthorization: 1",
        );
        check("OPTIONS x\r\nTo: y\r\n\r\n", "OPTIONS x\r\nTo: y\r\n\r\n");
    }
}
