//! Which trunks carry which numbers, as a tenant writes it.

use engine::route::{Hop, Route};
use engine::vocabulary::TrunkName;
use serde::{Deserialize, Serialize};

/// Numbers that begin with `prefix` leave by these trunks; the empty prefix is every number. One of
/// `trunk` and `trunks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "WrittenRoute", into = "WrittenRoute")]
pub struct PrefixRoute {
    pub prefix: String,
    pub route: Route,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRoute {
    prefix: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trunk: Option<TrunkName>,
    /// Each with its weight; the others follow where one fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    trunks: Option<Vec<WrittenHop>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenHop {
    trunk: TrunkName,
    /// Its share of the calls, 0 to 1000; 0: only while no other is in service. Default 1.
    #[serde(default = "one")]
    weight: u16,
}

fn one() -> u16 {
    1
}

impl TryFrom<WrittenRoute> for PrefixRoute {
    type Error = String;

    fn try_from(written: WrittenRoute) -> Result<Self, String> {
        let WrittenRoute { prefix, trunk, trunks } = written;
        let route = match (trunk, trunks) {
            (Some(trunk), None) => Some(trunk.into()),
            (None, Some(hops)) => {
                let hop = |hop: WrittenHop| Hop { trunk: hop.trunk, weight: hop.weight };
                Route::new(hops.into_iter().map(hop).collect())
            }
            (Some(_), Some(_)) | (None, None) => {
                return Err(format!("the route of `{prefix}` wants one of `trunk` and `trunks`"));
            }
        };
        let most = Route::MAX_WEIGHT;
        let wrong =
            || format!("the `trunks` of `{prefix}` must be different, with weights 0 to {most}");
        Ok(PrefixRoute { route: route.ok_or_else(wrong)?, prefix })
    }
}

impl From<PrefixRoute> for WrittenRoute {
    fn from(PrefixRoute { prefix, route }: PrefixRoute) -> Self {
        match route.hops() {
            [Hop { trunk, weight: 1 }] => {
                WrittenRoute { prefix, trunk: Some(trunk.clone()), trunks: None }
            }
            hops => {
                let hop = |hop: &Hop| WrittenHop { trunk: hop.trunk.clone(), weight: hop.weight };
                let trunks = Some(hops.iter().map(hop).collect());
                WrittenRoute { prefix, trunk: None, trunks }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_trunk_or_several_with_weights() {
        for (written, route) in [
            (json!({"prefix": "", "trunk": "a"}), "a"),
            (
                json!({"prefix": "", "trunks": [{"trunk": "a", "weight": 3}, {"trunk": "b"}]}),
                "a*3,b*1",
            ),
            (
                json!({"prefix": "", "trunks": [{"trunk": "a"}, {"trunk": "b", "weight": 0}]}),
                "a*1,b*0",
            ),
        ] {
            let read: PrefixRoute = serde_json::from_value(written).unwrap();
            assert_eq!(read.route.to_string(), route);
            let stored = serde_json::to_value(&read).unwrap();
            assert_eq!(serde_json::from_value::<PrefixRoute>(stored).unwrap(), read);
        }
        for wrong in [
            json!({"prefix": ""}),
            json!({"prefix": "", "trunk": "a", "trunks": [{"trunk": "b"}]}),
            json!({"prefix": "", "trunks": []}),
            json!({"prefix": "", "trunks": [{"trunk": "a"}, {"trunk": "a"}]}),
            json!({"prefix": "", "trunks": [{"trunk": "a", "weight": 1001}]}),
            json!({"prefix": "", "trunk": "a", "wieght": 1}),
        ] {
            assert!(serde_json::from_value::<PrefixRoute>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
