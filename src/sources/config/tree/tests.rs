//! What the tree keeps, what it refuses, and what bounds it.

use super::build::document;
use super::*;

fn places(text: &str) -> Vec<(String, u32, u32)> {
    let document = document(text).unwrap();
    assert_eq!(document.problems, []);
    let scalars = document.nodes.iter().enumerate().filter(|(_, n)| matches!(n.kind, Kind::Scalar { .. }));
    scalars.map(|(i, n)| (document.path(NodeId(i as u32)), n.span.line, n.span.column)).collect()
}

fn problems(text: &str) -> Vec<String> {
    let shown = |p: &Problem| format!("{}:{} {} {}", p.span.line, p.span.column, p.path, p.message);
    match document(text) {
        Ok(document) => document.problems.iter().map(shown).collect(),
        Err(problem) => vec![shown(&problem)],
    }
}

#[test]
fn every_value_knows_its_path_line_and_column() {
    let found = places("é: \"ü\" # x\nb:\n  - c: 1\n    d: [é, x]\n");
    let expected = [("\"é\"", 1, 4), ("b[0].c", 3, 8), ("b[0].d[0]", 4, 9), ("b[0].d[1]", 4, 12)];
    assert_eq!(found, expected.map(|(path, line, column)| (path.to_owned(), line, column)));
}

#[test]
fn an_alias_is_a_copy_at_its_own_path() {
    let document = document("a: &x { k: 1 }\nb: *x\n").unwrap();
    let paths: Vec<_> = (0..document.nodes.len()).map(|i| document.path(NodeId(i as u32))).collect();
    assert_eq!(paths, ["", "a", "a.k", "b", "b.k"]);
}

#[test]
fn keys_written_twice_are_named_at_the_second() {
    assert_eq!(
        problems("a: 1\nb: {c: 1, c: 2}\na: 2\n"),
        [
            "2:11 b.c the key \"c\" is here twice; it was first at line 2",
            "3:1 a the key \"a\" is here twice; it was first at line 1",
        ]
    );
    let many: String = (0..40).map(|i| format!("k{i}: 1\n")).collect();
    assert_eq!(
        problems(&format!("{many}k7: 1\nk30: 2\n")),
        [
            "41:1 k7 the key \"k7\" is here twice; it was first at line 8",
            "42:1 k30 the key \"k30\" is here twice; it was first at line 31",
        ]
    );
}

#[test]
fn what_no_configuration_needs_is_refused() {
    assert_eq!(problems(""), ["1:1  the file is empty"]);
    assert_eq!(problems("a: 1\n---\nb: 2\n"), ["2:1  a second document begins here"]);
    assert_eq!(problems("!x a: 1\n"), ["1:1  the tag \"!x\" means nothing here"]);
    assert_eq!(problems("!x\na: 1\n"), ["1:1  the tag \"!x\" means nothing here"]);
    assert_eq!(problems("a: &x [*x]\n"), ["1:8  an alias cannot stand within what it names"]);
    assert_eq!(
        problems("? [a]\n: 1\nb: !secret x\n"),
        ["1:3  a key is text, not a list or a map", "3:4 b the tag \"!secret\" means nothing here",]
    );
    for text in ["a:\n\tb: 1\n", "a:\r\tb: 1\r", "a:\r\n\tb: 1\r\n"] {
        assert_eq!(problems(text), ["2:1  tabs disallowed within this context (block indentation)"]);
    }
}

#[test]
fn aliases_cannot_make_a_small_file_large() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..10 {
        let list = vec![format!("*a{}", i - 1); 10].join(", ");
        text += &format!("a{i}: &a{i} [{list}]\n");
    }
    assert_eq!(problems(&text), ["6:45  aliases make the file too large here"]);
}

#[test]
fn nesting_is_bounded() {
    let found = problems(&"[".repeat(200));
    assert_eq!(found, ["1:65  lists and maps are nested more than 64 deep here"]);
}
