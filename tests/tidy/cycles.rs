//! Finds cycles among modules.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::imports::Import;

/// Which module imports which, and a line that does.
#[derive(Default)]
struct Graph(BTreeMap<String, BTreeMap<String, String>>);

impl Graph {
    fn add(&mut self, from: &[String], to: &[String], import: &Import) {
        let place = format!("{} line {}", import.from.join("::"), import.line);
        self.0.entry(from.join("::")).or_default().entry(to.join("::")).or_insert(place);
    }

    /// One cycle through each group of nodes that reach each other.
    fn cycles(&self) -> Vec<String> {
        let mut reported = BTreeSet::new();
        let mut found = Vec::new();
        for start in self.0.keys() {
            let Some(cycle) = self.shortest_cycle(start).filter(|_| !reported.contains(start)) else {
                continue;
            };
            let step =
                |pair: &[&String]| format!("{} -> {} ({})", pair[0], pair[1], self.0[pair[0]][pair[1]]);
            found.push(cycle.windows(2).map(step).collect::<Vec<_>>().join(", "));
            reported.extend(cycle);
        }
        found
    }

    /// The nodes of the shortest path from `start` back to it, both ends included.
    fn shortest_cycle<'a>(&'a self, start: &'a String) -> Option<Vec<&'a String>> {
        let mut ways = VecDeque::from([vec![start]]);
        let mut seen = BTreeSet::new();
        while let Some(way) = ways.pop_front() {
            for next in self.0.get(*way.last()?).into_iter().flat_map(BTreeMap::keys) {
                let longer = [way.as_slice(), &[next]].concat();
                if next == start {
                    return Some(longer);
                }
                if seen.insert(next) {
                    ways.push_back(longer);
                }
            }
        }
        None
    }
}

/// Files that import each other, directly or through others.
pub(crate) fn among_files(imports: &[Import]) -> Vec<String> {
    let mut graph = Graph::default();
    for import in imports {
        graph.add(&import.from, &import.to, import);
    }
    graph.cycles()
}

/// Sibling modules that import each other, each taken with everything below it.
pub(crate) fn among_siblings(imports: &[Import]) -> Vec<String> {
    let mut graphs: BTreeMap<&[String], Graph> = BTreeMap::new();
    for import in imports {
        let (from, to) = (&import.from, &import.to);
        let shared = from.iter().zip(to).take_while(|(one, other)| one == other).count();
        if shared < from.len().min(to.len()) {
            graphs.entry(&from[..shared]).or_default().add(&from[..=shared], &to[..=shared], import);
        }
    }
    graphs.values().flat_map(Graph::cycles).collect()
}

#[test]
fn cycles_are_found() {
    use super::imports::{imports, names};

    let sources = [
        ("a", "use self::child::X;"),
        ("a::child", "use super::Y;"),
        ("b::one", "use crate::c::two;"),
        ("b::two", "fn f() {}"),
        ("c", "use crate::d::Z;"),
        ("c::two", "fn f() {}"),
        ("d", "fn f() { crate::b::two::f() }"),
    ];
    let files = sources.iter().map(|(module, _)| names(module)).collect();
    let all: Vec<_> =
        sources.iter().flat_map(|(module, code)| imports(&names(module), code, &files)).collect();
    assert_eq!(among_files(&all), ["a -> a::child (a line 1), a::child -> a (a::child line 1)"]);
    let siblings = ["b -> c (b::one line 1), c -> d (c line 1), d -> b (d line 1)"];
    assert_eq!(among_siblings(&all), siblings);
    let without_one: Vec<_> = all.into_iter().filter(|import| import.from != names("d")).collect();
    assert_eq!(among_siblings(&without_one), [""; 0]);
}
