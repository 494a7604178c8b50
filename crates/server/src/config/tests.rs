use std::path::PathBuf;

use super::listeners::PortRange;
use super::*;

/// Reads `text` as `offhook.toml`, beside the file `password.txt`.
fn read_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("offhook.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::write(directory.path().join("password.txt"), "0123 from a file\n").unwrap();
    let url = "postgres://offhook:secret@db.example.com/calls\n";
    std::fs::write(directory.path().join("database.txt"), url).unwrap();
    let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    Config::read(Some(&path), environment)
}

fn read(text: &str) -> Result<Config, ConfigError> {
    read_with(text, &[])
}

const FULL: &str = r#"
data_directory = "/var/lib/offhook"
[http]
bind = "0.0.0.0:80"
[https]
bind = "0.0.0.0:443"
certificate = "cert.pem"
key = "key.pem"
[sip]
udp = "192.0.2.1:5060"
public_address = "198.51.100.7"
[media]
ports = "20000-29999"
threads = 2
latching = false
[defaults]
ring_limit_s = 45
[storage]
url_file = "database.txt"
refuse_free_mb = 50
[access]
operator_key = "the operator's own key of 32 characters"
[speech]
languages = { zh = "espeak" }
[[trunk]]
name = "carrier"
address = "sip.example.com"
transport = "tcp"
username = "user"
password_file = "password.txt"
register = true
codecs = ["PCMA", "opus"]
calls_per_second = 20
[[trunk]]
name = "sim"
kind = "sim"
[[tenant]]
id = 7
name = "Example"
app_key = "key"
app_secret = "0123456789abcdef"
access_codes = ["2222201"]
routes = [{ prefix = "88", trunk = "sim" }, { prefix = "", trunk = "carrier" }]
trust = ["hooks.example.com", "127.0.0.1:8800 private"]
time_zone = "+08:00"
record = true
review = "manual"
callback_shared_key_file = "password.txt"
"#;

#[test]
fn a_full_file_is_read() {
    let config = read(FULL).unwrap();
    assert_eq!(config.data_directory, PathBuf::from("/var/lib/offhook"));
    assert_eq!(config.http.bind.to_string(), "0.0.0.0:80");
    assert_eq!(config.https.unwrap().key, PathBuf::from("key.pem"));
    assert_eq!(config.media.ports, Some(PortRange { first: 20_000, last: 29_999 }));
    assert_eq!((config.defaults.ring_limit_s, config.defaults.drain_s), (45, 300));
    let carrier = &config.trunks[0];
    assert_eq!((carrier.kind, carrier.transport), (TrunkKind::Sip, Transport::Tcp));
    assert_eq!(carrier.password.as_ref().unwrap().reveal(), "0123 from a file");
    assert_eq!((carrier.expires, carrier.calls_per_second), (300, 20));
    assert_eq!(config.trunks[1].kind, TrunkKind::Sim);
    let tenant = &config.tenants[0];
    assert_eq!(tenant.callback_shared_key.as_ref().unwrap().reveal(), "0123 from a file");
    assert_eq!(tenant.settings.time_zone.to_string(), "+08:00");
    assert_eq!(tenant.settings.route("8899"), Some("sim".into()));
    assert_eq!(tenant.settings.route("1"), Some("carrier".into()));
    assert!(tenant.settings.record && tenant.settings.trust.0.len() == 2);
}

#[test]
fn the_example_of_the_documentation_is_read() {
    let example = include_str!("../../../../docs/offhook.toml");
    let config = read(example).unwrap();
    assert_eq!((config.trunks.len(), config.tenants.len()), (2, 1));
    let shown =
        example.lines().filter_map(|line| Some(line.trim_start_matches("# ").split_once(" = ")?.0));
    let shown: Vec<_> = shown.collect();
    for key in [
        "public_url",
        "latching",
        "queue_timeout_s",
        "seal_key_file",
        "warn_free_mb",
        "from_host",
        "trial_numbers",
    ] {
        assert!(shown.contains(&key), "{key} is not in the example");
    }
}

