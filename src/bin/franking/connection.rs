//! Where the cluster is and how it is spoken to: options that every command with a cluster has.

use std::{env, ffi::OsString, fs, path::PathBuf};

use franking::config::{Properties, Required};

use crate::BoxError;

/// Where the cluster is, if neither the command line nor a file says it.
const BOOTSTRAP: &str = "KAFKA_BOOTSTRAP_SERVERS";
/// A file of properties, if the command line names none.
const CONFIG: &str = "FRANKING_CONFIG";

/// What the properties must say: this program writes bytes, and has no tokens.
pub(crate) const REQUIRED: Required = Required {
    key_serializer: false,
    value_serializer: false,
    oauthbearer_token: true,
};

/// Kafka's properties, from the environment, a file and the command line. What kcat and Kafka's own tools call these options
/// is understood too.
#[derive(clap::Args)]
pub(crate) struct Connection {
    /// Where the cluster is: host:port, several separated by commas [env: KAFKA_BOOTSTRAP_SERVERS]
    #[arg(short, long, alias = "bootstrap-server", value_name = "HOST:PORT")]
    bootstrap: Option<String>,
    /// Kafka properties, in a file as Java's tools take them [env: FRANKING_CONFIG]
    #[arg(
        short,
        long,
        visible_short_alias = 'F',
        alias = "command-config",
        value_name = "FILE.properties"
    )]
    config: Option<PathBuf>,
    /// One Kafka property; it goes before the file's. Can be given many times
    // Not split by clap, whose errors quote what was written: it can be a secret.
    #[arg(short = 'X', long = "property", value_name = "NAME=VALUE")]
    properties: Vec<String>,
}

/// The one topic of a command that reads, with or without the option's name before it. Whether it must be there is for the
/// command to say, with a group of [`OneTopic::IDS`].
#[derive(clap::Args)]
#[group(multiple = false)]
pub(crate) struct OneTopic {
    /// The topic to read
    #[arg(value_name = "TOPIC")]
    topic: Option<String>,
    /// The topic to read
    #[arg(short = 't', long = "topic", value_name = "TOPIC", id = "named topic")]
    named: Option<String>,
}

impl OneTopic {
    /// Its arguments.
    pub(crate) const IDS: [&str; 2] = ["topic", "named topic"];

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        let topic = self.topic.as_ref().or(self.named.as_ref());
        topic.map_or("", String::as_str)
    }
}

impl Connection {
    /// The file's properties, over them those of the command line.
    pub(crate) fn properties(&self) -> Result<Properties, BoxError> {
        let named = || said(CONFIG).map(PathBuf::from);
        let mut properties = match &self.config.clone().or_else(named) {
            Some(path) => {
                let text = fs::read_to_string(path)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                Properties::parse(&text)?
            }
            None => Properties::new(),
        };
        for (index, given) in self.properties.iter().enumerate() {
            // Without what was written: it can be a secret.
            let (name, value) = given.split_once('=').ok_or_else(|| {
                let number = index + 1;
                format!("-X number {number} has no `=`: write NAME=VALUE")
            })?;
            properties.set(name, value);
        }
        if let Some(bootstrap) = &self.bootstrap {
            properties.set("bootstrap.servers", bootstrap);
        }
        if properties.get("bootstrap.servers").is_none() {
            let bootstrap = said(BOOTSTRAP).ok_or_else(|| {
                format!(
                    "where is the cluster? Say it with --bootstrap HOST:PORT, bootstrap.servers in --config, or {BOOTSTRAP}"
                )
            })?;
            let bootstrap = bootstrap
                .into_string()
                .map_err(|_| format!("{BOOTSTRAP} is no text"))?;
            properties.set("bootstrap.servers", bootstrap);
        }
        Ok(properties)
    }
}

/// A variable of the environment that is not empty.
fn said(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}
