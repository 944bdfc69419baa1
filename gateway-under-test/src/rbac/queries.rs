//! tmp
/// u
pub const USER: &str = "SELECT is_admin, is_active FROM email_users WHERE email = $1";
/// p
pub const PERMISSIONS: &str = "SELECT $1::text";
