//! Who is dialled, and how.

use crate::cdr::Draft;
use crate::route::Route;
use crate::vocabulary::{BindingId, LegId, Side, TrunkName};

#[derive(Debug)]
pub(super) struct To {
    pub side: Side,
    pub number: String,
    /// The number shown to this party.
    pub presented: String,
    pub way: Way,
    /// The leg that it will hear.
    pub beside: Option<LegId>,
}

#[derive(Debug)]
pub(super) enum Way {
    /// Over `first`; where that fails the call, over the others.
    Trunks {
        route: Route,
        first: TrunkName,
    },
    Softphone(BindingId),
}

impl To {
    /// The called party of the order.
    pub fn called(draft: &Draft, way: Way, beside: Option<LegId>) -> To {
        let order = &draft.intent.order;
        To {
            side: Side::Called,
            number: order.called.clone(),
            presented: order.caller_present.clone(),
            way,
            beside,
        }
    }
}

impl Way {
    /// Over the trunks of the order, `first` first.
    pub fn over(draft: &Draft, first: TrunkName) -> Way {
        let route = draft.intent.order.place.route().cloned();
        Way::Trunks { route: route.unwrap_or_else(|| first.clone().into()), first }
    }
}
