"""The columns that a dataset uses, and the way back to the units that they came in."""

from __future__ import annotations

import numpy as np
import pytest

from jko import columns

RAW = np.random.default_rng(1).normal(size=(50, 4)) * [10, 1, 0.1, 5] + [3, 0, -7, 1e3]


@pytest.mark.parametrize("standardise", [True, False])
def test_centre_and_scale_lead_back_to_the_raw_values(standardise: bool) -> None:
    chosen = columns.choose(RAW, 3, standardise, "here")
    np.testing.assert_allclose(chosen.x * chosen.scale + chosen.centre, RAW[:, :3], rtol=1e-12)
    if standardise:
        np.testing.assert_allclose(chosen.x.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose((chosen.x**2).mean(axis=0), 1, rtol=1e-12)
    else:
        np.testing.assert_array_equal(chosen.x, RAW[:, :3])


def test_columns_that_are_not_kept_are_not_judged() -> None:
    raw = RAW.copy()
    raw[0, 3] = np.nan
    assert columns.choose(raw, 3, True, "here").x.shape == (50, 3)
    with pytest.raises(ValueError, match="here holds nan at row 0, column 3"):
        columns.choose(raw, None, True, "here")


def test_a_constant_column_cannot_be_standardised() -> None:
    raw = np.column_stack([RAW[:, 0], np.full(50, 0.1)])
    with pytest.raises(ValueError, match=r"here is constant in column\(s\) \[1\]"):
        columns.choose(raw, None, True, "here")
    assert columns.choose(raw, None, False, "here").x.shape == (50, 2)


@pytest.mark.parametrize("n_dims", [0, -1, 5])
def test_the_number_of_columns_is_checked(n_dims: int) -> None:
    with pytest.raises(ValueError, match=f"n_dims is {n_dims}, but here has 1..4 columns"):
        columns.choose(RAW, n_dims, False, "here")


def test_a_line_of_numbers_is_no_representation() -> None:
    with pytest.raises(ValueError, match=r"here has shape \(50,\)"):
        columns.choose(RAW[:, 0], None, False, "here")
