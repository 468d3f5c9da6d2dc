//! `franking send`, `tail` and `audit`, every way in.

use std::process::Command;

use serde_json::Value;

use crate::support::secured::{Listener, PASSWORD, Secured, USER};
use crate::support::sending::Program;
use crate::support::{read, topic};
use crate::ways::Way;

/// Runs the program to its end; gives what it printed.
pub(crate) fn franking(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_franking"))
        .args(arguments)
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the options of a way are on the command line.
fn options(way: Way, broker: &Secured) -> Vec<String> {
    let mut properties = way.properties(broker);
    if way == Way::Token {
        let file = format!("file://{}", way.token_file(broker));
        properties.set("sasl.oauthbearer.token.endpoint.url", file);
    }
    let options = properties
        .iter()
        .filter(|(name, _)| *name != "bootstrap.servers");
    options
        .flat_map(|(name, value)| ["-X".to_owned(), format!("{name}={value}")])
        .collect()
}

#[test]
fn send_tail_and_audit_come_in_every_way() {
    let broker = Secured::shared();
    for way in Way::ALL {
        let topic = topic(broker.plain(), &format!("program-{way:?}"), 1, &[]);
        let options = options(way, broker);
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        let bootstrap = broker.at(way.listener());

        let mut program = Program::start(bootstrap, &topic, &options);
        let lines: Vec<_> = (0..100).map(|n| format!("{way:?} {n}")).collect();
        program.write(&lines.join("\n"));
        let ended = program.end();
        assert_eq!(
            (ended.code, ended.outcomes()),
            (Some(0), [100, 0, 0]),
            "{way:?}: {ended:?}"
        );
        assert_eq!(ended.said, "", "{way:?}");

        let stored = read(broker.plain(), &topic).into_iter();
        let stored: Vec<_> = stored
            .map(|stored| String::from_utf8(stored.value.unwrap()).unwrap())
            .collect();
        assert_eq!(stored, lines, "{way:?}");

        let at = ["-b", bootstrap, &*topic];
        let tail = [
            &["tail", "--from", "beginning", "--exit", "--json"],
            &at[..],
            &options,
        ]
        .concat();
        let told = franking(&tail);
        let values: Vec<_> = told
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter_map(|line| Some(line["value"].as_str()?.to_owned()))
            .collect();
        assert_eq!(values, lines, "{way:?}: {told}");

        let audit = [&["audit", "--json"], &at[..], &options].concat();
        let verdict: Value = serde_json::from_str(&franking(&audit)).unwrap();
        assert_eq!(
            (&verdict["records"], &verdict["missing"]),
            (&100.into(), &0.into()),
            "{way:?}: {verdict}"
        );
    }
}

#[test]
fn a_password_or_token_without_tls_is_warned_of_and_refused_where_tls_is_required() {
    let broker = Secured::shared();
    let topic = topic(broker.plain(), "bare", 1, &[]);
    let bootstrap = broker.at(Listener::Bare);
    let unsigned = [
        "enable.sasl.oauthbearer.unsecure.jwt=true",
        "sasl.oauthbearer.config=principal=alice",
    ];
    let user = format!("sasl.username={USER}");
    let password = format!("sasl.password={PASSWORD}");
    let ways = [
        (
            "PLAIN",
            [user.as_str(), &password],
            Some("the password goes over the network as it is"),
        ),
        (
            "OAUTHBEARER",
            unsigned,
            Some("the token goes over the network as it is"),
        ),
        // What goes over the network proves that both sides know the password, and is none.
        ("SCRAM-SHA-512", [&user, &password], None),
    ];
    for (mechanism, [first, second], warning) in ways {
        let mechanism = format!("sasl.mechanism={mechanism}");
        let mut options = vec![
            "-X",
            "security.protocol=SASL_PLAINTEXT",
            "-X",
            &mechanism,
            "-X",
            first,
            "-X",
            second,
        ];
        let mut program = Program::start(bootstrap, &topic, &options);
        program.write("sent all the same");
        let ended = program.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let warned = ended.said.matches("goes over the network").count();
        assert_eq!(warned, usize::from(warning.is_some()), "{ended:?}");
        assert!(
            ended.said.contains(warning.unwrap_or_default()),
            "{ended:?}"
        );

        options.extend(["-X", "security.require.tls=true"]);
        let ended = Program::start(bootstrap, &topic, &options).end();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        for says in [
            "`security.protocol`",
            "`security.require.tls` is true",
            "write `SASL_SSL`",
        ] {
            assert!(ended.said.contains(says), "{ended:?}");
        }
        assert!(!ended.said.contains(PASSWORD), "{ended:?}");
    }
    assert_eq!(read(broker.plain(), &topic).len(), ways.len());

    // Who only reads gives the password away too.
    let reading = [
        "tail",
        "-b",
        bootstrap,
        &topic,
        "--from",
        "beginning",
        "--exit",
    ];
    let options = [
        "-X",
        "security.protocol=SASL_PLAINTEXT",
        "-X",
        "sasl.mechanism=PLAIN",
        "-X",
        &user,
        "-X",
        &password,
    ];
    let output = Command::new(env!("CARGO_BIN_EXE_franking"))
        .args(reading)
        .args(options)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("the password goes over the network"),
        "{said}"
    );
}
