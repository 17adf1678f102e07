//! Listeners from the configuration: their sockets, and what lies between a socket and MQTT.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustix::io::Errno;

use super::{Broker, StartError, access, queue_limits, settings};
use crate::config::{
    self, CertificateConfig, IpNetwork, ListenerAddress, ListenerConfig, ProxyProtocolConfig, ProxyVersion,
    SessionLimits, TlsConfig, TlsVersion, Transport, WebSocketConfig,
};
use crate::net::admission::Admission;
use crate::net::context::{Clients, ListenerContext};
use crate::net::handshake::{AddressSet, Layers, ProxyProtocol, WebSocketLayer};
use crate::net::listener::{self, ListeningSocket, SocketOptions};
use crate::net::proxy_protocol::ProxyVersions;
use crate::net::tls::{CertificateFiles, ClientAuth, ClientTrust, Tls, TlsSettings, TlsState, TlsVersions};
use crate::net::websocket::UpgradeRules;

impl Broker {
    /// Binds every address of a listener and accepts from now on.
    pub(super) fn listen(&mut self, config: &ListenerConfig, context: &Arc<ListenerContext>) -> Result<(), StartError> {
        for address in &config.addresses {
            let Some(socket) = bind(config, address)? else { continue };
            self.local_addresses.extend(socket.local_addr());
            let (context, shared, stop) = (Arc::clone(context), Arc::clone(&self.shared), self.stop.clone());
            self.tasks.spawn(listener::accept(socket, context, shared, stop));
        }
        self.watch_tls(context);
        self.observed.add_listener(context);
        Ok(())
    }

    fn watch_tls(&self, context: &Arc<ListenerContext>) {
        let Some(tls) = context.layers.tls.clone() else { return };
        let (name, clock, stop) = (Arc::clone(&context.name), self.shared.clock.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tls.watch(&name, &clock) => {}
            }
        });
    }
}

pub(super) fn context(config: &ListenerConfig, limits: &SessionLimits) -> Result<ListenerContext, StartError> {
    Ok(ListenerContext {
        name: config.name.as_str().into(),
        settings: ArcSwap::from_pointee(settings(config, limits)),
        access: Arc::new(ArcSwap::from_pointee(access(config)?)),
        queue: queue_limits(config, limits),
        connect_timeout: config.connect_timeout,
        write_timeout: config.write_timeout,
        layers: Layers {
            proxy_protocol: config.proxy_protocol.as_ref().map(proxy_protocol),
            tls: tls_state(config)?.map(|state| Arc::new(Tls::new(state))),
            websocket: (config.transport == Transport::WebSocket).then(|| websocket(&config.websocket)),
        },
        clients: Clients::default(),
        admission: Admission::new(
            config.connections_max.map(|max| max.get()),
            config.connect_rate.map(|per_second| per_second.get()),
        ),
    })
}

/// `None` where there is no such address, and no need for it.
fn bind(config: &ListenerConfig, address: &ListenerAddress) -> Result<Option<ListeningSocket>, StartError> {
    let options = SocketOptions {
        backlog: config.backlog.get(),
        reuse_port: config.reuse_port,
        ipv6_only: config.ipv6_only,
        no_delay: config.no_delay,
        unix_mode: config.unix_mode.0,
    };
    let bound = match address {
        ListenerAddress::Tcp(address) => listener::bind_tcp(*address, options),
        ListenerAddress::Unix(path) => listener::bind_unix(path, options),
    };
    match bound {
        Ok(socket) => {
            let local = socket.local_addr().map_or_else(|| address.to_string(), |local| local.to_string());
            tracing::info!(listener = %config.name, address = %local, "listening");
            Ok(Some(socket))
        }
        Err(error) if config.addresses.len() > 1 && lacks_ipv6(address, &error) => {
            tracing::warn!(listener = %config.name, %address, "this machine has no IPv6: not listening there");
            Ok(None)
        }
        Err(error) => Err(StartError::Bind { listener: config.name.clone(), address: address.to_string(), error }),
    }
}

