"""Shift-equivariance of any function of arrays: asserted, measured, audited and proved."""
