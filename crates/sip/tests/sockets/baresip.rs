//! baresip, a softphone of other people's making, registers and is called. Installed by `cargo xtask test`
//! (Debian: baresip-core).

use std::{path::Path, process::Stdio};

use sip::*;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command as Process},
};

use crate::harness::*;

const USER: &str = "66666666";

async fn switchboard() -> Party {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let server = Some(TlsServer::new(identity).unwrap());
    let tls = TlsSettings { server, ..TlsSettings::default() };
    let accept_register = AcceptRegister::Phones;
    let policy = Policy { accept_register, ..Policy::default() };
    let login = DigestUser::from_password(USER, &policy.phones.realm, "right");
    let party = Party::with_policy(Limits::default(), tls, policy).await;
    let user = USER.to_owned();
    party.endpoint.command(Command::SetUser { user, login: Some(login) }).unwrap();
    party
}

/// A baresip that listens nowhere in particular and registers at `registrar`.
fn baresip(directory: &Path, registrar: &str, transport: Transport, password: &str) -> Child {
    let config = "sip_listen 127.0.0.1:0\nnet_interface 127.0.0.1\naudio_player aubridge,heard\n\
                  audio_source aubridge,said\naudio_alert aubridge,alert\n\
                  module_path /usr/lib/baresip/modules\nmodule g711.so\nmodule aubridge.so\n\
                  module_app account.so\nmodule_app menu.so\n";
    let transport = transport.name().to_ascii_lowercase();
    let account = format!(
        "<sip:{USER}@{registrar};transport={transport}>;auth_pass={password};regint=60;answermode=auto\n"
    );
    for (name, text) in [("config", config), ("accounts", &account), ("contacts", "")] {
        std::fs::write(directory.join(name), text).unwrap();
    }
    let mut child = Process::new("baresip")
        .args(["-f", &directory.display().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("baresip is not installed: apt-get install baresip-core");
    // Read on, so that it never waits for its own output.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    child
}

async fn bound(party: &mut Party) -> Vec<Binding> {
    match party.event().await {
        Event::Bound { user, bindings } if user == USER => bindings,
        other => panic!("{other:?}"),
    }
}

async fn registers_and_is_called(transport: Transport) {
    let mut party = switchboard().await;
    let registrar = party.address(transport).to_string();
    let directory = std::env::temp_dir().join(format!("baresip-{}", registrar.replace(':', "-")));
    std::fs::create_dir_all(&directory).unwrap();
    let mut phone = baresip(&directory, &registrar, transport, "right");
    let [binding] = &bound(&mut party).await[..] else { panic!("one binding") };
    assert_eq!(binding.destination.transport, transport);
    assert!(binding.user_agent.as_deref().unwrap_or_default().starts_with("baresip"));
    let invite = Invite {
        destination: binding.destination,
        request_uri: binding.uri.clone(),
        ..party.invite(binding.destination.addr, transport)
    };
    let leg = invite.leg;
    party.endpoint.command(Command::Prepare(Box::new(invite))).unwrap();
    loop {
        match party.event().await {
            Event::Prepared { .. } => party.endpoint.command(Command::Send { leg }).unwrap(),
            // What is to be kept of its registration comes in between.
            Event::Provisional { .. } | Event::Keep { .. } => {}
            Event::Answered { body, .. } => {
                assert!(body.is_some_and(|body| body.content_type == "application/sdp"));
                party.endpoint.command(Command::Acknowledge { leg, body: None }).unwrap();
                party.hang_up(leg);
            }
            Event::Ended { end, .. } => break assert_eq!(end.by, EndedBy::Us),
            other => panic!("{other:?}"),
        }
    }
    // Killed, it says goodbye to nobody: over a stream its connection tells.
    phone.kill().await.unwrap();
    if transport.is_reliable() {
        assert_eq!(bound(&mut party).await, []);
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn baresip_registers_over_udp_and_is_called() {
    registers_and_is_called(Transport::Udp).await;
}

#[tokio::test]
async fn baresip_registers_over_tcp_and_is_called_over_its_connection() {
    registers_and_is_called(Transport::Tcp).await;
}

#[tokio::test]
async fn baresip_registers_over_tls_and_is_called_over_its_connection() {
    registers_and_is_called(Transport::Tls).await;
}

#[tokio::test]
async fn baresip_with_a_wrong_password_does_not_register() {
    let mut party = switchboard().await;
    let registrar = party.address(Transport::Udp).to_string();
    let directory = std::env::temp_dir().join(format!("baresip-{}", registrar.replace(':', "-")));
    std::fs::create_dir_all(&directory).unwrap();
    let _phone = baresip(&directory, &registrar, Transport::Udp, "wrong");
    // The REGISTER without a password, and the one with it.
    until(&party, |counters| counters.refused >= 2).await;
    let login = Some(DigestUser::from_password("7", "offhook", "x"));
    // A command that was handled after both shows that no event came of them.
    let user = "7".to_owned();
    party.endpoint.command(Command::SetUser { user, login }).unwrap();
    let leg = party.prepare("127.0.0.1:9".parse().unwrap(), Transport::Udp);
    assert!(matches!(party.event().await, Event::Prepared { leg: first, .. } if first == leg));
    std::fs::remove_dir_all(&directory).unwrap();
}
