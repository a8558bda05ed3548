//! Completion scripts as clap generates them, made right where a shell would be told something wrong: labels that bash
//! never reaches, and names that are hidden from people.

/// The script of a program for a shell (`bash`, `fish`, …). `hidden` are names of commands, and options with their dashes.
pub fn mended(script: &str, shell: &str, program: &str, hidden: &[&str]) -> String {
    match shell {
        "bash" => bash(script, program, hidden),
        "fish" => fish(script, program, hidden),
        _ => script.to_owned(),
    }
}

/// clap writes a hyphen in the name of a program in one way where it looks for a command, and in another where it has one.
fn bash(script: &str, program: &str, hidden: &[&str]) -> String {
    let script = script.replace(&program.replace('-', "__subcmd__"), &program.replace('-', "__"));
    let shown = |line: &str| match line.split_once("opts=\"") {
        Some((indent, words)) if words.len() > 1 => {
            let words = words.trim_end_matches('"').split(' ').filter(|word| !hidden.contains(word));
            format!("{indent}opts=\"{}\"\n", words.collect::<Vec<_>>().join(" "))
        }
        _ => format!("{line}\n"),
    };
    script.lines().map(shown).collect()
}

/// Leaves out the lines that name what is hidden, and names the shells, which clap does not. The options of a hidden command
/// stay: their values take several lines, and nobody is led there.
fn fish(script: &str, program: &str, hidden: &[&str]) -> String {
    let is_hidden = |line: &str| {
        hidden.iter().any(|name| match name.strip_prefix("--") {
            Some(long) => line.contains(&format!(" -l {long} ")),
            None => line.contains(&format!("-a \"{name}\"")),
        })
    };
    let mut shown: String =
        script.lines().filter(|line| !is_hidden(line)).map(|line| line.to_owned() + "\n").collect();
    let function = format!("__fish_{}_using_subcommand completions", program.replace('-', "_"));
    shown.push_str(&format!(
        "complete -c {program} -n \"{function}\" -f -a \"bash elvish fish powershell zsh\"\n"
    ));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bash_looks_for_the_labels_that_there_are() {
        let script = "    opts=\"\"\n cmd=\"a__b__subcmd__store\"\n a__subcmd__b__subcmd__store)\n    opts=\"-h --old --new run probe\"\n";
        let want =
            "    opts=\"\"\n cmd=\"a__b__subcmd__store\"\n a__b__subcmd__store)\n    opts=\"-h --new run\"\n";
        assert_eq!(mended(script, "bash", "a-b", &["--old", "probe"]), want);
        assert_eq!(mended(script, "zsh", "a-b", &["--old"]), script);
    }

    #[test]
    fn fish_names_shells_and_hides_what_is_hidden() {
        let kept = "complete -c a-b -l older -r\ncomplete -c a-b -n \"__fish_a_b_using_subcommand probe\" -l o -r -a \"a\nb\"\n";
        let script =
            format!("complete -c a-b -l old -r\n{kept}complete -c a-b -f -a \"probe\" -d 'Probes'\n");
        let want = format!(
            "{kept}complete -c a-b -n \"__fish_a_b_using_subcommand completions\" -f -a \"bash elvish fish powershell zsh\"\n"
        );
        assert_eq!(mended(&script, "fish", "a-b", &["--old", "probe"]), want);
    }
}
