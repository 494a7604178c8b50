//! The vectors of the standards, and what an attacker may do to a packet.

use super::transform::{Cipher, Index, Keystream};
use super::*;

const FOREVER: u64 = 1 << 31;
const SSRC: u32 = 0xCAFE_BABE;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

/// A master key of both parts in hex.
fn master(suite: Suite, key_and_salt: &str) -> MasterKey {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(hex(key_and_salt));
    MasterKey::from_base64(suite, &text).unwrap()
}

const KEY_128: &str = "E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6";

#[test]
fn the_key_stream_is_that_of_rfc_3711_b_2() {
    let keystream = Keystream::new(&hex("2B7E151628AED2A6ABF7158809CF4F3C"));
    let mut out = vec![0; 16 * 0xFF02];
    keystream.apply(&array("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000"), &mut out);
    let blocks = [
        (0x0000, "E03EAD0935C95E80E166B16DD92B4EB4"),
        (0x0001, "D23513162B02D0F72A43A2FE4A5F97AB"),
        (0x0002, "41E95B3BB0A2E8DD477901E4FCA894C0"),
        (0xFEFF, "EC8CDF7398607CB0F2D21675EA9EA1E4"),
        (0xFF00, "362B7C3C6773516318A077D7FC5073AE"),
        (0xFF01, "6A2CC3787889374FBEB4C81B17BA6C44"),
    ];
    for (block, expected) in blocks {
        assert_eq!(out[16 * block..16 * (block + 1)], hex(expected), "{block:04X}");
    }
}

