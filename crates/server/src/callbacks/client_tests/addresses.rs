//! S-9: whatever is written as a callback address, nothing outside the trust list is connected to.
use super::*;
use crate::callbacks::trust::parse_callback_url;
use base64::{Engine, prelude::BASE64_STANDARD};

/// `PORT` is where a receiver listens on every loopback address, so that a hole would show.
const FORMS: &[&str] = &[
    // Loopback in every spelling that a URL parser or a C library takes.
    "http://127.0.0.1:PORT/",
    "https://127.0.0.1:PORT/",
    "http://127.1:PORT/",
    "http://127.0.1:PORT/",
    "http://2130706433:PORT/",
    "http://0x7f000001:PORT/",
    "http://0x7f.0.0.1:PORT/",
    "http://0x7f.1:PORT/",
    "http://0X7F.0X1:PORT/",
    "http://0177.0.0.1:PORT/",
    "http://0177.0.0.01:PORT/",
    "http://017700000001:PORT/",
    "http://127.000.000.001:PORT/",
    "http://127.0.0.1.:PORT/",
    "http://127.0.0.2:PORT/",
    "http://127.255.255.254:PORT/",
    "http://0:PORT/",
    "http://00:PORT/",
    "http://0x0:PORT/",
    "http://0.0.0.0:PORT/",
    "http://4294967296:PORT/",
    "http://[::1]:PORT/",
    "http://[0:0:0:0:0:0:0:1]:PORT/",
    "http://[::]:PORT/",
    "http://[::ffff:127.0.0.1]:PORT/",
    "http://[::ffff:7f00:1]:PORT/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:PORT/",
    "http://[::127.0.0.1]:PORT/",
    "http://[64:ff9b::127.0.0.1]:PORT/",
    "http://[2002:7f00:1::]:PORT/",
    "http://[::1%25lo]:PORT/",
    "http://[fe80::1%25lo]:PORT/",
    "http://[fe80::1%lo]:PORT/",
    "http://localhost:PORT/",
    "http://LOCALHOST:PORT/",
    "http://localhost.:PORT/",
    "http://foo.localhost:PORT/",
    "http://localhost.localdomain:PORT/",
    "http://ip6-localhost:PORT/",
    // The same in other alphabets and escapes.
    "http://①②⑦.⓪.⓪.①:PORT/",
    "http://１２７.0.0.1:PORT/",
    "http://127。0。0。1:PORT/",
    "http://ｌｏｃａｌｈｏｓｔ:PORT/",
    "http://loc%61lhost:PORT/",
    "http://%31%32%37.0.0.1:PORT/",
    "http://127.0.0.1\t:PORT/",
    "http://\u{ad}localhost:PORT/",
    // Metadata services.
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://[::ffff:169.254.169.254]/",
    "http://[fd00:ec2::254]/",
    "http://metadata/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://instance-data/",
    "http://100.100.100.200/",
    // A trusted name beside the true host.
    "http://hooks.example.com@127.0.0.1:PORT/",
    "http://hooks.example.com:80@127.0.0.1:PORT/",
    "http://hooks.example.com%00@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT#@hooks.example.com/",
    "http://127.0.0.1:PORT?@hooks.example.com/",
    "http://127.0.0.1:PORT\\@hooks.example.com/",
    "http://hooks.example.com\\@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT/hooks.example.com",
    "http://127.0.0.1:PORT\r\nHost: hooks.example.com/",
    "http:127.0.0.1:PORT/",
    "http:/127.0.0.1:PORT/",
    "http:///127.0.0.1:PORT/",
    "http:\\\\127.0.0.1:PORT/",
    "//127.0.0.1:PORT/",
    " http://127.0.0.1:PORT/",
    "http://127.0.0.1:PORT:80/",
    "http://evil.hooks.example.com:PORT/",
    "http://hooks.example.com.loop.test:PORT/",
    "http://hооks.example.com:PORT/", // Cyrillic о
    // Another port than the trusted one, and port 0.
    "http://203.0.114.7:PORT/",
    "http://203.0.114.7:0/",
    // Other schemes.
    "ftp://127.0.0.1:PORT/",
    "gopher://127.0.0.1:PORT/_POST%20/",
    "file:///etc/passwd",
    "dict://127.0.0.1:PORT/",
    "ws://127.0.0.1:PORT/",
    "unix:///run/docker.sock",
    "data:text/plain,x",
    "javascript:alert(1)",
    // Trusted names that resolve to what their entry does not allow.
    "http://loop.example:PORT/",
    "http://LOOP.example.:PORT/",
    "http://loop6.example:PORT/",
    "http://zero.example:PORT/",
    "http://private.example:PORT/",
    "http://metadata.example/",
    "http://mapped.example:PORT/",
    "http://nat64.example:PORT/",
    "http://mixed.example:PORT/",
    "http://mixed6.example:PORT/",
    "http://multicast.example:PORT/",
    "http://nothing.example:PORT/",
];

