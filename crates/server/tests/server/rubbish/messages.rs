//! Bytes that are nearly SIP, RTP or RTCP, the same in each run.

/// A sequence of numbers that looks random (SplitMix64).
pub struct Draw(pub u64);

impl Draw {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % limit
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }

    fn word(&mut self) -> u32 {
        self.below(1 << 32) as u32
    }
}

const METHODS: [&str; 14] = [
    "OPTIONS",
    "INVITE",
    "REGISTER",
    "REFER",
    "MESSAGE",
    "SUBSCRIBE",
    "PUBLISH",
    "NOTIFY",
    "UPDATE",
    "INFO",
    "BYE",
    "PRACK",
    "CANCEL",
    "FROBNICATE",
];

/// A whole request of a stranger.
pub fn request(method: &str, number: usize) -> String {
    format!(
        "{method} sip:2222201@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKr{number};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:stranger@127.0.0.1>;tag=s\r\nTo: <sip:2222201@127.0.0.1>\r\n\
         Call-ID: stranger-{number}\r\nCSeq: 1 {method}\r\nContact: <sip:stranger@127.0.0.1:9>\r\nContent-Length: 0\r\n\r\n"
    )
}

/// A SIP datagram: whole, cut, mended with bytes that mean something, a guess at a call that is up, or noise.
pub fn sip(draw: &mut Draw, number: usize, live_call: &str) -> Vec<u8> {
    let method = METHODS[draw.below(METHODS.len())];
    let mut message = match draw.below(4) {
        0 => {
            let guess = format!("Call-ID: {live_call}");
            request(method, number).replace(&format!("Call-ID: stranger-{number}"), &guess)
        }
        1 => format!("SIP/2.0 {} Rubbish\r\n{}", 100 + draw.below(600), request(method, number)),
        _ => request(method, number),
    }
    .into_bytes();
    match draw.below(5) {
        0 => message.truncate(draw.below(message.len())),
        1 => {
            for _ in 0..=draw.below(8) {
                let at = draw.below(message.len());
                message[at] = b"\r\n\0;\"<>:\xff 9"[draw.below(11)];
            }
        }
        2 => {
            let at = draw.below(message.len());
            let long = vec![b"A<;,\""[draw.below(5)]; draw.below(20_000)];
            message.splice(at..at, long);
        }
        3 => {
            let count = draw.below(1_200);
            message = draw.bytes(count);
        }
        _ => {}
    }
    message
}

/// RTP in the shapes of T-27; half of it is sound, loud A-law from nobody that was asked.
pub fn rtp(draw: &mut Draw, number: usize) -> Vec<u8> {
    let payload_type = [8, 8, 8, 0, 101, 13, 127][draw.below(7)];
    let mut packet = vec![0x80, payload_type];
    packet.extend((number as u16).to_be_bytes());
    packet.extend((number as u32).wrapping_mul(160).to_be_bytes());
    packet.extend(draw.word().to_be_bytes());
    let loud = draw.bytes(160);
    packet.extend(&loud);
    match draw.below(12) {
        0 => packet.clear(),
        1 => packet.truncate(draw.below(12)),
        2 => packet[0] |= 15,   // CSRC 15, none there
        3 => packet[0] |= 0x10, // an extension whose length is audio
        4 => {
            packet[0] |= 0x20; // padding longer than the packet
            *packet.last_mut().expect("it has a payload") = 255;
        }
        5 => packet[0] = 0x40 | draw.below(64) as u8, // version 1
        _ => {}
    }
    packet
}

/// RTCP whose counts and lengths promise more than there is (the kind of AST-2017-012).
pub fn rtcp(draw: &mut Draw) -> Vec<u8> {
    let kind = 199 + draw.below(8) as u8;
    let mut packet = vec![0x80 | draw.below(64) as u8, kind];
    packet.extend([(draw.below(256)) as u8, draw.below(256) as u8]);
    let count = draw.below(64);
    packet.extend(draw.bytes(count));
    packet
}
