//! What a far side does, line by line, as a scenario of sipp.
//!
//! ```text
//! recv INVITE         a request that must come; `maybe ACK`: one that may
//! invite 200 sdp      the response to the last INVITE; `sdp:NAME`: a body of `bodies`; `tag=b`: another To-tag
//! reply 200           the response to whatever came last
//! send BYE sdp        a request of its own in the dialog; `cseq=1`, `tag=x`: not as they should be
//! expect 200          the response to it
//! wait 300            so many milliseconds
//! text HELLO          a datagram that is no SIP
//! … | Name: value     a further header; as often as needed
//! ```

use std::fmt::Write as _;

use super::bodies;

/// The scenario as sipp reads it.
pub fn xml(name: &str, flow: &str) -> String {
    let mut scenario = Scenario { xml: String::new(), cseq: 100 };
    for line in flow.lines().map(str::trim).filter(|line| !line.is_empty()) {
        scenario.step(line);
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<scenario name=\"{name}\">\n{}\
         <Reference variables=\"via,from,to,cseq,contact\" />\n</scenario>\n",
        scenario.xml
    )
}

struct Scenario {
    xml: String,
    /// Of the far side's own requests.
    cseq: u32,
}

/// A line in its parts.
struct Line<'a> {
    verb: &'a str,
    what: &'a str,
    words: Vec<&'a str>,
    headers: Vec<&'a str>,
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Line<'a> {
        let mut parts = line.split(" | ");
        let mut words = parts.next().unwrap_or_default().split_whitespace();
        let (verb, what) = (words.next().expect("a verb"), words.next().expect("what"));
        Line { verb, what, words: words.collect(), headers: parts.collect() }
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// The description that it carries.
    fn body(&self) -> Option<String> {
        let named = self.words.iter().find_map(|word| word.strip_prefix("sdp:"));
        let plain = self.words.contains(&"sdp").then_some("pcma");
        named.or(plain).map(bodies::sdp)
    }

    fn headers(&self) -> String {
        self.headers.iter().fold(String::new(), |all, header| all + header + "\n")
    }
}

impl Scenario {
    fn step(&mut self, text: &str) {
        let line = Line::read(text);
        match line.verb {
            "recv" => self.receive(line.what, ""),
            "maybe" => self.receive(line.what, " optional=\"true\""),
            "invite" => self.answer_invite(&line),
            "reply" => self.answer_last(&line),
            "send" => self.request(&line),
            "expect" => self.add(&format!("<recv response=\"{}\"></recv>", line.what)),
            "wait" => self.add(&format!("<pause milliseconds=\"{}\"/>", line.what)),
            "text" => self.send(&format!("{text}\n")),
            verb => panic!("no verb `{verb}`"),
        }
    }

    fn receive(&mut self, method: &str, optional: &str) {
        let mut actions = String::new();
        if method == "INVITE" {
            for (header, name) in
                [("Via:", "via"), ("From:", "from"), ("To:", "to"), ("CSeq:", "cseq")]
            {
                let _ = write!(
                    actions,
                    "<ereg regexp=\".*\" search_in=\"hdr\" header=\"{header}\" assign_to=\"{name}\"/>"
                );
            }
            actions += "<ereg regexp=\"sip:[^>]*\" search_in=\"hdr\" header=\"Contact:\" \
                        assign_to=\"contact\"/>";
            actions = format!("<action>{actions}</action>");
        }
        self.add(&format!("<recv request=\"{method}\"{optional}>{actions}</recv>"));
    }

    fn answer_invite(&mut self, line: &Line<'_>) {
        let tag = line.value("tag").unwrap_or("a");
        let status = line.what;
        let contact = "Contact: <sip:8899@[local_ip]:[local_port]>\n";
        let contact = if line.words.contains(&"bare") { "" } else { contact };
        let head = if line.words.contains(&"compact") {
            "v:[$via]\nf:[$from]\nt:[$to];tag=TAG\ni: [call_id]\nCSeq:[$cseq]\n"
        } else {
            "Via:[$via]\nFrom:[$from]\nTo:[$to];tag=TAG\nCall-ID: [call_id]\nCSeq:[$cseq]\n"
        };
        let head = head.replace("TAG", tag);
        self.message(&format!("SIP/2.0 {status} Said\n{head}{contact}"), line);
    }

    fn answer_last(&mut self, line: &Line<'_>) {
        let head = "[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\n";
        self.message(&format!("SIP/2.0 {} Said\n{head}", line.what), line);
    }

    fn request(&mut self, line: &Line<'_>) {
        let method = line.what;
        // An ACK has the number of its INVITE.
        self.cseq += u32::from(method != "ACK");
        let cseq = line.value("cseq").map_or(self.cseq.to_string(), str::to_owned);
        let tag = line.value("tag").unwrap_or("a");
        let head = format!(
            "{method} [$contact] SIP/2.0\n\
             Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n\
             From:[$to];tag={tag}\nTo:[$from]\nCall-ID: [call_id]\nCSeq: {cseq} {method}\n\
             Max-Forwards: 70\nContact: <sip:8899@[local_ip]:[local_port]>\n"
        );
        self.message(&head, line);
    }

    fn message(&mut self, head: &str, line: &Line<'_>) {
        let headers = line.headers();
        let body = line.body();
        let typed = headers.contains("Content-Type:");
        let content = match (&body, typed) {
            (Some(_), false) => "Content-Type: application/sdp\n",
            (Some(_), true) | (None, _) => "",
        };
        let body = body.unwrap_or_default();
        self.send(&format!("{head}{headers}{content}Content-Length: [len]\n\n{body}"));
    }

    fn send(&mut self, message: &str) {
        self.add(&format!("<send><![CDATA[\n{message}\n]]></send>"));
    }

    fn add(&mut self, element: &str) {
        self.xml += element;
        self.xml.push('\n');
    }
}
