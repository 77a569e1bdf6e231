"""Slopes by coordinate: every sum against the one over a dense array, mixed or not."""

from __future__ import annotations

import numpy as np
import pytest

from jko import slopes

rng = np.random.default_rng(4)
COLUMNS = [np.array([0, 2, 3]), np.array([3]), np.array([], int)]
MIX = rng.normal(size=(4, 5))


def sparse(mix=None) -> slopes.Slopes:
    values = [rng.normal(size=(6, len(columns))) for columns in COLUMNS]
    return slopes.Slopes(COLUMNS, values, 4, mix)


def dense(found: slopes.Slopes) -> np.ndarray:
    """(n, d, p), written by hand."""
    whole = np.zeros((6, 3, 4))
    for c, columns in enumerate(COLUMNS):
        for q, column in enumerate(columns):
            whole[:, c, column] = found.values[c][:, q]
    return whole if found.mix is None else whole @ found.mix


@pytest.fixture(params=[None, MIX], ids=["as they are", "mixed"])
def functions(request) -> slopes.Slopes:
    return sparse(request.param)


def test_gradients_are_put_where_their_functions_stand(functions):
    assert slopes.count(functions) == dense(functions).shape[2]
    np.testing.assert_allclose(slopes.gradients(functions), dense(functions))
    some = slopes.at(functions, slice(2, 5))
    np.testing.assert_allclose(slopes.gradients(some), dense(functions)[2:5])


def test_sums_over_functions_points_and_both(functions):
    whole = dense(functions)
    alike, apart = rng.normal(size=whole.shape[2]), rng.normal(size=(6, whole.shape[2]))
    vectors, other = rng.normal(size=(6, 3)), sparse(rng.normal(size=(4, 2)))
    for found, sums, given in (
        (slopes.combined(functions, alike), "ndp,p->nd", alike),
        (slopes.combined(functions, apart), "ndp,np->nd", apart),
        (slopes.weighted(functions, vectors), "ndp,nd->p", vectors),
        (slopes.inner_products(functions, other), "ndp,ndq->pq", dense(other)),
        (slopes.inner_products(other, functions).T, "ndp,ndq->pq", dense(other)),
    ):
        np.testing.assert_allclose(found, np.einsum(sums, whole, given), atol=1e-12)


def test_joined_functions_stand_one_after_the_other(functions):
    others = rng.normal(size=(6, 3, 2))
    both = slopes.joined(functions, slopes.of_all(others))
    expected = np.concatenate([dense(functions), others], axis=2)
    assert slopes.count(both) == expected.shape[2]
    np.testing.assert_allclose(slopes.gradients(both), expected)
