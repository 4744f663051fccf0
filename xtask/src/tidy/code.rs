//! Source text without what only people read: comments and the contents of literals become blanks, so
//! that a rule about code never trips over prose. Lines and columns stay where they are.

/// Blanks comments, strings and character literals.
pub(super) fn without_prose(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let prose = prose_at(&chars, at);
        if prose == 0 {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..at + prose].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at += prose;
        }
    }
    code
}

/// How many characters from `at` are a comment or a literal.
fn prose_at(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    match rest {
        ['/', '/', ..] => rest.iter().take_while(|&&c| c != '\n').count(),
        ['/', '*', ..] => block_comment(rest),
        ['"', ..] => 1 + quoted(&rest[1..], '"'),
        ['\'', '\\', ..] => 1 + quoted(&rest[1..], '\''),
        // Anything else after a quote is a lifetime or a label.
        ['\'', c, '\'', ..] if *c != '\'' => 3,
        ['r', '"' | '#', ..] if at == 0 || !is_word(chars[at - 1]) || chars[at - 1] == 'b' => raw_string(rest),
        _ => 0,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// Characters up to and with the closing quote; a backslash takes the next character along.
fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 0;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `r"…"`, `r#"…"#` and so on; not `r#name`.
fn raw_string(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|&&c| c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return 0;
    }
    let body = &rest[hashes + 2..];
    let closes =
        |at: &usize| body[*at] == '"' && body[at + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes;
    (0..body.len()).find(closes).map_or(rest.len(), |at| hashes + 2 + at + 1 + hashes)
}

#[cfg(test)]
mod tests {
    use super::without_prose;

    #[test]
    fn comments_and_literals_become_blanks_and_code_stays_in_place() {
        let check = |source: &str, code: &str| assert_eq!(without_prose(source), code);
        check("a // b\nc", "a     \nc");
        check("a /* b /* c */ d */ e", "a                   e");
        check(r#"f("unsafe \" {}") g"#, r#"f(              ) g"#);
        check("f(r#\"x\" y\"#) g", "f(         ) g");
        check("let r#type = b'\\'' ; x", "let r#type = b     ; x");
        check("fn f<'a>(x: &'a str) { ',' }", "fn f<'a>(x: &'a str) {     }");
        check("\"a\nb\" c", "  \n   c");
    }

    #[test]
    fn what_never_closes_ends_with_the_file() {
        assert_eq!(without_prose("x \"abc\\").trim_end(), "x");
        assert_eq!(without_prose("x /* abc").trim_end(), "x");
        assert_eq!(without_prose("x r#\"abc").trim_end(), "x");
    }
}
