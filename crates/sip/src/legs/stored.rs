//! An INVITE that an earlier process wrote, read back from its own bytes.

use bytes::Bytes;
use sipx_sip::HeaderName;

use crate::{
    Body,
    message::{parse_branch, text, typed},
};

/// What a stored INVITE says about itself.
pub(super) struct StoredInvite {
    pub uri: String,
    pub call_id: String,
    pub from_tag: String,
    pub cseq: u32,
    pub branch: u64,
    /// It answers a challenge.
    pub has_login: bool,
    pub body: Option<Body>,
}

impl StoredInvite {
    pub fn read(bytes: &Bytes) -> Option<StoredInvite> {
        let limits = sipx_sip::Limits::datagram();
        let message = sipx_sip::parse_datagram(bytes.clone(), &limits).ok()?;
        let request = message.as_request()?;
        let from = typed::<sipx_sip::headers::From>(&request.headers)?;
        let via = typed::<sipx_sip::Via>(&request.headers)?;
        let call_id = typed::<sipx_sip::CallId>(&request.headers)?;
        let content_type = text(&request.headers, &HeaderName::ContentType);
        let login = [HeaderName::Authorization, HeaderName::ProxyAuthorization];
        Some(StoredInvite {
            has_login: login.iter().any(|name| text(&request.headers, name).is_some()),
            uri: String::from_utf8_lossy(&request.uri.to_bytes()).into_owned(),
            call_id: String::from_utf8(call_id.0).ok()?,
            from_tag: String::from_utf8(from.0.tag()?.to_vec()).ok()?,
            cseq: typed::<sipx_sip::CSeq>(&request.headers)?.sequence,
            branch: via.branch().and_then(parse_branch)?,
            body: content_type
                .map(|content_type| Body { content_type, bytes: request.body().clone() }),
        })
    }
}
