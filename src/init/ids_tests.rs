//! Precision and recall of ids against words, on generated paths of forty services.

use std::collections::BTreeSet;

use base64::Engine;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use super::traffic::{ObservedTraffic, Request};

const BASE62: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const LOWER36: &str = "0123456789abcdefghijklmnopqrstuvwxyz";
const CROCKFORD: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

fn drawn(alphabet: &str, length: usize, random: &mut SmallRng) -> String {
    let letters: Vec<char> = alphabet.chars().collect();
    (0..length).map(|_| *letters.choose(random).expect("an alphabet")).collect()
}

/// A kind of ids, and how one is made.
type Kind = (&'static str, fn(&mut SmallRng) -> String);

const KINDS: [Kind; 20] = [
    ("number", |random| random.random_range(1..100_000).to_string()),
    ("uuid", |random| {
        let hex = drawn("0123456789abcdef", 32, random);
        format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
    }),
    ("object id", |random| format!("65{}", drawn("0123456789abcdef", 22, random))),
    ("sha", |random| format!("{}7", drawn("0123456789abcdef", 39, random))),
    ("ulid", |random| format!("01{}", drawn(CROCKFORD, 24, random))),
    ("ulid in small letters", |random| format!("01{}", drawn(CROCKFORD, 24, random)).to_ascii_lowercase()),
    ("ksuid", |random| format!("2aZ{}", drawn(BASE62, 24, random))),
    ("cuid", |random| format!("cm4p1v8x{}", drawn(LOWER36, 17, random))),
    ("cuid2", |random| format!("t2{}4k9", drawn(LOWER36, 19, random))),
    ("nanoid", |random| format!("aK9{}", drawn(BASE62, 18, random))),
    ("TypeID", |random| format!("user_01h{}", drawn(&CROCKFORD.to_ascii_lowercase(), 23, random))),
    ("prefixed, long", |random| format!("cus_9{}Qz", drawn(BASE62, 11, random))),
    ("prefixed, a number", |random| format!("org_{}", random.random_range(1..999))),
    ("a name and a number", |random| format!("user-{}", random.random_range(1..999))),
    ("ticket", |random| format!("SHOP-{}", random.random_range(1..9_999))),
    ("hashid", |random| {
        format!("{}{}{}", drawn("abcdefgk", 1, random), drawn("23456789", 1, random), drawn("QRSTVWXYZ", 2, random))
    }),
    ("Relay", |random| {
        base64::engine::general_purpose::STANDARD_NO_PAD.encode(format!("Order:{}", random.random_range(1..9_999)))
    }),
    ("date", |random| format!("2026-{:02}-{:02}", random.random_range(1..13), random.random_range(1..29))),
    ("e-mail", |random| format!("{}@example.org", drawn("abcdefgh", 6, random))),
    ("slug with a number", |random| format!("{}-shoes-{}", drawn("abcdefgh", 5, random), random.random_range(1..999))),
];

/// Words that stand where ids do: of lists, of searches, of settings, of names with figures.
const WORDS: [&str; 60] = [
    "search",
    "mine",
    "me",
    "new",
    "export",
    "stats",
    "settings",
    "recent",
    "latest",
    "archive",
    "popular",
    "featured",
    "count",
    "summary",
    "bulk",
    "import",
    "download",
    "preview",
    "draft",
    "active",
    "pending",
    "all",
    "self",
    "current",
    "default",
    "public",
    "private",
    "shared",
    "starred",
    "trash",
    "inbox",
    "sent",
    "oauth2",
    "2fa",
    "v2",
    "v3",
    "health",
    "status",
    "report",
    "monthly-report",
    "top_sellers",
    "byStatus",
    "findByTags",
    "listOrders",
    "getUser",
    "newsletter",
    "feedback",
    "about-us",
    "terms-of-service",
    "price_list",
    "wishlist",
    "checkout",
    "invoice",
    "shipping-address",
    "returns",
    "gift-cards",
    "loyalty",
    "Dashboard",
    "Profile",
    "API",
];

#[test]
fn ids_are_told_from_words_on_the_paths_of_forty_services() {
    let (mut right, mut taken_for_ids, mut missed) = (0_u32, Vec::new(), Vec::new());
    for service in 0..40_u64 {
        let mut random = SmallRng::seed_from_u64(service);
        let kinds: Vec<_> = KINDS.sample(&mut random, 3).collect();
        let mut asked: Vec<(String, bool)> = Vec::new();
        for (place, (_, made)) in kinds.iter().enumerate() {
            let tail = ["", "/items", "/items/last"][place];
            for _ in 0..random.random_range(4..12) {
                let path = format!("/api/things{place}/{}{tail}", made(&mut random));
                (0..random.random_range(1..4)).for_each(|_| asked.push((path.clone(), true)));
            }
            for word in WORDS.sample(&mut random, 3) {
                let path = format!("/api/things{place}/{word}{tail}");
                (0..random.random_range(1..30)).for_each(|_| asked.push((path.clone(), false)));
            }
        }
        asked.shuffle(&mut random);
        let mut traffic = ObservedTraffic::default();
        for (path, _) in &asked {
            traffic.see(Request { method: "GET", target: path, status: 200 });
        }
        let routes: BTreeSet<String> = traffic.by_count().into_iter().map(|(key, _)| key).collect();
        let distinct: BTreeSet<&(String, bool)> = asked.iter().collect();
        for (path, is_id) in distinct {
            match (routes.contains(&format!("GET {path}")), is_id) {
                (false, true) => right += 1,
                (true, true) => missed.push(path.clone()),
                (false, false) => taken_for_ids.push(path.clone()),
                (true, false) => {}
            }
        }
    }
    let (taken, lost) = (taken_for_ids.len() as f64, missed.len() as f64);
    let (precision, recall) =
        (f64::from(right) / (f64::from(right) + taken), f64::from(right) / (f64::from(right) + lost));
    println!("{right} ids; precision {precision:.4}, recall {recall:.4}");
    assert!(precision >= 0.98 && recall >= 0.98, "{precision} {recall}\nno ids: {taken_for_ids:?}\nmissed: {missed:?}");
}
