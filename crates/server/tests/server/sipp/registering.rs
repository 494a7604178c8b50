//! sipp as a softphone: it registers by digest, takes a manager's call, and is hung up with the customer.

use super::*;
use crate::support::World;
use crate::two_legs::{self, PASSWORD, SOFTPHONE, create_call};

/// sipp knows MD5 alone. As phones of its age do, it comes a second time without a password, and is offered that.
fn registers() -> String {
    let (first, again, login) =
        (register(1, ""), register(2, ""), register(3, "[authentication]\n"));
    format!(
        r#"<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="register">
{first}<recv response="401"></recv>
{again}<recv response="401" auth="true"></recv>
{login}<recv response="200"></recv>
</scenario>
"#
    )
}

fn register(cseq: u32, login: &str) -> String {
    format!(
        r#"<send retrans="500"><![CDATA[
REGISTER sip:[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
From: <sip:[service]@[remote_ip]>;tag=r
To: <sip:[service]@[remote_ip]>
Call-ID: [call_id]
CSeq: {cseq} REGISTER
Max-Forwards: 70
Contact: <sip:[service]@[local_ip]:[local_port]>
{login}Expires: 300
Content-Length: 0

]]></send>
"#
    )
}

const TAKES_A_CALL: &str = "recv INVITE\ninvite 180\ninvite 200 sdp\nrecv ACK\nrecv BYE\nreply 200";

/// Answers, and hangs up after a second.
const CUSTOMER: &str = "100301";

#[tokio::test(flavor = "multi_thread")]
async fn sipp_registers_by_digest_and_takes_a_manager_s_call() {
    let world = World::with(two_legs::setting("", ""), sim::CarrierConfig::default()).await;
    let directory = TempDir::new().expect("a directory");
    let at = address();
    let run = |name: &str, scenario: &str, more: &[&str]| {
        let file = directory.path().join(name);
        std::fs::write(&file, scenario).expect("a file");
        let child = plays(&file, at, 60).args(more).spawn();
        child.expect("sipp is installed (Debian's sip-tester)").wait_with_output()
    };
    let server = world.server.sip_udp.to_string();
    let login = ["-s", SOFTPHONE, "-au", SOFTPHONE, "-ap", PASSWORD, &server];
    let registered = run("register.xml", &registers(), &login).await.expect("it runs");
    assert!(registered.status.success(), "{}", String::from_utf8_lossy(&registered.stderr));

    let taken = run("call.xml", &scenario::xml("takes a call", TAKES_A_CALL), &[]);
    let (taken, record) = tokio::join!(taken, async {
        let serial = create_call(&world, None, CUSTOMER).await;
        two_legs::ended(&world, &serial).await
    });
    let taken = taken.expect("it runs");
    assert!(taken.status.success(), "{}\n{record}", String::from_utf8_lossy(&taken.stderr));
    assert_eq!(record["end"]["outcome"], "called_hung_up", "{record}");
}
