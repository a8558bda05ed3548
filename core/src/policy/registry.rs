//! Repositories of images and the prefixes that policy allows.

/// Text that names no repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a repository like `registry.example.com/team/web`: {why}")]
pub struct InvalidRepository {
    text: String,
    why: &'static str,
}

/// The one spelling of `host[:port][/path]`: host in lower case, Docker Hub's aliases resolved, nothing that
/// another reader could take for something else.
pub fn normalise_repository(text: &str) -> Result<String, InvalidRepository> {
    let bad = |why| InvalidRepository { text: text.chars().take(120).collect(), why };
    if text.is_empty() || text.len() > 255 {
        return Err(bad("it has 1 to 255 characters"));
    }
    if text.contains("://") {
        return Err(bad("leave the scheme out"));
    }
    if text.contains('@') {
        return Err(bad("leave the digest out"));
    }
    let trimmed = text.strip_suffix('/').unwrap_or(text);
    let (host, path) = trimmed.split_once('/').unwrap_or((trimmed, ""));
    let host = host.to_ascii_lowercase();
    check_host(&host).map_err(bad)?;
    if !path.is_empty() || trimmed.contains('/') {
        path.split('/').try_for_each(check_segment).map_err(bad)?;
    }
    let host = match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        _ => host,
    };
    Ok(if path.is_empty() { host } else { format!("{host}/{path}") })
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("the address in brackets is not IPv6");
            }
            match rest.strip_prefix(':') {
                None if !rest.is_empty() => return Err("behind the brackets comes a port, or nothing"),
                port => ("", port),
            }
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    if let Some(port) = port {
        let canonical = port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
        if !canonical || port.parse::<u16>().is_err() {
            return Err("the port is not a number from 1 to 65535");
        }
    }
    if host.starts_with('[') {
        return Ok(());
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let known = name.contains('.') || port.is_some() || name == "localhost";
    if name.split('.').all(label) && known {
        Ok(())
    } else {
        Err("it begins with a host name that has a dot, a port, or is `localhost`")
    }
}

fn check_segment(segment: &str) -> Result<(), &'static str> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = segment.as_bytes();
    if bytes.iter().all(|b| inner(*b)) && edge(bytes.first()) && edge(bytes.last()) && !segment.contains("..")
    {
        Ok(())
    } else {
        Err("each part of the path has lowercase letters, digits, and `.`, `_` or `-` between them")
    }
}

/// Returns whether `repository` lies under one of `prefixes`, compared part by part. `r.example/team` covers
/// `r.example/team/web` and not `r.example/teammate`. A repository that is not in its one spelling is under none.
pub fn allows_repository(prefixes: &[String], repository: &str) -> bool {
    if normalise_repository(repository).as_deref() != Ok(repository) {
        return false;
    }
    prefixes.iter().filter_map(|prefix| normalise_repository(prefix).ok()).any(|prefix| {
        repository.strip_prefix(&prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_or_none() {
        #[rustfmt::skip]
        let table = [
            ("registry.example.com/team/web", Some("registry.example.com/team/web")),
            ("Registry.Example.com/team/", Some("registry.example.com/team")),
            ("127.0.0.1:5000", Some("127.0.0.1:5000")),
            ("localhost/web", Some("localhost/web")),
            ("[::1]:5000/web", Some("[::1]:5000/web")), ("[::1]/web", Some("[::1]/web")),
            ("[::1].evil.example.com/web", None), ("[::1]5000/web", None), ("[::1]:/web", None), ("[::1/web", None),
            ("index.docker.io/library/nginx", Some("docker.io/library/nginx")),
            ("https://registry.example.com/team", None), ("registry.example.com/team@sha256:00", None),
            ("registry.example.com//team", None), ("registry.example.com/../team", None),
            ("registry.example.com/./team", None), ("registry.example.com/Team", None),
            ("registry.example.com:0/team", None), ("registry.example.com:05000/team", None),
            ("registry.example.com:70000/team", None), ("registry.example.com:+5/team", None),
            ("team/web", None), ("", None), ("/", None), ("registry.example.com/team web", None),
            ("registry..example.com/x", None), ("registry.example.com/a..b", None), ("[::g]:1/x", None),
            ("user:pass@registry.example.com/x", None), ("registry.example.com/x//", None), ("registry.example.com//", None),
            ("a-b.example.com/a-b_c.d9", Some("a-b.example.com/a-b_c.d9")), ("a_b.example.com/x", None), ("-a.example.com/x", None),
        ];
        for (text, want) in table {
            assert_eq!(normalise_repository(text).ok().as_deref(), want, "{text}");
        }
        let long = |length: usize| format!("r.example/{}", "x".repeat(length - "r.example/".len()));
        assert!(normalise_repository(&long(255)).is_ok() && normalise_repository(&long(256)).is_err());
    }

    #[test]
    fn prefixes_end_at_a_slash() {
        let prefixes = ["registry.example.com/team".to_owned(), "127.0.0.1:5000".to_owned()];
        #[rustfmt::skip]
        let table = [
            ("registry.example.com/team", true), ("registry.example.com/team/web", true),
            ("registry.example.com/teammate", false), ("registry.example.com/other", false),
            ("registry.example.com.evil/team/web", false), ("evil.registry.example.com/team/web", false),
            ("registry.example.com:443/team/web", false), ("127.0.0.1:5000/web", true),
            ("127.0.0.1:50001/web", false), ("127.0.0.1/web", false),
            ("registry.example.com/team/../other", false), ("REGISTRY.example.com/team/web", false),
        ];
        for (repository, want) in table {
            assert_eq!(allows_repository(&prefixes, repository), want, "{repository}");
        }
        assert!(!allows_repository(&[], "registry.example.com/team"));
    }
}
