//! Values in the form of other systems, and the same in ours.

use super::super::node::Node;
use super::super::render::scalar as word;

/// Items of a list that a hint shows.
const SHOWN: usize = 3;

/// Writes the entry of a map for the item of a list with this number.
type Entry = fn(usize, &Node) -> Option<String>;

/// Ports that no release may have.
const UDP: &str = "ports are TCP: leave out those of UDP";

/// A list where a map stands: `ports: ["8080:80"]`, `volumes: [data:/data]`, `env: [MODE=fast]`.
pub(in crate::manifest) fn list(path: &[String], items: &[Node]) -> Option<String> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let (entry, example): (Entry, &str) = match path.as_slice() {
        ["ports"] => (port_entry, "http: 80"),
        ["volumes"] => (volume_entry, "data: { mount: /data }"),
        ["env"] => (pair, "MODE: fast"),
        ["labels"] => (pair, "team: shop"),
        ["placement", "require"] => (pair, "role: app"),
        _ => return None,
    };
    let key = path.last()?;
    if *key == "ports" && items.iter().any(is_udp_item) {
        return Some(UDP.to_owned());
    }
    let shown = items.iter().take(SHOWN).enumerate();
    let entries: Vec<String> = shown.filter_map(|(n, item)| entry(n, item)).collect();
    let whole = if entries.is_empty() { example.to_owned() } else { entries.join(", ") };
    let more = if items.len() > entries.len() && !entries.is_empty() { ", …" } else { "" };
    let bound = items.iter().filter_map(Node::raw).find_map(bound_to).filter(|_| *key == "ports");
    let note = bound.map(everywhere).unwrap_or_default();
    Some(format!("write a map by name: `{key}: {{ {whole}{more} }}`{note}"))
}

/// The sentence about a short form that names an address of the host.
fn everywhere(address: &str) -> String {
    format!("; it is open at every address of the host, not at {address} alone")
}

/// The address in `127.0.0.1:8080:80`.
fn bound_to(text: &str) -> Option<&str> {
    let (rest, _) = text.rsplit_once(':')?;
    Some(rest.rsplit_once(':')?.0)
}

/// A port in a short form, where a map or a number stands.
pub(in crate::manifest) fn one_port(name: &str, text: &str) -> Option<String> {
    if is_udp(text) {
        return Some(UDP.to_owned());
    }
    let plain = text.split('/').next().unwrap_or_default();
    if let Some((first, last)) = plain.rsplit(':').next().unwrap_or_default().split_once('-')
        && first.parse::<u16>().is_ok()
        && last.parse::<u16>().is_ok()
    {
        return Some(format!("a range is not taken: name each port, like `{}: {first}`", word(name)));
    }
    let note = bound_to(text).map(everywhere).unwrap_or_default();
    port(text).map(|value| format!("write `{}: {value}`{note}", word(name)))
}

fn is_udp_item(item: &Node) -> bool {
    let protocol = item.get("protocol").and_then(Node::raw);
    item.raw().is_some_and(is_udp) || protocol.is_some_and(|name| name.eq_ignore_ascii_case("udp"))
}

/// `53:53/udp`.
fn is_udp(text: &str) -> bool {
    text.to_ascii_lowercase().ends_with("/udp")
}

fn port_entry(n: usize, item: &Node) -> Option<String> {
    let named = |container: &str| if n == 0 { "http".to_owned() } else { format!("port-{container}") };
    let Some(text) = item.raw() else {
        // `{ containerPort: 80, hostPort: 8080 }`, `{ target: 80, published: 8080 }`
        let of = |keys: [&str; 3]| keys.into_iter().find_map(|key| item.get(key)?.raw());
        let container = of(["containerPort", "target", "to"])?;
        let name = of(["name", "label", "name"]).map_or_else(|| named(container), word);
        return Some(match of(["hostPort", "published", "static"]) {
            Some(host) => format!("{name}: {{ container: {container}, host: {host} }}"),
            None => format!("{name}: {container}"),
        });
    };
    let container = text.split('/').next()?.rsplit(':').next()?;
    port(text).map(|value| format!("{}: {value}", named(container)))
}

