//! An answer to a smoke test against the one that was wanted.

use std::time::Duration;

use serde_json::Value;

use crate::time::display_duration;

use super::asks::Expect;

/// Characters of a value that are shown.
const SHOWN: usize = 200;

/// An answer to a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, the names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body, as far as it was read.
    pub body: Vec<u8>,
    /// There was more of it.
    pub cut: bool,
    /// The time from the connection to its last byte.
    pub took: Duration,
}

/// A difference between an answer and the one that was wanted, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The wanted answer: `/database = "connected"`.
    pub wanted: String,
    /// The answer in its place: `"down"`.
    pub got: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "wanted {}, got {}", self.wanted, self.got)
    }
}

impl Expect {
    /// The first difference, if there is one.
    ///
    /// # Errors
    /// The answer is not the one that is wanted.
    pub fn compare(&self, answer: &Answer) -> Result<(), Difference> {
        self.status(answer)?;
        for (name, wanted) in &self.headers {
            let found = answer.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            if found.is_none_or(|(_, value)| value != wanted) {
                let got = found.map_or_else(|| "no such header".to_owned(), |(_, value)| quoted(value));
                return Err(Difference { wanted: format!("header {name} = {}", quoted(wanted)), got });
            }
        }
        if let Some(wanted) = &self.body {
            let holds =
                wanted.is_empty() || answer.body.windows(wanted.len()).any(|part| part == wanted.as_bytes());
            if !holds {
                let wanted = format!("a body that contains {}", quoted(wanted));
                return Err(Difference { wanted, got: "another body".to_owned() });
            }
        }
        self.json(answer)?;
        if let Some(within) = self.within.filter(|within| answer.took > within.duration()) {
            let got = format!("one after {}", display_duration(whole(answer.took)));
            return Err(Difference { wanted: format!("an answer within {within}"), got });
        }
        Ok(())
    }

    fn status(&self, answer: &Answer) -> Result<(), Difference> {
        let good = if self.status.is_empty() {
            (200..300).contains(&answer.status)
        } else {
            self.status.iter().any(|range| range.contains(answer.status))
        };
        if good {
            return Ok(());
        }
        let wanted = match self.status.as_slice() {
            [] => "a status from 200 to 299".to_owned(),
            some => {
                let list: Vec<String> = some.iter().map(ToString::to_string).collect();
                format!("status {}", list.join(" or "))
            }
        };
        Err(Difference { wanted, got: format!("HTTP {}", answer.status) })
    }

    fn json(&self, answer: &Answer) -> Result<(), Difference> {
        let Some((first, value)) = self.json.first_key_value() else { return Ok(()) };
        let document: Value = serde_json::from_slice(&answer.body).map_err(|_| {
            let long = answer.cut;
            let got = if long { "a body that is too long to be read" } else { "a body that is not JSON" };
            Difference { wanted: at(first, value), got: got.to_owned() }
        })?;
        for (pointer, wanted) in &self.json {
            let found = document.pointer(pointer);
            if found.is_none_or(|found| !is_same(found, wanted)) {
                let got = found.map_or_else(|| "nothing there".to_owned(), |found| cut(&found.to_string()));
                return Err(Difference { wanted: at(pointer, wanted), got });
            }
        }
        Ok(())
    }
}

/// Numbers are the same if their values are: `5` and `5.0`.
fn is_same(found: &Value, wanted: &Value) -> bool {
    found == wanted || found.as_f64().zip(wanted.as_f64()).is_some_and(|(a, b)| a.total_cmp(&b).is_eq())
}

fn at(pointer: &str, wanted: &Value) -> String {
    let place = if pointer.is_empty() { "the whole document" } else { pointer };
    cut(&format!("{place} = {wanted}"))
}

fn quoted(text: &str) -> String {
    cut(&Value::String(text.to_owned()).to_string())
}

fn cut(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// Whole milliseconds: nobody asks for more.
fn whole(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// The first characters of a body, for people.
pub fn excerpt(body: &[u8]) -> String {
    // A character has four bytes at most.
    let start = &body[..body.len().min(SHOWN * 4)];
    cut(&String::from_utf8_lossy(start))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Answer {
            status,
            headers,
            body: body.as_bytes().to_vec(),
            cut: false,
            took: Duration::from_millis(300),
        }
    }

    fn compare(expect: Value, answer: &Answer) -> String {
        let expect: Expect = serde_json::from_value(expect).unwrap();
        expect
            .compare(answer)
            .map_or_else(|no| format!("{}, got {}", no.wanted, no.got), |()| "good".to_owned())
    }

    #[test]
    fn an_answer_is_held_against_everything_that_is_wanted() {
        let health =
            r#"{"status":"ok","database":"down","gpu":true,"models":5,"a/b":{"x":[1,2]},"none":null}"#;
        let seen = answer(200, health);
        #[rustfmt::skip]
        let table = [
            (json!({}),                                            "good"),
            (json!({"status": [200, 204]}),                        "good"),
            (json!({"status": [204, 201]}),                        "status 204 or 201, got HTTP 200"),
            (json!({"status": ["200-204"]}),                       "good"),
            (json!({"status": ["201-204", 401]}),                  "status 201-204 or 401, got HTTP 200"),
            (json!({"headers": {"Content-Type": "application/json"}}), "good"),
            (json!({"headers": {"Content-Type": "text/html"}}),    "header Content-Type = \"text/html\", got \"application/json\""),
            (json!({"headers": {"x-a": "b"}}),                     "header x-a = \"b\", got no such header"),
            (json!({"body": "\"status\":\"ok\""}),                 "good"),
            (json!({"body": ""}),                                  "good"),
            (json!({"body": "fine"}),                              "a body that contains \"fine\", got another body"),
            (json!({"json": {"/status": "ok", "/gpu": true}}),     "good"),
            (json!({"json": {"/models": 5.0, "/a~1b/x/1": 2}}),    "good"),
            (json!({"json": {"/database": "connected"}}),          "/database = \"connected\", got \"down\""),
            (json!({"json": {"/gpu": "true"}}),                    "/gpu = \"true\", got true"),
            (json!({"json": {"/models": 6}}),                      "/models = 6, got 5"),
            (json!({"json": {"/none": "x"}}),                      "/none = \"x\", got null"),
            (json!({"json": {"/a": 1}}),                           "/a = 1, got nothing there"),
            (json!({"within": "300ms"}),                           "good"),
            (json!({"within": "299ms"}),                           "an answer within 299ms, got one after 300ms"),
        ];
        for (expect, want) in table {
            assert_eq!(compare(expect.clone(), &seen), want, "{expect}");
        }
        assert_eq!(compare(json!({}), &answer(302, "")), "a status from 200 to 299, got HTTP 302");
        assert_eq!(compare(json!({}), &answer(299, "")), "good");
        let wanted = json!({"json": {"/x": 1}});
        assert_eq!(compare(wanted.clone(), &answer(200, "<html>")), "/x = 1, got a body that is not JSON");
        let long = Answer { cut: true, ..answer(200, "{\"x\":1") };
        assert_eq!(compare(wanted, &long), "/x = 1, got a body that is too long to be read");
    }

    #[test]
    fn an_excerpt_has_two_hundred_characters_of_any_bytes() {
        assert_eq!(excerpt("ä".repeat(500).as_bytes()), "ä".repeat(200));
        assert_eq!(excerpt(&[0xff; 3]), "\u{fffd}".repeat(3));
    }
}
