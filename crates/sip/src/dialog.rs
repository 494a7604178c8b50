//! One dialog (RFC 3261 §12): its identity, where its requests go and how they are numbered.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use sipx_sip::{HeaderName, Host};

use crate::{
    Body, Destination, DialogSnapshot, FlowId, LegId, TlsPeer, Transport,
    message::{Request, Response, split_values, texts, uri_of},
    stack::Stack,
    transactions::{ClientKey, NewClient, Owner},
    writer::{ALLOW, Writer},
};

#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    pub leg: LegId,
    pub call_id: String,
    pub local_tag: String,
    pub remote_tag: String,
    pub local_party: String,
    pub remote_party: String,
    pub target: String,
    pub routes: Vec<String>,
    pub local_cseq: u32,
    pub invite_cseq: u32,
    pub remote_cseq: Option<u32>,
    transport: Transport,
    local: SocketAddr,
    /// The address that was dialled, or that the INVITE came from.
    remote: SocketAddr,
    flow: Option<FlowId>,
    tls: Option<TlsPeer>,
    /// Our Contact; a dialog from the store has none, it only says goodbye.
    contact: Option<String>,
}

/// CSeq numbers that requests after the snapshot may have used up.
const CSEQ_GAP: u32 = 1000;

impl Dialog {
    /// The dialog that a response to our INVITE opens. `None` where the response cannot open one.
    pub fn as_caller(
        stack: &Stack,
        leg: LegId,
        invite: &[u8],
        to: Destination,
        response: &Response,
    ) -> Option<Dialog> {
        let lines = InviteLines::read(invite)?;
        let mut routes = record_routes(&response.headers);
        routes.reverse();
        Some(Dialog {
            leg,
            local_tag: lines.local_tag()?.to_owned(),
            remote_tag: response.to_tag.clone().unwrap_or_default(),
            target: contact_uri(&response.headers).unwrap_or(lines.uri),
            local_party: lines.from,
            remote_party: response.to.clone(),
            call_id: lines.call_id,
            routes,
            // Ours, not the one in the response: a peer does not number our requests.
            local_cseq: lines.cseq,
            invite_cseq: lines.cseq,
            remote_cseq: None,
            transport: to.transport,
            local: to.local.or_else(|| stack.local_for(to.addr, to.transport))?,
            remote: to.addr,
            flow: to.flow,
            tls: to.tls,
            contact: Some(lines.contact),
        })
    }

    /// The dialog that an INVITE from the far side opens.
    pub fn as_callee(leg: LegId, invite: &Request, local_tag: String, contact: String) -> Dialog {
        let source = invite.source;
        Dialog {
            leg,
            call_id: invite.call_id.clone(),
            remote_tag: invite.from_tag.clone().unwrap_or_default(),
            local_party: format!("{};tag={local_tag}", invite.to),
            local_tag,
            remote_party: invite.from.clone(),
            target: contact_uri(&invite.headers)
                .or_else(|| sip_uri(&invite.from))
                .unwrap_or_default(),
            routes: record_routes(&invite.headers),
            local_cseq: 0,
            invite_cseq: invite.cseq,
            remote_cseq: Some(invite.cseq),
            transport: source.transport,
            local: source.local,
            remote: source.remote,
            flow: source.flow,
            tls: None,
            contact: Some(contact),
        }
    }

    /// A dialog of an earlier process, only good for ACK and BYE.
    pub fn restored(snapshot: DialogSnapshot) -> Dialog {
        Dialog {
            leg: snapshot.leg,
            call_id: snapshot.call_id,
            local_tag: snapshot.local_tag,
            remote_tag: snapshot.remote_tag,
            local_party: snapshot.local_party,
            remote_party: snapshot.remote_party,
            target: snapshot.target,
            routes: snapshot.routes,
            local_cseq: snapshot.local_cseq.saturating_add(CSEQ_GAP),
            invite_cseq: snapshot.invite_cseq,
            remote_cseq: snapshot.remote_cseq,
            transport: snapshot.transport,
            local: snapshot.local,
            remote: snapshot.remote,
            flow: None,
            tls: snapshot.tls,
            contact: None,
        }
    }

    pub fn snapshot(&self) -> DialogSnapshot {
        DialogSnapshot {
            leg: self.leg,
            call_id: self.call_id.clone(),
            local_tag: self.local_tag.clone(),
            remote_tag: self.remote_tag.clone(),
            local_party: self.local_party.clone(),
            remote_party: self.remote_party.clone(),
            target: self.target.clone(),
            routes: self.routes.clone(),
            local_cseq: self.local_cseq,
            invite_cseq: self.invite_cseq,
            remote_cseq: self.remote_cseq,
            transport: self.transport,
            local: self.local,
            remote: self.remote,
            tls: self.tls,
        }
    }

    pub fn contact(&self) -> Option<&str> {
        self.contact.as_deref()
    }

