//! Unix domain sockets: the file, and who is at its other end.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use midge::config::{FileMode, ListenerAddress, ListenerConfig, ProxyProtocolConfig, WebSocketConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use crate::support::{Client, Log, TestBroker, WebSocketClient, listener, network, publish_packet, websocket};

fn at(path: &Path, listener: ListenerConfig) -> ListenerConfig {
    ListenerConfig { addresses: vec![ListenerAddress::Unix(path.into())], ..listener }
}

#[tokio::test]
async fn a_client_is_served_and_named_by_what_the_kernel_knows() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mqtt.sock");
    let _broker = TestBroker::start(at(&path, listener())).await;
    let log = Log::gather();
    let mut client = Client::connect(UnixStream::connect(&path).await.unwrap(), "local").await;
    client.subscribe("t").await;
    client.send(&publish_packet("t", &[8; 200_000], 0)).await;
    assert_eq!(client.message().await, [8; 200_000]);
    // The directory is ours.
    let uid = fs::metadata(directory.path()).unwrap().uid();
    let name = format!("peer=unix:uid={uid},pid={} ", std::process::id());
    assert!(log.line_with("connected client_id=local").contains(&name));
}

#[tokio::test]
async fn the_file_has_its_permissions_and_goes_with_the_broker() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mqtt.sock");
    for mode in [0o600, 0o666] {
        let broker = TestBroker::start(ListenerConfig { unix_mode: FileMode(mode), ..at(&path, listener()) }).await;
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o777, mode);
        broker.broker.shutdown().await;
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_makes_room() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mqtt.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let _broker = TestBroker::start(at(&path, listener())).await;
    Client::connect(UnixStream::connect(&path).await.unwrap(), "client").await;
}

#[tokio::test]
async fn what_is_in_use_or_is_no_socket_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mqtt.sock");
    let _broker = TestBroker::start(at(&path, listener())).await;
    let error = TestBroker::try_start(vec![at(&path, listener())]).await.err().unwrap().to_string();
    let address = format!("listener test: cannot listen on unix:{}: ", path.display());
    assert_eq!(error, format!("{address}another process listens there"));
    Client::connect(UnixStream::connect(&path).await.unwrap(), "client").await;

    let file = directory.path().join("file");
    fs::write(&file, "precious").unwrap();
    let error = TestBroker::try_start(vec![at(&file, listener())]).await.err().unwrap().to_string();
    assert!(error.ends_with("there is a file that is no socket: move it, or choose another path"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), b"precious");
}

#[tokio::test]
async fn a_file_that_took_the_sockets_place_stays_when_the_broker_goes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mqtt.sock");
    let broker = TestBroker::start(at(&path, listener())).await;
    fs::write(directory.path().join("other"), "new").unwrap();
    fs::rename(directory.path().join("other"), &path).unwrap();
    broker.broker.shutdown().await;
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

#[tokio::test]
async fn proxies_on_this_machine_are_believed_where_127_0_0_1_is() {
    let directory = tempfile::tempdir().unwrap();
    let (path, web_path) = (directory.path().join("mqtt.sock"), directory.path().join("web.sock"));
    let here = vec![network("127.0.0.1", 32)];
    let proxy_protocol = Some(ProxyProtocolConfig { from: here.clone(), ..ProxyProtocolConfig::default() });
    let settings = WebSocketConfig { trusted_proxies: here, ..WebSocketConfig::default() };
    let listeners = vec![
        at(&path, ListenerConfig { proxy_protocol, ..listener() }),
        at(&web_path, ListenerConfig { name: "web".into(), websocket: settings, ..websocket() }),
    ];
    let _broker = TestBroker::start_all(listeners).await;
    let log = Log::gather();
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 1883\r\n").await.unwrap();
    Client::connect(stream, "one").await;
    assert!(log.line_with("connected client_id=one").contains("peer=203.0.113.7:4711 "));
    let stream = UnixStream::connect(&web_path).await.unwrap();
    let stream = WebSocketClient::with_headers(stream, &[("x-forwarded-for", "198.51.100.9")]).await;
    Client::connect(stream, "two").await;
    assert!(log.line_with("connected client_id=two").contains("peer=198.51.100.9 "));
}