#[test]
fn session_keys_are_derived_as_in_rfc_3711_b_3() {
    let master = master(Suite::AesCm128HmacSha1, KEY_128);
    let prf = Keystream::new(master.key());
    let derived = |label, length| {
        let mut out = vec![0xFF; length];
        prf.derive(master.salt(), label, &mut out);
        out
    };
    assert_eq!(derived(0, 16), hex("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(derived(2, 14), hex("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(derived(1, 20), hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
}

/// libsrtp's own reference packets: the packet format that the RFC has no vectors for.
#[test]
fn whole_packets_are_those_of_libsrtp() {
    let rtp = hex("800f1234decafbadcafebabe abababababababababababababababab");
    let table = [
        (
            master(Suite::AesCm128HmacSha1, KEY_128),
            "800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb",
        ),
        (
            master(
                Suite::AesCm256HmacSha1,
                "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6
                 3b04803de51ee7c96423ab5b78d2",
            ),
            "800f1234decafbadcafebabe f1d9de17ff251ff1aa007774b0b4b40d a08d9d9a5b3a55d8873b",
        ),
    ];
    for (key, protected) in table {
        let mut buffer = [rtp.clone(), vec![0; OVERHEAD]].concat();
        let length = Outbound::new(&key).protect_rtp(&mut buffer, rtp.len()).unwrap();
        assert_eq!(buffer[..length], hex(protected), "{key:?}");
    }
    let rtcp = "81c8000b cafebabe abababababababababababababababab";
    let protected =
        hex("81c8000b cafebabe 7128035be487b9bdbef89041f977a5a8 80000001 993e08cd54d6c1230798");
    let key = master(Suite::AesCm128HmacSha1, KEY_128);
    let mut outbound = Outbound::new(&key);
    let mut packet = hex(rtcp);
    assert!(outbound.protect_rtcp(&mut packet), "theirs begins to count at 1, ours at 0");
    let mut packet = hex(rtcp);
    assert!(outbound.protect_rtcp(&mut packet));
    assert_eq!(packet, protected);
    let mut clear = [0; 64];
    let mut inbound = Inbound::new(&key, &[], FOREVER);
    assert_eq!(inbound.open_rtcp(&protected, &mut clear), Ok(24));
    assert_eq!(clear[..24], hex(rtcp));
}

/// The sections give session keys, so they are put in without derivation.
#[test]
fn gcm_is_that_of_rfc_7714_16_and_17() {
    let salt = array("51756964 2070726f 2071756f");
    let key: Vec<u8> = (0..32).collect();
    let rtp = hex("8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976
         69736120 696e2070 61727465 73207472 6573");
    let table = [
        (
            16,
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5
             0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
        ),
        (
            32,
            "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238
             9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
        ),
    ];
    for (length, protected) in table {
        let cipher = Cipher::gcm(&key[..length], salt);
        let mut packet = rtp.clone();
        let tag = cipher.seal(Index::Rtp(0xF17B), 0x5501_A0B2, 12, &mut packet);
        assert_eq!([&packet, tag.bytes()].concat(), hex(protected), "{length}");
        assert!(cipher.open(Index::Rtp(0xF17B), 0x5501_A0B2, 12, &mut packet, tag.bytes()));
        assert_eq!(packet, rtp);
    }
    let mut rtcp = hex("81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
         deadbeef deadbeef deadbeef deadbeef deadbeef");
    let cipher = Cipher::gcm(&key[..16], salt);
    let tag = cipher.seal(Index::Rtcp(0x5D4), 0x4D61_7273, 8, &mut rtcp);
    cipher.append_rtcp_trailer(&mut rtcp, Index::Rtcp(0x5D4), &tag);
    let protected = "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d
        c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4";
    assert_eq!(rtcp, hex(protected));
}

fn rtp(sequence: u16, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0xD5; 160]);
    packet
}

fn rtcp() -> Vec<u8> {
    [hex("80c90001"), SSRC.to_be_bytes().to_vec()].concat()
}

fn protect(outbound: &mut Outbound, packet: &[u8]) -> Vec<u8> {
    let mut buffer = [packet, &[0; OVERHEAD]].concat();
    let length = outbound.protect_rtp(&mut buffer, packet.len()).unwrap();
    buffer.truncate(length);
    buffer
}

fn protect_rtcp(outbound: &mut Outbound) -> Vec<u8> {
    let mut packet = rtcp();
    assert!(outbound.protect_rtcp(&mut packet));
    packet
}

fn open(inbound: &mut Inbound, packet: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut clear = [0; 2048];
    inbound.open_rtp(packet, &mut clear).map(|length| clear[..length].to_vec())
}

fn open_rtcp(inbound: &mut Inbound, packet: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut clear = [0; 2048];
    inbound.open_rtcp(packet, &mut clear).map(|length| clear[..length].to_vec())
}

fn pair(suite: Suite) -> (MasterKey, Outbound, Inbound) {
    let key = MasterKey::random(suite);
    let (outbound, inbound) = (Outbound::new(&key), Inbound::new(&key, &[], FOREVER));
    (key, outbound, inbound)
}

#[test]
fn every_flipped_bit_is_noticed_and_the_packet_itself_still_opens_once() {
    for suite in Suite::ALL {
        let (_, mut outbound, mut inbound) = pair(suite);
        let clear = rtp(7, SSRC);
        let packet = protect(&mut outbound, &clear);
        let report = protect_rtcp(&mut outbound);
        assert!(!packet.windows(16).any(|bytes| bytes == [0xD5; 16]), "{suite:?}: it is encrypted");
        for bit in 0..packet.len() * 8 {
            let mut flipped = packet.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let found = open(&mut inbound, &flipped);
            assert!(matches!(found, Err(Refused::Forged | Refused::Malformed)), "{suite:?} {bit}");
        }
        for bit in 0..report.len() * 8 {
            let mut flipped = report.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let found = open_rtcp(&mut inbound, &flipped);
            assert!(matches!(found, Err(Refused::Forged | Refused::Malformed)), "{suite:?} {bit}");
        }
        assert_eq!(open(&mut inbound, &packet), Ok(clear), "{suite:?}");
        assert_eq!(open(&mut inbound, &packet), Err(Refused::Replayed), "{suite:?}");
        assert_eq!(open_rtcp(&mut inbound, &report), Ok(rtcp()), "{suite:?}");
        assert_eq!(open_rtcp(&mut inbound, &report), Err(Refused::Replayed), "{suite:?}");
    }
}

#[test]
fn a_report_that_says_it_is_not_encrypted_is_forged_whatever_its_tag() {
    for suite in Suite::ALL {
        let (_, mut outbound, mut inbound) = pair(suite);
        let mut plain = rtcp();
        plain.extend([0, 0, 0, 1]);
        plain.extend([0; 10]);
        assert_eq!(
            open_rtcp(&mut inbound, &plain),
            Err(match suite {
                Suite::AesCm128HmacSha1 | Suite::AesCm256HmacSha1 => Refused::Forged,
                Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => Refused::Malformed,
            })
        );
        plain.extend([0; 6]);
        assert_eq!(open_rtcp(&mut inbound, &plain), Err(Refused::Forged), "{suite:?}");
        assert_eq!(open_rtcp(&mut inbound, &protect_rtcp(&mut outbound)), Ok(rtcp()));
    }
}

#[test]
fn sequence_numbers_wrap_many_times_and_late_ones_belong_to_their_own_turn() {
    let (_, mut outbound, mut inbound) = pair(Suite::AesCm128HmacSha1);
    for turn in 0..4u32 {
        // Through the turn in leaps, and step by step over its end.
        let numbers = (0..65_000).step_by(5_000).chain(65_500..65_536);
        let mut late = None;
        for n in numbers.skip(1).chain(65_536..65_540) {
            let clear = rtp(n as u16, SSRC);
            let packet = protect(&mut outbound, &clear);
            if n == 65_530 {
                late = Some((packet, clear));
                continue;
            }
            assert_eq!(open(&mut inbound, &packet), Ok(clear), "{turn} {n}");
        }
        let (packet, clear) = late.unwrap();
        assert_eq!(open(&mut inbound, &packet), Ok(clear), "ten late, from before the wrap");
        assert_eq!(open(&mut inbound, &packet), Err(Refused::Replayed));
    }
}

#[test]
fn what_is_sent_out_of_order_is_encrypted_in_its_own_turn() {
    for suite in [Suite::AesCm128HmacSha1, Suite::AeadAes256Gcm] {
        let (_, mut outbound, mut inbound) = pair(suite);
        for sequence in [65_530, 65_533, 65_531, 3, 65_535, 2, 65_532, 4] {
            let clear = rtp(sequence, SSRC);
            let packet = protect(&mut outbound, &clear);
            assert_eq!(open(&mut inbound, &packet), Ok(clear), "{sequence}");
        }
    }
}

#[test]
fn a_packet_of_an_earlier_turn_is_not_let_in_again() {
    let (_, mut outbound, mut inbound) = pair(Suite::AeadAes128Gcm);
    let old = protect(&mut outbound, &rtp(500, SSRC));
    open(&mut inbound, &old).unwrap();
    for n in (600..65_536 + 500).step_by(100) {
        let packet = protect(&mut outbound, &rtp(n as u16, SSRC));
        open(&mut inbound, &packet).unwrap();
    }
    assert_eq!(open(&mut inbound, &old), Err(Refused::Forged), "its turn is over");
}

#[test]
fn whoever_comes_late_finds_the_turn_and_a_new_key_goes_on_in_it() {
    let (key, mut outbound, mut inbound) = pair(Suite::AesCm128HmacSha1);
    for n in 65_530..65_540u32 {
        open(&mut inbound, &protect(&mut outbound, &rtp(n as u16, SSRC))).unwrap();
    }
    let mut latecomer = Inbound::new(&key, &[], FOREVER);
    let packet = protect(&mut outbound, &rtp(4, SSRC));
    assert_eq!(open(&mut latecomer, &packet), Ok(rtp(4, SSRC)));
    open(&mut inbound, &packet).unwrap();
    // Three more turns, then another key: the counter goes on, or begins anew.
    for n in (5..196_608u32).step_by(1000) {
        open(&mut inbound, &protect(&mut outbound, &rtp(n as u16, SSRC))).unwrap();
    }
    let next = MasterKey::random(Suite::AeadAes256Gcm);
    let mut rekeyed = inbound.rekeyed(&next, &[], FOREVER);
    let packet = protect(&mut outbound.rekeyed(&next), &rtp(0, SSRC));
    assert_eq!(open(&mut inbound, &packet), Err(Refused::Forged), "the old key opens it no more");
    assert_eq!(open(&mut rekeyed, &packet), Ok(rtp(0, SSRC)));
    let mut rekeyed = inbound.rekeyed(&next, &[], FOREVER);
    let packet = protect(&mut Outbound::new(&next), &rtp(1, SSRC));
    assert_eq!(open(&mut rekeyed, &packet), Ok(rtp(1, SSRC)), "some begin anew");
}

#[test]
fn made_up_streams_leave_nothing_behind_and_real_ones_have_a_limit() {
    let (key, mut outbound, mut inbound) = pair(Suite::AesCm128HmacSha1);
    let first = protect(&mut outbound, &rtp(1, SSRC));
    open(&mut inbound, &first).unwrap();
    for ssrc in 0..1_000 {
        let mut forged = first.clone();
        forged[8..12].copy_from_slice(&u32::to_be_bytes(ssrc));
        assert_eq!(open(&mut inbound, &forged), Err(Refused::Forged));
    }
    assert_eq!(inbound.streams(), 1);
    for ssrc in 0..100 {
        let packet = protect(&mut Outbound::new(&key), &rtp(1, ssrc));
        assert_eq!(open(&mut inbound, &packet), Ok(rtp(1, ssrc)));
    }
    assert_eq!(inbound.streams(), 16);
}

#[test]
fn a_key_identifier_is_asked_for_where_it_was_agreed() {
    for suite in Suite::ALL {
        let (key, mut outbound, mut plain) = pair(suite);
        let mut naming = Inbound::new(&key, &[0, 1], FOREVER);
        let packet = protect(&mut outbound, &rtp(1, SSRC));
        assert_eq!(open(&mut naming, &packet), Err(Refused::Forged), "{suite:?}: it has none");
        // Counter mode has it before the tag, GCM behind.
        let at = match suite {
            Suite::AesCm128HmacSha1 | Suite::AesCm256HmacSha1 => packet.len() - 10,
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => packet.len(),
        };
        let mut named = packet.clone();
        named.splice(at..at, [0, 1]);
        assert_eq!(open(&mut plain, &named), Err(Refused::Forged), "{suite:?}: nobody said so");
        assert_eq!(open(&mut naming, &named), Ok(rtp(1, SSRC)), "{suite:?}");
    }
}

#[test]
fn a_worn_out_key_opens_nothing() {
    let key = MasterKey::random(Suite::AesCm128HmacSha1);
    let (mut outbound, mut inbound) = (Outbound::new(&key), Inbound::new(&key, &[], 2));
    let mut next = |sequence| open(&mut inbound, &protect(&mut outbound, &rtp(sequence, SSRC)));
    assert!(next(1).is_ok() && next(2).is_ok());
    assert_eq!(next(3), Err(Refused::Forged));
}

#[test]
fn csrcs_and_extensions_stay_readable_and_lies_about_them_are_malformed() {
    let (_, mut outbound, mut inbound) = pair(Suite::AesCm128HmacSha1);
    let mut clear = rtp(1, SSRC);
    clear[0] = 0x92;
    clear.splice(12..12, hex("00000001 00000002 BEDE0001 10FF0000"));
    let packet = protect(&mut outbound, &clear);
    assert_eq!(packet[..28], clear[..28]);
    assert_eq!(open(&mut inbound, &packet), Ok(clear));
    for (first, extension) in [(0x90, 0xFFFF), (0x9F, 1), (0x40, 0), (0xC0, 0)] {
        let mut lie = protect(&mut outbound, &rtp(2, SSRC));
        lie.truncate(40);
        lie[0] = first;
        lie[14..16].copy_from_slice(&u16::to_be_bytes(extension));
        assert_eq!(open(&mut inbound, &lie), Err(Refused::Malformed), "{first:02X}");
    }
    let packet = protect(&mut outbound, &rtp(3, SSRC)[..12]);
    for length in 0..packet.len() {
        assert!(open(&mut inbound, &packet[..length]).is_err(), "{length}");
        assert!(open_rtcp(&mut inbound, &packet[..length]).is_err(), "{length}");
    }
    assert_eq!(open(&mut inbound, &packet), Ok(rtp(3, SSRC)[..12].to_vec()), "no payload at all");
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_survived_and_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        for suite in Suite::ALL {
            let (_, _, mut inbound) = pair(suite);
            proptest::prop_assert!(open(&mut inbound, &bytes).is_err());
            proptest::prop_assert!(open_rtcp(&mut inbound, &bytes).is_err());
        }
    }
}
