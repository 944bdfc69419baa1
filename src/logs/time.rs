//! When a line was written, as it says itself.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Year (0 where the line has none), month, day, hour, minute and second, as the line has them: zones are not reckoned with.
type Moment = [u16; 6];

/// A time of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTime {
    moment: Moment,
    /// As the log writes it.
    pub text: String,
}

impl LogTime {
    /// True if it is before another; `None` where only one of them has a year.
    pub(super) fn is_before(&self, other: &Self) -> Option<bool> {
        ((self.moment[0] == 0) == (other.moment[0] == 0)).then(|| self.moment < other.moment)
    }
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn expression(text: &str) -> Regex {
    Regex::new(text).expect("a test tries each")
}

/// `2026-11-30T12:26:41`, `2026/11/30 12:26:41`
static ISO: LazyLock<Regex> = LazyLock::new(|| expression(r"(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d):(\d\d):(\d\d)"));

/// `30/Nov/2026:12:26:41`
static COMMON: LazyLock<Regex> = LazyLock::new(|| expression(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d)"));

/// `Nov 30, 2026 12:36:54 PM`, of java.util.logging
static JAVA: LazyLock<Regex> =
    LazyLock::new(|| expression(r"([A-Z][a-z]{2}) (\d{1,2}), (\d{4}),? (\d{1,2}):(\d\d):(\d\d)[ \x{202f}]([AP])M"));

/// `Nov 30 12:36:54`, of syslog
static SYSLOG: LazyLock<Regex> = LazyLock::new(|| expression(r"([A-Z][a-z]{2}) +(\d{1,2}) (\d\d):(\d\d):(\d\d)"));

/// `"time":1796041817043`, of pino in milliseconds; `"__REALTIME_TIMESTAMP":"1796041817043000"`, of the journal in microseconds
static EPOCH: LazyLock<Regex> = LazyLock::new(|| {
    expression(r#""(?:time|ts|timestamp|__REALTIME_TIMESTAMP)" ?: ?"?(\d{10})(?:\d{3}|\d{6})?(?:\.\d+)?[",}\s]"#)
});

fn iso_moment(found: &Captures<'_>) -> Option<Moment> {
    let mut moment = Moment::default();
    for (place, part) in moment.iter_mut().enumerate() {
        *part = found[place + 1].parse().ok()?;
    }
    Some(moment)
}

/// The first time in a line.
pub(super) fn time(line: &str) -> Option<LogTime> {
    let number = |found: &Captures<'_>, place: usize| found[place].parse::<u16>().ok();
    let month = |name: &str| MONTHS.iter().position(|it| *it == name).and_then(|it| u16::try_from(it + 1).ok());
    let log_time = |found: &Captures<'_>, moment: Moment| Some(LogTime { moment, text: found[0].to_owned() });
    let iso = || {
        let it = ISO.captures(line)?;
        log_time(&it, iso_moment(&it)?)
    };
    let common = || {
        let it = COMMON.captures(line)?;
        log_time(
            &it,
            [number(&it, 3)?, month(&it[2])?, number(&it, 1)?, number(&it, 4)?, number(&it, 5)?, number(&it, 6)?],
        )
    };
    let java = || {
        let it = JAVA.captures(line)?;
        let hour = number(&it, 4)? % 12 + if &it[7] == "P" { 12 } else { 0 };
        log_time(&it, [number(&it, 3)?, month(&it[1])?, number(&it, 2)?, hour, number(&it, 5)?, number(&it, 6)?])
    };
    let epoch = || {
        let it = EPOCH.captures(line)?;
        let at = jiff::Timestamp::from_second(it[1].parse().ok()?).ok()?.to_string();
        let text = at.trim_end_matches('Z').to_owned();
        ISO.captures(&text).and_then(|it| log_time(&it, iso_moment(&it)?))
    };
    let syslog = || {
        let it = SYSLOG.captures(line)?;
        log_time(&it, [0, month(&it[1])?, number(&it, 2)?, number(&it, 3)?, number(&it, 4)?, number(&it, 5)?])
    };
    iso().or_else(common).or_else(java).or_else(epoch).or_else(syslog)
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
            "10.0.0.1 - - [30/Nov/2026:12:26:41 +0000] x",
            "Nov 30, 2026 12:26:41 PM org.apache.tomcat",
            "{\"__REALTIME_TIMESTAMP\":\"1796041601000000\",\"MESSAGE\":\"x\"}",
        ] {
            let it = time(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(it.moment, [2026, 11, 30, 12, 26, 41], "{line}");
            assert_eq!((earlier.is_before(&it), it.is_before(&earlier)), (Some(true), Some(false)), "{line}");
        }
        let syslog = time("Nov 30 12:26:41 host app[7]: x").expect("syslog's");
        assert_eq!(syslog.is_before(&earlier), None, "it has no year");
        assert_eq!(time("took 12:26 in all"), None);
    }
}