    /// Whether a request comes from the party that this dialog is with: our own half of the
    /// dialog's identity may be guessable, theirs is not ours to guess (RFC 3261 §12.2.2).
    pub fn is_with(&self, request: &Request) -> bool {
        request.from_tag.as_deref().unwrap_or_default() == self.remote_tag
    }

    /// A request from the far side: `false` where it is older than one that was seen.
    pub fn accept_cseq(&mut self, cseq: u32) -> bool {
        let in_order = self.remote_cseq.is_none_or(|last| cseq > last);
        if in_order {
            self.remote_cseq = Some(cseq);
        }
        in_order
    }

    /// Target refresh (RFC 3261 §12.2): re-INVITE and UPDATE may move the far side's Contact.
    pub fn refresh_target(&mut self, headers: &sipx_sip::Headers) {
        if let Some(target) = contact_uri(headers) {
            self.target = target;
        }
    }

    /// The next hop. An address literal in the first Route or in the Contact is followed, unless it
    /// is one that cannot be reached from here while the peer's own can: then the peer is behind
    /// NAT. Names are not looked up inside the core: they lead to the peer that was dialled. A phone
    /// that registered here is only reached the way it came.
    pub fn destination(&self) -> Destination {
        let hop = self.routes.first().unwrap_or(&self.target);
        let addr = literal_address(hop)
            .filter(|_| !self.transport.is_reliable() && self.flow.is_none())
            .filter(|addr| addr.is_ipv4() == self.local.is_ipv4())
            .filter(|addr| is_reachable(addr.ip()) || !is_reachable(self.remote.ip()))
            .unwrap_or(self.remote);
        Destination {
            addr,
            transport: self.transport,
            local: Some(self.local),
            flow: self.flow,
            tls: self.tls,
        }
    }

    /// The ACK of a 2xx (RFC 3261 §13.2.2.4): the CSeq of its INVITE, a branch of its own.
    pub fn ack(
        &mut self,
        stack: &mut Stack,
        cseq: u32,
        body: Option<&Body>,
        headers: &[(String, String)],
    ) -> Bytes {
        let branch = stack.random.next();
        self.build(stack, "ACK", branch, cseq, headers, body)
    }

    /// Starts a request inside the dialog and returns its key and CSeq.
    pub fn send(
        &mut self,
        stack: &mut Stack,
        method: &str,
        owner: Owner,
        headers: &[(String, String)],
        body: Option<&Body>,
    ) -> (ClientKey, u32) {
        self.local_cseq = self.local_cseq.saturating_add(1);
        let cseq = self.local_cseq;
        let branch = stack.random.next();
        let key = ClientKey { branch, is_cancel: false };
        let bytes = self.build(stack, method, branch, cseq, headers, body);
        stack.start_client(NewClient {
            key,
            owner,
            is_invite: method == "INVITE",
            bytes,
            to: self.destination(),
        });
        (key, cseq)
    }

    pub fn send_bye(
        &mut self,
        stack: &mut Stack,
        owner: Owner,
        reason: Option<&str>,
        headers: &[(String, String)],
    ) -> ClientKey {
        let mut all = headers.to_vec();
        all.extend(reason.map(|reason| ("Reason".to_owned(), reason.to_owned())));
        self.send(stack, "BYE", owner, &all, None).0
    }

    /// The Request-URI of requests in this dialog, which digest responses are computed over.
    pub fn request_uri(&self) -> &str {
        match self.routes.first() {
            Some(route) if !is_loose(route) => between_brackets(route),
            Some(_) | None => &self.target,
        }
    }

    fn build(
        &self,
        stack: &Stack,
        method: &str,
        branch: u64,
        cseq: u32,
        headers: &[(String, String)],
        body: Option<&Body>,
    ) -> Bytes {
        let mut writer = Writer::request(method, self.request_uri())
            .header("Via", stack.via(self.destination(), branch))
            .header("Max-Forwards", "70");
        for route in self.route_set() {
            writer = writer.header("Route", route);
        }
        writer = writer
            .header("From", &self.local_party)
            .header("To", &self.remote_party)
            .header("Call-ID", &self.call_id)
            .header("CSeq", format!("{cseq} {method}"));
        if matches!(method, "INVITE" | "UPDATE") {
            writer = writer
                .maybe("Contact", self.contact.as_ref())
                .header("Allow", ALLOW)
                .header("Supported", "timer");
        }
        writer.maybe("User-Agent", stack.config.user_agent.as_ref()).headers(headers).finish(body)
    }

    /// RFC 3261 §12.2.1.1: behind a strict router the target goes to the end of the routes.
    fn route_set(&self) -> Vec<String> {
        match self.routes.split_first() {
            Some((first, rest)) if !is_loose(first) => {
                let target = format!("<{}>", self.target);
                rest.iter().cloned().chain([target]).collect()
            }
            Some(_) | None => self.routes.clone(),
        }
    }
}

