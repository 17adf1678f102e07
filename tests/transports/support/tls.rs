//! A TLS client that says what it saw.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SignatureScheme, SupportedProtocolVersion};

use super::{Authority, Client, TestBroker, within};

#[cfg(feature = "aws-lc-rs")]
use tokio_rustls::rustls::crypto::aws_lc_rs as cryptography;
#[cfg(not(feature = "aws-lc-rs"))]
use tokio_rustls::rustls::crypto::ring as cryptography;

/// A client that trusts one authority; it remembers tickets from connection to connection.
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    pub server_name: &'static str,
}

impl TlsClient {
    pub fn new(authority: &Authority) -> Self {
        Self::with(authority, None, &[&TLS13, &TLS12])
    }

    pub fn with_version(authority: &Authority, version: &'static SupportedProtocolVersion) -> Self {
        Self::with(authority, None, &[version])
    }

    /// Shows the certificate `NAME` in the directory.
    pub fn with_certificate(authority: &Authority, directory: &Path, name: &str) -> Self {
        Self::with(authority, Some((directory, name)), &[&TLS13, &TLS12])
    }

    /// Can only check signatures of Ed25519 keys, but for those in certificates.
    pub fn only_ed25519(authority: &Authority) -> Self {
        let mut provider = cryptography::default_provider();
        let algorithms = &mut provider.signature_verification_algorithms;
        let kept = algorithms.mapping.iter().filter(|(scheme, _)| *scheme == SignatureScheme::ED25519).copied();
        algorithms.mapping = Box::leak(kept.collect());
        Self::with_provider(authority, None, &[&TLS13], provider)
    }

    fn with(
        authority: &Authority,
        certificate: Option<(&Path, &str)>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        Self::with_provider(authority, certificate, versions, cryptography::default_provider())
    }

    fn with_provider(
        authority: &Authority,
        certificate: Option<(&Path, &str)>,
        versions: &[&'static SupportedProtocolVersion],
        provider: CryptoProvider,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match certificate {
            None => builder.with_no_client_auth(),
            Some((directory, name)) => {
                let chain = CertificateDer::pem_file_iter(directory.join(format!("{name}.pem"))).unwrap();
                let key = PrivateKeyDer::from_pem_file(directory.join(format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
            }
        };
        TlsClient { config: Arc::new(config), server_name: "localhost" }
    }

    pub fn named(&self, server_name: &'static str) -> Self {
        TlsClient { server_name, ..self.clone() }
    }

    pub async fn over<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        within(connector.connect(ServerName::try_from(self.server_name).unwrap(), stream)).await
    }

    pub async fn stream(&self, broker: &TestBroker) -> io::Result<TlsStream<TcpStream>> {
        self.over(broker.socket().await).await
    }

    /// Through to a session; an error if TLS or MQTT does not get there.
    pub async fn connect(&self, broker: &TestBroker, client_id: &str) -> io::Result<Client<TlsStream<TcpStream>>> {
        let mut client = Client::new(self.stream(broker).await?);
        client.try_connect(client_id, None).await?;
        Ok(client)
    }
}
