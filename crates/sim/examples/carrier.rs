//! A carrier to call by hand or under load, until Ctrl-C:
//!
//! ```sh
//! cargo run --release -p sim --example carrier -- 127.0.0.1:5080 127.0.0.1:5081
//! sipp -sn uac -s 1001 -r 200 -m 2000 -d 1000 127.0.0.1:5080
//! curl http://127.0.0.1:5081/report?calls=false
//! ```

use std::error::Error;
use std::net::SocketAddr;

use sim::{CarrierConfig, KeepAudio, SimOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut address = || -> Result<SocketAddr, Box<dyn Error>> {
        Ok(arguments.next().ok_or("usage: carrier SIP-ADDRESS CONTROL-ADDRESS")?.parse()?)
    };
    let (sip_udp, control) = (address()?, address()?);
    let carrier = CarrierConfig {
        sip_udp,
        sip_tcp: Some(sip_udp),
        media_ip: sip_udp.ip(),
        keep_audio: KeepAudio::None,
        ..CarrierConfig::default()
    };
    let options = SimOptions { carrier, control: Some(control), print_calls: false };
    let stop = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            eprintln!("Ctrl-C will not be noticed: {error}");
            std::future::pending::<()>().await;
        }
    };
    Ok(sim::run(options, stop).await?)
}
