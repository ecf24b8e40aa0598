"""Checks, scores and audits of how any JAX function transforms; knows arrays and functions only."""

from jaxconv.equivariance._receptive_field import ReceptiveField as ReceptiveField
from jaxconv.equivariance._receptive_field import receptive_field as receptive_field
from jaxconv.equivariance._resampling import crop_shift as crop_shift
from jaxconv.equivariance._resampling import translation as translation
from jaxconv.equivariance._symmetries import flip as flip
from jaxconv.equivariance._symmetries import gain as gain
from jaxconv.equivariance._symmetries import intensity as intensity
from jaxconv.equivariance._symmetries import offset as offset
from jaxconv.equivariance._symmetries import quarter_turn as quarter_turn
from jaxconv.equivariance._verdicts import Operation as Operation
from jaxconv.equivariance.actions import Action as Action
from jaxconv.equivariance.actions import Frame as Frame
from jaxconv.equivariance.actions import circular_shift as circular_shift
from jaxconv.equivariance.actions import zero_shift as zero_shift
from jaxconv.equivariance.asserts import assert_equivariant as assert_equivariant
from jaxconv.equivariance.asserts import assert_shift_equivariant as assert_shift_equivariant
from jaxconv.equivariance.asserts import assert_shift_invariant as assert_shift_invariant
from jaxconv.equivariance.asserts_values import (
    assert_gradient_equivariant as assert_gradient_equivariant,
)
from jaxconv.equivariance.asserts_values import (
    assert_intensity_equivariant as assert_intensity_equivariant,
)
from jaxconv.equivariance.audit import Audit as Audit
from jaxconv.equivariance.audit import audit as audit
from jaxconv.equivariance.audit_plots import plot_errors as plot_errors
from jaxconv.equivariance.audit_plots import plot_failure as plot_failure
from jaxconv.equivariance.audit_plots import plot_maps as plot_maps
from jaxconv.equivariance.audit_plots import plot_prediction_grid as plot_prediction_grid
from jaxconv.equivariance.canonicalize import make_shift_equivariant as make_shift_equivariant
from jaxconv.equivariance.canonicalize import make_shift_invariant as make_shift_invariant
from jaxconv.equivariance.dense_score import dense_consistency as dense_consistency
from jaxconv.equivariance.lie import LieDerivative as LieDerivative
from jaxconv.equivariance.lie import lie_derivative as lie_derivative
from jaxconv.equivariance.locality import assert_batch_independent as assert_batch_independent
from jaxconv.equivariance.locality import assert_causal as assert_causal
from jaxconv.equivariance.locality import assert_receptive_field as assert_receptive_field
from jaxconv.equivariance.locality import dependence as dependence
from jaxconv.equivariance.measure import LeafError as LeafError
from jaxconv.equivariance.measure import ShiftError as ShiftError
from jaxconv.equivariance.measure import shift_error as shift_error
from jaxconv.equivariance.page import audit_page as audit_page
from jaxconv.equivariance.positions import Position as Position
from jaxconv.equivariance.positions import Translation as Translation
from jaxconv.equivariance.positions import canonical_position as canonical_position
from jaxconv.equivariance.positions import canonical_translation as canonical_translation
from jaxconv.equivariance.protocols import PROTOCOLS as PROTOCOLS
from jaxconv.equivariance.protocols import Protocol as Protocol
from jaxconv.equivariance.protocols import protocol as protocol
from jaxconv.equivariance.prove import Proof as Proof
from jaxconv.equivariance.prove import assert_proved as assert_proved
from jaxconv.equivariance.prove import prove as prove
from jaxconv.equivariance.prove import suggest as suggest
from jaxconv.equivariance.prove_plots import plot_proof as plot_proof
from jaxconv.equivariance.score import consistency as consistency
from jaxconv.equivariance.score import prediction_grid as prediction_grid
