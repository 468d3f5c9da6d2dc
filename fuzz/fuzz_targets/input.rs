//! How targets get headers from bytes: `0xFE`, which no text has, stands before each; then a byte that picks the name, and
//! the rest is the value, null if there is nothing. So seeds can be read, and any piece can be cut out or put in.

/// The headers of this input; `names` are picked by `0`, `1`, …, and every other byte is a name that nobody knows.
pub fn headers<'d>(data: &'d [u8], names: &[&'d str]) -> Vec<(&'d str, Option<&'d [u8]>)> {
    data.split(|byte| *byte == 0xFE)
        .filter_map(|piece| {
            let (pick, value) = piece.split_first()?;
            let name = names.get(usize::from(pick.wrapping_sub(b'0')));
            let name = name.copied().unwrap_or("x-other");
            Some((name, (!value.is_empty()).then_some(value)))
        })
        .collect()
}
