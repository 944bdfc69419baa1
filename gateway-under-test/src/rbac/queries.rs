//! The two statements of a permission check, as ContextForge's current code asks them: the flag first, then one
//! joined query instead of one per role.

/// Flags of a user: administrator, active; and in which of some teams, that have not ended, they are.
///
/// `$1` is the e-mail, `$2` the ids of the teams. No row means that there is no such user; an administrator needs no
/// further query.
pub const USER_FLAGS: &str = "\
SELECT is_admin, is_active, ARRAY(
    SELECT team_id::text FROM email_team_members JOIN email_teams ON email_teams.id = team_id
    WHERE user_email = $1 AND email_team_members.is_active AND email_teams.is_active AND team_id = ANY ($2)) AS teams
FROM email_users WHERE email = $1";

/// Every permission a user has, as one `text[]` in one row: sorted, without duplicates, empty for another session.
///
/// `$1` is the e-mail, `$2` the id of the team the request is about, null if there is none. Assignments and their
/// roles must be active, and the assignment not expired. Global and personal assignments always count; one in a team
/// counts in that team, or everywhere if it names none. A role adds what it inherits, whether or not the parent is
/// active. `UNION` without `ALL` ends the recursion even if roles inherit in a circle, and needs columns that can be
/// compared, which `json` cannot: hence the permissions are joined afterwards.
///
/// `*` is one of the permissions, for the caller to understand; other wildcards do not exist.
pub const USER_PERMISSIONS: &str = "\
WITH RECURSIVE granted (role_id, inherits_from) AS (
    SELECT roles.id, roles.inherits_from
    FROM user_roles
    JOIN roles ON roles.id = user_roles.role_id
    WHERE user_roles.user_email = $1
      AND user_roles.is_active
      AND (user_roles.expires_at IS NULL OR user_roles.expires_at > now())
      AND roles.is_active
      AND (user_roles.scope IN ('global', 'personal')
           OR user_roles.scope = 'team' AND (user_roles.scope_id IS NULL OR user_roles.scope_id = $2))
  UNION
    SELECT parent.id, parent.inherits_from
    FROM granted
    JOIN roles AS parent ON parent.id = granted.inherits_from
)
SELECT coalesce(array_agg(DISTINCT permission), '{}') AS permissions
FROM granted
JOIN roles ON roles.id = granted.role_id
CROSS JOIN json_array_elements_text(roles.permissions) AS permission";

/// One line of the audit: who asked for what (`$2`: the permissions, one of which would do), in which team, and whether
/// they got it.
pub const AUDIT: &str =
    "INSERT INTO permission_audit_log (user_email, permission, team_id, granted) VALUES ($1, $2, $3, $4)";
