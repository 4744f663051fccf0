//! Reads the query-string form of a label selector: a scanner and a recursive descent, with the
//! error texts clients know.

use super::{Requirement, Test};
use crate::validation::names;

/// Why a selector string was refused; the text is what the API answers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorParseError {
    /// Something between requirements that does not belong there.
    #[error("found '{found}', expected: {expected}")]
    Separator {
        /// What stands there.
        found: String,
        /// What could have stood there.
        expected: &'static str,
    },
    /// A requirement that cannot be read.
    #[error("unable to parse requirement: {0}")]
    Requirement(String),
}

/// Reads all requirements, in the order given.
pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, SelectorParseError> {
    let mut tokens = Tokens::new(text);
    let mut requirements = Vec::new();
    loop {
        match tokens.peek() {
            Token::End => return Ok(requirements),
            Token::Word(_) | Token::Not => {}
            other => return Err(separator(other, "!, identifier, or 'end of string'")),
        }
        requirements.push(requirement(&mut tokens).map_err(SelectorParseError::Requirement)?);
        match tokens.next() {
            Token::End => return Ok(requirements),
            Token::Comma => match tokens.peek() {
                Token::Word(_) | Token::Not => {}
                other => return Err(separator(other, "identifier after ','")),
            },
            other => return Err(separator(&other, "',' or 'end of string'")),
        }
    }
}

fn separator(found: &Token, expected: &'static str) -> SelectorParseError {
    SelectorParseError::Separator { found: found.text().to_owned(), expected }
}

const OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";

fn requirement(tokens: &mut Tokens) -> Result<Requirement, String> {
    let is_absence = *tokens.peek() == Token::Not;
    if is_absence {
        tokens.next();
    }
    let key = match tokens.next() {
        Token::Word(word) => word,
        other => return Err(format!("found '{}', expected: identifier", other.text())),
    };
    check(&key, names::qualified(&key))?;
    let is_last_word = matches!(tokens.peek(), Token::End | Token::Comma);
    if is_absence || is_last_word {
        return Ok(Requirement { key, test: if is_absence { Test::DoesNotExist } else { Test::Exists } });
    }
    let operator = tokens.next_operator();
    let test = match &operator {
        Token::Equals => Test::Equals(value(tokens)?),
        Token::NotEquals => Test::NotEquals(value(tokens)?),
        Token::Greater => Test::GreaterThan(number(tokens)?),
        Token::Less => Test::LessThan(number(tokens)?),
        Token::In => Test::In(values(tokens)?),
        Token::NotIn => Test::NotIn(values(tokens)?),
        other => return Err(format!("found '{}', expected: {OPERATORS}", other.text())),
    };
    Ok(Requirement { key, test })
}

/// The single value after `=`, `==`, `!=`: nothing at all means the empty string.
fn value(tokens: &mut Tokens) -> Result<String, String> {
    if matches!(tokens.peek(), Token::End | Token::Comma) {
        return Ok(String::new());
    }
    match tokens.next() {
        Token::Word(word) => check(&word, names::label_value(&word)).map(|()| word),
        other => Err(format!("found '{}', expected: identifier", other.text())),
    }
}

fn number(tokens: &mut Tokens) -> Result<i64, String> {
    let word = value(tokens)?;
    word.parse().map_err(|_| {
        format!("<nil>[0]: Invalid value: {word:?}: for 'Gt', 'Lt' operators, the value must be an integer")
    })
}

/// The values between parentheses; empty places count as the empty string.
fn values(tokens: &mut Tokens) -> Result<Vec<String>, String> {
    match tokens.next() {
        Token::Open => {}
        other => return Err(format!("found '{}' expected: '('", other.text())),
    }
    let mut values = Vec::new();
    let mut is_place_filled = false;
    loop {
        match tokens.next() {
            Token::Word(word) if !is_place_filled => {
                check(&word, names::label_value(&word))?;
                values.push(word);
                is_place_filled = true;
            }
            separator @ (Token::Comma | Token::Close) => {
                if !is_place_filled {
                    values.push(String::new());
                }
                is_place_filled = false;
                if separator == Token::Close {
                    break;
                }
            }
            other if is_place_filled => return Err(format!("found '{}', expected: ',' or ')'", other.text())),
            other => return Err(format!("found '{}', expected: ',', ')' or identifier", other.text())),
        }
    }
    values.sort();
    values.dedup();
    Ok(values)
}

