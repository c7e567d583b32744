//! Names that a reader takes for others: `lodahs` for `lodash`, `rnodel` for `model` (SEC-071).
//!
//! Two names are near each other if they look alike (`rn` and `m`, `vv` and `w`, `0` and `o`, `1` and `l`,
//! whatever stands between the words), or if one slip of a finger leads from one to the other: a letter more,
//! less, or another, or two that changed places.
//!
//! Promises: which is asked about which makes no difference; a name is not near itself; names of three
//! letters and fewer are near nothing, for all of them would be. Time grows with the length of the names.
//! Leaves to others: whose the names are, and what to do about it.

use objects::name::PackageName;

/// Names with fewer letters are not compared.
const LETTERS_MIN: usize = 4;

/// What separates words in a name.
const SEPARATORS: [char; 4] = ['-', '_', '.', '/'];

/// What looks like something else.
const LOOKS: [(&str, &str); 4] = [("rn", "m"), ("vv", "w"), ("0", "o"), ("1", "l")];

/// True if one of the names could be taken for the other.
pub fn are_similar(one: &PackageName, other: &PackageName) -> bool {
    let [a, b] = [one, other].map(PackageName::as_str);
    let is_long = |name: &str| name.chars().filter(|c| !SEPARATORS.contains(c)).count() >= LETTERS_MIN;
    a != b && is_long(a) && is_long(b) && (looks(a) == looks(b) || is_one_slip(a.as_bytes(), b.as_bytes()))
}

/// What a reader sees of a name: those that look alike give the same.
fn looks(name: &str) -> String {
    LOOKS.iter().fold(name.replace(SEPARATORS, ""), |name, (from, to)| name.replace(from, to))
}

/// True if one letter more, less or another, or two that changed places, make one of the other.
fn is_one_slip(a: &[u8], b: &[u8]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let same = short.iter().zip(long).take_while(|(one, other)| one == other).count();
    let (short, long) = (&short[same..], &long[same..]);
    match (short, long) {
        ([p, q, rest @ ..], [r, s, others @ ..]) if (p, q) == (s, r) && rest == others => true,
        ([_, rest @ ..], [_, others @ ..]) if rest == others => true,
        (rest, [_, others @ ..]) => rest == others,
        (_, []) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 12] = [
        "lodash",
        "requests",
        "openssl",
        "model-server",
        "wave_form",
        "english.dict",
        "ada/turn0ver",
        "colour1st",
        "modern",
        "node",
        "left-pad",
        "burn-2",
    ];

    const NEAR: [(&str, &str); 18] = [
        ("lodash", "lodahs"),
        ("lodash", "lodas"),
        ("lodash", "1odash"),
        ("model", "rnodel"),
        ("burner", "bumer"),
        ("wave", "vvave"),
        ("openssl", "openss1"),
        ("requests", "request"),
        ("requests", "reqeusts"),
        ("left-pad", "left_pad"),
        ("left-pad", "left.pad"),
        ("left-pad", "leftpad"),
        ("ada/left", "ada-left"),
        ("a-b-c-d", "abcd"),
        ("python3", "python2"),
        ("lib-a", "lib-b"),
        ("m0rn-ing", "mom_ing"),
        ("t0-t0-t0", "totot0"),
    ];

    const NOT_NEAR: [(&str, &str); 14] = [
        ("lodash", "lodash"),
        ("lodash", "dashlo"),
        ("lodash", "lodash-es"),
        ("requests", "requires"),
        ("hello", "world"),
        ("abc", "abd"),
        ("abc", "abcd"),
        ("a-b-c", "a-b-d"),
        ("english-dict", "german-dict"),
        ("node", "done"),
        ("serde", "serde_json"),
        ("openssl", "libressl"),
        ("tokio", "tokio-util"),
        ("abcdef", "badcfe"),
    ];

    fn name(text: &str) -> PackageName {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// What one rule makes of a name, at every place where it can be applied.
    fn variants(of: &str) -> Vec<String> {
        let mut all = Vec::new();
        for (at, letter) in of.char_indices() {
            let (before, after) = (&of[..at], &of[at + 1..]);
            if !letter.is_ascii_alphanumeric() {
                all.extend(SEPARATORS[..3].iter().map(|other| format!("{before}{other}{after}")));
                continue;
            }
            all.push(format!("{before}{after}"));
            all.push(format!("{before}q{after}"));
            all.push(format!("{before}q{letter}{after}"));
            if let Some(next) = after.chars().next() {
                all.push(format!("{before}{next}{letter}{}", &after[1..]));
            }
        }
        for (from, to) in LOOKS {
            all.extend([of.replace(from, to), of.replace(to, from)]);
        }
        all.retain(|made| made != of && made.parse::<PackageName>().is_ok());
        all
    }

    /// SEC-071: every slip at every place of a dozen names.
    #[test]
    fn what_a_slip_makes_of_a_name_is_near_it() {
        let mut pairs = 0;
        for of in NAMES {
            for made in variants(of).iter().filter(|made| looks(made).len() >= LETTERS_MIN) {
                assert!(are_similar(&name(of), &name(made)), "{of} {made}");
                assert!(are_similar(&name(made), &name(of)), "{made} {of}");
                pairs += 1;
            }
        }
        assert!(pairs >= 200, "only {pairs} pairs");
        for (n, one) in NAMES.iter().enumerate() {
            for other in &NAMES[n..] {
                assert!(!are_similar(&name(one), &name(other)), "{one} {other}");
            }
        }
    }

    /// SEC-071: pairs a person wrote down.
    #[test]
    fn names_are_near_or_not_as_a_person_would_say() {
        for (one, other) in NEAR {
            assert!(are_similar(&name(one), &name(other)), "{one} {other}");
            assert!(are_similar(&name(other), &name(one)), "{other} {one}");
        }
        for (one, other) in NOT_NEAR {
            assert!(!are_similar(&name(one), &name(other)), "{one} {other}");
            assert!(!are_similar(&name(other), &name(one)), "{other} {one}");
        }
    }

    /// SEC-071: letters of other scripts need no comparison, for no name holds them.
    #[test]
    fn letters_of_other_scripts_make_no_name() {
        for text in ["lоdash", "ｌodash", "lodaѕh", "lodásh", "ⅼodash", "lo\u{200b}dash", "LODASH"] {
            assert!(text.parse::<PackageName>().is_err(), "{text}");
        }
    }
}
