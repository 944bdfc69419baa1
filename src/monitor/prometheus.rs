//! Prometheus' text format, as far as gauges and counters go: `name{label="value",…} number`.

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PrometheusMetric {
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
}

impl PrometheusMetric {
    /// True if it has this name and, where one is given, this label.
    pub(super) fn is(&self, name: &str, label: Option<(&str, &str)>) -> bool {
        self.name == name && label.is_none_or(|(label, value)| self.label(label) == Some(value))
    }

    /// The value of a label.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

/// All metrics of a text. Comments and lines that are none are passed over.
pub(super) fn parse(text: &str) -> Vec<PrometheusMetric> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(metric).collect()
}

fn metric(line: &str) -> Option<PrometheusMetric> {
    let (name, labels, rest) = if let Some((name, rest)) = line.split_once('{') {
        let (labels, rest) = labels(rest)?;
        (name, labels, rest)
    } else {
        let (name, rest) = line.split_once(' ')?;
        (name, Vec::new(), rest)
    };
    // A timestamp may follow the value.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(PrometheusMetric { name: name.to_owned(), labels, value })
}

/// The labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, after) = unquote(quoted)?;
        labels.push((name.to_owned(), value));
        rest = after;
    }
}

/// A value up to its closing quote, with `\\`, `\"` and `\n` undone, and what follows the quote.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_quotes_braces_and_line_breaks() {
        let parsed = parse("errors_total{text=\"a \\\"b\\\" {c}\\nd, e=\\\\\",code=\"7\"} 12 1700000000\n");
        assert_eq!(parsed.len(), 1);
        assert_eq!(parsed[0].label("text"), Some("a \"b\" {c}\nd, e=\\"));
        assert_eq!(parsed[0].label("code"), Some("7"));
        assert!((parsed[0].value - 12.0).abs() < f64::EPSILON);
    }

    #[test]
    fn what_is_no_metric_is_passed_over() {
        assert_eq!(parse("# HELP x y\n\nnonsense\nx{a=\"b} 1\nup 1\n").len(), 1);
    }
}
