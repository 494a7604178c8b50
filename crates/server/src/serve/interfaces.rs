//! The HTTP and HTTPS listeners: bound early, so that a taken port is known before anything is made;
//! served last, when calls are taken.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{ServeError, descriptors};
use crate::app::App;
use crate::config::Config;
use crate::http;
use crate::http::listener::{Listener, ServedCertificate};

pub struct Interfaces {
    http: Listener,
    https: Option<Listener>,
}

impl Interfaces {
    pub async fn bind(config: &Config) -> Result<Interfaces, ServeError> {
        let connections = descriptors::http_connections(config);
        let http = Listener::http(config.http.bind, connections).await?;
        let https = match &config.https {
            Some(https) => Some(Listener::https(https, connections).await?),
            None => None,
        };
        Ok(Interfaces { http, https })
    }

    pub fn addresses(&self) -> Result<(SocketAddr, Option<SocketAddr>), ServeError> {
        let https = self.https.as_ref().map(Listener::address).transpose()?;
        Ok((self.http.address()?, https))
    }

    /// What HTTPS shows.
    pub fn certificate(&self) -> Option<Arc<ServedCertificate>> {
        self.https.as_ref()?.certificate()
    }

    /// Serves until `stop` says so; requests under way are finished.
    pub fn serve(self, app: &App, stop: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
        let router = http::router(app.clone());
        let listeners = [Some(self.http), self.https];
        let serve = |listener: Listener| tokio::spawn(listener.serve(router.clone(), stop.clone()));
        listeners.into_iter().flatten().map(serve).collect()
    }
}
