//! Trunks of kind `sim`: a carrier inside the process, reached over real SIP and RTP on loopback.

use std::collections::BTreeMap;

use engine::vocabulary::TrunkName;
use sim::{Carrier, CarrierConfig};

use super::ServeError;
use crate::config::{Config, TrunkKind};

/// One carrier per trunk of kind `sim`.
pub async fn start_carriers(config: &Config) -> Result<BTreeMap<TrunkName, Carrier>, ServeError> {
    let mut carriers = BTreeMap::new();
    for trunk in config.trunks.iter().filter(|trunk| trunk.kind == TrunkKind::Sim) {
        let carrier = Carrier::start(CarrierConfig::default()).await?;
        carriers.insert(trunk.name.clone(), carrier);
    }
    Ok(carriers)
}
