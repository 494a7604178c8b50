//! A glance at a SIP message without parsing it: what the simulated network decides on and the ledger counts by.

/// A request's method and identity. Borrowed from the datagram.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Glance<'m> {
    /// `INVITE`, …; a response has `SIP/2.0` here.
    pub method: &'m str,
    /// User part of the Request-URI as it stands there.
    pub request_user: &'m str,
    pub call_id: &'m str,
    /// Branch of the first Via.
    pub branch: &'m str,
    /// Whether To has a tag: the message belongs to a dialog.
    pub in_dialog: bool,
}

/// `None` for what is no SIP message with a Call-ID.
pub(crate) fn glance(message: &[u8]) -> Option<Glance<'_>> {
    let head_end = message.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(message.len());
    let head = std::str::from_utf8(&message[..head_end]).ok()?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, uri) = (first.next()?, first.next()?);
    let (mut call_id, mut branch, mut in_dialog) = (None, None, false);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        match name.trim_end().to_ascii_lowercase().as_str() {
            "call-id" | "i" => call_id = Some(value.trim()),
            "via" | "v" if branch.is_none() => branch = Some(parameter(value, "branch")),
            "to" | "t" => in_dialog = !parameter(value, "tag").is_empty(),
            _ => {}
        }
    }
    let request_user = user_of(uri);
    Some(Glance {
        method,
        request_user,
        call_id: call_id?,
        branch: branch.unwrap_or(""),
        in_dialog,
    })
}

fn user_of(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or("", |(_, rest)| rest);
    rest.split_once('@').map_or("", |(user, _)| user)
}

/// A header parameter's value; empty where there is none.
fn parameter<'v>(value: &'v str, name: &str) -> &'v str {
    // Parameters of a URI in angle brackets are the URI's, not the header's.
    let own = value.rsplit_once('>').map_or(value, |(_, after)| after);
    own.split([';', ','])
        .find_map(|part| {
            let (key, value) = part.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
        .unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_identifies_a_request() {
        let message = b"INVITE sip:1011@127.0.0.1:5060;user=phone SIP/2.0\r\nv: SIP/2.0/UDP h;rport;branch=z9hG4bKa\r\n\
            Via: SIP/2.0/UDP p;branch=z9hG4bKother\r\nTo: <sip:x@h;tag=no>\r\ni: abc@h\r\n\r\nTo: <sip:x>;tag=body";
        let seen = glance(message).unwrap();
        let expected = Glance {
            method: "INVITE",
            request_user: "1011",
            call_id: "abc@h",
            branch: "z9hG4bKa",
            in_dialog: false,
        };
        assert_eq!(seen, expected);
        assert!(
            glance(b"BYE sip:h SIP/2.0\r\nCall-ID: a\r\nTo: x;tag=1\r\n\r\n").unwrap().in_dialog
        );
    }

    #[test]
    fn anything_else_is_nothing_and_no_panic() {
        let sound = b"BYE sip:h SIP/2.0\r\nCall-ID: a\r\nTo: x;tag=1\r\n\r\n";
        for end in 0..sound.len() {
            glance(&sound[..end]);
        }
        assert_eq!(glance(b""), None);
        assert_eq!(glance(b"\xff\xfe\r\n\r\n"), None);
        assert_eq!(glance(b"INVITE sip:a@b SIP/2.0\r\nTo: x\r\n\r\n"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "(INVITE|BYE)? ?(sip:)?.{0,20}(\r\n(Via|To|Call-ID)?:?.{0,20}){0,5}") {
            glance(&bytes);
            glance(text.as_bytes());
        }
    }
}
