use super::*;
use proptest::prelude::*;

fn list(entries: &[&str]) -> TrustList {
    TrustList(
        entries
            .iter()
            .map(|entry| entry.parse().unwrap_or_else(|error| panic!("{entry}: {error}")))
            .collect(),
    )
}

fn permits(entries: &[&str], url: &str) -> Result<Reach, Refused> {
    list(entries).permits(&Url::parse(url).unwrap()).map(|permit| permit.reach())
}

#[test]
fn a_callback_url_in_clear_or_as_base64() {
    let clear = "http://hooks.example.com:8800/callbackTest";
    assert_eq!(parse_callback_url(clear).unwrap().as_str(), clear);
    // printf %s http://hooks.example.com:8800/callbackTest | base64
    let encoded = "aHR0cDovL2hvb2tzLmV4YW1wbGUuY29tOjg4MDAvY2FsbGJhY2tUZXN0";
    assert_eq!(parse_callback_url(encoded).unwrap().as_str(), clear);
    assert_eq!(
        parse_callback_url("HTTPS://Hooks.Example.com/a_b?c&d#e").unwrap().host_str(),
        Some("hooks.example.com")
    );
}

#[test]
fn what_is_no_callback_url() {
    let long = format!("http://h/{}", "a".repeat(MAX_URL));
    let table: &[(&str, UrlError)] = &[
        (&long, UrlError::TooLong(long.len())),
        ("", UrlError::Scheme),
        ("hooks.example.com", UrlError::Base64),
        ("ftp://hooks.example.com/", UrlError::Base64),
        ("ZmlsZTovLy9ldGMvcGFzc3dk", UrlError::Scheme), // file:///etc/passwd
        ("/w==", UrlError::Base64),                     // not UTF-8
        ("http://user@hooks.example.com/", UrlError::Character('@')),
        ("http://h/%2e%2e", UrlError::Character('%')),
        ("http://[::1]/", UrlError::Character('[')),
        ("http://h/ a", UrlError::Character(' ')),
        ("http://h/a\r\nX-Evil: 1", UrlError::Character('\r')),
        ("http://例子.example/", UrlError::Character('例')),
        ("http://h:0/", UrlError::PortZero),
        ("http://h:99999/", UrlError::Malformed(url::ParseError::InvalidPort)),
        ("http://", UrlError::Malformed(url::ParseError::EmptyHost)),
    ];
    for (given, expected) in table {
        assert_eq!(parse_callback_url(given).unwrap_err(), *expected, "{given}");
    }
}

#[test]
fn entries_round_trip_in_their_normal_form() {
    for (text, normal) in [
        ("203.0.114.7:8800", "203.0.114.7:8800"),
        (" Hooks.Example.COM. ", "hooks.example.com"),
        ("hooks.example.com:80", "hooks.example.com:80"),
        ("hooks.example.com:443", "hooks.example.com:443"),
        ("https://hooks.example.com", "https://hooks.example.com"),
        ("http://hooks.example.com:443", "http://hooks.example.com:443"),
        ("127.0.0.1:80 private", "127.0.0.1:80 private"),
        ("2130706433:81 private", "127.0.0.1:81 private"),
        ("[::ffff:10.0.0.1]:81 private", "10.0.0.1:81 private"),
        ("[::1]:8800   private", "[::1]:8800 private"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("localhost private", "localhost private"),
    ] {
        let entry: TrustEntry = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(entry.to_string(), normal);
        assert_eq!(normal.parse::<TrustEntry>().unwrap(), entry);
        let json = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<TrustEntry>(&json).unwrap(), entry);
    }
}

