//! Each way to hold a session: how it looks from outside while it happens, that it is gone under the fix, and that what
//! is measured from outside agrees with what the specimen says of itself.

mod monitor;
mod pool_and_locks;
mod specimen;

use std::time::Instant;

use specimen::{DELAY_S, Specimen, Stimulus};

/// One line of the table: how a scope is made to show its pattern, and what is then in a transaction, by state and the
/// beginning of the last statement.
struct Fingerprint {
    scope: &'static str,
    stimulus: Stimulus,
    settings: &'static [&'static str],
    during: &'static [(&'static str, &'static str)],
    /// Sessions that are still there when it is over.
    after: usize,
}

const IDLE: &str = "idle in transaction";
const ABORTED: &str = "idle in transaction (aborted)";
const CHECK: &str = "WITH RECURSIVE granted";
const TOOL_ROW: &str = "SELECT id, name, url, auth_type";

const SLOW_HOOK: &[&str] = &["gateway.hook_delay=800ms"];
const SLOW_PAGE: &[&str] = &["gateway.render_delay=800ms"];

#[rustfmt::skip]
const FINGERPRINTS: [Fingerprint; 16] = {
    use Stimulus::{Call, CallGivenUp, Page, Probe, Stream};
    const fn of(scope: &'static str, stimulus: Stimulus, settings: &'static [&'static str],
                during: &'static [(&'static str, &'static str)], after: usize) -> Fingerprint {
        Fingerprint { scope, stimulus, settings, during, after }
    }
    [
        of("held",              Call,        &[],       &[(IDLE, CHECK)], 0),
        // H3, H4 and H5 come with H1 too: whatever the handler waits for.
        of("held",              Call,        SLOW_HOOK, &[(IDLE, CHECK)], 0),
        of("held",              Page,        SLOW_PAGE, &[(IDLE, "SELECT id, name, description, enabled")], 0),
        of("held",              Stream,      &[],       &[(IDLE, "SELECT FROM servers")], 0),
        // H9: the client has gone, and the handler works on for nobody.
        of("held",              CallGivenUp, &[],       &[(IDLE, CHECK)], 0),
        of("across_backend",    Call,        &[],       &[(IDLE, TOOL_ROW)], 0),
        of("across_hook",       Call,        SLOW_HOOK, &[(IDLE, "SELECT id, name, annotations, headers")], 0),
        of("across_render",     Page,        SLOW_PAGE, &[(IDLE, "SELECT id, name, slug FROM email_teams")], 0),
        of("until_sent",        Stream,      &[],       &[(IDLE, "SELECT id, name, description, icon")], 0),
        of("begin_again",       Call,        &[],       &[(IDLE, "SELECT id, name, slug, url FROM gateways")], 0),
        of("never_committed",   Probe,       &[],       &[(IDLE, "SELECT 1")], 1),
        of("leaked_on_cancel",  CallGivenUp, &[],       &[(IDLE, TOOL_ROW)], 1),
        of("double_checkout",   Call,        &[],       &[(IDLE, TOOL_ROW), (IDLE, CHECK)], 0),
        of("never_closed",      Call,        &[],       &[(IDLE, CHECK)], 1),
        of("session_per_layer", Call,        &[],       &[(IDLE, "SELECT id, name, reachable"), (IDLE, "SELECT id, permission"),
                                                          (IDLE, "SELECT id, user_email"), (IDLE, CHECK)], 0),
        of("failed_kept",       Call,        &[],       &[(ABORTED, "INSERT INTO permission_audit_log")], 0),
    ]
};

async fn assert_shows(fingerprint: &Fingerprint) {
    let Fingerprint { scope, stimulus, settings, during: wanted, after } = *fingerprint;
    let specimen = Specimen::start(scope, settings).await;
    let began = Instant::now();
    let (during, left) = specimen.during_and_after(stimulus).await;
    let elapsed_s = began.elapsed().as_secs_f64();
    assert_eq!(during.len(), wanted.len(), "{scope}, {stimulus:?}: {during:?}");
    for (seen, (state, statement)) in during.iter().zip(wanted) {
        assert!(seen.state == *state && seen.query.starts_with(statement), "{scope}, {stimulus:?}: {seen:?}");
        // Looked at in the middle of the slow work: idle since it began, or since the probe.
        assert!(seen.idle_s > DELAY_S / 8.0 && seen.idle_s <= elapsed_s, "{scope}, {stimulus:?}: {seen:?}");
    }
    assert_eq!(left.len(), after, "{scope}, {stimulus:?}, afterwards: {left:?}");
    let released = async || {
        // A probe that never commits holds its session until it is asked again, and then on.
        if scope != "never_committed" {
            specimen.wait_until_nothing_is_held().await;
        }
    };
    released().await;
    let several = async {
        for _ in 0..3 {
            specimen.provoke(stimulus).await;
        }
        released().await;
    };
    specimen.measured(several).await.assert_agrees(&format!("{scope}, {stimulus:?}"));
    specimen.stop();
}

async fn assert_all_show(of: &str) {
    // Each on a gateway and a database of its own: they wait most of the time, and so may wait together.
    let shown = FINGERPRINTS.iter().filter(|fingerprint| fingerprint.scope.starts_with(of)).map(assert_shows);
    let shown = futures_util::future::join_all(shown).await;
    assert!(!shown.is_empty(), "no pattern is called {of}");
}

macro_rules! fingerprint_of {
    ($($scope:ident)*) => {$(
        #[tokio::test]
        async fn $scope() {
            assert_all_show(stringify!($scope)).await;
        }
    )*};
}

/// Each scope shows its own fingerprint, and what is measured from outside agrees with the truth from inside.
mod fingerprint {
    use super::assert_all_show;

    fingerprint_of!(
        held across_backend across_hook across_render until_sent begin_again never_committed leaked_on_cancel
        double_checkout never_closed session_per_layer failed_kept
    );

    #[test]
    fn every_scope_that_is_a_pattern_has_one() {
        use gateway_under_test::settings::SessionScope;
        for scope in SessionScope::ALL.iter().filter(|scope| scope.pattern().is_some()) {
            assert!(super::FINGERPRINTS.iter().any(|it| it.scope == scope.name()), "{}", scope.name());
        }
    }
}

#[tokio::test]
async fn under_every_fix_nothing_is_held_whatever_is_slow() {
    let everything: [(&[Stimulus], &[&str]); 3] = [
        (&[Stimulus::Call, Stimulus::CallGivenUp, Stimulus::Stream, Stimulus::Probe], &[]),
        (&[Stimulus::Call], SLOW_HOOK),
        (&[Stimulus::Page], SLOW_PAGE),
    ];
    let fixes = ["early_close", "endpoint_shared", "scoped"].map(async |scope| {
        for (stimuli, settings) in everything {
            let specimen = Specimen::start(scope, settings).await;
            for stimulus in stimuli {
                let (during, after) = specimen.during_and_after(*stimulus).await;
                assert_eq!((during, after), (vec![], vec![]), "{scope}: {stimulus:?}");
            }
            specimen.stop();
        }
    });
    futures_util::future::join_all(fixes).await;
}

#[tokio::test]
async fn the_servers_own_count_agrees_with_what_the_specimen_says_it_held() {
    let specimen = Specimen::start("held", &[]).await;
    let before_s = specimen.counted_s().await;
    let mut truth_s = 0.0;
    for _ in 0..5 {
        let truth = specimen.call().await;
        assert!(truth.held_s >= truth.idle_s);
        truth_s += truth.idle_s;
    }
    let counted_s = specimen.counted_s().await - before_s;
    assert!((counted_s / truth_s - 1.0).abs() < 0.05, "counted {counted_s} s, printed {truth_s} s");
    specimen.stop();
}
