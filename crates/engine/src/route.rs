//! The trunks over which a call may leave, in words and as they stand on disk.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::vocabulary::TrunkName;

/// One or more trunks. Those with a weight share the calls in that proportion; those of weight 0 are
/// used only while none of the others is in service. Where a trunk fails a call, the others follow.
///
/// In text `a`, or `a*3,b*1,c*0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Route(Arc<[Hop]>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hop {
    pub trunk: TrunkName,
    /// 0 to 1000.
    pub weight: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no route: write trunks and their weights, such as `a*3,b*1`")]
pub struct RouteError(String);

impl Route {
    pub const MAX_WEIGHT: u16 = 1_000;

    /// `None` without hops, with one trunk twice, or with a weight above the limit.
    pub fn new(hops: Vec<Hop>) -> Option<Route> {
        let twice = |(index, hop): (usize, &Hop)| {
            hops[..index].iter().any(|before| before.trunk == hop.trunk)
        };
        let good = !hops.is_empty()
            && hops.iter().all(|hop| hop.weight <= Self::MAX_WEIGHT)
            && !hops.iter().enumerate().any(twice);
        good.then(|| Route(hops.into()))
    }

    pub fn hops(&self) -> &[Hop] {
        &self.0
    }

    pub fn trunks(&self) -> impl Iterator<Item = &TrunkName> {
        self.0.iter().map(|hop| &hop.trunk)
    }
}

impl From<TrunkName> for Route {
    fn from(trunk: TrunkName) -> Self {
        Route([Hop { trunk, weight: 1 }].into())
    }
}

/// A trunk's name.
impl From<&str> for Route {
    fn from(trunk: &str) -> Self {
        TrunkName::from(trunk).into()
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [Hop { trunk, weight: 1 }] = &*self.0 {
            return trunk.fmt(f);
        }
        for (index, Hop { trunk, weight }) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{trunk}*{weight}")?;
        }
        Ok(())
    }
}

impl FromStr for Route {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let broken = || RouteError(text.to_owned());
        let hop = |part: &str| match part.rsplit_once('*') {
            Some((trunk, weight)) => {
                Some(Hop { trunk: trunk.into(), weight: weight.parse().ok()? })
            }
            None => Some(Hop { trunk: part.into(), weight: 1 }),
        };
        let hops: Option<Vec<Hop>> = text.split(',').map(hop).collect();
        let hops = hops.filter(|hops| hops.iter().all(|hop| !hop.trunk.0.is_empty()));
        hops.and_then(Route::new).ok_or_else(broken)
    }
}

impl TryFrom<String> for Route {
    type Error = RouteError;

    fn try_from(text: String) -> Result<Self, RouteError> {
        text.parse()
    }
}

impl From<Route> for String {
    fn from(route: Route) -> String {
        route.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_reads_as_it_is_written() {
        for text in ["carrier", "a*3,b*1", "a*1,b*0", "a*0"] {
            let route: Route = text.parse().unwrap();
            assert_eq!(route.to_string(), text);
        }
        let route: Route = "a,b".parse().unwrap();
        assert_eq!(route.to_string(), "a*1,b*1");
        for wrong in ["", ",", "a,", "a*x", "a*1001", "a,a", "*3"] {
            assert!(wrong.parse::<Route>().is_err(), "{wrong:?}");
        }
    }
}