#[test]
fn what_two_legs_need_is_read_and_judged() {
    let example = include_str!("../../../../docs/offhook.toml");
    let own = example.lines().skip_while(|line| !line.starts_with("# bidirectional_call"));
    let own = own.take_while(|line| !line.starts_with("     "));
    let written: String = own.map(|line| format!("{}\n", line.trim_start_matches("# "))).collect();
    let written = written.replace(",\n  restricted", ", restricted");
    let trust = "trust = [\"hooks.example.com\", \"127.0.0.1:8800 private\"]";
    let with = |more: &str| read(&FULL.replace(trust, &format!("{trust}\n{more}")));
    let tenant = with(&written).unwrap().tenants.remove(0);
    assert_eq!(tenant.settings.ita.balance_minutes, Some(5000));
    assert_eq!(tenant.settings.anonymous_call.access_code.as_deref(), Some("17908"));
    let phones = "softphones = [{ number = \"66666666\", password_file = \"password.txt\" }]";
    let tenant = with(phones).unwrap().tenants.remove(0);
    assert_eq!(tenant.softphones[0].password.reveal(), "0123 from a file");
    for (key, wrong) in [
        ("tenant[0].softphones[0]", "softphones = [{ number = \"6x\", password = \"password\" }]"),
        ("tenant[0].ita.numbers", "ita = { numbers = [\"+1\"] }"),
        ("tenant[0].anonymous_call.code_lifetime_s", "anonymous_call = { code_lifetime_s = 61 }"),
        ("tenant[0].sip_service_address", "sip_service_address = \"sip.example.com\""),
        ("tenant[0].connection_callback_url", "connection_callback_url = \"http://evil.example/\""),
    ] {
        assert_eq!(with(wrong).unwrap_err().key, key, "{wrong}");
    }
    assert_eq!(read("[sip]\nrealm = \"a b\"").unwrap_err().key, "sip.realm");
}

#[test]
fn without_a_file_there_is_a_simulated_trunk_on_loopback() {
    let config = Config::read(None, []).unwrap();
    assert_eq!(config.http.bind.to_string(), "127.0.0.1:8088");
    assert_eq!(config.trunks, [Trunk::sim()]);
    assert!(config.tenants.is_empty() && config.https.is_none());
    assert_eq!(read("[http]\nbind = \"[::1]:0\"").unwrap().trunks, [Trunk::sim()]);
}

#[test]
fn the_database_and_the_lifetimes_are_lines_of_the_configuration() {
    let config = read(FULL).unwrap();
    let url = config.storage.url.as_ref().unwrap().reveal();
    assert_eq!(url, "postgres://offhook:secret@db.example.com/calls");
    assert_eq!((config.storage.warn_free_mb, config.storage.refuse_free_mb), (1024, 50));
    assert!(!format!("{config:?}").contains("secret@"), "a password is not shown");
    let chosen = |config: &Config| config.storage.store(&config.data_directory).unwrap();
    assert!(matches!(chosen(&config), store::StoreConfig::Postgres { .. }));
    let embedded = Config::read(None, []).unwrap();
    assert!(matches!(chosen(&embedded), store::StoreConfig::Sqlite { .. }));

    let days = "[defaults]\nretention = { records_days = 7, events_days = 0 }";
    let environment = [("OFFHOOK__DEFAULTS__RETENTION__EVENTS_DAYS", "3")];
    let retention = read_with(days, &environment).unwrap().defaults.retention;
    assert_eq!((retention.records_days, retention.events_days), (Some(7), Some(3)));
    assert_eq!(retention.timelines_days, None);
    refused(&[
        ("[storage]\nurl = \"mysql://db\"", "storage.url", "postgres://user@host/database"),
        ("[storage]\nwarn_free_mb = 9", "storage.refuse_free_mb", "at most warn_free_mb"),
        ("[storage]\nurI = \"x\"", "storage.urI", "did you mean `url`"),
        (
            "[defaults]\nretention = { record_days = 7 }",
            "defaults.retention.record_days",
            "records_days",
        ),
        ("[defaults.retention]\nevents_days = 99999", "defaults.retention.events_days", "for ever"),
    ]);
}

