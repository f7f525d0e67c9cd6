//! nginx's words: what its configuration is made of, read as nginx reads it.
//!
//! ```text
//! add_header X-A "b;c"; # why ──► Directive { name: add_header, arguments: [X-A, b;c], line: 1 }
//! ```

/// A directive without a block. Those with one are told by their name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    pub name: String,
    pub arguments: Vec<String>,
    /// From 1.
    pub line: usize,
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
    let mut lexer = Lexer { rest: text, line: 1 };
    let (mut directives, mut words, mut begun) = (Vec::new(), Vec::new(), 1);
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
                    directives.push(Directive { name, arguments: words.collect(), line: begun });
                }
            }
            Token::Block => {
                return Err(Problem::Block { name: words.into_iter().next().unwrap_or_default(), line: begun });
            }
        }
    }
    match words.is_empty() {
        true => Ok(directives),
        false => Err(Problem::Unreadable { reason: "a directive does not end with a semicolon", line: begun }),
    }
}

enum Token {
    Word(String),
    End,
    Block,
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
            '{' | '}' => Ok(self.taken(Token::Block)),
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
                        None | Some(';' | '{' | '}') => Ok(Token::Word(word)),
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
        assert_eq!(directives("a b;\nif ($x) {"), Err(Problem::Block { name: "if".into(), line: 2 }));
        assert_eq!(directives("a b;}"), Err(Problem::Block { name: "".into(), line: 1 }));
        for (text, line) in [("a b", 1), ("a;\nb \"c", 2), ("a \"b\"c;", 1)] {
            let found = directives(text);
            assert!(matches!(&found, Err(Problem::Unreadable { line: at, .. }) if *at == line), "{text}: {found:?}");
        }
    }
}
