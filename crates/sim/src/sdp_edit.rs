//! Edits of session descriptions that no sound media stack would make: what odd phones and networks say.

use bytes::Bytes;

/// The ways audio may go, as `a=` lines.
const DIRECTIONS: [&str; 4] = ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"];

/// The same description with another direction, for example `sendonly`.
pub(crate) fn with_direction(sdp: &[u8], direction: &str) -> Bytes {
    let mut lines = lines(sdp);
    lines.retain(|line| !DIRECTIONS.contains(&line.as_str()));
    lines.push(format!("a={direction}"));
    joined(&lines)
}

/// The next description of the same session (RFC 3264 §8), with audio both ways again.
pub(crate) fn renewed(sdp: &[u8]) -> Bytes {
    let mut lines = lines(&with_direction(sdp, "sendrecv"));
    for line in lines.iter_mut().filter(|line| line.starts_with("o=")) {
        let mut fields: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if let Some(version) = fields.get_mut(2)
            && let Ok(number) = version.parse::<u64>()
        {
            *version = number.wrapping_add(1).to_string();
        }
        *line = fields.join(" ");
    }
    joined(&lines)
}

/// The same description with its audio at another port.
pub(crate) fn with_audio_port(sdp: &[u8], port: u16) -> Bytes {
    edit_audio(sdp, |fields| fields[1] = port.to_string())
}

/// The same description with its audio in a codec that nobody has offered.
pub(crate) fn with_foreign_codec(sdp: &[u8]) -> Bytes {
    let edited = edit_audio(sdp, |fields| {
        fields.truncate(3);
        fields.push("97".to_owned());
    });
    let mut lines = lines(&edited);
    lines.retain(|line| !line.starts_with("a=rtpmap:") && !line.starts_with("a=fmtp:"));
    lines.push("a=rtpmap:97 iLBC/8000".to_owned());
    joined(&lines)
}

/// With G.729 offered, too, which is payload type 18 for whoever knows it.
pub(crate) fn with_g729(sdp: &[u8]) -> Bytes {
    let edited = edit_audio(sdp, |fields| {
        let dynamic = |field: &String| field.parse::<u8>().is_ok_and(|number| number >= 96);
        let place = fields.iter().skip(3).position(dynamic).map_or(fields.len(), |at| at + 3);
        fields.insert(place, "18".to_owned());
    });
    let mut lines = lines(&edited);
    lines.push("a=rtpmap:18 G729/8000".to_owned());
    joined(&lines)
}

/// Without the lines that many gateways leave out, with an attribute that nobody knows, and a declined T.38 line.
pub(crate) fn sparse(sdp: &[u8]) -> Bytes {
    let mut lines = lines(sdp);
    lines.retain(|line| !line.starts_with("s=") && !line.starts_with("t="));
    lines.push("a=X-carrier:simulated".to_owned());
    lines.push("m=image 0 udptl t38".to_owned());
    joined(&lines)
}

fn edit_audio(sdp: &[u8], edit: impl Fn(&mut Vec<String>)) -> Bytes {
    let mut lines = lines(sdp);
    for line in lines.iter_mut().filter(|line| line.starts_with("m=audio ")) {
        let mut fields: Vec<String> = line.split(' ').map(str::to_owned).collect();
        edit(&mut fields);
        *line = fields.join(" ");
    }
    joined(&lines)
}

fn lines(sdp: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(sdp).lines().map(str::to_owned).collect()
}

fn joined(lines: &[String]) -> Bytes {
    lines.iter().flat_map(|line| [line.as_str(), "\r\n"]).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &[u8] = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
        m=audio 4000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n";

    #[track_caller]
    fn check(edited: Bytes, has: &[&str], lacks: &[&str]) {
        let text = std::str::from_utf8(&edited).unwrap();
        assert!(media::sdp::parse(&edited).is_ok(), "{text}");
        for line in has {
            assert!(text.contains(&format!("{line}\r\n")), "{line} is missing: {text}");
        }
        for line in lacks {
            assert!(!text.contains(line), "{line} is there: {text}");
        }
    }

    #[test]
    fn each_edit_changes_what_it_says() {
        check(with_direction(SDP, "sendonly"), &["a=sendonly"], &["sendrecv"]);
        let held = with_direction(SDP, "sendonly");
        check(renewed(&held), &["a=sendrecv", "o=- 1 2 IN IP4 127.0.0.1"], &["sendonly"]);
        check(with_g729(SDP), &["m=audio 4000 RTP/AVP 8 18 101", "a=rtpmap:18 G729/8000"], &[]);
        check(with_audio_port(SDP, 9), &["m=audio 9 RTP/AVP 8 101"], &["4000"]);
        check(with_foreign_codec(SDP), &["m=audio 4000 RTP/AVP 97"], &["PCMA"]);
        check(sparse(SDP), &["m=image 0 udptl t38", "a=rtpmap:8 PCMA/8000"], &["s=-", "t=0"]);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "(v=0|m=audio|a=).{0,20}(\r\n(m=audio )?.{0,20}){0,5}") {
            for sdp in [bytes.as_slice(), text.as_bytes()] {
                with_direction(sdp, "inactive");
                renewed(sdp);
                with_audio_port(sdp, 9);
                with_foreign_codec(sdp);
                with_g729(sdp);
                sparse(sdp);
            }
        }
    }
}
