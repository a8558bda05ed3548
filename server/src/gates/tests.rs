//! Providers of every kind.
