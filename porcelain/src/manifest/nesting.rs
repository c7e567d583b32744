//! How deep a TOML text nests, told before it is read.
//!
//! The reader of TOML bounds how deep brackets nest, and how many names a dotted key has, but not
//! both together: eighty brackets with eighty names each make a tree of 6,400 levels from 13 kB of
//! text, and overflow the stack. So every text from outside is measured here first, in the reader's
//! own tokens.

use toml_parser::Source;
use toml_parser::lexer::TokenKind;

/// Where `text` first nests deeper than `levels_max`, in bytes from its start.
///
/// Names of a dotted key count as levels, in the name of a table and again below it, so what passes
/// makes a tree of at most twice as many. A dot in a number counts too.
pub fn too_deep(text: &str, levels_max: usize) -> Option<usize> {
    // What is open, and the dots of the key it belongs to.
    let mut open: Vec<(TokenKind, usize)> = Vec::new();
    let (mut levels, mut dots) = (0, 0);
    for token in Source::new(text).lex() {
        match token.kind() {
            TokenKind::Dot => dots += 1,
            TokenKind::Comma | TokenKind::Newline => dots = 0,
            kind @ (TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket) => {
                open.push((kind, dots));
                levels += dots + 1;
                dots = 0;
            }
            // A bracket that closes nothing may be skipped over by the reader, so it is here.
            kind if open.last().is_some_and(|&(opened, _)| closes(kind, opened)) => {
                levels -= open.pop().map_or(0, |(_, dots)| dots + 1);
                dots = 0;
            }
            _ => {}
        }
        if levels + dots > levels_max {
            return Some(token.span().start());
        }
    }
    None
}

fn closes(kind: TokenKind, opened: TokenKind) -> bool {
    matches!(
        (opened, kind),
        (TokenKind::LeftSquareBracket, TokenKind::RightSquareBracket)
            | (TokenKind::LeftCurlyBracket, TokenKind::RightCurlyBracket)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_brackets_and_dots() {
        for (text, levels) in [
            ("a = 1", 0),
            ("a.b.c = 1", 2),
            ("[a.b]\nc = 1", 2),
            ("a = [[1], [2]]\nb = [3]", 2),
            ("a.b = { c.d = [1] }", 4),
            ("a = \"[[[...\"  # [[[...\nb = '''{{{'''", 0),
            ("a = [1.5, 2.5,\n3.5]", 2),
            ("a = 1979-05-27T07:32:00.5", 1),
        ] {
            assert_eq!(too_deep(text, levels), None, "{text}");
            if levels > 0 {
                assert!(too_deep(text, levels - 1).is_some(), "{text}");
            }
        }
    }

    /// The reader takes a quote inside a word for a part of the word, so nothing can hide behind
    /// it.
    #[test]
    fn nothing_hides_from_the_count() {
        for text in ["a\"{{{", "a = x'{{{'", "a = {]{]{", "# c\r{{{", "a = \"\\\"{{{\n{{{"] {
            assert!(too_deep(text, 2).is_some(), "{text}");
        }
    }
}
