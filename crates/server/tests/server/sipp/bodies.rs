//! Session descriptions of far sides, usual and odd.

/// With sipp's fields in it.
pub fn sdp(name: &str) -> String {
    let audio = |rest: &str| format!("m=audio [media_port] RTP/AVP {rest}\n");
    let pcma = || audio("8 101") + "a=rtpmap:8 PCMA/8000\na=rtpmap:101 telephone-event/8000\n";
    let session = "v=0\no=far 1 1 IN IP4 [local_ip]\ns=-\n";
    let line = "c=IN IP4 [media_ip]\n";
    let time = "t=0 0\n";
    let head = format!("{session}{line}{time}");
    match name {
        "pcma" => head + &pcma(),
        "pcmu" => head + &audio("0") + "a=rtpmap:0 PCMU/8000\n",
        "g722" => head + &audio("9") + "a=rtpmap:9 G722/8000\n",
        "static" => head + &audio("8"),
        "ptime" => head + &audio("8") + "a=ptime:30\na=maxptime:60\n",
        "recvonly" => head + &audio("8") + "a=recvonly\n",
        "inactive" => head + &audio("8") + "a=inactive\n",
        "hold" => head + &audio("8") + "a=sendonly\n",
        "zero" => format!("{session}c=IN IP4 0.0.0.0\n{time}") + &audio("8"),
        "media_line" => format!("{session}{time}") + &audio("8") + line,
        "no_line" => format!("{session}{time}") + &audio("8"),
        "no_time" => format!("{session}{line}") + &audio("8"),
        "no_name" => format!("v=0\no=far 1 1 IN IP4 [local_ip]\n{line}{time}") + &audio("8"),
        "declined" => head + "m=audio 0 RTP/AVP 8\n",
        "other_codec" => head + &audio("18") + "a=rtpmap:18 G729/8000\n",
        "video" => head + &audio("8") + "m=video 0 RTP/AVP 34\n",
        "fax" => head + &audio("8") + "m=image 0 udptl t38\na=T38FaxVersion:0\n",
        "savp" => head + "m=audio [media_port] RTP/SAVP 8\n",
        "bandwidth" => head + "b=AS:84\n" + &audio("8") + "b=TIAS:64000\na=unknown:x y z\n",
        "garbage" => "this is no session description\n".to_owned(),
        "truncated" => {
            "v=0\no=far 1 1 IN IP4 [local_ip]\ns=-\nc=IN IP4 [media_ip]\nt=0 0\nm=aud".to_owned()
        }
        "bad_port" => head + "m=audio 99999 RTP/AVP 8\n",
        "bad_address" => format!("{session}c=IN IP4 300.1.2.3\n{time}") + &audio("8"),
        "two_parts" => format!(
            "--part\nContent-Type: application/sdp\n\n{head}{}\n--part\n\
             Content-Type: application/isup\n\nAAAA\n--part--\n",
            audio("8")
        ),
        name => panic!("no body `{name}`"),
    }
}
