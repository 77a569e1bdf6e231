"""Figures: what is drawn, that every axis says what it is, and that bytes repeat."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.contour import ContourSet

from jko import plotting

METHODS = {
    "mlp": {"kind": "mlp", "scheme": "implicit"},
    "mlp_explicit": {"kind": "mlp", "scheme": "explicit"},
    "linear": {"kind": "linear", "scheme": "implicit"},
}
GRID = np.linspace(-2.0, 2.0, 21)
X, Y = np.meshgrid(GRID, GRID)


def cloud(seed: int, n: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1.5, 1.5, (n, 2))


def interval(failed: bool = False) -> plotting.Interval:
    potential = np.where(X**2 + Y**2 < 2, X**2 + Y, np.nan)
    return plotting.Interval(
        start="0-3",
        end="6-9",
        before=cloud(0),
        observed=cloud(1),
        predicted=None if failed else cloud(2),
        grid_x=GRID,
        grid_y=GRID,
        potential=np.full_like(X, np.nan) if failed else potential,
        potential_at="6-9",
        note="diverged at step 512" if failed else "",
    )


def interval_errors() -> pd.DataFrame:
    rows = []
    methods = ["mlp", "mlp", "mlp_explicit", "identity"]
    schemes = ["implicit", "explicit", "explicit", "none"]
    for i, (method, scheme) in enumerate(zip(methods, schemes, strict=True)):
        for name in ("0-3 to 6-9", "mean over intervals"):
            key = {"method": method, "scheme": scheme, "interval": name}
            rows.append(key | {"mean": 1.0 + i, "std": 0.1})
    rows[0]["mean"] = rows[0]["std"] = np.nan
    return pd.DataFrame(rows)


def landscape(name: str = "zigzag_ridge", failed: bool = False) -> plotting.Landscape:
    true = X**2 - Y
    return plotting.Landscape(
        name=name,
        grid_x=GRID,
        grid_y=GRID,
        true=true,
        learned=np.full_like(X, np.nan) if failed else true + 17.0,
        observed=cloud(1),
        predicted=None if failed else cloud(2),
        note="diverged at step 512" if failed else "",
    )


def scheme_errors() -> pd.DataFrame:
    rows = []
    for name in ("flat", "flowers"):
        for i, method in enumerate([*METHODS, "zero_energy"]):
            error = {"mean": 10.0 ** (i - 4), "std": 1e-5}
            rows.append({"landscape": name, "method": method} | error)
    rows[1]["mean"] = np.nan
    rows[3]["mean"] = 0.0
    return pd.DataFrame(rows)


FIGURES = {
    "embryoid": lambda: plotting.embryoid(
        [interval(), interval()], interval_errors(), METHODS, "mlp"
    ),
    "embryoid_failed": lambda: plotting.embryoid(
        [interval(failed=True)], interval_errors(), METHODS, "mlp"
    ),
    "level_curves": lambda: plotting.level_curves(
        [landscape(), landscape("beale", failed=True), landscape("relu")], "mlp", columns=2
    ),
    "schemes": lambda: plotting.schemes(scheme_errors(), METHODS, {"zero_energy": "V = 0"}),
}


def texts(axis) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in axis.texts]


def drawn_axes(figure) -> list:
    return [axis for axis in figure.axes if axis.axison]


@pytest.mark.parametrize("name", FIGURES)
def test_every_axis_shows_something_and_has_a_label_of_its_own_or_shared(name):
    figure = FIGURES[name]()
    assert drawn_axes(figure)
    for axis in drawn_axes(figure):
        assert axis.has_data() or axis.texts
        for kind in "xy":
            shared = getattr(axis, f"get_shared_{kind}_axes")().get_siblings(axis)
            labels = [getattr(sibling, f"get_{kind}label")() for sibling in shared]
            colour_bar = axis.get_label() == "<colorbar>"
            of_figure = figure.get_supxlabel() if kind == "x" else figure.get_supylabel()
            assert any(labels) or of_figure or (colour_bar and kind == "x")


@pytest.mark.parametrize("name", FIGURES)
def test_both_files_are_written_and_bytes_repeat(name, tmp_path):
    runs = []
    for run in ("first", "second"):
        paths = tmp_path / f"{run}.pdf", tmp_path / f"{run}.png"
        plotting.save(FIGURES[name](), *paths)
        runs.append([path.read_bytes() for path in paths])
    assert runs[0] == runs[1]
    pdf, png = runs[0]
    assert pdf.startswith(b"%PDF") and b"CreationDate" not in pdf
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf
    assert png.startswith(b"\x89PNG")


@pytest.mark.parametrize("name", FIGURES)
def test_text_is_readable_at_print_size_and_legends_lie_on_the_page_beside_the_data(name):
    figure = FIGURES[name]()
    assert figure.get_figwidth() in (plotting.COLUMN, plotting.PAGE)
    with mpl.rc_context(plotting.STYLE):
        figure.draw_without_rendering()
    page = figure.bbox.padded(1)
    words = [text for text in figure.findobj(mpl.text.Text) if text.get_text().strip()]
    assert words and all(text.get_fontsize() >= 7 for text in words)
    legends = figure.findobj(mpl.legend.Legend)
    assert legends
    for legend in legends:
        box = legend.get_window_extent()
        assert page.contains(box.x0, box.y0) and page.contains(box.x1, box.y1)
        assert not any(box.overlaps(axis.get_window_extent()) for axis in drawn_axes(figure))


def test_a_figure_leaves_the_global_style_alone():
    before = dict(mpl.rcParams)
    for make in FIGURES.values():
        make()
    assert dict(mpl.rcParams) == before


def test_failures_are_written_into_their_panels():
    cells = FIGURES["embryoid_failed"]()
    assert [texts(axis) for axis in cells.axes[:2]] == [["diverged at step 512"]] * 2
    beale = FIGURES["level_curves"]().axes
    said = [axis for axis in beale if texts(axis) == ["diverged at step 512"]]
    assert len(said) == 1
    schemes = FIGURES["schemes"]().axes[0]
    assert sorted(texts(schemes)) == ["0", "NaN"]


def test_the_learned_potential_is_shifted_to_the_mean_of_the_data():
    assert plotting.offset(landscape()) == pytest.approx(17.0)
    curves = FIGURES["level_curves"]().axes[0]
    true, learned = [c for c in curves.collections if isinstance(c, ContourSet)]
    np.testing.assert_allclose(true.levels, learned.levels)
    for one, other in zip(true.get_paths(), learned.get_paths(), strict=True):
        for vertex in other.vertices:
            assert np.min(np.linalg.norm(one.vertices - vertex, axis=1)) < 1e-6


def test_the_offset_uses_the_particles_on_the_grid_alone():
    observed = np.array([[1.0, 0.5], [0.0, -0.5], [5.0, 5.0]])
    base = landscape()
    tilted = plotting.Landscape(
        "tilted", GRID, GRID, base.true, base.true + 2 * X + 10 * Y, observed, observed
    )
    assert plotting.offset(tilted) == pytest.approx((2 * 1.0 + 10 * 0.5 + 0.0 - 10 * 0.5) / 2)


def test_levels_cut_equal_areas_and_skip_a_plateau():
    np.testing.assert_allclose(plotting.levels(X, count=3), [-1.0, 0.0, 1.0])
    assert np.all(plotting.levels(np.maximum(X, 0.0)) > 0)
    assert len(plotting.levels(np.zeros_like(X))) == 0


def test_a_constant_potential_is_said_in_words():
    flat = plotting.Landscape("flat", GRID, GRID, 0 * X, 0 * X + 0.1 * X, cloud(1), cloud(2))
    figure = plotting.level_curves([flat], "mlp")
    assert texts(figure.axes[0]) == ["true V is constant"]


def test_methods_that_differ_in_their_scheme_alone_are_one_family():
    assert plotting.families(METHODS) == {"mlp": 0, "mlp_explicit": 0, "linear": 1}


def test_thinned_draws_distinct_particles_and_the_same_each_time():
    many = cloud(3, 500)
    few = plotting.thinned(many, 90)
    assert len(np.unique(few, axis=0)) == 90
    np.testing.assert_array_equal(few, plotting.thinned(many, 90))
    np.testing.assert_array_equal(plotting.thinned(many[:90], 90), many[:90])


def test_reference_lines_and_markers_stand_at_their_errors():
    figure = FIGURES["embryoid"]()
    axis = next(a for a in figure.axes if a.get_ylabel().startswith("one-step EMD"))
    heights = np.concatenate([np.atleast_1d(line.get_ydata()) for line in axis.lines])
    assert {1.0, 2.0, 3.0, 4.0} <= set(heights[np.isfinite(heights)].tolist())
    labels = [text.get_text() for text in figure.legends[1].get_texts()]
    assert labels == ["identity", "mlp, implicit", "mlp, explicit", "mlp_explicit, explicit"]
