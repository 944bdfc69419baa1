//! Figures in sentences.

/// Seconds: `1.52 s`, `0.31 s`, `24 s`.
pub(super) fn seconds(value: f64) -> String {
    let digits = usize::from(value < 100.0) + usize::from(value < 10.0);
    format!("{value:.digits$} s")
}

/// A share 0–1: `93 %`.
pub(super) fn percent(value: f64) -> String {
    format!("{:.0} %", value * 100.0)
}

/// `A`, `A and B`, `A, B and C`.
pub(super) fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_in_the_table() {
        assert_eq!([1.523, 24.26, 243.0].map(seconds), ["1.52 s", "24.3 s", "243 s"]);
        assert_eq!(percent(0.934), "93 %");
        assert_eq!(listed(&["a", "b", "c"].map(str::to_owned)), "a, b and c");
    }
}
