//! When a line was written, as it says itself.

use std::sync::LazyLock;

use jiff::civil::DateTime;
use regex::{Captures, Regex};

/// A time of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogTime {
    /// Seconds since 1970, in UTC where the line has no zone.
    unix_s: f64,
    has_year: bool,
    /// As the log writes it, to the second.
    pub text: String,
}

impl LogTime {
    /// Seconds since 1970; `None` of a time without a year.
    pub fn unix_s(&self) -> Option<f64> {
        self.has_year.then_some(self.unix_s)
    }

    /// True if it is before another; `None` where only one of them has a year.
    pub(super) fn is_before(&self, other: &Self) -> Option<bool> {
        (self.has_year == other.has_year).then_some(self.unix_s < other.unix_s)
    }
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A leap year, for a time that has none.
const SOME_YEAR: i16 = 2000;

/// The forms: y(ear), M(onth), d(ay), h(our), m(inute), s(econd), f(raction), the zone's sign, its h(our) and m(inute), and the
/// half of the day.
static FORMS: LazyLock<[Regex; 4]> = LazyLock::new(|| {
    [
        // `30/Nov/2026:12:26:41 +0000`, with what stands in place of the colon or the zone elsewhere
        r"(?P<d>\d\d)/(?P<M>[A-Z][a-z]{2})/(?P<y>\d{4})[: ](?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)(?:\.(?P<f>\d+))?(?: (?P<sign>[+-])(?P<zh>\d\d):?(?P<zm>\d\d))?",
        // `2026-11-30T12:26:41.326+00:00`, `2026/11/30 - 12:26:41`, `2026-11-30 12:26:41 +0000`
        r"(?P<y>\d{4})[-/](?P<M>\d\d)[-/](?P<d>\d\d)(?:[T ]| - )(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)(?:[.,](?P<f>\d+))?(?:Z| ?(?P<sign>[+-])(?P<zh>\d\d):?(?P<zm>\d\d))?",
        // `Nov 30, 2026 12:36:54 PM`, of java.util.logging
        r"(?P<M>[A-Z][a-z]{2}) (?P<d>\d{1,2}), (?P<y>\d{4}),? (?P<h>\d{1,2}):(?P<m>\d\d):(?P<s>\d\d)[ \x{202f}](?P<half>[AP])M",
        // `Nov 30 12:36:54`, of syslog
        r"(?P<M>[A-Z][a-z]{2}) +(?P<d>\d{1,2}) (?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)",
    ]
    .map(|form| Regex::new(form).expect("a test tries each"))
});

/// `"time":1796041817043`, of pino in milliseconds; `"__REALTIME_TIMESTAMP":"1796041817043000"`, of the journal in microseconds.
static EPOCH: LazyLock<Regex> = LazyLock::new(|| {
    let field = r#""(?:time|ts|timestamp|__REALTIME_TIMESTAMP)" ?: ?"?(\d{10})(?:\d{3}|\d{6})?(?:\.\d+)?[",}\s]"#;
    Regex::new(field).expect("so does it this")
});

/// The first time in a text.
pub fn time(text: &str) -> Option<LogTime> {
    let [common, iso, java, syslog] = &*FORMS;
    let of = |form: &Regex| form.captures(text).and_then(|found| read(&found));
    let epoch = || {
        let second = EPOCH.captures(text)?[1].parse().ok()?;
        let at = jiff::Timestamp::from_second(second).ok()?;
        let text = at.to_string().trim_end_matches('Z').to_owned();
        Some(LogTime { unix_s: at.as_second() as f64, has_year: true, text })
    };
    of(common).or_else(|| of(iso)).or_else(|| of(java)).or_else(epoch).or_else(|| of(syslog))
}

fn read(found: &Captures<'_>) -> Option<LogTime> {
    let number = |name: &str| found.name(name).and_then(|it| it.as_str().parse::<i8>().ok());
    let year = found.name("y").map(|it| it.as_str().parse::<i16>());
    let name = found.name("M")?.as_str();
    let month = number("M").or_else(|| i8::try_from(MONTHS.iter().position(|it| *it == name)? + 1).ok())?;
    let hour = match found.name("half").map(|it| it.as_str()) {
        Some("P") => number("h")? % 12 + 12,
        Some(_) => number("h")? % 12,
        None => number("h")?,
    };
    let has_year = year.is_some();
    let year = year.transpose().ok()?.unwrap_or(SOME_YEAR);
    let date = DateTime::new(year, month, number("d")?, hour, number("m")?, number("s")?, 0).ok()?;
    let whole = jiff::tz::TimeZone::UTC.to_timestamp(date).ok()?.as_second() as f64;
    let fraction = found.name("f").and_then(|it| format!("0.{}", it.as_str()).parse::<f64>().ok()).unwrap_or(0.0);
    let zone_s = match (found.name("sign"), number("zh"), number("zm")) {
        (Some(sign), Some(hours), Some(minutes)) => {
            let zone_s = f64::from(hours) * 3600.0 + f64::from(minutes) * 60.0;
            if sign.as_str() == "-" { -zone_s } else { zone_s }
        }
        _ => 0.0,
    };
    let whole_match = found.get(0)?;
    // Without the fraction and the zone.
    let end = if found.name("half").is_some() { whole_match.end() } else { found.name("s")?.end() };
    let text = whole_match.as_str()[..end - whole_match.start()].to_owned();
    Some(LogTime { unix_s: whole + fraction - zone_s, has_year, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_the_forms_that_logs_write() {
        let earlier = time("{\"level\":50,\"time\":1796041560000,\"msg\":\"x\"}").expect("pino's");
        assert_eq!(earlier.text, "2026-11-30T12:26:00");
        for line in [
            "2026-11-30T12:26:41.123Z x",
            "10.0.0.1 - - [30/Nov/2026:13:26:41 +0100] x",
            "Nov 30, 2026 12:26:41 PM org.apache.tomcat",
            "{\"__REALTIME_TIMESTAMP\":\"1796041601000000\",\"MESSAGE\":\"x\"}",
        ] {
            let it = time(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(it.unix_s().map(f64::floor), Some(1_796_041_601.0), "{line}");
            assert_eq!((earlier.is_before(&it), it.is_before(&earlier)), (Some(true), Some(false)), "{line}");
        }
        let syslog = time("Nov 30 12:26:41 host app[7]: x").expect("syslog's");
        assert_eq!(syslog.is_before(&earlier), None, "it has no year");
        assert_eq!(time("took 12:26 in all"), None);
    }
}
