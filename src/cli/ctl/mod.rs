//! `midge ctl`: asks a running broker, and tells it what to do, through its Unix socket.
//!
//! The socket serves the same API as `admin.http`; here it is put into words and tables. Nothing is decided here.

mod client;
mod error;
mod text;

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use midge::config::{FILE_VARIABLE, Layers};
use serde_json::json;

use client::{Client, encoded};
pub use error::CtlError;
use text::{Column, Tone};

const EXAMPLES: &str = "\
Examples:
  midge ctl status
      How the broker does, and what became of every message.
  midge ctl clients list --disconnected
      Sessions whose clients are away; `midge ctl clients show ID` tells all of one, and why it
      lost messages.
  midge ctl clients kick pump-7
      Disconnects; the session stays. `clients delete` ends the session too.
  midge ctl queue show pump-7 --payload
      What waits for a client; `queue purge` throws it away.
  midge ctl retained list 'plant/+/temp' --payload
      `midge ctl retained clear 'plant/#'` removes them.
  midge ctl --json clients list | jq -r .[].clientid
      For programs.

The broker serves the socket when its configuration has admin.socket; the same file or variable tells it here:
  MIDGE_ADMIN__SOCKET=/tmp/ctl.sock midge &
  MIDGE_ADMIN__SOCKET=/tmp/ctl.sock midge ctl status

Exit codes:
  0  done
  1  it could not be done; standard error says why
  2  the command line was not understood
  3  no broker answers at the socket
  4  there is no such client or message";

/// Where a broker that was installed as a service serves its socket.
const SOCKET_DEFAULT: &str = "/run/midge/ctl.sock";

/// Look into a running broker, and tell it what to do
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CtlArgs {
    /// The broker's socket; otherwise admin.socket of the configuration, otherwise /run/midge/ctl.sock
    #[arg(short, long, value_name = "PATH", global = true)]
    socket: Option<PathBuf>,

    /// The broker's configuration file
    #[arg(short, long, value_name = "FILE", env = FILE_VARIABLE, global = true)]
    config: Option<PathBuf>,

    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: CtlCommand,
}

#[derive(Debug, Subcommand)]
enum CtlCommand {
    /// How the broker does
    Status,
    /// Clients and their sessions
    #[command(subcommand)]
    Clients(ClientsCommand),
    /// What waits for a client
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Retained messages
    #[command(subcommand)]
    Retained(RetainedCommand),
}

#[derive(Debug, Subcommand)]
enum ClientsCommand {
    /// All of them, by client id
    List {
        /// Only those with this in their client id
        #[arg(long, value_name = "PART")]
        like: Option<String>,
        /// Only those of this user
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Only those that are connected
        #[arg(long, conflicts_with = "disconnected")]
        connected: bool,
        /// Only those that are away
        #[arg(long)]
        disconnected: bool,
        #[command(flatten)]
        limit: Limit,
    },
    /// Everything of one
    Show { client_id: String },
    /// Disconnect; the session stays as its expiry says
    Kick { client_id: String },
    /// End the session, connected or not
    Delete { client_id: String },
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// Messages that wait, the oldest first
    Show {
        client_id: String,
        #[command(flatten)]
        payload: Payload,
        #[command(flatten)]
        limit: Limit,
    },
    /// Throw all of them away
    Purge { client_id: String },
}

#[derive(Debug, Subcommand)]
enum RetainedCommand {
    /// Those that match, by topic
    List {
        #[arg(default_value = "#")]
        filter: String,
        #[command(flatten)]
        payload: Payload,
        #[command(flatten)]
        limit: Limit,
    },
    /// Remove those that match
    Clear { filter: String },
}

#[derive(Clone, Copy, Debug, Args)]
struct Limit {
    /// Show at most so many
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
}

#[derive(Clone, Copy, Debug, Args)]
struct Payload {
    /// Show payloads too, as text
    #[arg(long)]
    payload: bool,
}

