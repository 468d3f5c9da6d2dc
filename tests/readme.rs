//! What the documents say shows their claims exists.

use std::{fs, path::Path};

/// The text of every test under this folder.
fn texts(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_test_that_the_table_of_chapter_3_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let (_, table) = readme.split_once("| part | test |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let mut tests = String::new();
    texts(&root.join("tests"), &mut tests);

    let mut named = 0;
    for row in table.lines().skip(2) {
        let shown_by = row.split('|').nth(2).unwrap();
        // Words in backticks: files, and functions in them.
        for word in shown_by.split('`').skip(1).step_by(2) {
            let is_file = ["", ".rs", "/main.rs"]
                .iter()
                .any(|end| root.join(format!("tests/{word}{end}")).is_file());
            let is_function = tests.contains(&format!("fn {word}("));
            let is_folder = word == "src/config/tests" && root.join(word).is_dir();
            assert!(
                is_file || is_function || is_folder,
                "no test has the name {word}"
            );
            named += 1;
        }
    }
    assert!(named > 40, "{named}");
}

#[test]
fn every_test_that_the_document_on_security_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut tests = String::new();
    for folder in ["tests", "middleware/tests", "src/engine"] {
        texts(&root.join(folder), &mut tests);
    }

    let mut named = 0;
    for row in document.lines().filter(|line| line.starts_with('|')) {
        // Words in backticks that are functions' names, as none of the settings and files is.
        for word in row.split('`').skip(1).step_by(2) {
            let letters = |c: char| c.is_ascii_lowercase() || c == '_';
            if word.matches('_').count() > 2 && word.chars().all(letters) {
                assert!(tests.contains(&format!("fn {word}(")), "{word}");
                named += 1;
            }
        }
    }
    assert!(named > 40, "{named}");
}