/// Whether an address that every machine with IPv6 has is not there: containers are often without.
fn lacks_ipv6(address: &ListenerAddress, error: &std::io::Error) -> bool {
    let ListenerAddress::Tcp(SocketAddr::V6(address)) = address else { return false };
    let is_everywhere = address.ip().is_loopback() || address.ip().is_unspecified();
    let is_missing = [Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT].map(Some).contains(&Errno::from_io_error(error));
    is_everywhere && is_missing
}

fn proxy_protocol(config: &ProxyProtocolConfig) -> ProxyProtocol {
    let speaks = |version| config.versions.contains(&version);
    ProxyProtocol {
        versions: ProxyVersions { v1: speaks(ProxyVersion::V1), v2: speaks(ProxyVersion::V2) },
        from: address_set(&config.from),
    }
}

fn websocket(config: &WebSocketConfig) -> WebSocketLayer {
    WebSocketLayer {
        rules: UpgradeRules {
            path: config.path.clone(),
            origins: config.origins.clone(),
            subprotocols: config.subprotocols.clone(),
            head_bytes_max: config.headers_bytes_max.bytes(),
        },
        frame_bytes_max: config.frame_bytes_max.0,
        trusted_proxies: address_set(&config.trusted_proxies),
    }
}

fn address_set(networks: &[IpNetwork]) -> AddressSet {
    let networks = networks.to_vec();
    AddressSet::new(move |ip| networks.iter().any(|network| network.contains(ip)))
}

/// Reads the files of a listener's TLS as a start would.
pub fn check_tls(config: &ListenerConfig) -> Result<(), StartError> {
    tls_state(config).map(drop)
}

/// The files of a listener's TLS, read and found good.
pub(super) fn tls_state(config: &ListenerConfig) -> Result<Option<TlsState>, StartError> {
    let Some(tls) = &config.tls else { return Ok(None) };
    let state = TlsState::read(tls_settings(tls));
    state.map(Some).map_err(|error| StartError::Tls { listener: config.name.clone(), error })
}

fn tls_settings(config: &TlsConfig) -> TlsSettings {
    let files = |files: &CertificateConfig| CertificateFiles { chain: files.chain.clone(), key: files.key.clone() };
    TlsSettings {
        certificates: config.certificates.iter().map(files).collect(),
        client_auth: client_auth(config),
        versions: match (config.version_min, config.version_max) {
            (TlsVersion::V1_3, _) => TlsVersions::Only13,
            (TlsVersion::V1_2, TlsVersion::V1_2) => TlsVersions::Only12,
            (TlsVersion::V1_2, TlsVersion::V1_3) => TlsVersions::Both,
        },
        session_tickets: config.session_tickets,
        watch_interval: config.watch_interval,
    }
}

fn client_auth(config: &TlsConfig) -> ClientAuth {
    // Without authorities there is nobody to trust; the configuration's check insists on them.
    let Some(authorities) = config.client_ca.clone() else { return ClientAuth::None };
    let trust = ClientTrust { authorities, revoked: config.client_crl.clone() };
    match config.client_auth {
        config::ClientAuth::None => ClientAuth::None,
        config::ClientAuth::Optional => ClientAuth::Optional(trust),
        config::ClientAuth::Required => ClientAuth::Required(trust),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_that_ipv6_brings_along_may_be_missing() {
        let lacks =
            |address: &str, errno: Errno| lacks_ipv6(&ListenerAddress::Tcp(address.parse().unwrap()), &errno.into());
        for errno in [Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT] {
            assert!(lacks("[::1]:1883", errno) && lacks("[::]:1883", errno));
            assert!(!lacks("127.0.0.1:1883", errno) && !lacks("[2001:db8::1]:1883", errno));
        }
        assert!(!lacks("[::1]:1883", Errno::ADDRINUSE));
    }
}
