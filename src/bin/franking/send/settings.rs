//! What the arguments say, made what the run needs.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read},
    path::Path,
    time::Duration,
};

use bytes::Bytes;
use franking::{
    Headers, Producer, Topic,
    config::Properties,
    middleware::origin::{Origin, OriginBuilder, OriginError},
    serializers::BytesSerializer,
};
use tracing::subscriber::{NoSubscriber, with_default};

use super::{
    Args, Lines,
    line::{Format, Kind},
    sending::Run,
};
use crate::{BoxError, terminal};

/// How long a cluster may take to answer at the start, and to create the topic.
const PATIENCE: Duration = Duration::from_secs(10);

/// `max.block.ms` where nobody set it. A full buffer is no error here: the input waits until records before it have their
/// outcome, which is after `delivery.timeout.ms` and the retries at the latest.
const FULL_BUFFER: &str = "3600000";

const MAX_BLOCK: &str = "max.block.ms";

/// What the options say, and what this command has otherwise.
pub(super) fn properties(args: &Args) -> Result<Properties, BoxError> {
    let mut properties = args.connection.properties()?;
    if properties.get(MAX_BLOCK).is_none() {
        properties.set(MAX_BLOCK, FULL_BUFFER);
    }
    Ok(properties)
}

/// A name for the life of the process: its clones count no references.
pub(super) fn topic(args: &Args) -> Topic {
    Topic::from(&*args.topic.clone().leak())
}

pub(super) fn format(args: &Args, topic: &Topic) -> Result<Format, BoxError> {
    let kind = match (args.format, &args.key_separator, args.empty_is_null) {
        (Lines::Plain, Some(separator), _) if separator.is_empty() => {
            return Err("--key-separator is empty: nothing would tell where a key ends".into());
        }
        (Lines::Plain, separator, empty_is_null) => Kind::Plain {
            separator: separator
                .as_ref()
                .map(|separator| separator.replace("\\t", "\t").into_bytes()),
            empty_is_null,
        },
        (Lines::Json, None, false) => Kind::Json,
        (Lines::Json, ..) => {
            return Err("--key-separator and --empty-is-null are for plain lines: JSON says itself what is the key and \
                        what is null"
                .into());
        }
    };
    let mut headers = Headers::new();
    for (index, given) in args.headers.iter().enumerate() {
        let number = index + 1;
        let (name, value) = given
            .split_once('=')
            .ok_or_else(|| format!("-H number {number} has no `=`: write NAME=VALUE"))?;
        headers
            .append(name, value)
            .map_err(|error| format!("-H number {number}: {error}"))?;
    }
    Ok(Format::new(kind, topic.clone(), &headers))
}

/// Who sends: the environment says it, or it is this program.
pub(super) fn origin() -> Result<Origin, BoxError> {
    match Origin::from_env() {
        Err(OriginError::MissingServiceName) => Ok(OriginBuilder::from_env()?
            .service_name("franking-send")
            .build()?),
        result => Ok(result?),
    }
}

pub(super) fn input(args: &Args) -> Result<Box<dyn Read + Send>, BoxError> {
    match &args.file {
        Some(path) if path != Path::new("-") => {
            Ok(Box::new(File::open(path).map_err(|error| of(path, error))?))
        }
        _ => {
            if io::stdin().is_terminal() {
                terminal::remark("reads lines from this terminal; Ctrl-D ends them");
            }
            // Not locked: a lock could not go to the reading thread.
            Ok(Box::new(io::stdin()))
        }
    }
}

pub(super) fn report(args: &Args) -> Result<Option<File>, BoxError> {
    let create = |path: &Path| File::create(path).map_err(|error| of(path, error).into());
    args.report.as_deref().map(create).transpose()
}

fn of(path: &Path, error: io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// Looks whether the cluster and the topic are there, before anything is read. A producer of its own asks, for it shall
/// wait less long for an answer than the other one for room.
pub(super) async fn reach(properties: &Properties, run: &Run) -> Result<(), BoxError> {
    let builder = Producer::<Bytes, Bytes>::builder()
        .properties(properties.clone())
        .property(MAX_BLOCK, PATIENCE.as_millis().to_string())
        .key_serializer(BytesSerializer)
        .value_serializer(BytesSerializer);
    // The other producer will warn of the same settings.
    let asks = with_default(NoSubscriber::new(), || builder.build())?;
    tokio::select! {
        answer = asks.partitions_for(&run.topic) => match answer {
            Ok(_) => Ok(()),
            Err(error) if error.failure().setting_name() == Some("bootstrap.servers") => Err(format!(
                "no broker answers at {} within {} s. Is it running, and is that the address it advertises?",
                properties.get("bootstrap.servers").unwrap_or_default(),
                PATIENCE.as_secs()
            )
            .into()),
            Err(error) => Err(error.into()),
        },
        // Before anything was sent, so nothing is waited for.
        _ = run.stop.asked() => Ok(()),
    }
}