/// The dialog of a fork that was not taken: only to acknowledge it and hang up.
pub(crate) fn surplus_dialog(
    stack: &Stack,
    owner: Owner,
    invite: &[u8],
    to: Destination,
    response: &Response,
) -> Option<Dialog> {
    Dialog::as_caller(stack, owner.leg()?, invite, to, response)
}

/// The lines of an INVITE of ours that its dialogs are made of.
struct InviteLines {
    uri: String,
    from: String,
    call_id: String,
    cseq: u32,
    contact: String,
}

impl InviteLines {
    fn read(invite: &[u8]) -> Option<InviteLines> {
        let text = String::from_utf8_lossy(invite);
        let (head, _) = text.split_once("\r\n\r\n")?;
        let value = |name: &str| {
            let mut lines = head.split("\r\n");
            lines.find_map(|line| line.strip_prefix(name).map(str::to_owned))
        };
        Some(InviteLines {
            uri: head.split(' ').nth(1)?.to_owned(),
            from: value("From: ")?,
            call_id: value("Call-ID: ")?,
            cseq: value("CSeq: ")?.split(' ').next()?.parse().ok()?,
            contact: value("Contact: ")?,
        })
    }

    fn local_tag(&self) -> Option<&str> {
        self.from.rsplit_once(";tag=").map(|(_, tag)| tag)
    }
}

fn contact_uri(headers: &sipx_sip::Headers) -> Option<String> {
    let contacts = split_values(&texts(headers, &HeaderName::Contact));
    contacts.first().and_then(|contact| sip_uri(contact))
}

/// Routes that can be followed; others are left out rather than copied into our requests.
fn record_routes(headers: &sipx_sip::Headers) -> Vec<String> {
    let mut routes = split_values(&texts(headers, &HeaderName::RecordRoute));
    routes.retain(|route| sip_uri(route).is_some() && !route.contains(char::is_control));
    routes
}

/// A URI that may stand in our request line: what a peer wrote could otherwise end the line early.
fn sip_uri(value: &str) -> Option<String> {
    let scheme = |uri: &str| {
        let scheme = uri.split(':').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips")
    };
    uri_of(value).filter(|uri| scheme(uri) && uri.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// The URI of a name-addr; an addr-spec as it is.
fn between_brackets(route: &str) -> &str {
    let inner = route.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or(route, |(uri, _)| uri)
}

fn is_loose(route: &str) -> bool {
    let uri = uri_of(route).unwrap_or_default();
    uri.split(';')
        .skip(1)
        .any(|param| param.split('=').next().is_some_and(|name| name.eq_ignore_ascii_case("lr")))
}

fn literal_address(value: &str) -> Option<SocketAddr> {
    let uri = uri_of(value)?;
    let uri = sipx_sip::Uri::parse(Bytes::from(uri)).ok()?;
    let ip: IpAddr = match uri.host()? {
        Host::Name(_) => return None,
        host => host.to_string().trim_matches(['[', ']']).parse().ok()?,
    };
    Some(SocketAddr::new(ip, uri.port().unwrap_or(5060)))
}

/// Whether an address may be meant for the whole network rather than for the peer's own.
fn is_reachable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            // 100.64.0.0/10 is what mobile networks give their phones (RFC 6598).
            let [a, b, ..] = ip.octets();
            !(ip.is_private()
                || (a == 100 && (64..128).contains(&b))
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_broadcast()
                || ip.is_multicast())
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || ip.is_unique_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_address_literals_only() {
        let port = |text: &str| literal_address(text).map(|addr| addr.to_string());
        assert_eq!(port("<sip:x@10.0.0.1:5070;lr>").as_deref(), Some("10.0.0.1:5070"));
        assert_eq!(port("sip:[::1]").as_deref(), Some("[::1]:5060"));
        assert_eq!(port("<sip:x@example.com>"), None);
    }

    #[test]
    fn an_address_of_somebodys_own_network_leads_nowhere() {
        let reachable = |ip: &str| is_reachable(ip.parse().unwrap());
        for own in ["10.0.0.1", "192.168.1.1", "100.64.0.1", "100.127.9.9", "127.0.0.1", "fd00::1"]
        {
            assert!(!reachable(own), "{own}");
        }
        for public in ["100.63.0.1", "100.128.0.1", "192.0.2.1", "2001:db8::1"] {
            assert!(reachable(public), "{public}");
        }
    }

    #[test]
    fn what_would_break_a_request_line_is_no_uri() {
        assert_eq!(sip_uri("\"A\" <sip:x@h;lr>;q=1").as_deref(), Some("sip:x@h;lr"));
        for bad in ["SIP\0 2.0/UDP h", "<http://x/>", "<sip:a b@h>", "*", "", "<sip:\u{e9}@h>"] {
            assert_eq!(sip_uri(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn knows_a_loose_router() {
        assert!(is_loose("<sip:p@h;lr>"));
        assert!(is_loose("<sip:p@h;transport=tcp;LR=on>"));
        assert!(!is_loose("<sip:lr@h>"));
    }
}
