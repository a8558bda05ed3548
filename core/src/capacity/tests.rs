//! Tables over what fits.
