"""Slopes by coordinate: every sum against the one over a dense array, mixed or not."""

from __future__ import annotations

import numpy as np
import pytest

from jko import slopes

rng = np.random.default_rng(4)
COLUMNS = [np.array([0, 2, 3]), np.array([3]), np.array([], int)]
OTHERS = [np.array([1]), np.array([0, 4]), np.array([2, 3])]
MIX = rng.normal(size=(4, 5))


def sparse(columns=COLUMNS, size=4, mix=None) -> slopes.Slopes:
    values = [rng.normal(size=(6, len(held))) for held in columns]
    return slopes.Slopes(columns, values, size, mix)


def dense(found: slopes.Slopes) -> np.ndarray:
    """(n, d, p), written by hand."""
    whole = np.zeros((6, 3, found.size))
    for c, columns in enumerate(found.columns):
        for q, column in enumerate(columns):
            whole[:, c, column] = found.values[c][:, q]
    return whole if found.mix is None else whole @ found.mix


@pytest.fixture(params=[None, MIX], ids=["as they are", "mixed"])
def functions(request) -> slopes.Slopes:
    return sparse(mix=request.param)


def test_gradients_are_put_where_their_functions_stand(functions):
    assert slopes.count(functions) == dense(functions).shape[2]
    np.testing.assert_allclose(slopes.gradients(functions), dense(functions))
    some = slopes.at(functions, slice(2, 5))
    np.testing.assert_allclose(slopes.gradients(some), dense(functions)[2:5])


def test_sums_over_functions_points_and_both(functions):
    whole = dense(functions)
    alike, apart = rng.normal(size=whole.shape[2]), rng.normal(size=(6, whole.shape[2]))
    vectors = rng.normal(size=(6, 3))
    other, blend = sparse(OTHERS, 5), sparse(OTHERS, 5, rng.normal(size=(5, 2)))
    for found, sums, given in (
        (slopes.combined(functions, alike), "ndp,p->nd", alike),
        (slopes.combined(functions, apart), "ndp,np->nd", apart),
        (slopes.weighted(functions, vectors), "ndp,nd->p", vectors),
        (slopes.inner_products(functions, other), "ndp,ndq->pq", dense(other)),
        (slopes.inner_products(functions, blend), "ndp,ndq->pq", dense(blend)),
        (slopes.inner_products(blend, functions).T, "ndp,ndq->pq", dense(blend)),
    ):
        np.testing.assert_allclose(found, np.einsum(sums, whole, given), atol=1e-12)


def test_joined_functions_stand_one_after_the_other(functions):
    everywhere = rng.normal(size=(6, 3, 2))
    blend = sparse(OTHERS, 5, rng.normal(size=(5, 2)))
    for second, gradients in ((slopes.of_all(everywhere), everywhere), (blend, dense(blend))):
        both = slopes.joined(functions, second)
        expected = np.concatenate([dense(functions), gradients], axis=2)
        assert slopes.count(both) == expected.shape[2]
        np.testing.assert_allclose(slopes.gradients(both), expected, atol=1e-12)
