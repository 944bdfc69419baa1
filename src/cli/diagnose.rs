//! `rbac-bench diagnose`: what is wrong in a run, and where.

use std::io::Write;
use std::path::PathBuf;

use super::compare::variant_name;
use super::error::CliError;
use super::exit::Exit;
use super::logs::read_all;
use super::output::output_width;
use super::subject::{Recorded, recorded};
use crate::diagnose::what_if::{WhatIf, what_if};
use crate::diagnose::{Case, FindingKind, diagnose};
use crate::record::{RunRecord, ScanRecord, Stamped};
use crate::render::diagnosis::{Advice, Diagnosed, json, text};
use crate::scenario::VariantName;
use crate::texts::PatternCounts;

/// Name the route and statement that hold sessions
///
/// Findings, most harmful first: the route that holds sessions, how long, with which statement, which mistake it is, what
/// to do, and how sure that is. Nothing being wrong is a finding, too, and so is that it cannot be determined.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rbac-bench diagnose reports/2026-11-23T23-59-21-issue-2318
  rbac-bench diagnose reports/… --variant held --json
  rbac-bench diagnose reports/… --what-if pool=50,users=8000
  rbac-bench diagnose reports/… --log app.log --log pgbouncer.log
  rbac-bench diagnose --log app.log.gz
  kubectl logs deploy/shop | rbac-bench diagnose --log -

Exit codes: 0 success · 1 the run recorded nothing · 2 invalid input · 3 inconclusive")]
pub struct DiagnoseArgs {
    /// Folder of a run; without one, the logs alone are read
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Only this variant; all by default
    #[arg(long, value_name = "V")]
    pub variant: Option<String>,
    /// Estimate the sessions needed for another pool size or number of users, such as `pool=50,users=8000`
    #[arg(long, value_name = "WHAT", value_parser = parse_what_if)]
    pub what_if: Option<WhatIf>,
    /// A log in which to look for errors of pools, poolers and the server: text or JSON, also compressed (gzip, zstd); `-` is
    /// standard input
    #[arg(long, value_name = "FILE")]
    pub log: Vec<PathBuf>,
    /// Advice in code for all stacks, not only for the service's own
    #[arg(long)]
    pub all_advice: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Diagnoses, and writes the findings to `out`.
pub(super) fn run(args: &DiagnoseArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    let Some(run) = &args.run else { return of_logs(args, out) };
    let Recorded { record, samples, .. } = recorded(run)?;
    let wanted = args.variant.as_deref().map(variant_name).transpose()?;
    let logs = read_all(&args.log)?.counts;
    let diagnosed = all(&record, &samples, &logs, wanted, args.what_if);
    if diagnosed.is_empty() {
        return Err(match wanted {
            Some(wanted) => {
                let allowed = record.variants.keys().copied().collect();
                CliError::UnknownVariant { name: wanted.name().to_owned(), allowed }
            }
            None => CliError::NothingRecorded { folder: PathBuf::from(run) },
        });
    }
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &json(record.scenario.name(), &diagnosed))?;
        writeln!(out)?;
    } else {
        out.write_all(text(&diagnosed, &logs, Advice::of(args.all_advice), output_width()).as_bytes())?;
    }
    out.flush()?;
    let of_scan = |it: &Diagnosed| record.variants.get(&it.variant)?.scan.as_ref().map(ScanRecord::is_inconclusive);
    let cannot_tell = |it: &Diagnosed| it.findings.iter().all(|it| it.kind == FindingKind::CannotTell);
    let unknown = diagnosed.iter().all(|it| of_scan(it).unwrap_or_else(|| cannot_tell(it)));
    let judged = record.in_order().into_iter().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == *name));
    let unseen = judged.into_iter().any(|(_, variant)| record.not_observed(variant).is_some());
    Ok(if unknown || unseen { Exit::Inconclusive } else { Exit::Ok })
}

/// What logs tell by themselves.
fn of_logs(args: &DiagnoseArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    if args.log.is_empty() {
        return Err(CliError::NothingToDiagnose);
    }
    for (flag, is_given) in [("--variant", args.variant.is_some()), ("--what-if", args.what_if.is_some())] {
        if is_given {
            return Err(CliError::NeedsRun { flag });
        }
    }
    let report = read_all(&args.log)?;
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &crate::render::logs::json(&report))?;
        writeln!(out)?;
    } else {
        out.write_all(crate::render::logs::text(&report, output_width()).as_bytes())?;
    }
    out.flush()?;
    Ok(if report.counts.is_empty() { Exit::Inconclusive } else { Exit::Ok })
}

/// The findings of each variant, in the scenario's order.
pub(super) fn all(
    record: &RunRecord,
    samples: &[Stamped],
    logs: &PatternCounts,
    wanted: Option<VariantName>,
    asked: Option<WhatIf>,
) -> Vec<Diagnosed> {
    let scopes =
        record.in_order().into_iter().map(|(name, _)| name).filter(|it| wanted.is_none_or(|wanted| wanted == *it));
    let cases = scopes.filter_map(|scope| Case::of(record, scope, samples, logs));
    cases
        .map(|case| {
            let findings = diagnose(case);
            let what_if = asked.map(|asked| what_if(&case, &findings, asked));
            Diagnosed { variant: case.scope(), findings, what_if }
        })
        .collect()
}

/// `pool=50,users=8000`
fn parse_what_if(text: &str) -> Result<WhatIf, String> {
    let mut asked = WhatIf::default();
    for part in text.split(',') {
        let (key, value) =
            part.split_once('=').ok_or_else(|| format!("invalid `{part}`: expected `pool=N` or `users=N`"))?;
        let count = value.trim().parse::<u32>().ok().filter(|it| (1..=1_000_000).contains(it));
        let count = count.ok_or_else(|| format!("invalid number `{value}`: expected 1 to 1000000"))?;
        match key.trim() {
            "pool" => asked.pool = Some(count),
            "users" => asked.users = Some(count),
            other => return Err(format!("`{other}` is neither `pool` nor `users`")),
        }
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_if_reads_a_pool_and_users_and_refuses_the_rest() {
        assert_eq!(parse_what_if("pool=50,users=8000"), Ok(WhatIf { pool: Some(50), users: Some(8000) }));
        assert_eq!(parse_what_if("users=1"), Ok(WhatIf { pool: None, users: Some(1) }));
        for text in ["", "pool", "pool=0", "pool=-1", "pool=5;users=2", "workers=3", "users=99999999"] {
            assert!(parse_what_if(text).is_err(), "{text}");
        }
    }
}