#[test]
fn variables_override_the_file() {
    let environment = [
        ("OFFHOOK__HTTP__BIND", "127.0.0.1:9"),
        ("OFFHOOK__DEFAULTS__RING_LIMIT_S", "30"),
        ("OFFHOOK__MEDIA__LATCHING", "true"),
        ("OFFHOOK__DATA_DIRECTORY", "/tmp/x"),
        ("OFFHOOK__ACCESS__SEAL_KEY_FILE", "password.txt"),
        ("OFFHOOK_URL", "not a setting"),
        ("PATH", "/bin"),
    ];
    let config = read_with(FULL, &environment).unwrap();
    assert_eq!(config.http.bind.to_string(), "127.0.0.1:9");
    assert_eq!((config.defaults.ring_limit_s, config.media.latching), (30, true));
    assert_eq!(config.data_directory, PathBuf::from("/tmp/x"));
    assert_eq!(config.access.seal_key.unwrap().reveal(), "0123 from a file");
    let secret = read_with("", &[("OFFHOOK__ACCESS__SEAL_KEY", "007")]).unwrap();
    assert_eq!(secret.access.seal_key.unwrap().reveal(), "007", "a secret stays text");
}

/// Each text is refused with an error that begins with the key and contains the advice.
fn refused(cases: &[(&str, &str, &str)]) {
    for (text, key, what) in cases {
        let error = match read(text) {
            Ok(_) => panic!("accepted: {text}"),
            Err(error) => error,
        };
        assert!(error.key.starts_with(key), "{text}\nnames `{}`: {error}", error.key);
        assert!(error.what.contains(what), "{text}\nsays: {error}");
        assert!(error.file.ends_with("offhook.toml") && error.to_string().contains("offhook.toml"));
    }
}

#[test]
fn errors_name_the_key_and_what_to_write() {
    refused(&[
        ("[htpp]", "htpp", "did you mean `http`"),
        ("[http]\nbnid = \"x\"", "http.bnid", "did you mean `bind`"),
        ("[http]\nsomething_else = 1", "http.something_else", "known here: bind"),
        ("[http]\nbind = \"localhost\"", "http.bind", "127.0.0.1:8088"),
        ("[http]\nbind = 80", "http.bind", "[::1]:8088"),
        ("[http]\nlongest_wait_s = 31", "http.longest_wait_s", "0 to 30"),
        ("[media]\nbind = \"all\"", "media.bind", "192.0.2.1"),
        ("[sip]\npublic_address = \"pbx\"", "sip.public_address", "192.0.2.1"),
        ("[https]\nbind = \"127.0.0.1:1\"", "https.certificate", "is missing"),
        ("[[trunk]]\naddress = \"h\"", "trunk[0].name", "is missing"),
        ("[media]\nports = \"9-10\"", "media.ports", "1024 or higher"),
        ("[media]\nports = \"20000\"", "media.ports", "20000-29999"),
        ("[defaults]\nring_limit_s = 0", "defaults.ring_limit_s", "1 to 600"),
        ("[defaults]\nring_limit_s = \"long\"", "defaults.ring_limit_s", "long"),
        ("[access]\noperator_key = \"short\"", "access.operator_key", "32 characters"),
        ("node = 1024", "node", "0 to 1023"),
        ("[http", "", "line 1"),
        ("[speech]\ndefault = \"nobody\"", "speech", "nobody"),
    ]);
    let missing = Config::read(Some("/nonexistent/offhook.toml".as_ref()), []).unwrap_err();
    assert!(missing.to_string().contains("/nonexistent/offhook.toml: cannot be read"), "{missing}");
}

