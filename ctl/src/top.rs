//! `windlass top`: the fleet in a terminal. What is shown follows from what the coordinator said ([`data`]) and from what was
//! typed ([`state`]) alone, so that a frame is a pure function of both ([`rows`], [`mod@draw`]); [`mod@feed`] asks, and [`screen`] has
//! the terminal.

mod act;
mod data;
mod draw;
mod feed;
mod keys;
mod row;
mod rows;
mod screen;
mod state;
#[cfg(test)]
mod tests;
mod traffic;

pub(crate) use act::{Action, act};
pub(crate) use data::{Asked, Snapshot};
pub(crate) use draw::{About, draw, text};
pub(crate) use feed::{News, feed};
pub(crate) use keys::Keys;
pub(crate) use screen::Screen;
pub(crate) use state::{Effect, State};
pub(crate) use windlass_core::view::Board as View;
