"""Pure functions on arrays: convolutions, pools, padding, resampling."""
