//! `windlass top`: the fleet in a terminal. What is shown follows from what was asked ([`data`]) and from what was typed
//! ([`state`]) alone, so that a frame is a pure function of both ([`rows`], [`mod@draw`]); [`screen`] has the terminal.

mod data;
mod draw;
mod keys;
mod rows;
mod screen;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use data::{Asked, Snapshot};
pub(crate) use draw::{draw, text};
pub(crate) use keys::Keys;
pub(crate) use rows::columns_of as columns;
pub(crate) use screen::Screen;
pub(crate) use state::{Effect, State, View};