/// Selectors in a query have no path, which Kubernetes prints as `<nil>`.
fn check(value: &str, faults: Vec<String>) -> Result<(), String> {
    if faults.is_empty() { Ok(()) } else { Err(format!("<nil>: Invalid value: {value:?}: {}", faults.join("; "))) }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Not,
    Equals,
    NotEquals,
    Greater,
    Less,
    In,
    NotIn,
    Comma,
    Open,
    Close,
    Stray(String),
    End,
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(text) | Self::Stray(text) => text,
            Self::Not => "!",
            Self::Equals => "=",
            Self::NotEquals => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::In => "in",
            Self::NotIn => "notin",
            Self::Comma => ",",
            Self::Open => "(",
            Self::Close => ")",
            Self::End => "",
        }
    }
}

struct Tokens {
    tokens: Vec<Token>,
    at: usize,
}

impl Tokens {
    fn new(text: &str) -> Self {
        Self { tokens: scan(text), at: 0 }
    }

    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    /// As `next`, with the words `in` and `notin` read as operators.
    fn next_operator(&mut self) -> Token {
        match self.next() {
            Token::Word(word) if word == "in" => Token::In,
            Token::Word(word) if word == "notin" => Token::NotIn,
            other => other,
        }
    }
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn scan(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if is_special(first) {
            let end = rest.find(|c: char| !matches!(c, '=' | '!' | '>' | '<')).unwrap_or(rest.len());
            let (token, length) = special(first, &rest[..end]);
            tokens.push(token);
            length
        } else {
            let length = rest.find(|c: char| is_special(c) || c.is_whitespace()).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..length].to_owned()));
            length
        };
        rest = rest[length..].trim_start();
    }
    tokens
}

/// The longest operator at the start of a run of operator characters, and its length in bytes.
fn special(first: char, run: &str) -> (Token, usize) {
    match first {
        ',' => (Token::Comma, 1),
        '(' => (Token::Open, 1),
        ')' => (Token::Close, 1),
        _ if run.starts_with("==") => (Token::Equals, 2),
        _ if run.starts_with("!=") => (Token::NotEquals, 2),
        '=' => (Token::Equals, 1),
        '!' => (Token::Not, 1),
        '>' => (Token::Greater, 1),
        '<' => (Token::Less, 1),
        other => (Token::Stray(other.to_string()), other.len_utf8()),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;
    use expect_test::expect;

    #[test]
    fn refusals_use_the_words_of_kubernetes() {
        let texts = [
            "a b",
            "a=b c",
            "=b",
            "a in b",
            "a in (b c)",
            "a=b,",
            ",a",
            "a in (b",
            "!",
            "a/b/c=d",
            "a=-",
            "a ! b",
            "a>x",
        ];
        let errors: Vec<String> = texts.iter().map(|text| format!("{text}: {}", parse(text).unwrap_err())).collect();
        expect![[r#"
            a b: unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt
            a=b c: found 'c', expected: ',' or 'end of string'
            =b: found '=', expected: !, identifier, or 'end of string'
            a in b: unable to parse requirement: found 'b' expected: '('
            a in (b c): unable to parse requirement: found 'c', expected: ',' or ')'
            a=b,: found '', expected: identifier after ','
            ,a: found ',', expected: !, identifier, or 'end of string'
            a in (b: unable to parse requirement: found '', expected: ',' or ')'
            !: unable to parse requirement: found '', expected: identifier
            a/b/c=d: unable to parse requirement: <nil>: Invalid value: "a/b/c": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')
            a=-: unable to parse requirement: <nil>: Invalid value: "-": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
            a ! b: unable to parse requirement: found '!', expected: in, notin, =, ==, !=, gt, lt
            a>x: unable to parse requirement: <nil>[0]: Invalid value: "x": for 'Gt', 'Lt' operators, the value must be an integer"#]]
        .assert_eq(&errors.join("\n"));
    }
}
