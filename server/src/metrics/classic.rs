//! The older text format of Prometheus, made of OpenMetrics: what a scraper gets that does not ask for OpenMetrics, and
//! what `promtool check metrics` reads. There a counter is declared by the name of its samples.

/// Rewrites what differs: names of counters, units, the end.
pub(crate) fn classic(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help: Option<&str> = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = Some(rest);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = rest.split_once(' ') else { continue };
            let suffix = if kind == "counter" { "_total" } else { "" };
            let words = help.take().and_then(|help| help.split_once(' ')).map_or("", |(_, words)| words);
            text.push_str(&format!("# HELP {name}{suffix} {words}\n# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with("# ") {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_declared_by_the_name_of_its_samples() {
        let open = "# HELP windlass_rpcs Calls.\n# TYPE windlass_rpcs counter\nwindlass_rpcs_total{method=\"A\"} 1\n\
                    # HELP windlass_hosts Hosts.\n# TYPE windlass_hosts gauge\n# UNIT windlass_hosts x\nwindlass_hosts 2\n# EOF\n";
        let want = "# HELP windlass_rpcs_total Calls.\n# TYPE windlass_rpcs_total counter\nwindlass_rpcs_total{method=\"A\"} 1\n\
                    # HELP windlass_hosts Hosts.\n# TYPE windlass_hosts gauge\nwindlass_hosts 2\n";
        assert_eq!(classic(open), want);
    }
}