/// `8080:80`, `127.0.0.1:8080:80/tcp`, `80`.
pub(in crate::manifest) fn port(text: &str) -> Option<String> {
    let plain = text.split('/').next().filter(|_| !is_udp(text))?;
    let mut parts = plain.rsplit(':');
    let number = |text: &str| text.parse::<u16>().ok().filter(|number| *number > 0);
    let container = number(parts.next()?)?;
    match parts.next() {
        None => Some(container.to_string()),
        Some(host) => Some(format!("{{ container: {container}, host: {} }}", number(host)?)),
    }
}

fn volume_entry(n: usize, item: &Node) -> Option<String> {
    let text = item.raw()?;
    let first = text.split(':').next()?;
    let is_named = text.contains(':') && !first.starts_with(['/', '.', '~']);
    let name = if is_named { first.to_lowercase().replace(['_', '.'], "-") } else { format!("data-{n}") };
    volume(text).map(|value| format!("{}: {value}", word(&name)))
}

/// `data:/data`, `./conf:/etc/app:ro`, `/data`.
pub(in crate::manifest) fn volume(text: &str) -> Option<String> {
    let mut parts = text.split(':');
    let first = parts.next()?;
    let Some(mount) = parts.next() else {
        return first.starts_with('/').then(|| format!("{{ mount: {} }}", word(first)));
    };
    let read_only =
        if parts.any(|options| options.split(',').any(|o| o == "ro")) { ", read_only: true" } else { "" };
    let mount = word(mount);
    if first.starts_with(['/', '.', '~']) {
        let path = if first.starts_with('/') { word(first) } else { "/srv/…".to_owned() };
        return Some(format!("{{ mount: {mount}, host_path: {path}{read_only} }}"));
    }
    Some(format!("{{ mount: {mount}{read_only} }}"))
}

/// `MODE=fast`, `{ name: MODE, value: fast }`.
fn pair(_: usize, item: &Node) -> Option<String> {
    let of = |key| item.get(key).and_then(Node::raw);
    let (name, value) = match item.raw() {
        Some(text) => text.split_once('=')?,
        None => (of("name")?, of("value")?),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let name = if name.chars().all(is_plain) { name.to_owned() } else { word(name) };
    (!name.is_empty()).then(|| format!("{name}: {}", word(value)))
}

/// A command line as a list of words, as a shell would split it.
pub(in crate::manifest) fn command(text: &str) -> String {
    // A pipe or a redirection takes a shell.
    let needs_shell = text.contains(['|', '&', ';', '<', '>', '$', '`']);
    match split_words(text) {
        Some(words) if !words.is_empty() && !needs_shell => {
            let words: Vec<String> = words.iter().map(|one| word(one)).collect();
            format!("write `[{}]`", words.join(", "))
        }
        _ => "write a list, each word of it one item".to_owned(),
    }
}

/// The words of a command line: between blanks, with quotes and backslashes as a shell reads them. Nothing is replaced.
/// `None` where a quote stays open.
pub fn split_words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut current, mut quote) = (Vec::new(), None::<String>, None::<char>);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => current.get_or_insert_default().push(c),
            (_, '\\') => current.get_or_insert_default().push(chars.next()?),
            (Some(_), c) => current.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                current.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(current.take()),
            (None, c) => current.get_or_insert_default().push(c),
        }
    }
    words.extend(current);
    quote.is_none().then_some(words)
}

/// `500m`: thousandths of a core.
pub(in crate::manifest) fn cpu(text: &str) -> Option<String> {
    let millis: u32 = text.strip_suffix('m')?.parse().ok()?;
    let decimals = format!("{:03}", millis % 1000);
    let decimals = decimals.trim_end_matches('0');
    let dot = if decimals.is_empty() { "" } else { "." };
    Some(format!("in cores: `{}{dot}{decimals}`", millis / 1000))
}

