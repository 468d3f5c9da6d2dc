//! `bootstrap.servers`: where the cluster is first looked for.

use std::net::Ipv6Addr;

use super::error::ProblemKind;
use super::names::quoted;
use super::reader::Reader;

/// Every `host:port`, or a problem for each that is none. Whether anybody listens there is not asked: some of them may be
/// down at any time.
pub(super) fn read(reader: &mut Reader<'_>) -> Vec<String> {
    let list = reader.given("bootstrap.servers");
    let Some((name, list)) = list.filter(|(_, list)| !list.trim().is_empty()) else {
        reader.problem(
            list.map_or("bootstrap.servers", |(name, _)| name),
            ProblemKind::Missing,
            "it is not set, so there is no cluster to talk to",
            "write one or more `host:port`, separated by commas",
        );
        return Vec::new();
    };
    let mut servers = Vec::new();
    for (index, entry) in list.split(',').map(str::trim).enumerate() {
        match wrong(entry) {
            None => servers.push(entry.to_owned()),
            Some((wrong, instead)) => reader.problem(
                name,
                ProblemKind::Invalid,
                format!("entry {}, {}, {wrong}", index + 1, quoted(name, entry)),
                instead,
            ),
        }
    }
    servers
}

/// What is wrong with one entry, and what to write.
fn wrong(entry: &str) -> Option<(&'static str, &'static str)> {
    const HOST_PORT: &str = "write `host:port`";
    if entry.is_empty() {
        return Some(("is empty", "remove a comma"));
    }
    if entry.contains("://") {
        return Some((
            "has a protocol before it",
            "write `host:port`, and the protocol as `security.protocol`",
        ));
    }
    if entry.contains('@') {
        return Some((
            "has an `@` in it",
            "write `host:port`, and the credentials as `sasl.username` and `sasl.password`",
        ));
    }
    let (host, port) = match entry.strip_prefix('[') {
        Some(rest) => {
            let Some((host, after)) = rest.split_once(']') else {
                return Some(("has a `[` without a `]`", "write `[address]:port`"));
            };
            let address = host
                .split_once('%')
                .map_or(host, |(address, _zone)| address);
            if address.parse::<Ipv6Addr>().is_err() || !host_characters(host, ":") {
                return Some(("has no IPv6 address in its brackets", "write `[::1]:9092`"));
            }
            (host, after.strip_prefix(':'))
        }
        None => match entry.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => {
                return Some((
                    "has more than one colon",
                    "write an IPv6 address in brackets: `[::1]:9092`",
                ));
            }
            Some((host, port)) => (host, Some(port)),
            None => (entry, None),
        },
    };
    let Some(port) = port else {
        return Some((
            "has no port",
            "write `host:port`; Kafka's usual port is 9092",
        ));
    };
    if host.is_empty() {
        return Some(("has no host", HOST_PORT));
    }
    if !entry.starts_with('[') && !host_characters(host, "") {
        return Some((
            "has a character that no host name has",
            "write a name of letters, digits, `.`, `-` and `_`, or an address",
        ));
    }
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(1..) if digits => None,
        _ => Some(("has no port number", "write a port from 1 to 65535")),
    }
}

fn host_characters(host: &str, more: &str) -> bool {
    host.chars()
        .all(|c| c.is_ascii_alphanumeric() || "-._%".contains(c) || more.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_addresses_and_ports() {
        for good in [
            "localhost:9092",
            "broker-1.example.com:1",
            "10.0.0.1:65535",
            "under_score:9092",
            "[::1]:9092",
            "[fe80::1%eth0]:9092",
        ] {
            assert_eq!(wrong(good), None, "{good}");
        }
        for (bad, why) in [
            ("", "is empty"),
            ("broker", "has no port"),
            ("[::1]", "has no port"),
            ("[::1]9092", "has no port"),
            (":9092", "has no host"),
            ("broker:", "has no port number"),
            ("broker:0", "has no port number"),
            ("broker:65536", "has no port number"),
            ("broker:+1", "has no port number"),
            ("broker:x", "has no port number"),
            ("::1:9092", "has more than one colon"),
            ("[::1:9092", "has a `[` without a `]`"),
            ("[broker]:9092", "has no IPv6 address in its brackets"),
            ("SSL://broker:9092", "has a protocol before it"),
            ("me:secret@broker:9092", "has an `@` in it"),
            ("bro ker:9092", "has a character that no host name has"),
            ("bröker:9092", "has a character that no host name has"),
        ] {
            assert_eq!(wrong(bad).map(|(why, _)| why), Some(why), "{bad}");
        }
    }
}
