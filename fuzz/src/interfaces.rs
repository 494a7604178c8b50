//! Targets of `crates/server`: bodies of requests and texts of templates, judged as a request is.

use engine::intent::{OrderKind, PlayItem};
use offhook::fuzzing::{Desk, Refusal, Words, speak};

/// The body of a request for a call, in the words of each interface. What becomes an order keeps its promises.
pub fn call_json(data: &[u8]) {
    let desk = Desk::default();
    for words in [Words::ApiAccessV1, Words::ApiAccessV2, Words::Own] {
        match desk.order(words, data) {
            Ok(order) => {
                let digits = order.called.strip_prefix('+').unwrap_or(&order.called);
                assert!(order.called.len() <= 32 && digits.bytes().all(|b| b.is_ascii_digit()));
                assert_eq!(order.caller_present, "2222201", "no other number is the tenant's");
                let OrderKind::VoiceNotification { playlist, play_times } = &order.kind else {
                    panic!("another kind of call: {order:?}")
                };
                assert!((1..=5).contains(play_times) && (1..=5).contains(&playlist.len()));
                assert!(playlist.iter().all(is_ours), "{playlist:?}");
                let url = order.callback_url.as_deref();
                assert!(url.is_none_or(|url| url.starts_with("http://127.0.0.1:8800/")), "{url:?}");
            }
            Err(Refusal::Code(code)) => assert!(matches!(code, 2 | 5..=23 | 36), "{code}"),
            Err(Refusal::Body) => {}
        }
    }
}

/// A template and its values, a line each.
pub fn template(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let template = lines.next().unwrap_or_default();
    let values: Vec<&str> = lines.take(12).collect();
    if let Some(Err(error)) = speak(template, &values) {
        assert!(matches!(error.return_code(), 13..=15), "{error}");
    }
}

fn is_ours(item: &PlayItem) -> bool {
    match item {
        PlayItem::Recording { voice_id } => voice_id == "100001",
        PlayItem::Speech { template_id, text } => template_id == "200001" && !text.is_empty(),
    }
}
