"""Gradients through an inner loop against the exact one: what the table must find at a V of random weights."""

from __future__ import annotations

import numpy as np

from clouds import observed
from jko import inner_gradients
from jko.methods import Problem
from learning import settings_of


def test_a_solved_inner_problem_has_the_exact_gradient_and_an_unsolved_one_has_not():
    lines = []
    settings = settings_of("jkonet", loss="sinkhorn", hidden=[8, 8], map_hidden=[32, 32])
    table = inner_gradients.compare(
        Problem(observed(seeds=(0,))),
        settings,
        ["standard"],
        ["mlp"],
        [2, 300, 600, 1000],
        1,
        lines.append,
    )
    assert list(table) == inner_gradients.COLUMNS and len(table) == len(lines) == 8
    # Unrolled, many steps of Adam overflow.
    known = table.query("inner_steps <= 300 or gradient == 'implicit'")
    assert np.isfinite(known[inner_gradients.COLUMNS[4:]]).all().all()
    rows = table.set_index(["inner_steps", "gradient"])
    # Adam at a constant rate swings about the optimum, and rounding decides where a loop ends: the median of three.
    started = rows.loc[2, "implicit"]
    solved = rows.query("inner_steps > 2 and gradient == 'implicit'").median(numeric_only=True)
    assert solved["map_error"] < 0.5 and solved["relative_error"] < 0.2 and solved["cosine"] > 0.98
    assert started["map_error"] > 2 * solved["map_error"]
    # Two steps through a loop see less of V than the optimum does.
    assert rows.loc[2, "unrolled"]["relative_error"] > 0.3
    # One loop, and its derivative by two ways, ends at the same places.
    for steps in (2, 300):
        ends = rows.loc[steps]["map_error"]
        np.testing.assert_allclose(ends["unrolled"], ends["implicit"], rtol=1e-4)
    assert (rows["memory_mb"] > 0).all() and (rows["seconds"] > 0).all()
