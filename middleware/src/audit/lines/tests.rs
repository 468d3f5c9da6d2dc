//! A file is whole whatever happens to it.

use super::*;

/// A folder that is there as long as its test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("franking-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("audit.jsonl")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn report(delivered: u64) -> Report {
    Report {
        delivered,
        topic: Some("a \"quoted\"\nname".to_owned()),
        closed: true,
        ..Report::default()
    }
}

/// The counts of all lines, which form a chain from `link` on.
fn read(path: &Path, link: &mut Link) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap();
    let counts = text.lines().map(|line| {
        link.follow(line.as_bytes()).unwrap();
        let report: Report = serde_json::from_str(line).unwrap();
        assert_eq!(report, self::report(report.delivered));
        report.delivered
    });
    counts.collect()
}

#[test]
fn the_chain_goes_on_when_the_file_is_opened_again() {
    let folder = Folder::new("lines-again");
    for n in 0..3 {
        let lines = JsonLines::open(folder.file()).unwrap();
        assert_eq!(lines.link().line, n);
        lines.append(&report(n)).unwrap();
        let busy = JsonLines::open(folder.file()).unwrap_err();
        assert_eq!(busy.kind(), io::ErrorKind::WouldBlock);
    }
    let mut link = Link::default();
    assert_eq!(read(&folder.file(), &mut link), [0, 1, 2]);
    assert_eq!(JsonLines::open(folder.file()).unwrap().link(), link);
}

#[test]
fn half_a_line_is_cut_off_and_a_changed_one_is_refused() {
    let folder = Folder::new("lines-torn");
    let lines = JsonLines::open(folder.file()).unwrap();
    lines.append(&report(1)).unwrap();
    drop(lines);
    let whole = fs::read_to_string(folder.file()).unwrap();
    fs::write(folder.file(), format!("{whole}{}", &whole[..20])).unwrap();
    let lines = JsonLines::open(folder.file()).unwrap();
    lines.append(&report(2)).unwrap();
    drop(lines);
    assert_eq!(read(&folder.file(), &mut Link::default()), [1, 2]);

    let text = fs::read_to_string(folder.file()).unwrap();
    let changed = text.replacen("\"delivered\":1", "\"delivered\":7", 1);
    assert_ne!(changed, text);
    fs::write(folder.file(), &changed).unwrap();
    let error = JsonLines::open(folder.file()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(
        error.to_string().contains("line 1: it was changed"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(folder.file()).unwrap(), changed);
}

#[test]
fn what_could_not_be_written_leaves_no_trace() {
    let folder = Folder::new("lines-full");
    let lines = JsonLines::open(folder.file()).unwrap();
    lines.append(&report(1)).unwrap();
    // Neither takes bytes nor is cut off.
    let readable = File::open(folder.file()).unwrap();
    let writable = std::mem::replace(&mut lines.lock().file, readable);
    lines.append(&report(2)).unwrap_err();
    lines.append(&report(2)).unwrap_err();
    assert!(lines.lock().torn);
    // Half of it was written before the disk was full.
    (&writable).write_all(b"{\"line\":2,").unwrap();
    lines.lock().file = writable;
    lines.append(&report(2)).unwrap();
    assert_eq!(read(&folder.file(), &mut Link::default()), [1, 2]);
}

#[test]
fn a_chain_goes_over_files() {
    let folder = Folder::new("lines-rotated");
    let one = {
        let lines = JsonLines::open(folder.file()).unwrap();
        lines.append(&report(1)).unwrap();
        lines.lock().len
    };
    let open = || JsonLines::open(folder.file()).unwrap().rotate_at(one * 2);
    let lines = open();
    for n in 2..=7 {
        lines.append(&report(n)).unwrap();
    }
    drop(lines);
    // A process that ended between two files.
    let last = rotated(&folder.file(), 7);
    fs::rename(folder.file(), &last).unwrap();
    let lines = open();
    lines.append(&report(8)).unwrap();
    assert_eq!(lines.link().line, 8);
    drop(lines);
    let names = folder.names();
    assert_eq!(names[0], "audit.jsonl");
    assert_eq!(names[1], "audit.jsonl.000000000002");
    let mut link = Link::default();
    let mut all = Vec::new();
    for name in names[1..].iter().chain(&names[..1]) {
        all.extend(read(&folder.0.join(name), &mut link));
    }
    assert_eq!(all, [1, 2, 3, 4, 5, 6, 7, 8]);
}
