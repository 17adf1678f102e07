//! What a broker does not start with, when a program and not a file says it.

use midge::broker::{Broker, StartError};
use midge::config::{Config, ListenerAddress, ListenerConfig};

fn on(addresses: &[&str]) -> ListenerConfig {
    let addresses = addresses.iter().map(|address| ListenerAddress::Tcp(address.parse().expect("an address")));
    ListenerConfig { name: "made".into(), addresses: addresses.collect(), ..ListenerConfig::default() }
}

async fn refused(listener: ListenerConfig) -> String {
    let config = Config { listeners: vec![listener], ..Config::default() };
    match Broker::start(&config).await {
        Err(StartError::Config(error)) => error.to_string(),
        Err(other) => panic!("not the configuration: {other}"),
        Ok(_) => panic!("it started"),
    }
}

#[tokio::test]
async fn a_configuration_made_by_a_program_is_checked_as_one_from_a_file() {
    let open_to_strangers = refused(on(&["0.0.0.0:0"])).await;
    assert!(open_to_strangers.contains("can be reached from the network"), "{open_to_strangers}");
    let wildcard = refused(ListenerConfig { mount_point: "a/#/".into(), ..on(&["127.0.0.1:0"]) }).await;
    assert!(wildcard.contains("mount_point"), "{wildcard}");
    let mut listener = on(&["127.0.0.1:0"]);
    listener.access.acl_file = Some("there/is/no/such/file".into());
    let missing = refused(listener).await;
    assert!(missing.contains("access.acl_file") && missing.contains("there/is/no/such/file"), "{missing}");
}

#[tokio::test]
async fn a_file_with_a_mistake_is_named_with_its_line() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let path = directory.path().join("acl");
    std::fs::write(&path, "topic a\nnonsense\n").expect("a file of the test");
    let mut listener = on(&["127.0.0.1:0"]);
    listener.access.acl_file = Some(path.clone());
    let config = Config { listeners: vec![listener], ..Config::default() };
    let Err(error) = Broker::start(&config).await else { panic!("it started") };
    assert!(error.to_string().contains(&format!("{}:2", path.display())), "{error}");
}