pub fn run(args: CtlArgs) -> Result<()> {
    let client = Client::new(socket(&args)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tone = if args.json { Tone::Json } else { Tone::Text };
    let answer = runtime.block_on(args.command.run(&client, tone))?;
    match io::stdout().lock().write_all(answer.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}

fn socket(args: &CtlArgs) -> Result<PathBuf> {
    if let Some(path) = &args.socket {
        return Ok(path.clone());
    }
    let layers = Layers { file: args.config.clone(), environment: Layers::variables(), ..Layers::default() };
    let loaded = layers.load().context("the configuration does not tell the socket; --socket PATH does")?;
    Ok(loaded.config.admin.socket.unwrap_or_else(|| SOCKET_DEFAULT.into()))
}

impl CtlCommand {
    async fn run(self, client: &Client, tone: Tone) -> Result<String, CtlError> {
        match self {
            CtlCommand::Status => Ok(tone.record(&client.get("status").await?)),
            CtlCommand::Clients(command) => command.run(client, tone).await,
            CtlCommand::Queue(command) => command.run(client, tone).await,
            CtlCommand::Retained(command) => command.run(client, tone).await,
        }
    }
}

impl ClientsCommand {
    async fn run(self, client: &Client, tone: Tone) -> Result<String, CtlError> {
        match self {
            ClientsCommand::List { like, user, connected, disconnected, limit } => {
                let state = match (connected, disconnected) {
                    (true, _) => Some("connected"),
                    (_, true) => Some("disconnected"),
                    _ => None,
                };
                let filters =
                    [("like_clientid", like.as_deref()), ("username", user.as_deref()), ("conn_state", state)];
                let rows = client.list("clients", &filters, limit.limit).await?;
                Ok(tone.table(&CLIENT_COLUMNS, &rows))
            }
            ClientsCommand::Show { client_id } => {
                let path = format!("clients/{}", encoded(&client_id));
                let mut record = client.get(&path).await?;
                let subscriptions = client.list(&format!("{path}/subscriptions"), &[], SUBSCRIPTIONS_MAX).await?;
                if tone == Tone::Json {
                    record["subscriptions"] = subscriptions.into();
                    return Ok(tone.record(&record));
                }
                Ok(format!("{}\n{}", tone.record(&record), tone.table(&SUBSCRIPTION_COLUMNS, &subscriptions)))
            }
            ClientsCommand::Kick { client_id } => {
                client.delete(&format!("clients/{}", encoded(&client_id))).await?;
                Ok(tone.done(&format!("{client_id} is disconnected"), json!({ "disconnected": client_id })))
            }
            ClientsCommand::Delete { client_id } => {
                client.delete(&format!("sessions/{}", encoded(&client_id))).await?;
                Ok(tone.done(&format!("the session of {client_id} is deleted"), json!({ "deleted": client_id })))
            }
        }
    }
}

/// More than anybody reads.
const SUBSCRIPTIONS_MAX: usize = 10_000;

const CLIENT_COLUMNS: [Column; 10] = [
    Column("CLIENT", "clientid"),
    Column("CONNECTED", "connected"),
    Column("USER", "username"),
    Column("ADDRESS", "ip_address"),
    Column("LISTENER", "listener"),
    Column("VERSION", "proto_ver"),
    Column("SUBSCRIPTIONS", "subscriptions_cnt"),
    Column("QUEUED", "mqueue_len"),
    Column("IN FLIGHT", "inflight_cnt"),
    Column("LOST", "send_msg.dropped"),
];

const SUBSCRIPTION_COLUMNS: [Column; 5] = [
    Column("SUBSCRIPTION", "topic"),
    Column("QOS", "qos"),
    Column("NO LOCAL", "nl"),
    Column("AS PUBLISHED", "rap"),
    Column("ID", "subscription_identifier"),
];

impl QueueCommand {
    async fn run(self, client: &Client, tone: Tone) -> Result<String, CtlError> {
        match self {
            QueueCommand::Show { client_id, payload, limit } => {
                let path = format!("clients/{}/mqueue_messages", encoded(&client_id));
                let rows = client.list(&path, &[payload.parameter()], limit.limit).await?;
                Ok(tone.table(message_columns(payload), &rows))
            }
            QueueCommand::Purge { client_id } => {
                let answer = client.delete(&format!("clients/{}/mqueue_messages", encoded(&client_id))).await?;
                Ok(tone.done(&format!("{} messages purged", answer["purged"]), answer))
            }
        }
    }
}

impl RetainedCommand {
    async fn run(self, client: &Client, tone: Tone) -> Result<String, CtlError> {
        match self {
            RetainedCommand::List { filter, payload, limit } => {
                let parameters = [("topic", Some(filter.as_str())), payload.parameter()];
                let rows = client.list("mqtt/retainer/messages", &parameters, limit.limit).await?;
                Ok(tone.table(message_columns(payload), &rows))
            }
            RetainedCommand::Clear { filter } => {
                let answer = client.delete(&format!("mqtt/retainer/messages?topic={}", encoded(&filter))).await?;
                Ok(tone.done(&format!("{} retained messages cleared", answer["cleared"]), answer))
            }
        }
    }
}

impl Payload {
    fn parameter(self) -> (&'static str, Option<&'static str>) {
        ("payload", self.payload.then_some("plain"))
    }
}

const MESSAGE_COLUMNS: [Column; 5] = [
    Column("TOPIC", "topic"),
    Column("QOS", "qos"),
    Column("BYTES", "payload_bytes"),
    Column("EXPIRES IN", "expires_in"),
    Column("PAYLOAD", "payload"),
];

fn message_columns(payload: Payload) -> &'static [Column] {
    let columns = if payload.payload { MESSAGE_COLUMNS.len() } else { MESSAGE_COLUMNS.len() - 1 };
    &MESSAGE_COLUMNS[..columns]
}