const NAMES: &[(&str, &[&[&str]])] = &[
    ("loop.example", &[&["127.0.0.1"]]),
    ("loop6.example", &[&["::1"]]),
    ("zero.example", &[&["0.0.0.0"]]),
    ("private.example", &[&["192.168.1.1"]]),
    ("metadata.example", &[&["169.254.169.254"]]),
    ("mapped.example", &[&["::ffff:127.0.0.1"]]),
    ("nat64.example", &[&["64:ff9b::7f00:1"]]),
    ("mixed.example", &[&["203.0.114.7", "127.0.0.1"]]),
    ("mixed6.example", &[&["203.0.114.7", "::1"]]),
    ("multicast.example", &[&["224.0.0.1"]]),
    ("nothing.example", &[&[]]),
    // Not in the trust list, so never asked for.
    ("evil.hooks.example.com", &[&["127.0.0.1"]]),
    ("hooks.example.com.loop.test", &[&["127.0.0.1"]]),
    ("metadata.google.internal", &[&["127.0.0.1"]]),
];

#[tokio::test]
async fn nothing_outside_the_trust_list_is_connected_to() {
    let dns = DnsServer::start(NAMES).await;
    let client = client(ClientSettings { name_servers: vec![dns.address], ..settings() });
    let receiver = Receiver::start(receiver::reply("200 OK", "", "")).await;
    let port = receiver.port.to_string();
    let mut entries: Vec<String> = NAMES[..11].iter().map(|(name, _)| name.to_string()).collect();
    entries.extend(["hooks.example.com", "203.0.114.7:8800", "localhost"].map(String::from));
    let trusted = trust(&entries);
    assert!(FORMS.len() >= 60);
    for form in FORMS {
        let form = form.replace("PORT", &port);
        // As a request gives it, in clear and as Base64, and as an operator may have set it.
        let given = [
            parse_callback_url(&form).ok(),
            parse_callback_url(&BASE64_STANDARD.encode(&form)).ok(),
        ];
        for url in given.into_iter().chain([Url::parse(&form).ok()]).flatten() {
            let Ok(permit) = trusted.permits(&url) else { continue };
            let result = post(&client, &permit).await;
            let refused = matches!(
                &result,
                AttemptResult::Failed {
                    failure: Failure::AddressRefused(_) | Failure::NotResolved(_),
                    status: None
                }
            );
            assert!(refused, "{form}: {result:?}");
        }
    }
    assert_eq!(receiver.connections(), 0);
    let untrusted = ["evil", "test", "internal"];
    assert!(
        !dns.asked().iter().any(|name| untrusted.iter().any(|part| name.contains(part))),
        "{:?}",
        dns.asked()
    );

    // The same receiver is reached where an entry allows it, so the zero above means something.
    for (entry, url) in [
        ("127.0.0.1:PORT private", "http://127.0.0.1:PORT/"),
        ("loop.example private", "http://loop.example:PORT/"),
    ] {
        let allowed = permit(&entry.replace("PORT", &port), &url.replace("PORT", &port));
        assert!(matches!(
            post(&client, &allowed).await,
            AttemptResult::Answered { status: 200, .. }
        ));
    }
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn a_name_that_moves_inside_after_it_was_trusted_is_refused() {
    let dns = DnsServer::start(&[("rebind.example", &[&["203.0.114.7"], &["127.0.0.1"]])]).await;
    let client = client(ClientSettings { name_servers: vec![dns.address], ..settings() });
    let receiver = Receiver::start(receiver::reply("200 OK", "", "")).await;
    let permit = permit("rebind.example", &format!("http://rebind.example:{}/", receiver.port));
    let first = client.resolver.resolve(&permit).await;
    assert_eq!(first, Ok(vec![format!("203.0.114.7:{}", receiver.port).parse().unwrap()]));
    let second = post(&client, &permit).await;
    assert!(
        matches!(second, AttemptResult::Failed { failure: Failure::AddressRefused(_), .. }),
        "{second:?}"
    );
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn each_try_resolves_once_and_connects_to_what_was_judged() {
    let dns = DnsServer::start(&[("moves.example", &[&["127.0.0.1"], &["127.0.0.2"]])]).await;
    let client = client(ClientSettings { name_servers: vec![dns.address], ..settings() });
    let mut receiver = Receiver::start(receiver::reply("200 OK", "", "")).await;
    let permit =
        permit("moves.example private", &format!("http://moves.example:{}/", receiver.port));
    for (turn, address) in ["127.0.0.1", "127.0.0.2", "127.0.0.2"].into_iter().enumerate() {
        assert!(matches!(post(&client, &permit).await, AttemptResult::Answered { .. }));
        let (reached, _) = receiver.requests.recv().await.unwrap();
        assert_eq!(
            reached.ip().to_string(),
            address,
            "a connection of an earlier answer is not used again"
        );
        assert_eq!(dns.asked().len(), turn + 1);
    }
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn the_hosts_file_and_localhost_resolve() {
    let mut receiver = Receiver::start(receiver::reply("200 OK", "", "")).await;
    let permit = permit("localhost private", &format!("http://localhost:{}/", receiver.port));
    let without_servers =
        CallbackClient { resolver: Resolver::with_servers(&[]).unwrap(), ..client(settings()) };
    for client in [client(settings()), without_servers] {
        let result = post(&client, &permit).await;
        assert!(matches!(result, AttemptResult::Answered { .. }), "{result:?}");
        receiver.requests.recv().await.unwrap();
    }
}
