//! What the interfaces say of a call's second party.

use engine::intent::{Caller, Order, OrderKind};

/// The number that the manager sees (`agentPresent`), where there is a manager.
pub fn agent_shown(order: &Order) -> Option<&str> {
    match &order.kind {
        OrderKind::BidirectionalCall(call) => match &call.caller {
            Caller::Dialled(party) => Some(&party.presented),
            // It called the number that both see.
            Caller::Inbound { .. } => Some(&order.caller_present),
        },
        OrderKind::VoiceNotification { .. } | OrderKind::AnonymousCall(_) => None,
    }
}

/// `callData`, where the client gave some.
pub fn call_data(order: &Order) -> Option<&str> {
    match &order.kind {
        OrderKind::BidirectionalCall(call) => call.call_data.as_deref(),
        OrderKind::AnonymousCall(call) => call.call_data.as_deref(),
        OrderKind::VoiceNotification { .. } => None,
    }
}

/// `agentWorkNo`, where the client named an agent.
pub fn agent_work_no(order: &Order) -> Option<u32> {
    match &order.kind {
        OrderKind::BidirectionalCall(call) => call.agent_work_no,
        OrderKind::AnonymousCall(_) | OrderKind::VoiceNotification { .. } => None,
    }
}
