//! W3C's extended format, as IIS and `CloudFront` write it: `#Fields:` says what the columns are.

use super::request_line::{is_method, status, time};
use super::{AccessForm, AccessRequest, Read};

#[derive(Default)]
pub(super) struct Iis {
    columns: Vec<String>,
}

impl AccessForm for Iis {
    fn name(&self) -> &'static str {
        "IIS (W3C)"
    }

    fn read(&mut self, line: &str) -> Read {
        if let Some(columns) = line.strip_prefix("#Fields:") {
            self.columns = columns.split_whitespace().map(str::to_owned).collect();
            return Read::Known;
        }
        if self.columns.is_empty() {
            return Read::Other;
        }
        if line.starts_with('#') {
            return Read::Known;
        }
        self.request(line).into()
    }
}

impl Iis {
    fn request(&self, line: &str) -> Option<AccessRequest> {
        let values: Vec<&str> = line.split_whitespace().collect();
        if values.len() != self.columns.len() {
            return None;
        }
        let value = |name: &str| {
            let place = self.columns.iter().position(|it| it == name)?;
            Some(values[place]).filter(|it| *it != "-")
        };
        let method = value("cs-method").filter(|it| is_method(it))?;
        let path = value("cs-uri-stem").filter(|it| it.starts_with('/'))?;
        let query = value("cs-uri-query").map_or_else(String::new, |query| format!("?{query}"));
        // IIS counts milliseconds, CloudFront seconds with a point.
        let took_s = value("time-taken")
            .and_then(|it| it.parse::<f64>().ok().map(|n| if it.contains('.') { n } else { n / 1e3 }));
        let at_s = value("date").zip(value("time")).and_then(|(date, at)| time(&format!("{date} {at}")));
        Some(AccessRequest {
            method: method.to_owned(),
            target: format!("{path}{query}"),
            status: status(value("sc-status")?)?,
            at_s,
            took_s,
        })
    }
}
