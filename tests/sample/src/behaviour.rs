//! The behaviour of this instance: read once from the environment, so that a test makes any case
//! with nothing but `env:` in a manifest. The table of variables is in `tests/lab/README.md`.

use std::time::{Duration, Instant};

/// The behaviour that the environment asked for, and the start of the process.
#[derive(Debug)]
pub struct Behaviour {
    pub started_at: Instant,
    pub port: u16,
    pub version: String,
    /// Host name: inside a container, the container's id.
    pub instance: String,
    pub never_ready: bool,
    pub ready_after: Duration,
    pub unready_after: Option<Duration>,
    pub exit_at_start: Option<i32>,
    pub exit_after: Option<Duration>,
    pub exit_code: i32,
    pub hog_memory_mb: usize,
    pub hog_after: Duration,
    pub ignore_sigterm: bool,
    /// Share of ordinary requests that are answered 500.
    pub fail_percent: u64,
    /// Added to every ordinary request.
    pub latency: Duration,
    /// Answers go out in pieces, with this between two of them.
    pub trickle: Option<Duration>,
    /// Connections that have been idle for so long are closed.
    pub idle_close: Option<Duration>,
    pub log_every: u64,
    pub log_tick: Option<Duration>,
    /// A JSON fragment added to the answer of `/health`, for example `"gpu":true`.
    pub health_extra: String,
    pub api_key: Option<String>,
}

impl Behaviour {
    /// Reads the variables through `get`; the error names the variable.
    pub fn from(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let number = |name: &str| -> Result<Option<u64>, String> {
            let Some(text) = get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
            text.parse().map(Some).map_err(|_| format!("`{name}` must be a number, not `{text}`"))
        };
        let after = |name: &str| Ok::<_, String>(number(name)?.map(Duration::from_millis));
        let code = |name: &str| Ok::<_, String>(number(name)?.map(|code| (code & 0xff) as i32));
        let flag = |name: &str| get(name).is_some_and(|text| !matches!(text.as_str(), "" | "0"));
        let port = number("PORT")?.unwrap_or(8080);
        Ok(Self {
            started_at: Instant::now(),
            port: u16::try_from(port).map_err(|_| format!("`PORT` must be below 65536, not {port}"))?,
            version: get("VERSION").unwrap_or_else(|| "dev".into()),
            instance: std::fs::read_to_string("/proc/sys/kernel/hostname")
                .map_or_else(|_| "unknown".into(), |name| name.trim().into()),
            never_ready: flag("NEVER_READY"),
            ready_after: after("READY_AFTER_MS")?.unwrap_or_default(),
            unready_after: after("UNREADY_AFTER_MS")?,
            exit_at_start: code("EXIT_AT_START")?,
            exit_after: after("EXIT_AFTER_MS")?,
            exit_code: code("EXIT_CODE")?.unwrap_or(1),
            hog_memory_mb: number("HOG_MEMORY_MB")?.unwrap_or(0) as usize,
            hog_after: after("HOG_AFTER_MS")?.unwrap_or_default(),
            ignore_sigterm: flag("IGNORE_SIGTERM"),
            fail_percent: number("FAIL_PERCENT")?.unwrap_or(0).min(100),
            latency: after("LATENCY_MS")?.unwrap_or_default(),
            trickle: after("TRICKLE_MS")?,
            idle_close: after("IDLE_CLOSE_MS")?,
            log_every: number("LOG_EVERY")?.unwrap_or(100).max(1),
            log_tick: after("LOG_EVERY_MS")?,
            health_extra: get("HEALTH_EXTRA").map_or_else(String::new, |json| format!(",{json}")),
            api_key: get("API_KEY"),
        })
    }

    pub fn is_ready(&self, age: Duration) -> bool {
        !self.never_ready && age >= self.ready_after && self.unready_after.is_none_or(|limit| age < limit)
    }

    /// True for `fail_percent` of the request numbers, evenly spread: no randomness in tests.
    pub fn fails(&self, request: u64) -> bool {
        request * self.fail_percent / 100 != (request + 1) * self.fail_percent / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behaviour(vars: &[(&str, &str)]) -> Behaviour {
        let get =
            |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Behaviour::from(get).expect("the table is valid")
    }

    #[test]
    fn readiness_follows_the_clock() {
        type Case = (&'static str, &'static [(&'static str, &'static str)], u64, bool);
        #[rustfmt::skip]
        let table: [Case; 6] = [
            ("ready by default",     &[],                            0,   true),
            ("never",                &[("NEVER_READY", "1")],        900, false),
            ("zero means off",       &[("NEVER_READY", "0")],        0,   true),
            ("not yet",              &[("READY_AFTER_MS", "100")],   99,  false),
            ("from then on",         &[("READY_AFTER_MS", "100")],   100, true),
            ("lost later",           &[("UNREADY_AFTER_MS", "100")], 100, false),
        ];
        for (case, vars, age, want) in table {
            assert_eq!(behaviour(vars).is_ready(Duration::from_millis(age)), want, "{case}");
        }
    }

    #[test]
    fn fail_percent_is_exact_over_a_hundred_requests() {
        for percent in [0, 1, 5, 50, 100] {
            let value = percent.to_string();
            let behaviour = behaviour(&[("FAIL_PERCENT", value.as_str())]);
            assert_eq!((0..100).filter(|n| behaviour.fails(*n)).count() as u64, percent);
        }
    }

    #[test]
    fn nonsense_names_the_variable() {
        let get = |name: &str| (name == "EXIT_AFTER_MS").then(|| "soon".to_owned());
        let error = Behaviour::from(get).expect_err("`soon` is no number");
        assert_eq!(error, "`EXIT_AFTER_MS` must be a number, not `soon`");
    }
}
