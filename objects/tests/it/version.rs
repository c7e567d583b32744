//! Versions, channels, requirements and package specs, as other rooms and people meet them.

#![allow(clippy::unwrap_used)]

use objects::spec::{self, PackageSpec, Select};
use objects::version::{Channel, Error, Prereleases, Requirement, Version};
use proptest::prelude::*;
use std::collections::HashSet;

fn version(text: &str) -> Version {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn requirement(text: &str) -> Requirement {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn spec(text: &str) -> PackageSpec {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// G-11, G-12, DESIGN 5.
#[test]
fn versions_order_by_epoch_then_precedence_then_revision() {
    let ascending = [
        "0.0.1",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0-rc.1~1",
        "1.0.0",
        "1.0.0~1",
        "1.0.0~10",
        "1.0.1",
        "1!0.0.1",
        "1!0.0.1~2",
        "2!0.0.1-rc.1",
    ];
    for pair in ascending.windows(2) {
        assert!(version(pair[0]) < version(pair[1]), "{} < {}", pair[0], pair[1]);
    }
}

#[test]
fn build_metadata_neither_orders_nor_distinguishes_but_is_kept() {
    let (linux, mac) = (version("1.0.0+linux~1"), version("1.0.0+mac~1"));
    assert_eq!(linux, mac);
    assert!(linux.cmp(&mac).is_eq());
    assert_eq!(HashSet::from([linux.clone(), mac]).len(), 1);
    assert_eq!(linux.to_string(), "1.0.0+linux~1");
}

/// SEC-078: one clear rule.
#[test]
fn odd_versions_are_refused_with_the_reason() {
    let refused = [
        ("", "empty"),
        ("1", "unexpected end"),
        ("1.2", "unexpected end"),
        ("1.2.3.4", "unexpected character"),
        ("v1.2.3", "unexpected character"),
        (" 1.2.3", "unexpected character"),
        ("1.2.3 ", "unexpected character"),
        ("01.2.3", "leading zero"),
        ("1.2.3-01", "leading zero"),
        ("1.2.3-", "empty"),
        ("1.2.3+", "empty"),
        ("1.2.3-a..b", "empty"),
        ("99999999999999999999.0.0", "exceeds"),
        ("1.2.99999999999999999999", "exceeds"),
        ("\u{661}.2.3", "unexpected character"),
        ("1.2.3\n", "unexpected character"),
        ("0!1.2.3", "epoch 0 is left out"),
        ("01!1.2.3", "leading zero"),
        ("+1!1.2.3", "not a number"),
        ("!1.2.3", "not a number"),
        ("1!2!1.2.3", "unexpected character"),
        ("99999999999999999999!1.2.3", "out of range"),
        ("1.2.3~", "not a number"),
        ("1.2.3~0", "revision 0 is left out"),
        ("1.2.3~-1", "not a number"),
        ("1.2.3~\u{0661}", "not a number"),
        ("1.2.3~1+linux", "not a number"),
    ];
    for (text, why) in refused {
        let error = text.parse::<Version>().unwrap_err();
        assert!(error.to_string().contains(why), "{text:?}: {error}");
        assert_eq!(error.code(), "E-FORMAT");
    }
}

/// SEC-078: 1 MB strings are refused by their length, and the message does not repeat them.
#[test]
fn overlong_texts_are_refused_by_length() {
    let long = "1".repeat(1 << 20);
    let error = long.parse::<Version>().unwrap_err();
    assert!(matches!(error, Error::TooLong { bytes: 1_048_576, .. }), "{error}");
    assert_eq!(error.code(), "E-LIMIT");
    assert_eq!(long.parse::<Requirement>().unwrap_err().code(), "E-LIMIT");
    assert_eq!(long.parse::<Channel>().unwrap_err().code(), "E-LIMIT");
    assert_eq!(long.parse::<PackageSpec>().unwrap_err().code(), "E-LIMIT");
    let many = vec!["<9"; 33].join(",");
    assert!(many.parse::<Requirement>().unwrap_err().to_string().contains("at most 32"));
}

/// O7: channels.
#[test]
fn channels_are_plain_words() {
    assert_eq!(Channel::default().as_str(), "release");
    assert!(Channel::default().is_default());
    for good in ["nightly", "beta-2", "0", "release"] {
        assert_eq!(good.parse::<Channel>().unwrap().to_string(), good);
    }
    for bad in ["", "-x", "Nightly", "a.b", "a/b", "n\u{e4}chtlich", "blake3", "sha256"] {
        assert_eq!(bad.parse::<Channel>().unwrap_err().code(), "E-FORMAT", "{bad}");
    }
}

#[test]
fn versions_channels_and_requirements_travel_as_their_text() {
    let json = r#"["2!1.4.0-rc.1+b~3","nightly",">0.1.2<0.1.5"]"#;
    let parsed: (Version, Channel, Requirement) = serde_json::from_str(json).unwrap();
    assert_eq!(serde_json::to_string(&parsed).unwrap(), json);
    assert!(serde_json::from_str::<Version>(r#""1.0""#).is_err());
    assert!(serde_json::from_str::<Version>("1.0").is_err());
}

/// O5: the proposal's four operators, combined without commas.
#[test]
fn the_proposals_operators_combine_without_commas() {
    let between = requirement(">0.1.2<0.1.5");
    let met = |text| between.matches(&version(text), Prereleases::Named);
    assert!(!met("0.1.2") && met("0.1.3") && met("0.1.4~9") && !met("0.1.5"));
    for same in [">0.1.2 <0.1.5", " > 0.1.2 < 0.1.5 ", "<0.1.5>0.1.2", ">0.1.2,<0.1.5", ">=0.1.3<=0.1.4"] {
        for text in ["0.1.1", "0.1.2", "0.1.3", "0.1.4", "0.1.4~3", "0.1.5", "0.1.6"] {
            assert_eq!(
                requirement(same).matches(&version(text), Prereleases::Named),
                met(text),
                "{same} {text}"
            );
        }
    }
    for bad in [
        "> =1.0.0", "< =1", "^1<2", "=1.0.0<2", "1.0<2", "~1>0", ">", ">1<", "><1", "> >1", ">=>1", "=>1",
        ">1,,<2",
    ] {
        assert!(bad.parse::<Requirement>().is_err(), "{bad}");
    }
}

/// G-11: revisions never need naming, and can be named.
#[test]
fn a_requirement_without_a_revision_speaks_of_all() {
    let met = |req: &str, text: &str| requirement(req).matches(&version(text), Prereleases::Named);
    assert!(met("=1.2.3", "1.2.3") && met("=1.2.3", "1.2.3~7"));
    assert!(met("=1.2.3~2", "1.2.3~2") && !met("=1.2.3~2", "1.2.3~1") && !met("=1.2.3~2", "1.2.3"));
    assert!(!met(">1.2.3", "1.2.3~7") && met(">1.2.3~6", "1.2.3~7") && met(">1.2.3", "1.2.4"));
    assert!(met("<=1.2.3", "1.2.3~7") && !met("<=1.2.3~6", "1.2.3~7"));
    assert!(met("<1.2.3~2", "1.2.3~1") && !met("<1.2.3", "1.2.3~1"));
    assert!(met("1.2.3~2", "1.9.0") && met("1.2.3~2", "1.2.3~2") && !met("1.2.3~2", "1.2.3~1"));
    assert!(met("~1.2.3~2", "1.2.4") && !met("~1.2.3~2", "1.3.0"));
    assert!(met("=1.2.3~0", "1.2.3") && !met("=1.2.3~0", "1.2.3~1"));
    for bad in ["=1.2~2", "*~1", "1.*~1", "=1.2.3~", "=1.2.3~x", "=1.2.3~01"] {
        assert!(bad.parse::<Requirement>().is_err(), "{bad}");
    }
}

/// G-12: an epoch is demanded only if it is named.
#[test]
fn a_requirement_without_an_epoch_speaks_of_every_epoch() {
    let met = |req: &str, text: &str| requirement(req).matches(&version(text), Prereleases::Named);
    assert!(met("^1.2", "1.3.0") && met("^1.2", "4!1.3.0"));
    for req in ["2!^1.2", "^2!1.2", "2! ^1.2", "2!>=1.2<2", ">=2!1.2<2!2", "2!1.2", "2!>=1.2,<2"] {
        assert!(met(req, "2!1.3.0") && !met(req, "1.3.0") && !met(req, "3!1.3.0"), "{req}");
    }
    assert!(met("0!*", "1.0.0") && !met("0!*", "1!1.0.0") && met("*", "1!1.0.0"));
    for bad in ["1!>1,<2!2", "!1", "x!1", "01!1", "1!2!3"] {
        assert!(bad.parse::<Requirement>().is_err(), "{bad}");
    }
}

#[test]
fn prereleases_come_only_if_named_or_allowed() {
    let met = |req: &str, text: &str, how| requirement(req).matches(&version(text), how);
    use Prereleases::{Allowed, Named};
    assert!(met("^1.0.0-alpha", "1.0.0-beta", Named) && !met("^1.0.0-alpha", "1.1.0-beta", Named));
    assert!(!met("*", "1.0.0-beta", Named) && met("*", "1.0.0-beta", Allowed));
    assert!(!met("^1", "1.5.0-beta", Named) && met("^1", "1.5.0-beta", Allowed));
    for within in ["~1", "~1.5", "1.*", ">=1", "=1.5", "<=1.5", "^1", "^1.5", "<1.6"] {
        assert!(met(within, "1.5.0-beta", Allowed), "{within}");
    }
    assert!(!met("<2.0.0", "2.0.0-beta", Allowed) && !met("<2", "2.0.0-beta", Allowed));
    assert!(!met("^1", "2.0.0-beta", Allowed) && !met(">0.1.2<0.1.5", "0.1.5-rc.1", Allowed));
    assert!(
        met(">=2.0.0-alpha<2.0.0", "2.0.0-beta", Named) && met(">=2.0.0-alpha<2.0.0", "2.0.0-beta", Allowed)
    );
    assert!(met("<2.0.0-rc.1", "2.0.0-beta", Allowed) && !met("<2.0.0-rc.1", "2.0.0-rc.1", Allowed));
}

#[test]
fn an_exact_requirement_asks_for_what_is_written() {
    let met = |exact: &str, text: &str| {
        Requirement::exactly(&version(exact)).matches(&version(text), Prereleases::Named)
    };
    assert!(met("1.2.3", "1.2.3~4") && met("1.2.3", "1!1.2.3") && !met("1.2.3", "1.2.4"));
    assert!(met("1!1.2.3-rc.1~2", "1!1.2.3-rc.1~2") && !met("1!1.2.3-rc.1~2", "1!1.2.3-rc.1"));
    let exact = Requirement::exactly(&version("1!1.2.3-rc.1+b~2"));
    assert_eq!(exact.as_str(), "=1!1.2.3-rc.1+b~2");
    assert_eq!(requirement(exact.as_str()), exact);
}

/// O3 to O7, DESIGN 5.
#[test]
fn specs_say_what_a_person_means() {
    assert_eq!(spec("dict").select, Select::Any);
    assert_eq!(spec("acme/lib/dict").name.as_str(), "acme/lib/dict");
    assert_eq!(spec("dict@*").select, Select::Any);
    assert_eq!(spec("dict@^1.2").select, Select::Matching(requirement("^1.2")));
    assert_eq!(spec("dict#>0.1.4").select, Select::Matching(requirement(">0.1.4")));
    assert_eq!(spec("dict#>0.1.2<0.1.5").select, Select::Matching(requirement(">0.1.2<0.1.5")));
    assert_eq!(spec("dict#0.1.5").select, Select::Exact(version("0.1.5")));
    assert_eq!(spec("dict#2!0.1.5~3").select, Select::Exact(version("2!0.1.5~3")));
    assert_eq!(spec("dict@0.1.5").select, Select::Matching(requirement("0.1.5")));
    assert_eq!(spec("dict#0.1").select, Select::Matching(requirement("0.1")));
    let nightly = spec("dict#nightly:1.2");
    assert_eq!(
        (nightly.channel.unwrap().as_str(), nightly.select),
        ("nightly", Select::Matching(requirement("1.2")))
    );
    let owned = spec("id:0123456789abcdef/acme/dict@1");
    assert_eq!((owned.owner.unwrap().digits(), owned.name.as_str()), ("0123456789abcdef", "acme/dict"));
    assert_eq!(spec("dict#blake3:0123abcd").select, Select::Blake3("0123abcd".parse().unwrap()));
    assert_eq!(spec(&format!("dict#sha256:{}", "ab".repeat(32))).select, Select::Sha256([0xab; 32]));
    assert_eq!(spec("dict#0.1.5").requirement(), requirement("=0.1.5"));
    assert!(spec("dict").requirement().is_any());
}

#[test]
fn malformed_specs_are_refused_with_the_reason() {
    let refused = [
        ("", "does not name a package"),
        ("Dict", "does not name a package"),
        ("a//b", "does not name a package"),
        ("dict@", "does not say which version"),
        ("dict#", "does not say which version"),
        ("dict@1#2", "does not say which version"),
        ("dict#latest", "does not say which version"),
        ("dict#Nightly:1", "does not say which version"),
        ("dict#a:b:1", "does not say which version"),
        ("dict#blake3:0123", "malformed id"),
        ("dict#blake3:0123456x", "malformed id"),
        ("id:0123/dict", "malformed id"),
        ("id:0123456789", "not a package spec"),
        ("dict#sha256:abcd", "not a package spec"),
    ];
    for (text, why) in refused {
        let error: spec::Error = text.parse::<PackageSpec>().unwrap_err();
        assert!(error.to_string().contains(why), "{text:?}: {error}");
        assert_eq!(error.code(), "E-FORMAT");
    }
}

#[test]
fn specs_show_themselves_as_specs_of_the_same_meaning() {
    let digest = format!("dict#sha256:{}", "0c".repeat(32));
    let texts = [
        "dict",
        "a/b@^1.2",
        "dict#1.2.3~4",
        "id:01234567/dict@beta:>1<2",
        "dict@beta:*",
        "dict#beta:1!0.1.0",
        "d#blake3:01234567",
        &digest,
    ];
    for text in texts {
        assert_eq!(spec(text).to_string(), *text);
    }
}

/// Small numbers, so that versions and requirements meet often.
fn semver_text() -> impl Strategy<Value = String> {
    let pre = prop::sample::select(vec!["", "-0", "-alpha", "-alpha.1", "-beta", "-1"]);
    (0..3u64, 0..3u64, 0..3u64, pre)
        .prop_map(|(major, minor, patch, pre)| format!("{major}.{minor}.{patch}{pre}"))
}

fn comparator_text() -> impl Strategy<Value = String> {
    let number = 0..3u64;
    let partial = prop_oneof![
        number.clone().prop_map(|major| format!("{major}")),
        (number.clone(), number.clone()).prop_map(|(major, minor)| format!("{major}.{minor}")),
        (number.clone(), number).prop_map(|(major, minor)| format!("{major}.{minor}.*")),
        semver_text(),
        semver_text(),
    ];
    let operator = prop::sample::select(vec!["", "^", "~", "=", ">", "<", ">=", "<=", ">= "]);
    (operator, partial).prop_map(|(operator, partial)| format!("{operator}{partial}"))
}

fn requirement_text() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => Just("*".to_owned()),
        9 => prop::collection::vec(comparator_text(), 1..4).prop_map(|parts| parts.join(", ")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    /// The oracle for Cargo's dialect.
    #[test]
    fn requirements_match_what_cargos_match(req in requirement_text(), text in semver_text(), epoch in 0..2u64, revision in 0..2u64) {
        let theirs = semver::VersionReq::parse(&req).unwrap();
        let semver = semver::Version::parse(&text).unwrap();
        let ours = Version { epoch, revision, semver: semver.clone() };
        prop_assert_eq!(requirement(&req).matches(&ours, Prereleases::Named), theirs.matches(&semver));
    }

    /// Allowing pre-releases only ever adds pre-releases.
    #[test]
    fn allowing_prereleases_adds_nothing_else(req in requirement_text(), text in semver_text()) {
        let (req, version) = (requirement(&req), version(&text));
        let (named, allowed) = (req.matches(&version, Prereleases::Named), req.matches(&version, Prereleases::Allowed));
        prop_assert!(!named || allowed);
        prop_assert!(version.is_prerelease() || named == allowed);
    }

    /// Both take and refuse the same texts, where ours has not more to say.
    #[test]
    fn requirements_parse_where_cargos_parse(text in "[0-2x*^~=<>., -]{0,8}|[0-2][.][0-2][.][0-2][-+a.0]{0,4}") {
        let theirs = semver::VersionReq::parse(&text).is_ok();
        let ours = text.parse::<Requirement>().is_ok();
        prop_assert!(ours == theirs || (ours && text.rfind(['<', '>']) > Some(0)) || (ours && text.rfind('~') > Some(0)), "{text:?}: ours {ours}, theirs {theirs}");
    }

    #[test]
    fn parsing_undoes_showing(epoch in 0..3u64, semver in semver_text(), build in prop::sample::select(vec!["", "+b", "+b.1-2"]), revision in 0..3u64) {
        let semver = semver::Version::parse(&format!("{semver}{build}")).unwrap();
        let shown = Version { epoch, semver, revision }.to_string();
        prop_assert_eq!(version(&shown).to_string(), shown);
    }

    #[test]
    fn hostile_texts_never_panic(text in "\\PC{0,40}|[0-9!~.#@:<>=^*a-z+-]{0,24}") {
        let _ = text.parse::<Version>();
        let _ = text.parse::<Requirement>();
        let _ = text.parse::<Channel>();
        if let Ok(spec) = text.parse::<PackageSpec>() {
            prop_assert_eq!(spec.to_string().parse::<PackageSpec>().unwrap(), spec);
        }
    }
}
