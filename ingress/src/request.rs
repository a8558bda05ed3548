//! Checks of a request before anything is done for it, and its changes on the way.

mod check;
mod headers;

pub(crate) use check::{Refusal, authority};
pub(crate) use headers::{
    Forwarded, bucket_of, cookie_value, join_cookies, request_headers, response_headers,
};

#[cfg(test)]
mod tests;
