"""Cuts through landscapes: what is drawn is the data, a failure leaves a gap, and a flat V has a range."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from jko.plotting.cuts import Cut, cuts

X = np.linspace(-4, 4, 50)


def cut(name="flowers", true=None, learned=("first", "second")) -> Cut:
    true = np.sin(X) if true is None else true
    lines = {method: true + 0.1 * (i + 1) for i, method in enumerate(learned)}
    return Cut(name, X, true, lines, {"second": np.full(50, 0.2)} if "second" in learned else {})


def test_a_panel_has_the_truth_every_method_and_the_band():
    figure = cuts([cut(), cut("flat", np.zeros(50))], ["first", "second"], 2.0)
    panel, flat = figure.axes
    truth, *learned = (line.get_ydata() for line in panel.lines)
    np.testing.assert_allclose(truth, np.sin(X))
    # The one with a band first.
    np.testing.assert_allclose(learned, [np.sin(X) + 0.2, np.sin(X) + 0.1])
    (band,) = (found for found in panel.collections if isinstance(found, PolyCollection))
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(np.sin(X).min() - 0.2, abs=1e-6)
    low, high = flat.get_ylim()
    assert low < 0 < high and high >= 0.2
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["true", "second", "its 90 % interval", "first"]


def test_a_method_that_failed_leaves_a_gap():
    figure = cuts([cut(learned=("second",))], ["first", "second"], 2.0)
    assert len(figure.axes[0].lines) == 2