#[test]
fn errors_name_the_trunk_or_tenant() {
    let tenant = |more: &str| {
        format!(
            "[[tenant]]\nid = 1\nname = \"n\"\napp_key = \"k\"\napp_secret = \"0123456789abcdef\"\n{more}"
        )
    };
    let two = format!("{}\n{}", tenant(""), tenant(""));
    let trunk = |more: &str| format!("[[trunk]]\nname = \"t\"\n{more}");
    refused(&[
        (&trunk(""), "trunk[0].address", "sip.example.com"),
        (&trunk("address = \"a b\""), "trunk[0].address", "host:port"),
        (&trunk("address = \"h:99999\""), "trunk[0].address", "host:port"),
        (&trunk("kind = \"sim\"\naddress = \"h\""), "trunk[0].address", "no meaning"),
        (&trunk("address = \"h\"\nregister = true"), "trunk[0].register", "password"),
        (&trunk("address = \"h\"\ncodecs = [\"G729\"]"), "trunk[0].codecs", "PCMA"),
        (&trunk("address = \"h\"\npasword = \"x\""), "trunk[0].pasword", "did you mean `password`"),
        (&trunk("address = \"h\"\ntransport = \"sctp\""), "trunk[0].transport", "sctp"),
        (
            &trunk("address = \"h\"\ntransport = \"udp\"\ntls_ca = \"ca.pem\""),
            "trunk[0].tls_ca",
            "transport = \"tls\"",
        ),
        (
            &trunk("address = \"h\"\ntls_certificate = \"c.pem\""),
            "trunk[0].tls_key",
            "goes with `tls_certificate`",
        ),
        (&trunk("address = \"h\"\nsession_expires = 60"), "trunk[0].session_expires", "90"),
        ("[sip]\ntls = \"127.0.0.1:0\"", "sip.certificate", "go together"),
        ("[sip]\nkey = \"key.pem\"", "sip.tls", "go together"),
        ("[dns]\nservers = [\"localhost\"]", "dns.servers", ""),
        (
            &trunk("address = \"h\"\npassword_file = \"none\""),
            "trunk[0].password_file",
            "cannot be read",
        ),
        (
            &trunk("address = \"h\"\npassword = \"x\"\npassword_file = \"password.txt\""),
            "trunk[0].password_file",
            "one of the two",
        ),
        (&tenant("app_kye = \"x\""), "tenant[0].app_kye", "did you mean `app_key`"),
        (&tenant("ruotes = []"), "tenant[0].ruotes", "did you mean `routes`"),
        (
            &tenant("routes = [{ prefix = \"8\", trunk = \"x\" }]"),
            "tenant[0].routes[0].trunk",
            "`x`",
        ),
        (
            &tenant("routes = [{ prefix = \"a\", trunk = \"sim\" }]"),
            "tenant[0].routes[0].prefix",
            "digits",
        ),
        (&tenant("time_zone = \"CET\""), "tenant[0].time_zone", "+08:00"),
        (&tenant("trust = [\"10.0.0.1:80\"]"), "tenant[0].trust", "private"),
        (&tenant("access_codes = [\"12a\"]"), "tenant[0].access_codes", "digits"),
        (&tenant("ring_limit_s = 601"), "tenant[0].ring_limit_s", "1 to 600"),
        (&tenant("speech = { zh = \"nobody\" }"), "tenant[0].speech", "nobody"),
        (
            &tenant("default_callback_url = \"http://a.example/\""),
            "tenant[0].default_callback_url",
            "trust",
        ),
        (&two, "tenant[1].id", "two tenants"),
    ]);
}

#[test]
fn secrets_are_not_printed() {
    let shown = format!("{:?}", read(FULL).unwrap());
    for secret in ["0123 from a file", "0123456789abcdef", "the operator's own key"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}
