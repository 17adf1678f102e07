//! What somebody who mistyped a name probably meant.

pub(super) fn unknown_key(name: &str, keys: &[&str]) -> String {
    let nearest = keys.iter().map(|key| (edits(name, key), key)).min();
    match nearest {
        Some((distance, key)) if distance <= name.chars().count().max(key.len()) / 2 => {
            format!("unknown key; did you mean `{key}`?")
        }
        _ => format!("unknown key; the keys here are {}", keys.join(", ")),
    }
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one word to the other.
fn edits(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().take(64).collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_one_edit() {
        for slip in ["limts", "llimits", "linits", "ilmits"] {
            assert_eq!(edits(slip, "limits"), 1, "{slip}");
        }
        assert_eq!(edits("limits", "limits"), 0);
        assert_eq!(edits("", "limits"), 6);
    }

    #[test]
    fn a_name_that_resembles_nothing_gets_the_list() {
        assert_eq!(unknown_key("zzzzzzzz", &["path", "origins"]), "unknown key; the keys here are path, origins");
    }
}
