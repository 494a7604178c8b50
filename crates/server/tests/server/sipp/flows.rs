//! Far sides that do more than refuse: what they do, and what the record must say.

use super::Case;

type Row = (&'static str, &'static str, (&'static str, &'static str, &'static str));

const PLAYED: (&str, &str, &str) = ("played", "hung_up", "1");
const CUT: (&str, &str, &str) = ("cut_short", "released", "0");
/// Somebody answered and nothing could be agreed.
const NO_MEDIA: (&str, &str, &str) = ("failed", "media_failed", "998");
const HELD: (&str, &str, &str) = ("cut_short", "hung_up", "0");
const NOBODY: (&str, &str, &str) = ("no_answer", "no_answer", "4");

const CREDENTIALS: &str = "username = \"user\"\npassword = \"word\"";

pub fn cases() -> Vec<Case> {
    let plain = ANSWERS.iter().chain(ENDS).chain(IN_DIALOG).chain(CANCELS);
    let mut cases: Vec<Case> = plain.map(|row| case(row, "")).collect();
    cases.extend(DESCRIPTIONS.iter().map(|(body, wanted)| {
        let flow = format!("recv INVITE\ninvite 200 sdp:{body}\nrecv ACK\nrecv BYE\nreply 200");
        Case { name: format!("SDP {body}"), flow, ..case(&("", "", *wanted), "") }
    }));
    cases.extend(CHALLENGES.iter().map(|row| case(row, CREDENTIALS)));
    cases
}

pub fn silent() -> Vec<Case> {
    SILENT.iter().map(|row| case(row, "")).collect()
}

fn case((name, flow, (outcome, cause, reason)): &Row, trunk: &'static str) -> Case {
    let (name, flow) = ((*name).to_owned(), (*flow).to_owned());
    Case { name, flow, outcome, cause, reason, trunk }
}

/// Ways to a call that is up.
const ANSWERS: &[Row] = &[
    ("180, 200", "recv INVITE\ninvite 180\ninvite 200 sdp\nrecv ACK\nrecv BYE\nreply 200", PLAYED),
    (
        "100, 181, 182, 183 without a description, 180, 200",
        "recv INVITE\ninvite 100\ninvite 181\ninvite 182\ninvite 183\ninvite 180\ninvite 200 sdp
         recv ACK\nrecv BYE\nreply 200",
        PLAYED,
    ),
    (
        "183 with early media, 200 with the same description",
        "recv INVITE\ninvite 183 sdp\ninvite 200 sdp\nrecv ACK\nrecv BYE\nreply 200",
        PLAYED,
    ),
    (
        "180 with a description, 200 without",
        "recv INVITE\ninvite 180 sdp\ninvite 200\nrecv ACK\nrecv BYE\nreply 200",
        PLAYED,
    ),
    (
        "200 without any description",
        "recv INVITE\ninvite 200\nrecv ACK\nrecv BYE\nreply 200",
        NO_MEDIA,
    ),
    (
        "forked: 180 of two phones, the second answers",
        "recv INVITE\ninvite 180 tag=a\ninvite 180 tag=b\ninvite 200 sdp tag=b\nrecv ACK\nrecv BYE
         reply 200",
        PLAYED,
    ),
    (
        "forked: two phones answer, the later one is hung up",
        "recv INVITE\ninvite 200 sdp tag=a\nrecv ACK\ninvite 200 sdp tag=b\nrecv ACK\nrecv BYE
         reply 200\nrecv BYE\nreply 200\nwait 100",
        PLAYED,
    ),
    (
        "199 of a fork that ended, then 200",
        "recv INVITE\ninvite 180 tag=a\ninvite 199 tag=a\ninvite 200 sdp tag=b\nrecv ACK\nrecv BYE
         reply 200",
        PLAYED,
    ),
    (
        "reliable 183, then 200",
        "recv INVITE\ninvite 183 sdp | Require: 100rel | RSeq: 7\nrecv PRACK\nreply 200
         invite 200\nrecv ACK\nrecv BYE\nreply 200",
        PLAYED,
    ),
    (
        "reliable 180 sent twice is acknowledged",
        "recv INVITE\ninvite 180 | Require: 100rel | RSeq: 3\nrecv PRACK\nreply 200
         invite 200 sdp\nrecv ACK\nrecv BYE\nreply 200",
        PLAYED,
    ),
    (
        "compact headers",
        "recv INVITE\ninvite 180 compact\ninvite 200 sdp compact\nrecv ACK\nrecv BYE\nreply 200",
        PLAYED,
    ),
    (
        "200 with headers that nobody knows",
        "recv INVITE\ninvite 200 sdp | X-Carrier: a; b=\"c, d\" | P-Charging-Vector: icid-value=1 \
         | Server: far\nrecv ACK\nrecv BYE\nreply 200",
        PLAYED,
    ),
    (
        "Record-Route is a Route of what follows",
        "recv INVITE\ninvite 200 sdp | Record-Route: <sip:[local_ip]:[local_port];lr>\nrecv ACK
         recv BYE\nreply 200",
        PLAYED,
    ),
    (
        "200 without Contact",
        "recv INVITE\ninvite 200 sdp bare\nrecv ACK\nrecv BYE\nreply 200",
        PLAYED,
    ),
    (
        "200 whose body is of another type",
        "recv INVITE\ninvite 200 sdp | Content-Type: text/plain\nrecv ACK\nrecv BYE\nreply 200",
        NO_MEDIA,
    ),
    (
        "a session timer that the far side refreshes",
        "recv INVITE\ninvite 200 sdp | Session-Expires: 90;refresher=uas | Require: timer\nrecv ACK
         send UPDATE | Session-Expires: 90;refresher=uac | Supported: timer\nexpect 200
         recv BYE\nreply 200",
        PLAYED,
    ),
    (
        "rubbish before the response",
        "recv INVITE\ntext HELLO\ntext GET / HTTP/1.1\ntext SIP/2.0\ninvite 200 sdp\nrecv ACK\nrecv BYE
         reply 200",
        PLAYED,
    ),
];

/// How a call that is up ends.
const ENDS: &[Row] = &[
    (
        "BYE right after the ACK",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nsend BYE\nexpect 200",
        CUT,
    ),
    (
        "BYE twice",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nsend BYE\nexpect 200\nsend BYE\nexpect 481",
        CUT,
    ),
    (
        "BYE with a Reason",
        "recv INVITE\ninvite 180\ninvite 200 sdp\nrecv ACK
         send BYE | Reason: Q.850;cause=16;text=\"Normal\"\nexpect 200",
        CUT,
    ),
    (
        "our BYE is answered 481",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nrecv BYE\nreply 481",
        PLAYED,
    ),
    (
        "our BYE is answered 500",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nrecv BYE\nreply 500",
        PLAYED,
    ),
    (
        "our BYE is challenged, and nobody has credentials",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nrecv BYE
         reply 401 | WWW-Authenticate: Digest realm=\"far\", nonce=\"n\"",
        PLAYED,
    ),
    (
        "BYE of another dialog is none",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nsend BYE tag=other\nexpect 481\nrecv BYE\nreply 200",
        PLAYED,
    ),
    (
        "BYE with an old number is refused",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nsend OPTIONS\nexpect 200\nsend BYE cseq=5\nexpect 500
         recv BYE\nreply 200",
        PLAYED,
    ),
    (
        "480 whose Reason says busy",
        "recv INVITE\ninvite 180\ninvite 480 | Reason: Q.850;cause=17\nrecv ACK",
        ("refused", "busy", "4"),
    ),
    (
        "480 whose Reason says that nobody answers",
        "recv INVITE\ninvite 480 | Reason: Q.850;cause=19\nrecv ACK",
        NOBODY,
    ),
    (
        "503 with Retry-After",
        "recv INVITE\ninvite 503 | Retry-After: 7\nrecv ACK",
        ("failed", "trunk_failed", "6"),
    ),
    (
        "302 where the tenant follows none",
        "recv INVITE\ninvite 302 bare | Contact: <sip:50001@far.invalid>\nrecv ACK",
        ("failed", "trunk_refused", "6"),
    ),
    (
        "603 after early media",
        "recv INVITE\ninvite 183 sdp\ninvite 603\nrecv ACK",
        ("refused", "declined", "4"),
    ),
    (
        "420 that names what it does not know",
        "recv INVITE\ninvite 420 | Unsupported: timer, 100rel\nrecv ACK",
        ("failed", "trunk_refused", "6"),
    ),
];

/// Requests of the far side while the call is up.
const IN_DIALOG: &[Row] = &[
    (
        "re-INVITE with the same description",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nsend INVITE sdp\nexpect 200\nsend ACK\nrecv BYE
         reply 200",
        PLAYED,
    ),
    (
        "re-INVITE that holds and takes back",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nsend INVITE sdp:hold\nexpect 200\nsend ACK\nwait 200
         send INVITE sdp\nexpect 200\nsend ACK\nrecv BYE\nreply 200",
        PLAYED,
    ),
    (
        "re-INVITE without a description asks for ours",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nsend INVITE\nexpect 200\nsend ACK sdp\nrecv BYE
         reply 200",
        PLAYED,
    ),
    (
        "hold, then a re-INVITE without a description takes back",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nsend INVITE sdp:hold\nexpect 200\nsend ACK\nwait 200
         send INVITE\nexpect 200\nsend ACK sdp\nrecv BYE\nreply 200",
        PLAYED,
    ),
    (
        "re-INVITE that changes the codec",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nsend INVITE sdp:pcmu\nexpect 200\nsend ACK\nrecv BYE
         reply 200",
        PLAYED,
    ),
    (
        "re-INVITE that cannot be agreed leaves the call as it was",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nsend INVITE sdp:other_codec\nexpect 488\nsend ACK
         recv BYE\nreply 200",
        PLAYED,
    ),
    (
        "re-INVITE with rubbish for a description",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nsend INVITE sdp:garbage\nexpect 488\nsend ACK
         recv BYE\nreply 200",
        PLAYED,
    ),
    (
        "re-INVITE of another dialog",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nsend INVITE sdp tag=other\nexpect 481\nsend ACK
         recv BYE\nreply 200",
        PLAYED,
    ),
    (
        "UPDATE with a description",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nsend UPDATE sdp\nexpect 200\nrecv BYE\nreply 200",
        PLAYED,
    ),
    (
        "OPTIONS in the dialog",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nsend OPTIONS\nexpect 200\nrecv BYE\nreply 200",
        PLAYED,
    ),
    (
        "INFO without a body",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nsend INFO\nexpect 200\nrecv BYE\nreply 200",
        PLAYED,
    ),
    (
        "MESSAGE in the dialog is not taken",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nsend MESSAGE\nexpect 405\nrecv BYE\nreply 200",
        PLAYED,
    ),
    (
        "REFER is refused",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nsend REFER | Refer-To: <sip:1@far.invalid>\nexpect 405
         recv BYE\nreply 200",
        PLAYED,
    ),
    (
        "SUBSCRIBE is refused",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nsend SUBSCRIBE | Event: dialog\nexpect 405\nrecv BYE
         reply 200",
        PLAYED,
    ),
    (
        "a method that nobody knows",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nsend WOBBLE\nexpect 405\nrecv BYE\nreply 200",
        PLAYED,
    ),
    (
        "PRACK of nothing",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nsend PRACK | RAck: 1 1 INVITE\nexpect 481\nrecv BYE
         reply 200",
        PLAYED,
    ),
];

/// The ring limit passes; what the far side makes of our CANCEL.
const CANCELS: &[Row] = &[
    (
        "it rings until CANCEL",
        "recv INVITE\ninvite 180\nrecv CANCEL\nreply 200\ninvite 487\nrecv ACK",
        NOBODY,
    ),
    (
        "200 crosses CANCEL",
        "recv INVITE\ninvite 180\nrecv CANCEL\nreply 200\ninvite 200 sdp\nrecv ACK\nrecv BYE
         reply 200",
        NOBODY,
    ),
    (
        "CANCEL is answered 481, the INVITE 486",
        "recv INVITE\ninvite 180\nrecv CANCEL\nreply 481\ninvite 486\nrecv ACK",
        NOBODY,
    ),
    (
        "487 before the answer to CANCEL",
        "recv INVITE\ninvite 180\nrecv CANCEL\ninvite 487\nrecv ACK",
        NOBODY,
    ),
    (
        "100 and nothing more until CANCEL",
        "recv INVITE\ninvite 100\nrecv CANCEL\nreply 200\ninvite 487\nrecv ACK",
        ("failed", "no_answer", "6"),
    ),
    (
        "gone after a 180 and a CANCEL that nobody answers",
        "recv INVITE\ninvite 180\nrecv CANCEL\nwait 100",
        NOBODY,
    ),
];

/// Bodies of the 200, and what can be made of them.
const DESCRIPTIONS: &[(&str, (&str, &str, &str))] = &[
    ("pcmu", PLAYED),
    ("g722", PLAYED),
    ("static", PLAYED),
    ("ptime", PLAYED),
    ("recvonly", PLAYED),
    // Nobody may be sent anything: it waits for a re-INVITE until the call is too long.
    ("inactive", HELD),
    ("hold", HELD),
    ("zero", HELD),
    ("media_line", PLAYED),
    ("no_time", PLAYED),
    ("no_name", PLAYED),
    ("video", PLAYED),
    ("fax", PLAYED),
    ("bandwidth", PLAYED),
    ("no_line", NO_MEDIA),
    ("declined", NO_MEDIA),
    ("other_codec", NO_MEDIA),
    ("savp", NO_MEDIA),
    ("garbage", NO_MEDIA),
    ("truncated", NO_MEDIA),
    ("bad_port", NO_MEDIA),
    ("bad_address", NO_MEDIA),
];

/// Digest, where the trunk has credentials.
const CHALLENGES: &[Row] = &[
    (
        "401, then 200",
        "recv INVITE\ninvite 401 bare | WWW-Authenticate: Digest realm=\"far\", nonce=\"one\"\nrecv ACK
         recv INVITE\ninvite 200 sdp\nrecv ACK\nrecv BYE\nreply 200",
        PLAYED,
    ),
    (
        "407 with SHA-256, then 200",
        "recv INVITE\ninvite 407 bare | Proxy-Authenticate: Digest realm=\"far\", nonce=\"one\", \
         algorithm=SHA-256, qop=\"auth\"\nrecv ACK\nrecv INVITE\ninvite 200 sdp\nrecv ACK\nrecv BYE
         reply 200",
        PLAYED,
    ),
    (
        "a stale nonce, then a fresh one",
        "recv INVITE\ninvite 401 bare | WWW-Authenticate: Digest realm=\"far\", nonce=\"one\"\nrecv ACK
         recv INVITE\ninvite 401 bare | WWW-Authenticate: Digest realm=\"far\", nonce=\"two\", stale=true
         recv ACK\nrecv INVITE\ninvite 200 sdp\nrecv ACK\nrecv BYE\nreply 200",
        PLAYED,
    ),
    (
        "401 again and again",
        "recv INVITE\ninvite 401 bare | WWW-Authenticate: Digest realm=\"far\", nonce=\"one\"\nrecv ACK
         recv INVITE\ninvite 401 bare | WWW-Authenticate: Digest realm=\"far\", nonce=\"two\"\nrecv ACK",
        ("failed", "trunk_refused", "6"),
    ),
    (
        "401 without a challenge",
        "recv INVITE\ninvite 401 bare\nrecv ACK",
        ("failed", "trunk_refused", "6"),
    ),
    (
        "401 with an algorithm that nobody knows",
        "recv INVITE\ninvite 401 bare | WWW-Authenticate: Digest realm=\"far\", nonce=\"one\", \
         algorithm=ROT13\nrecv ACK",
        ("failed", "trunk_refused", "6"),
    ),
    (
        "our BYE is challenged",
        "recv INVITE\ninvite 401 bare | WWW-Authenticate: Digest realm=\"far\", nonce=\"one\"\nrecv ACK
         recv INVITE\ninvite 200 sdp\nrecv ACK\nrecv BYE
         reply 401 | WWW-Authenticate: Digest realm=\"far\", nonce=\"two\"\nrecv BYE\nreply 200",
        PLAYED,
    ),
];

/// What nobody answers.
const SILENT: &[Row] = &[
    ("no response at all", "recv INVITE\nwait 100", ("failed", "trunk_failed", "6")),
    (
        "our BYE is not answered",
        "recv INVITE\ninvite 200 sdp\nrecv ACK\nrecv BYE\nwait 100",
        PLAYED,
    ),
];