/// `512M`, `512Mi`, `2g`: sizes of compose, Docker and Kubernetes.
pub(in crate::manifest) fn size(text: &str) -> Option<String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return None;
    }
    let unit = unit.trim_start();
    let letter = match unit.to_ascii_lowercase().as_str() {
        "k" | "ki" | "kib" | "kb" => "K",
        "m" | "mi" | "mib" | "mb" => "M",
        "g" | "gi" | "gib" | "gb" => "G",
        "t" | "ti" | "tib" | "tb" => "T",
        _ => return None,
    };
    let decimal = match letter {
        "K" => "kB".to_owned(),
        letter => format!("{letter}B"),
    };
    Some(match unit {
        "Mi" | "Gi" | "Ki" | "Ti" => format!("`{number}{letter}iB`"),
        _ => format!("`{number}{letter}iB`, or with units of 1000 `{number}{decimal}`"),
    })
}

/// The first `${NAME}` of a value, which nothing here replaces. `$${NAME}` stands for the text `${NAME}`.
pub(in crate::manifest) fn variable(text: &str) -> Option<&str> {
    let mut from = 0;
    while let Some(found) = text[from..].find("${") {
        let start = from + found;
        let rest = &text[start + 2..];
        from = start + 2;
        let is_escaped = text[..start].ends_with('$');
        let name = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        let starts_well = rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let ends_well = rest[name..].starts_with(['}', ':', '-', '?', '+']);
        if !is_escaped && starts_well && ends_well {
            return Some(&rest[..name]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_split_as_a_shell_does() {
        #[rustfmt::skip]
        let table = [
            ("sleep", "write `[sleep]`"), ("/bin/sh -c \"echo hi\"", "write `[/bin/sh, \"-c\", \"echo hi\"]`"),
            ("redis-server --save '' --port 6379", "write `[redis-server, \"--save\", \"\", \"--port\", \"6379\"]`"),
            ("a\\ b c", "write `[\"a b\", c]`"), ("a | b", "write a list, each word of it one item"),
            ("echo \"open", "write a list, each word of it one item"), ("", "write a list, each word of it one item"),
        ];
        for (text, want) in table {
            assert_eq!(command(text), want, "{text}");
        }
    }

    #[test]
    fn sizes_and_cores_of_others_are_told_in_ours() {
        #[rustfmt::skip]
        let table = [
            (size("512M"), Some("`512MiB`, or with units of 1000 `512MB`")), (size("1Gi"), Some("`1GiB`")),
            (size("64k"), Some("`64KiB`, or with units of 1000 `64kB`")), (size("2g"), Some("`2GiB`, or with units of 1000 `2GB`")),
            (size("100 GB"), Some("`100GiB`, or with units of 1000 `100GB`")), (size("1.5G"), None), (size("lots"), None), (cpu("500m"), Some("in cores: `0.5`")), (cpu("1250m"), Some("in cores: `1.25`")),
            (cpu("2000m"), Some("in cores: `2`")), (cpu("2"), None),
        ];
        for (got, want) in table {
            assert_eq!(got.as_deref(), want);
        }
    }

    #[test]
    fn a_variable_is_found_unless_it_is_escaped() {
        #[rustfmt::skip]
        let table = [
            ("${FOO}", Some("FOO")), ("postgres://${DB:-db}/x", Some("DB")), ("$${FOO}", None), ("$FOO", None), ("${}", None),
            ("${1}", None), ("a ${b c}", None), ("$${A} ${B?no}", Some("B")), ("${ünlaut}", None), ("100$", None),
        ];
        for (text, want) in table {
            assert_eq!(variable(text), want, "{text}");
        }
    }
}
