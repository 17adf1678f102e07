//! Seeded damage to the documented configuration: whatever the text, the answer is a safe configuration or mistakes that
//! have a place.

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::super::*;

const DOCUMENT: &str = include_str!("../../../config/midge.toml");

/// What is put in the place of values, keys and characters.
const PIECES: [&str; 28] = [
    "",
    "\"",
    "'''",
    "[",
    "]",
    "[[",
    "{",
    "}",
    "=",
    ".",
    ",",
    "#",
    "\n",
    "\r",
    "\0",
    "\u{feff}",
    "é",
    "-1",
    "0",
    "1e999",
    "99999999999999999999",
    "0x",
    "\"16777216TiB\"",
    "\"18446744073709551615w\"",
    "1979-05-27",
    "nan",
    "true",
    "listener",
];

/// The document's lines (examples too), each once and in order, with some damage.
fn damaged(random: &mut StdRng) -> String {
    let uncomment = random.random_bool(0.5);
    let mut lines: Vec<String> = DOCUMENT.lines().filter(|line| !line.starts_with("# ")).map(str::to_owned).collect();
    for line in lines.iter_mut().filter(|_| uncomment) {
        *line = line.trim_start_matches('#').to_owned();
    }
    for _ in 0..random.random_range(1..8) {
        let (at, other) = (random.random_range(0..lines.len()), random.random_range(0..lines.len()));
        match random.random_range(0..5) {
            0 => lines.swap(at, other),
            1 => lines.insert(at, lines[at].clone()),
            2 => lines[at].clear(),
            3 => lines[at] = replace_value(&lines[at], random),
            _ => splice(&mut lines[at], random),
        }
    }
    lines.join("\n")
}

fn replace_value(line: &str, random: &mut StdRng) -> String {
    let key = line.split('=').next().unwrap_or_default();
    format!("{key}= {}", PIECES.choose(random).unwrap())
}

/// A piece in the place of some characters.
fn splice(line: &mut String, random: &mut StdRng) {
    let boundaries: Vec<usize> = line.char_indices().map(|(at, _)| at).chain([line.len()]).collect();
    let start = *boundaries.choose(random).unwrap();
    let end = *boundaries.iter().filter(|&&end| end >= start).collect::<Vec<_>>().choose(random).unwrap();
    line.replace_range(start..*end, PIECES.choose(random).unwrap());
}

/// Whether the text was accepted.
fn check(text: &str, seed: u64) -> bool {
    match Config::parse("m", text) {
        Ok(config) => {
            assert!(config.listeners.iter().all(is_safe), "seed {seed}: {text}");
            true
        }
        Err(ConfigError::Invalid(problems)) => {
            assert!(!problems.is_empty());
            let lines = text.lines().count().max(1) + 1;
            for problem in problems {
                let in_text = |line: u32| line >= 1 && line as usize <= lines;
                let Origin::File { line, .. } = problem.origin else { panic!("seed {seed}: {problem} in {text}") };
                assert!(in_text(line), "seed {seed}: {problem}");
            }
            false
        }
        Err(other) => panic!("seed {seed}: {other}"),
    }
}

fn is_safe(listener: &ListenerConfig) -> bool {
    let is_local = listener.addresses.iter().all(ListenerAddress::is_local);
    let is_open = listener.access.allow_anonymous == Some(true);
    !listener.addresses.is_empty() && (is_local || is_open || listener.authenticates())
}

#[test]
fn damaged_configurations_are_safe_or_refused_with_a_place() {
    let accepted = (0..2_000).filter(|&seed| check(&damaged(&mut StdRng::seed_from_u64(seed)), seed)).count();
    assert!((50..1_950).contains(&accepted), "{accepted} accepted: the damage is too much or too little");
}

#[test]
fn noise_is_refused_with_a_place_or_means_nothing() {
    for seed in 0..2_000 {
        let mut random = StdRng::seed_from_u64(seed);
        let pieces = random.random_range(0..40);
        let mut noise = |_| match random.next_u32() % 4 {
            0 => char::from_u32(random.next_u32() % 0x11_0000).map(String::from).unwrap_or_default(),
            _ => PIECES.choose(&mut random).unwrap().to_string(),
        };
        check(&(0..pieces).map(&mut noise).collect::<String>(), seed);
    }
}

#[test]
fn any_variable_is_taken_or_refused_by_its_name() {
    const STEPS: [&str; 10] =
        ["LISTENER", "0", "1", "ADDRESS", "TLS", "CERTIFICATES", "ACCESS", "", "LIMITS", "18446744073709551616"];
    for seed in 0..2_000 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut variable = || {
            let steps: Vec<_> = (0..random.random_range(1..5)).map(|_| *STEPS.choose(&mut random).unwrap()).collect();
            (format!("MIDGE_{}", steps.join("__")), PIECES.choose(&mut random).unwrap().to_string())
        };
        let environment = vec![variable(), variable(), variable()];
        match (Layers { environment: environment.clone(), ..Layers::default() }).load() {
            Ok(loaded) => assert!(loaded.config.listeners.iter().all(is_safe), "seed {seed}: {environment:?}"),
            Err(ConfigError::Invalid(problems)) => {
                let named = |origin: &Origin| matches!(origin, Origin::Environment(_));
                assert!(
                    problems.iter().all(|problem| named(&problem.origin)),
                    "seed {seed}: {problems:?} {environment:?}"
                );
            }
            Err(other) => panic!("seed {seed}: {other}"),
        }
    }
}
