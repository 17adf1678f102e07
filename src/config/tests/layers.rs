//! Defaults < file < environment < flags.

use std::{fs, path::Path};

use super::super::*;

fn layers(file: Option<&Path>, environment: &[(&str, &str)], flags: &[(&'static str, &str, &str)]) -> Layers {
    Layers {
        data_directory: None,
        file: file.map(Path::to_path_buf),
        environment: environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        flags: flags
            .iter()
            .map(|(name, key, value)| Flag { name, key: key.to_string(), value: value.to_string() })
            .collect(),
    }
}

fn load(environment: &[(&str, &str)]) -> Loaded {
    layers(None, environment, &[]).load().unwrap_or_else(|error| panic!("{error}"))
}

fn problems(layers: &Layers) -> Vec<String> {
    match layers.load() {
        Err(ConfigError::Invalid(problems)) => problems.iter().map(Problem::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stronger_layer_wins_key_by_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("midge.toml");
    fs::write(&path, "worker_threads = 1\n[log]\nfilter = \"warn\"\nformat = \"json\"\n[sys]\ninterval = \"1m\"\n")
        .unwrap();
    let environment = [("MIDGE_WORKER_THREADS", "2"), ("MIDGE_LOG__FILTER", "debug")];
    let flags = [("--log", "log.filter", "trace")];
    let config = layers(Some(&path), &environment, &flags).load().unwrap().config;
    assert_eq!(config.log.filter, "trace");
    assert_eq!(config.worker_threads, 2);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.sys.interval.as_secs(), 60);
    assert_eq!(config.limits, Config::default().limits);
}

#[test]
fn variables_reach_into_tables_and_lists() {
    let loaded = load(&[
        ("MIDGE_LIMITS__QUEUE_BYTES_MAX", "1MiB"),
        ("MIDGE_LISTENER__0__ADDRESS", "127.0.0.1:1, [::1]:1"),
        ("MIDGE_LISTENER__0__NAME", "1883"),
        ("MIDGE_LISTENER__1__ADDRESS", "[\"127.0.0.1:2\"]"),
        ("MIDGE_LISTENER__1__ACCESS__ALLOW_ANONYMOUS", "false"),
        ("MIDGE_SYS", "{ interval = \"3s\" }"),
        ("MIDGE_CONFIG", "not a key"),
        ("OTHER", "1"),
    ]);
    let [one, two] = &loaded.config.listeners[..] else { panic!("two listeners") };
    assert_eq!((one.name.as_str(), one.addresses.len()), ("1883", 2));
    assert_eq!(two.addresses, [ListenerAddress::Tcp("127.0.0.1:2".parse().unwrap())]);
    assert_eq!(two.access.allow_anonymous, Some(false));
    assert_eq!(loaded.config.limits.queue_bytes_max, ByteSize(1 << 20));
    assert_eq!(loaded.config.sys.interval.as_secs(), 3);
    assert_eq!(loaded.ignored, [""; 0]);
}

#[test]
fn ten_listeners_in_the_environment_are_counted_as_numbers() {
    let names: Vec<_> =
        (0..12).map(|at| (format!("MIDGE_LISTENER__{at}__ADDRESS"), format!("127.0.0.1:{}", at + 1))).collect();
    let environment: Vec<_> = names.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(load(&environment).config.listeners.len(), 12);
}

#[test]
fn what_kubernetes_says_about_a_service_called_midge_is_left_out_and_told() {
    let loaded = load(&[("MIDGE_PORT", "tcp://10.0.0.1:1883"), ("MIDGE_PORT_1883_TCP_ADDR", "10.0.0.1")]);
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.ignored, ["MIDGE_PORT", "MIDGE_PORT_1883_TCP_ADDR"]);
}

#[test]
fn a_mistake_in_the_environment_names_the_variable() {
    let environment = [("MIDGE_LIMITS__QUEUE_MESAGES_MAX", "5"), ("MIDGE_LISTENER__4__ADDRESS", "127.0.0.1:1")];
    let problems = problems(&layers(None, &environment, &[]));
    assert!(
        problems.contains(
            &"environment MIDGE_LIMITS__QUEUE_MESAGES_MAX: limits.queue_mesages_max: unknown key; did you mean \
          `queue_messages_max`?"
                .to_owned()
        )
    );
    assert_eq!(
        problems[0],
        "environment MIDGE_LISTENER__4__ADDRESS: the list has 0 items, counted from 0: there is no number 4"
    );
}

#[test]
fn a_mistake_in_a_flag_names_the_flag() {
    let problems = problems(&layers(None, &[], &[("--listen", "listener.0.address", "1883")]));
    let expected = "flag --listen: listener[0].address[0]: expected an address and port such as \"127.0.0.1:1883\" or \
                    \"[::]:1883\", or \"unix:/run/midge/mqtt.sock\", found \"1883\"";
    assert_eq!(problems, [expected]);
}

#[test]
fn listeners_of_the_command_line_replace_those_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("midge.toml");
    fs::write(&path, "[[listener]]\naddress = \"127.0.0.1:1\"\n[[listener]]\naddress = \"127.0.0.1:2\"").unwrap();
    let loaded = layers(Some(&path), &[], &[("--listen", "listener.0.address", "127.0.0.1:3")]).load().unwrap();
    let [only] = &loaded.config.listeners[..] else { panic!("one listener") };
    assert_eq!(only.name, "127.0.0.1:3");
}

#[test]
fn files_that_are_not_there_or_not_what_they_should_be_are_reported_where_they_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    fs::write(at("server.pem"), "no certificate").unwrap();
    let text = "[access]\npassword_file = \"gone\"\n[defaults.tls]\nclient_ca = \"server.pem\"\n\
                certificates = [{ chain = \"server.pem\", key = \"gone.key\" }]\n[log]\ndestination = \"no/where.log\"\n";
    fs::write(at("midge.toml"), text).unwrap();
    let file = at("midge.toml");
    let expected = [
        format!(
            "{file}:5: defaults.tls.certificates[0].chain: {} does not hold a certificate in PEM form (\"-----BEGIN …\")",
            at("server.pem")
        ),
        format!(
            "{file}:5: defaults.tls.certificates[0].key: cannot read {}: No such file or directory (os error 2)",
            at("gone.key")
        ),
        format!(
            "{file}:4: defaults.tls.client_ca: {} does not hold a certificate in PEM form (\"-----BEGIN …\")",
            at("server.pem")
        ),
        format!("{file}:2: access.password_file: cannot read {}: No such file or directory (os error 2)", at("gone")),
        format!("{file}:7: log.destination: there is no directory {}: make it, or put the log elsewhere", at("no")),
    ];
    assert_eq!(problems(&layers(Some(Path::new(&file)), &[], &[])), expected);
}

#[test]
fn a_configuration_file_that_cannot_be_read_is_said_so() {
    let error = layers(Some(Path::new("/no/such/midge.toml")), &[], &[]).load().unwrap_err();
    let expected = "cannot read the configuration file /no/such/midge.toml: No such file or directory (os error 2)";
    assert_eq!(error.to_string(), expected);
}
