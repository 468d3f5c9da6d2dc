//! Which records are shown.

use franking::provenance::RecordId;

use crate::{BoxError, reading::Record};

/// The filters on the command line.
#[derive(clap::Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct Wanted {
    /// Written by this service: its name, or namespace/name
    #[arg(long = "service", value_name = "NAME")]
    services: Vec<String>,
    /// Its origin has this attribute, as service.version=4.2.0
    #[arg(long = "origin", value_name = "NAME=VALUE")]
    origins: Vec<String>,
    /// With this key
    #[arg(short = 'k', long = "key", value_name = "TEXT")]
    keys: Vec<String>,
    /// With this header, or this header and value
    #[arg(short = 'H', long = "header", value_name = "NAME[=VALUE]")]
    headers: Vec<String>,
    /// Sent in this trace
    #[arg(long = "trace", value_name = "32 DIGITS")]
    traces: Vec<String>,
    /// The record with this id
    #[arg(long = "id", value_name = "UUID")]
    ids: Vec<String>,
    /// With something wrong in its headers
    #[arg(long)]
    malformed: bool,
}

/// A record has to match one of each that are given.
pub(super) struct Filter {
    services: Vec<(Option<String>, String)>,
    origins: Vec<(String, String)>,
    keys: Vec<String>,
    headers: Vec<(String, Option<String>)>,
    traces: Vec<u128>,
    ids: Vec<RecordId>,
    malformed: bool,
}

impl Filter {
    pub(super) fn new(args: &Wanted) -> Result<Self, BoxError> {
        let pair = |text: &String| {
            let (name, value) = text.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        let origins = args.origins.iter().map(pair).collect::<Option<_>>();
        let traces = args.traces.iter().map(|text| {
            let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let id = digits
                .then(|| u128::from_str_radix(text, 16).ok())
                .flatten();
            id.ok_or("--trace: write the 32 hexadecimal digits of a trace id")
        });
        let ids = args.ids.iter().map(|text| {
            RecordId::parse(text)
                .ok_or("--id: write a UUID, as 01a203c9-2b03-7c41-9d2e-5b6f0a1c2d3e")
        });
        Ok(Self {
            services: args
                .services
                .iter()
                .map(|text| match text.split_once('/') {
                    Some((namespace, name)) => (Some(namespace.to_owned()), name.to_owned()),
                    None => (None, text.clone()),
                })
                .collect(),
            origins: origins.ok_or("--origin: write NAME=VALUE")?,
            keys: args.keys.clone(),
            headers: args
                .headers
                .iter()
                .map(|text| match pair(text) {
                    Some((name, value)) => (name, Some(value)),
                    None => (text.clone(), None),
                })
                .collect(),
            traces: traces.collect::<Result<_, _>>()?,
            ids: ids.collect::<Result<_, _>>()?,
            malformed: args.malformed,
        })
    }

    pub(super) fn takes(&self, record: &Record<'_>) -> bool {
        let read = &record.provenance;
        let service = |(namespace, name): &(Option<String>, String)| {
            read.service() == Some(name)
                && (namespace.is_none() || read.namespace() == namespace.as_deref())
        };
        let header = |(name, value): &(String, Option<String>)| {
            record.headers.iter().any(|(its_name, its_value)| {
                *its_name == name.as_bytes()
                    && value
                        .as_ref()
                        .is_none_or(|value| *its_value == Some(value.as_bytes()))
            })
        };
        any(&self.services, service)
            && any(&self.origins, |(name, value)| {
                read.origin.get(name) == Some(value)
            })
            && any(&self.keys, |key| record.key == Some(key.as_bytes()))
            && any(&self.headers, header)
            && any(&self.traces, |id| {
                read.trace
                    .as_ref()
                    .is_some_and(|trace| trace.trace_id == *id)
            })
            && any(&self.ids, |id| read.id == Some(*id))
            && (!self.malformed || !read.notes.is_empty())
    }
}

/// Whether one matches, or none is asked for.
fn any<T>(wanted: &[T], matches: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(matches)
}
