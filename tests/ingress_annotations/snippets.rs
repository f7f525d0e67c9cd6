//! Snippets: what is understood of nginx's directives.

use crate::stage::stage;

#[test]
fn a_snippet_edits_fields_bounds_bodies_and_asks_who_comes() {
    let snippet = "more_set_headers \"X-Frame-Options: DENY\";\nadd_header X-Id $http_x_id always;\n\
                   proxy_set_header X-From $remote_addr;\nproxy_hide_header Server;\nclient_max_body_size 1k;\n\
                   deny 127.0.9.1;\n";
    let site = stage().draft("snippets").with("configuration-snippet", snippet).serve();
    let answer = site.ask("GET", "/").header("X-Id", "7").from([127, 0, 9, 2]).send();
    assert_eq!((answer.header("x-frame-options"), answer.header("x-id")), (Some("DENY"), Some("7")));
    assert!(answer.text().to_lowercase().contains("x-from: 127.0.9.2"), "{}", answer.text());
    assert_eq!(site.ask("POST", "/").body(vec![b'x'; 1025]).send().status, 413);
    assert_eq!(site.ask("GET", "/").from([127, 0, 9, 1]).send().status, 403);
}

#[test]
fn a_snippet_of_the_server_answers_for_its_rules() {
    let site = stage().draft("server-snippets").with("server-snippet", "return 410 \"gone\";").serve();
    let answer = site.get("/a");
    assert_eq!((answer.status, answer.text().as_str()), (410, "gone"));
}

#[test]
fn a_snippet_that_is_not_understood_closes_what_it_would_have_protected() {
    let unknown =
        stage().draft("unknown-snippets").with("configuration-snippet", "add_header X-A b; proxy_pass http://x;");
    let answer = unknown.serve().get("/");
    assert_eq!((answer.status, answer.header("x-a")), (200, None), "nothing of it is applied");
    let access = stage().draft("access-snippets").with("configuration-snippet", "access_by_lua_block { deny() }");
    assert_eq!(access.serve().get("/").status, 503);
}

#[test]
fn requests_are_answered_for_what_they_are() {
    let snippet = "if ($http_x_key != \"a b\") {\n  return 403;\n}\nif ($request_method !~ ^(GET|HEAD)$) { return 405; }\n\
                   if ($arg_old) { return 301 https://new.test$request_uri; }\nif ($cookie_beta = yes) { return 200 \"beta\"; }\n\
                   if ($host ~* ^other) { return 410; }\nif ($request_uri ~ \"^/secret\") { return 404; }\n\
                   rewrite ^/from/(.*)$ /to/$1 permanent;\n";
    let draft = stage().draft("conditions").with("configuration-snippet", snippet);
    let site = draft.with("server-alias", "other-conditions.test").serve();
    let ask = |method: &str, target: &str, field: (&str, &str)| {
        site.ask(method, target).header("X-Key", "a b").header(field.0, field.1).send()
    };
    let none = ("X-None", "x");
    assert_eq!(site.get("/").status, 403);
    assert_eq!((ask("GET", "/", none).status, ask("POST", "/", none).status), (200, 405));
    let moved = ask("GET", "/a?old=1", none);
    assert_eq!((moved.status, moved.header("location")), (301, Some("https://new.test/a?old=1")));
    assert_eq!(ask("GET", "/a?old=0", none).status, 200);
    assert_eq!(ask("GET", "/", ("Cookie", "beta=yes")).text(), "beta");
    assert_eq!(ask("GET", "/secret/a", none).status, 404);
    let moved = ask("GET", "/from/a?b", none);
    assert_eq!((moved.status, moved.header("location")), (301, Some("http://conditions.test/to/a?b")));
    let other = site.ask("GET", "/").host("other-conditions.test").header("X-Key", "a b").send();
    assert_eq!(other.status, 410);
}
