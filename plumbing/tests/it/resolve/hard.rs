//! Hard and hostile inputs: an answer, or `E-LIMIT` (SEC-075, SEC-076).

use super::{Shelves, candidate, request, shown};
use plumbing::resolve::{Error, Request, resolve};
use std::cell::Cell;

/// `pigeons` packages, each of which needs one of `holes` places to itself.
fn pigeonhole(pigeons: u32, holes: u32) -> Shelves {
    let mut index = Shelves::default();
    for pigeon in 1..=pigeons {
        for hole in 1..=holes {
            let needs = format!("hole-{hole}@={pigeon}.0.0");
            index.put(&format!("pigeon-{pigeon}"), candidate(&format!("{hole}.0.0"), &[&needs]));
            index.put(&format!("hole-{hole}"), candidate(&format!("{pigeon}.0.0"), &[]));
        }
    }
    index
}

fn pigeons(count: u32) -> Request<'static> {
    let names: Vec<String> = (1..=count).map(|pigeon| format!("pigeon-{pigeon}")).collect();
    request(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_small_pigeonhole_is_refuted() {
    let error = resolve(&pigeons(5), &pigeonhole(5, 4)).unwrap_err();
    assert!(matches!(error, Error::NoSolution(_)), "{error}");
    assert_eq!(resolve(&pigeons(4), &pigeonhole(4, 4)).unwrap().packages.len(), 8);
}

/// SEC-075: what cannot be decided in time is not called unsolvable.
#[test]
fn a_large_pigeonhole_ends_at_the_limit() {
    let mut request = pigeons(14);
    request.decisions_max = 2_000;
    let error = resolve(&request, &pigeonhole(14, 13)).unwrap_err();
    assert!(matches!(error, Error::GaveUp { decisions: 2_000 }), "{error}");
    assert_eq!(error.code(), "E-LIMIT");
    assert!(!error.hints().is_empty());
}

/// A time limit or an interrupt is seen at the next step.
#[test]
fn a_search_can_be_cancelled() {
    let steps = Cell::new(0);
    let cancel = || {
        steps.set(steps.get() + 1);
        steps.get() > 7
    };
    let index = pigeonhole(14, 13);
    let request = Request { should_cancel: &cancel, ..pigeons(14) };
    assert!(matches!(resolve(&request, &index), Err(Error::GaveUp { decisions: 7 })));
    assert_eq!(steps.get(), 8);
}

/// Whether the corners of a graph can be painted in three colours, said in packages: one of a
/// corner's versions for each colour, one package for each edge and colour that only one end can have.
fn colouring(corners: u32, edges: &[(u32, u32)]) -> Shelves {
    let mut index = Shelves::default();
    for corner in 0..corners {
        for colour in 1..=3 {
            let touching = edges.iter().filter(|(one, other)| *one == corner || *other == corner);
            let needs = touching.map(|(one, other)| format!("edge-{one}-{other}-{colour}@={corner}.0.0"));
            let needs: Vec<String> = needs.collect();
            let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
            index.put(&format!("corner-{corner}"), candidate(&format!("{colour}.0.0"), &needs));
        }
    }
    for (one, other) in edges {
        for (colour, end) in (1..=3).flat_map(|colour| [(colour, one), (colour, other)]) {
            index.put(&format!("edge-{one}-{other}-{colour}"), candidate(&format!("{end}.0.0"), &[]));
        }
    }
    index
}

fn corners(count: u32) -> Request<'static> {
    let names: Vec<String> = (0..count).map(|corner| format!("corner-{corner}")).collect();
    request(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// SEC-075: 3-colouring, made into packages.
#[test]
fn colourings_are_found_and_refuted() {
    let mut petersen: Vec<(u32, u32)> = (0..5).flat_map(|at| [(at, (at + 1) % 5), (at, at + 5)]).collect();
    petersen.extend((0..5).map(|at| (at + 5, (at + 2) % 5 + 5)));
    assert!(resolve(&corners(10), &colouring(10, &petersen)).is_ok());

    let wheel: Vec<(u32, u32)> = (1..=7).flat_map(|at| [(0, at), (at, at % 7 + 1)]).collect();
    let error = resolve(&corners(8), &colouring(8, &wheel)).unwrap_err();
    assert!(matches!(error, Error::NoSolution(_)), "{error}");
}

/// SEC-076: a package with 100,000 versions.
#[test]
fn a_hundred_thousand_versions_are_no_hindrance() {
    let mut index = Shelves::default();
    for minor in 0..100_000 {
        index.put("busy", candidate(&format!("1.{minor}.0"), &["base@^1"]));
    }
    index.put("base", candidate("1.0.0", &[]));
    index.put("old", candidate("1.0.0", &["busy@<1.50000"]));
    assert_eq!(shown(&resolve(&request(&["busy"]), &index).unwrap()), ["base 1.0.0", "busy 1.99999.0"]);
    assert_eq!(shown(&resolve(&request(&["old", "busy"]), &index).unwrap())[1], "busy 1.49999.0");

    let error = resolve(&request(&["old", "busy@>=1.50000"]), &index).unwrap_err();
    assert!(matches!(error, Error::NoSolution(_)), "{error}");
}

/// SEC-076: every one of 20,000 versions has to be tried, and none can be had.
#[test]
fn many_versions_that_all_fail_end_in_an_explanation() {
    let mut index = Shelves::default();
    for minor in 0..20_000 {
        index.put("busy", candidate(&format!("1.{minor}.0"), &[&format!("ghost-{}", minor % 7)]));
    }
    let error = resolve(&request(&["busy"]), &index).unwrap_err();
    assert!(matches!(&error, Error::NoSolution(why) if why.lines.len() < 30), "{error}");
}

/// SEC-076: 10,000 dependencies in one release, and as many packages in one chain.
#[test]
fn ten_thousand_dependencies_are_resolved() {
    let names: Vec<String> = (0..10_000).map(|at| format!("part-{at:05}")).collect();
    let mut index = Shelves::default();
    index.put("all", candidate("1.0.0", &names.iter().map(String::as_str).collect::<Vec<_>>()));
    for (at, name) in names.iter().enumerate() {
        let next: Vec<&str> = names.get(at + 1).map(String::as_str).into_iter().collect();
        index.put(name, candidate("1.0.0", &next));
    }
    let order = shown(&resolve(&request(&["all"]), &index).unwrap());
    assert_eq!(
        (order.len(), order[0].as_str(), order[10_000].as_str()),
        (10_001, "part-09999 1.0.0", "all 1.0.0")
    );
}

/// SEC-075: a proof of thousands of steps is told, and let go of, within a small stack.
#[test]
fn a_long_proof_needs_no_deep_stack() {
    let mut index = Shelves::default();
    for at in 1..3_000 {
        index.put("busy", candidate(&format!("1.{at}.0"), &[&format!("base@={}.0.0", at + 1)]));
        index.put("base", candidate(&format!("{at}.0.0"), &[]));
    }
    index.put("base", candidate("3000.0.0", &[]));
    let search = move || resolve(&request(&["busy", "base@=1.0.0"]), &index).unwrap_err().to_string();
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(search).unwrap();
    let told = thread.join().unwrap();
    assert!(told.contains("you want base =1.0.0") && told.contains("more such statements"), "{told}");
}
