//! Passwords, as ContextForge stores them: argon2id in PHC's text form.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};

/// The hash of a password, with a salt of its own.
///
/// # Errors
/// Error text of the library when the system gives no random numbers.
pub fn hash(password: &str) -> Result<String, String> {
    Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string()).map_err(|error| error.to_string())
}

/// True if `password` has this hash. It takes its time, and as long for a hash that is none: who asks does not learn
/// from the clock whether there is such a user.
#[must_use]
pub fn fits(password: &str, hash: &str) -> bool {
    if let Ok(parsed) = PasswordHash::new(hash) {
        Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok()
    } else {
        drop(self::hash(password));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_own_hash_and_no_other() {
        let hashed = hash("correct horse").unwrap();
        assert!(hashed.starts_with("$argon2id$"), "{hashed}");
        assert_ne!(hash("correct horse").unwrap(), hashed, "the salt is new each time");
        assert!(fits("correct horse", &hashed));
        assert!(!fits("battery staple", &hashed));
        assert!(!fits("", "!unusable"));
    }
}
