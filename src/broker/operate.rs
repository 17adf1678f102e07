//! The sockets that operators use.

use std::net::SocketAddr;
use std::path::Path;

use super::{Broker, StartError};
use crate::admin::{self, server};
use crate::config::AdminConfig;

impl Broker {
    /// Serves operators from now on, also while the rest of the broker starts and stops.
    pub(super) async fn operate(&mut self, config: &AdminConfig) -> Result<(), StartError> {
        if let Some(address) = config.http {
            self.serve_http(address, config.http_api).await?;
        }
        if let Some(path) = &config.socket {
            self.serve_socket(path)?;
        }
        Ok(())
    }

    async fn serve_http(&mut self, address: SocketAddr, with_api: bool) -> Result<(), StartError> {
        let bind_error =
            |error| StartError::Bind { listener: "admin.http".into(), address: address.to_string(), error };
        let socket = server::bind_http(address).await.map_err(bind_error)?;
        let local = socket.local_addr().map_err(bind_error)?;
        tracing::info!(address = %local, "HTTP for operators");
        self.admin_address = Some(local);
        let routes = admin::http_routes(&self.observed, with_api);
        self.admin_tasks.spawn(server::serve(socket, routes, self.shared.clock.clone(), self.admin_stop.clone()));
        Ok(())
    }

    fn serve_socket(&self, path: &Path) -> Result<(), StartError> {
        let (socket, file) = server::bind_socket(path).map_err(|error| StartError::Bind {
            listener: "admin.socket".into(),
            address: path.display().to_string(),
            error,
        })?;
        tracing::info!(path = %path.display(), "socket of midge ctl");
        let (routes, clock) = (admin::socket_routes(&self.observed), self.shared.clock.clone());
        let serving = server::serve(socket, routes, clock, self.admin_stop.clone());
        self.admin_tasks.spawn(async move {
            serving.await;
            drop(file);
        });
        Ok(())
    }

    /// Where health, metrics and the API are served, if they are.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }
}