#[test]
fn what_is_no_entry() {
    let syntax = |text: &str| EntryError::Syntax(text.to_owned());
    for (text, expected) in [
        ("", syntax("")),
        ("hooks.example.com/path", syntax("hooks.example.com/path")),
        ("user@hooks.example.com", syntax("user@hooks.example.com")),
        ("*.example.com", syntax("*.example.com")),
        ("..", syntax("..")),
        ("。。", syntax("。。")),
        ("a..example", syntax("a..example")),
        ("hooks.example.com public", syntax("hooks.example.com public")),
        ("hooks.example.com:99999", syntax("hooks.example.com:99999")),
        ("[fe80::1%25eth0]:80 private", syntax("[fe80::1%25eth0]:80 private")),
        ("ftp://hooks.example.com", EntryError::Scheme("ftp://hooks.example.com".into())),
        ("203.0.114.7", EntryError::PortMissing("203.0.114.7".into())),
        ("127.0.0.1:80", EntryError::PrivateUnmarked("127.0.0.1:80".into())),
        ("169.254.169.254:80", EntryError::PrivateUnmarked("169.254.169.254:80".into())),
        ("0.0.0.0:80 private", EntryError::NeverCallable("0.0.0.0:80 private".into())),
        ("224.0.0.1:80 private", EntryError::NeverCallable("224.0.0.1:80 private".into())),
    ] {
        assert_eq!(text.parse::<TrustEntry>().unwrap_err(), expected, "{text}");
    }
}

#[test]
fn what_a_list_permits() {
    let entries = [
        "203.0.114.7:8800",
        "hooks.example.com",
        "https://only.example.com:8443",
        "lan.example private",
    ];
    for (url, reach) in [
        ("http://203.0.114.7:8800/x", Reach::Public),
        ("https://203.0.114.7:8800/x", Reach::Public),
        ("http://[::ffff:203.0.114.7]:8800/x", Reach::Public),
        ("http://HOOKS.example.com./x", Reach::Public),
        ("https://hooks.example.com:9999/x", Reach::Public),
        ("https://only.example.com:8443/", Reach::Public),
        ("http://lan.example/", Reach::Private),
    ] {
        assert_eq!(permits(&entries, url), Ok(reach), "{url}");
    }
    for (url, refused) in [
        ("http://203.0.114.7/x", Refused::NotTrusted),
        ("http://203.0.114.8:8800/x", Refused::NotTrusted),
        ("http://evil.hooks.example.com/", Refused::NotTrusted),
        ("http://hooks.example.com.evil.example/", Refused::NotTrusted),
        ("http://only.example.com:8443/", Refused::NotTrusted),
        ("https://only.example.com/", Refused::NotTrusted),
        ("http://hooks.example.com@127.0.0.1/", Refused::Credentials),
        ("ftp://hooks.example.com/", Refused::Scheme),
        ("file:///etc/passwd", Refused::Scheme),
        ("http://hooks.example.com:0/", Refused::NoHost),
        ("http://hooks.example.com../", Refused::NoHost),
    ] {
        assert_eq!(permits(&entries, url), Err(refused), "{url}");
    }
    assert_eq!(permits(&[], "http://hooks.example.com/"), Err(Refused::NotTrusted));
}

#[test]
fn the_widest_entry_that_covers_an_address_counts() {
    assert_eq!(
        permits(&["a.example", "a.example:81 private"], "http://a.example/"),
        Ok(Reach::Public)
    );
    assert_eq!(
        permits(&["a.example", "a.example:81 private"], "http://a.example:81/"),
        Ok(Reach::Private)
    );
}

proptest! {
    #[test]
    fn any_text_is_an_entry_or_an_error(text in "(https?://)?[a-zA-Z0-9.:@/%*\\[\\] é。-]{0,30}( private)?") {
        if let Ok(entry) = text.parse::<TrustEntry>() {
            prop_assert_eq!(entry.to_string().parse::<TrustEntry>().unwrap(), entry);
        }
    }

    #[test]
    fn any_text_is_an_address_or_an_error_and_an_empty_list_permits_none(text in "(http://)?.{0,40}") {
        for url in [parse_callback_url(&text).ok(), Url::parse(&text).ok()].into_iter().flatten() {
            prop_assert!(TrustList::default().permits(&url).is_err());
        }
    }

    #[test]
    fn a_permitted_address_is_the_trusted_one(host in "[0-9a-fx.]{1,16}|[0-9a-f:]{2,10}", port in prop_oneof![Just(8800u16), 1u16..]) {
        let trusted = list(&["203.0.114.7:8800", "[2400::7]:8800"]);
        for host in [host.clone(), format!("[{host}]"), "203.0.114.7".into()] {
            if let Ok(url) = Url::parse(&format!("http://{host}:{port}/"))
                && let Ok(permit) = trusted.permits(&url)
            {
                prop_assert_eq!(permit.port(), 8800);
            }
        }
    }
}
