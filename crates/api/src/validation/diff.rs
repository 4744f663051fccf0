//! The difference of two objects as lines, for refusals that show what may not change.

use serde::Serialize;

/// Unchanged lines shown around a change.
const CONTEXT_LINES: usize = 3;
/// Lines compared at most; beyond that both sides are shown cut off.
const LINES_MAX: usize = 2_000;

/// A unified diff of the indented JSON of two values, from old to new.
pub(super) fn of(old: &impl Serialize, new: &impl Serialize) -> String {
    let old = lines(old);
    let new = lines(new);
    render(&edits(&old, &new))
}

fn lines(value: &impl Serialize) -> Vec<String> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.lines().take(LINES_MAX).map(str::to_owned).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Same,
    Gone,
    Added,
}

/// Both lists merged line by line along their longest common part.
fn edits<'a>(old: &'a [String], new: &'a [String]) -> Vec<(Sign, &'a str)> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let common = common_lengths(a, b);
    let mut edits: Vec<_> = old[..head].iter().map(|line| (Sign::Same, line.as_str())).collect();
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            edits.push((Sign::Same, a[i].as_str()));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && common[i + 1][j] >= common[i][j + 1]) {
            edits.push((Sign::Gone, a[i].as_str()));
            i += 1;
        } else {
            edits.push((Sign::Added, b[j].as_str()));
            j += 1;
        }
    }
    edits.extend(old[old.len() - tail..].iter().map(|line| (Sign::Same, line.as_str())));
    edits
}

/// The length of the longest common subsequence of every pair of tails.
fn common_lengths(a: &[String], b: &[String]) -> Vec<Vec<u32>> {
    let mut lengths = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            lengths[i][j] =
                if a[i] == b[j] { lengths[i + 1][j + 1] + 1 } else { lengths[i + 1][j].max(lengths[i][j + 1]) };
        }
    }
    lengths
}

fn render(edits: &[(Sign, &str)]) -> String {
    let near_change = |at: usize| {
        let from = at.saturating_sub(CONTEXT_LINES);
        let to = (at + CONTEXT_LINES + 1).min(edits.len());
        edits[from..to].iter().any(|(sign, _)| *sign != Sign::Same)
    };
    let mut text = String::new();
    let (mut old_line, mut new_line) = (1, 1);
    let mut at = 0;
    while at < edits.len() {
        if !near_change(at) {
            (old_line, new_line) = (old_line + 1, new_line + 1);
            at += 1;
            continue;
        }
        let end = (at..edits.len()).find(|at| !near_change(*at)).unwrap_or(edits.len());
        let hunk = &edits[at..end];
        let old_count = hunk.iter().filter(|(sign, _)| *sign != Sign::Added).count();
        let new_count = hunk.iter().filter(|(sign, _)| *sign != Sign::Gone).count();
        text.push_str(&format!("@@ -{old_line},{old_count} +{new_line},{new_count} @@\n"));
        for (sign, line) in hunk {
            let mark = match sign {
                Sign::Same => ' ',
                Sign::Gone => '-',
                Sign::Added => '+',
            };
            text.push_str(&format!("{mark}{line}\n"));
        }
        (old_line, new_line) = (old_line + old_count, new_line + new_count);
        at = end;
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_shown_with_its_surroundings() {
        let old = json!({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, "g": 7, "h": 8, "i": 9});
        let new = json!({"a": 1, "b": 2, "c": 3, "d": 4, "e": 6, "f": 6, "g": 7, "h": 8, "i": 9});
        expect![[r#"
            @@ -3,7 +3,7 @@
               "b": 2,
               "c": 3,
               "d": 4,
            -  "e": 5,
            +  "e": 6,
               "f": 6,
               "g": 7,
               "h": 8,
        "#]]
        .assert_eq(&of(&old, &new));
        assert_eq!(of(&old, &old), "");
    }
}
