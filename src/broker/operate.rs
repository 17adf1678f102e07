//! The sockets that operators use.

use std::net::SocketAddr;

use super::{Broker, StartError};
use crate::admin;
use crate::config::AdminConfig;

impl Broker {
    /// Serves operators from now on, also while the rest of the broker starts and stops.
    pub(super) async fn operate(&mut self, config: &AdminConfig) -> Result<(), StartError> {
        let Some(address) = config.http else { return Ok(()) };
        let bind_error =
            |error| StartError::Bind { listener: "admin.http".into(), address: address.to_string(), error };
        let socket = admin::server::bind(address).await.map_err(bind_error)?;
        let local = socket.local_addr().map_err(bind_error)?;
        tracing::info!(address = %local, "HTTP for operators");
        self.admin_address = Some(local);
        let routes = admin::routes(&self.observed);
        self.admin_tasks.spawn(admin::server::serve(socket, routes, self.admin_stop.clone()));
        Ok(())
    }

    /// Where health, metrics and the API are served, if they are.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }
}
