//! nginx's words: what its configuration is made of, read as nginx reads it.
//!
//! ```text
//! add_header X-A "b;c"; # why ──► Directive { name: add_header, arguments: [X-A, b;c], line: 1 }
//! ```

/// A directive. Of those with a block only `if` is read; others are told by their name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    pub name: String,
    pub arguments: Vec<String>,
    /// From 1.
    pub line: usize,
    /// What stands in the block of an `if`.
    pub block: Option<Vec<Directive>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// `if`, `location` and the like.
    Block {
        name: String,
        line: usize,
    },
    Unreadable {
        reason: &'static str,
        line: usize,
    },
}

pub fn directives(text: &str) -> Result<Vec<Directive>, Problem> {
    list(&mut Lexer { rest: text, line: 1 }, Depth::Top)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Top,
    InIf,
}

fn list(lexer: &mut Lexer<'_>, depth: Depth) -> Result<Vec<Directive>, Problem> {
    let (mut directives, mut words, mut begun) = (Vec::new(), Vec::<String>::new(), 1);
    while let Some(token) = lexer.token()? {
        match token {
            Token::Word(word) => {
                if words.is_empty() {
                    begun = lexer.line;
                }
                words.push(word);
            }
            Token::End => {
                let mut words = std::mem::take(&mut words).into_iter();
                if let Some(name) = words.next() {
                    directives.push(Directive { name, arguments: words.collect(), line: begun, block: None });
                }
            }
            Token::Open if depth == Depth::Top && words.first().is_some_and(|word| word == "if") => {
                let mut words = std::mem::take(&mut words).into_iter();
                let name = words.next().unwrap_or_default();
                let block = Some(list(lexer, Depth::InIf)?);
                directives.push(Directive { name, arguments: words.collect(), line: begun, block });
            }
            Token::Close if depth == Depth::InIf && words.is_empty() => return Ok(directives),
            Token::Open | Token::Close => {
                return Err(Problem::Block { name: words.into_iter().next().unwrap_or_default(), line: begun });
            }
        }
    }
    if depth == Depth::InIf {
        return Err(lexer.problem("a block is not closed"));
    }
    match words.is_empty() {
        true => Ok(directives),
        false => Err(Problem::Unreadable { reason: "a directive does not end with a semicolon", line: begun }),
    }
}

enum Token {
    Word(String),
    End,
    Open,
    Close,
}

struct Lexer<'t> {
    rest: &'t str,
    line: usize,
}

impl Lexer<'_> {
    fn token(&mut self) -> Result<Option<Token>, Problem> {
        self.skip();
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        match first {
            ';' => Ok(self.taken(Token::End)),
            '{' => Ok(self.taken(Token::Open)),
            '}' => Ok(self.taken(Token::Close)),
            '"' | '\'' => self.quoted(first).map(Some),
            _ => self.plain().map(Some),
        }
    }

    fn taken(&mut self, token: Token) -> Option<Token> {
        self.rest = &self.rest[1..];
        Some(token)
    }

    /// White space and comments.
    fn skip(&mut self) {
        loop {
            let trimmed = self.rest.trim_start();
            self.line += self.rest[..self.rest.len() - trimmed.len()].matches('\n').count();
            self.rest = trimmed;
            if !self.rest.starts_with('#') {
                return;
            }
            self.rest = self.rest.find('\n').map_or("", |end| &self.rest[end..]);
        }
    }

    /// A backslash takes a quote, a backslash and the letters t, r and n along; before others it is itself.
    fn quoted(&mut self, quote: char) -> Result<Token, Problem> {
        let mut word = String::new();
        let mut chars = self.rest[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, c @ ('"' | '\'' | '\\'))) => word.push(c),
                    Some((_, 't')) => word.push('\t'),
                    Some((_, 'r')) => word.push('\r'),
                    Some((_, 'n')) => word.push('\n'),
                    Some((_, other)) => word.extend(['\\', other]),
                    None => break,
                },
                c if c == quote => {
                    self.rest = &self.rest[1 + at + c.len_utf8()..];
                    self.line += word.matches('\n').count();
                    return match self.rest.chars().next() {
                        // The bracket ends a condition.
                        None | Some(';' | '{' | '}' | ')') => Ok(Token::Word(word)),
                        Some(c) if c.is_whitespace() => Ok(Token::Word(word)),
                        Some(_) => Err(self.problem("a quoted word goes on after its quote")),
                    };
                }
                other => word.push(other),
            }
        }
        Err(self.problem("a quote is not closed"))
    }

    /// `${name}` has braces that are no block.
    fn plain(&mut self) -> Result<Token, Problem> {
        let mut end = self.rest.len();
        let mut in_variable = false;
        let mut previous = ' ';
        for (at, c) in self.rest.char_indices() {
            match c {
                '{' if previous == '$' => in_variable = true,
                '}' if in_variable => in_variable = false,
                ';' | '{' | '}' => {
                    end = at;
                    break;
                }
                c if c.is_whitespace() => {
                    end = at;
                    break;
                }
                _ => {}
            }
            previous = c;
        }
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(Token::Word(word.replace("\\\\", "\\")))
    }

    fn problem(&self, reason: &'static str) -> Problem {
        Problem::Unreadable { reason, line: self.line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_nginx_reads_them() {
        let read = directives(
            "# first\nadd_header X-A \"b; 'c' \\\"d\\\"\" always;\n  proxy_set_header Y ${host}x$uri;\n;return 204;",
        )
        .unwrap();
        let directive = |name: &str, arguments: &[&str], line| Directive {
            name: name.into(),
            arguments: arguments.iter().map(|word| (*word).into()).collect(),
            line,
            block: None,
        };
        assert_eq!(
            read,
            [
                directive("add_header", &["X-A", "b; 'c' \"d\"", "always"], 2),
                directive("proxy_set_header", &["Y", "${host}x$uri"], 3),
                directive("return", &["204"], 4),
            ]
        );
        assert_eq!(directives("# nothing").unwrap(), []);
    }

    #[test]
    fn what_is_no_list_of_directives_is_told_at_its_line() {
        assert_eq!(directives("a b;\nlocation /x {"), Err(Problem::Block { name: "location".into(), line: 2 }));
        assert_eq!(directives("if ($x) { if ($y) {} }"), Err(Problem::Block { name: "if".into(), line: 1 }));
        let read = directives("if ($x) {\n return 403;\n}\nreturn 204;").unwrap();
        assert_eq!((read.len(), read[0].block.as_ref().map(Vec::len), read[1].line), (2, Some(1), 4));
        assert_eq!(directives("a b;}"), Err(Problem::Block { name: "".into(), line: 1 }));
        for (text, line) in [("a b", 1), ("if ($x) { return 403;", 1), ("a;\nb \"c", 2), ("a \"b\"c;", 1)] {
            let found = directives(text);
            assert!(matches!(&found, Err(Problem::Unreadable { line: at, .. }) if *at == line), "{text}: {found:?}");
        }
    }
}
