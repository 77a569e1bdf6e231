"""Figures: what is drawn, that every axis says what it is, and that bytes repeat."""

from __future__ import annotations

import functools

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.contour import ContourSet

from jko.plotting import (
    combinations,
    costs,
    embryoid,
    errors,
    gaps,
    landscapes,
    lightspeed,
    scaling,
    style,
    terms,
)

METHODS = {
    "mlp": {"kind": "mlp", "scheme": "implicit"},
    "mlp_explicit": {"kind": "mlp", "scheme": "explicit"},
    "linear": {"kind": "linear", "scheme": "implicit"},
}
GRID = np.linspace(-2.0, 2.0, 21)
X, Y = np.meshgrid(GRID, GRID)


def cloud(seed: int, n: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1.5, 1.5, (n, 2))


def interval(failed: bool = False) -> embryoid.Interval:
    potential = np.where(X**2 + Y**2 < 2, X**2 + Y, np.nan)
    return embryoid.Interval(
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


def landscape(name: str = "zigzag_ridge", failed: bool = False) -> landscapes.Landscape:
    true = X**2 - Y
    return landscapes.Landscape(
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


def combination_errors() -> pd.DataFrame:
    """Two landscapes, two sizes; mlp_explicit failed on flat, and mlp is also
    shown with another scheme.
    """
    rows, own = [], {name: entry["scheme"] for name, entry in METHODS.items()}
    references = {"identity": "none", "oracle": "explicit", "zero_energy": "none"}
    pairs = [*own.items(), ("mlp", "map"), *references.items()]
    for n_train in (100, 1000):
        for name in ("flat", "flowers"):
            for i, (method, scheme) in enumerate(pairs):
                for metric in ("w1_excess", "bw2_uvp", "l2_uvp"):
                    mean = 10.0 ** (i - 4) * (-1 if metric == "w1_excess" and i == 0 else 1)
                    if (method, name) == ("mlp_explicit", "flat"):
                        mean = np.nan
                    key = {"landscape": name, "dimension": 2, "n_train": n_train, "method": method}
                    error = {"scheme": scheme, "metric": metric, "mean": mean, "std": abs(mean) / 9}
                    rows.append(key | error)
    return pd.DataFrame(rows)


def combination_progress() -> pd.DataFrame:
    rows = []
    for n_train in (100, 1000):
        for epoch, ratio in ((1, 1.0), (10, 0.5), (100, 0.25)):
            key = {"dimension": 2, "n_train": n_train, "method": "mlp", "epoch": epoch}
            rows.append(key | {"ratio": ratio, "low": ratio / 2, "high": 2 * ratio, "n": 4})
    return pd.DataFrame(rows)


# What tells the rows of panels of gaps apart.
ROWS = {"dimension": "d = {}", "n_train": "n = {}"}


def histories() -> pd.DataFrame:
    """Two trainings of 300 epochs on each landscape, whose gap is -1 / epoch; linear has none."""
    frames, epoch = [], np.arange(1, 301)
    for name in ("flat", "wavy_plateau"):
        for seed in (0, 1):
            key = {"landscape": name, "dimension": 2, "n_train": 1000, "seed": seed}
            frames.append(
                pd.DataFrame({"epoch": epoch, "gap": -1 / epoch}).assign(method="mlp", **key)
            )
            frames.append(pd.DataFrame({"epoch": epoch}).assign(method="linear", gap=np.nan, **key))
    return pd.concat(frames, ignore_index=True)


def term_summary() -> pd.DataFrame:
    """Three betas; mlp_explicit has no good fit at the last one."""
    rows = []
    for i, method in enumerate([*METHODS, "zero_energy", "even_oracle", "identity"]):
        for beta in (0.0, 0.1, 0.2):
            for metric in (
                "l2_uvp_potential",
                "l2_uvp_interaction",
                "l2_uvp_drift",
                "beta_hat",
                "w1_ratio",
            ):
                middle = 0.5 + 0.1 * i + beta
                if (method, beta) == ("mlp_explicit", 0.2):
                    middle = np.nan
                key = {"method": method, "beta": beta, "metric": metric, "median": middle}
                spread = {"low": middle - 0.1, "high": middle + 0.2, "mean": middle, "std": 0.05}
                rows.append(key | spread)
    return pd.DataFrame(rows)


def scaling_summary(failed: str = "") -> pd.DataFrame:
    """Two landscapes, errors (10 and 1000) d and seconds n; the middle of the landscapes is 505 d."""
    rows = []
    for potential, scale in (("flowers", 10.0), ("sphere", 1000.0)):
        for dimension in (10, 50):
            for n in (1000, 2500, 10000):
                cell = {"potential": potential, "dimension": dimension, "particles": n}
                numbers = {name: scale * dimension for name in ("w1_per_sqrt_d", "l2_uvp")}
                numbers |= {"train_seconds": n + dimension, "couple_seconds": n / 10}
                for method in METHODS:
                    for metric, value in numbers.items():
                        mean = np.nan if method == failed else value
                        rows.append(cell | {"method": method, "metric": metric, "mean": mean})
                for name, metric in (("identity", "w1_per_sqrt_d"), ("zero_energy", "l2_uvp")):
                    rows.append(cell | {"method": name, "metric": metric, "mean": 1e5})
    return pd.DataFrame(rows)


def epoch_costs() -> pd.DataFrame:
    rows = [("mlp", "epoch", 0.02, 0.01, 0.04, 30.0), ("linear", "fit", 2.0, 1.9, 2.2, 6.0)]
    return pd.DataFrame(rows, columns="method unit median_s low_s high_s fit_s".split())


COUPLINGS = {"mlp": "exact", "mlp_explicit": "sinkhorn 0.1", "linear": "minibatch 250"}


def coupling_errors() -> pd.DataFrame:
    """Errors of 1, 2 and 3 % on two landscapes; the last of them failed on flowers."""
    rows = []
    for name in ("flowers", "styblinski_tang"):
        for i, method in enumerate(COUPLINGS, start=1):
            lost = (name, method) == ("flowers", "linear")
            numbers = {"l2_uvp": np.nan if lost else float(i), "train_seconds": 10.0 * i}
            numbers |= {"couple_seconds": 10.0**i, "couple_mb": 200.0 * i}
            for metric, mean in numbers.items():
                key = {"landscape": name, "method": method, "metric": metric}
                rows.append(key | {"mean": mean, "std": 0.1 if metric == "l2_uvp" else np.nan})
        zero = {"landscape": name, "method": "zero_energy", "metric": "l2_uvp"}
        rows.append(zero | {"mean": 7.0, "std": 0.0})
    return pd.DataFrame(rows)


def lightspeed_errors() -> pd.DataFrame:
    """Of mlp also what its explicit step predicts, which the figure leaves out."""
    found = scheme_errors().replace({"method": {"zero_energy": "identity"}})
    found["scheme"] = found["method"].map(lambda name: METHODS.get(name, {}).get("scheme", "none"))
    other = found[found["method"] == "mlp"].assign(scheme="explicit", mean=77.0)
    return pd.concat([found, other], ignore_index=True)


FIGURES = {
    "embryoid": lambda: embryoid.draw([interval(), interval()], interval_errors(), METHODS, "mlp"),
    "embryoid_failed": lambda: embryoid.draw(
        [interval(failed=True)], interval_errors(), METHODS, "mlp"
    ),
    "level_curves": lambda: landscapes.level_curves(
        [landscape(), landscape("beale", failed=True), landscape("relu")], "mlp", columns=2
    ),
    "schemes": lambda: errors.by_landscape(
        {"L2-UVP (%)": scheme_errors()}, METHODS, {"zero_energy": "V = 0"}, "scheme"
    ),
    "errors": lambda: errors.by_landscape({"L2-UVP (%)": scheme_errors()}, METHODS, {}),
    "two_errors": lambda: errors.by_landscape(
        {"of V (%)": scheme_errors(), "of W (%)": scheme_errors().assign(mean=3.0)}, METHODS, {}
    ),
    "combinations": lambda: combinations.by_combination(
        combination_errors(), combination_progress(), METHODS
    ),
    "one_combination": lambda: combinations.by_combination(
        combination_errors().query("n_train == 100"), combination_progress().iloc[:0], METHODS
    ),
    "gaps": lambda: gaps.gaps(histories(), ROWS, "symlog"),
    "terms": lambda: terms.by_beta(term_summary(), METHODS),
    "scaling": lambda: scaling.by_dimension(scaling_summary(), list(METHODS)),
    "scaling_failed": lambda: scaling.by_dimension(scaling_summary("mlp"), list(METHODS)),
    "couplings": lambda: costs.by_coupling(coupling_errors(), COUPLINGS),
    "epochs": lambda: costs.per_epoch(epoch_costs()),
    "lightspeed": lambda: lightspeed.errors_and_seconds(
        lightspeed_errors(), pd.Series({"mlp": 0.02, "linear": 2.0}), METHODS
    ),
}


def texts(axis) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in axis.texts]


def drawn_axes(figure) -> list:
    return [axis for axis in figure.axes if axis.axison]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """name -> a figure and the bytes of its two files, drawn once for all tests."""
    folder = tmp_path_factory.mktemp("drawn")
    return functools.cache(lambda name: written(name, folder))


def written(name, folder):
    """A figure, and the bytes of its two files."""
    figure, paths = FIGURES[name](), (folder / "figure.pdf", folder / "figure.png")
    style.save(figure, *paths)
    return figure, [path.read_bytes() for path in paths]


@pytest.mark.parametrize("name", FIGURES)
def test_every_axis_shows_something_and_has_a_label_of_its_own_or_shared(name, drawn):
    figure, _ = drawn(name)
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
def test_both_files_are_written_and_bytes_repeat(name, drawn, tmp_path):
    pdf, png = drawn(name)[1]
    assert written(name, tmp_path)[1] == [pdf, png]
    assert pdf.startswith(b"%PDF") and b"CreationDate" not in pdf
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf
    assert png.startswith(b"\x89PNG")


@pytest.mark.parametrize("name", FIGURES)
def test_text_is_readable_at_print_size_and_legends_lie_on_the_page_beside_the_data(name, drawn):
    figure, _ = drawn(name)
    assert figure.get_figwidth() in (style.COLUMN, style.PAGE)
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


def test_an_error_that_is_rounding_stands_at_the_edge_and_does_not_stretch_the_axis():
    found = scheme_errors()

    def axis():
        return errors.by_landscape({"L2-UVP (%)": found}, METHODS, {"zero_energy": "V = 0"}).axes[0]

    before = axis()
    found.loc[3, "mean"] = 3e-16
    after = axis()
    assert texts(after) == texts(before) and "0" in texts(after)
    assert after.get_xlim() == before.get_xlim()


def test_the_learned_potential_is_shifted_to_the_mean_of_the_data():
    assert landscapes.offset(landscape()) == pytest.approx(17.0)
    curves = FIGURES["level_curves"]().axes[0]
    true, learned = [c for c in curves.collections if isinstance(c, ContourSet)]
    np.testing.assert_allclose(true.levels, learned.levels)
    for one, other in zip(true.get_paths(), learned.get_paths(), strict=True):
        for vertex in other.vertices:
            assert np.min(np.linalg.norm(one.vertices - vertex, axis=1)) < 1e-6


def test_the_offset_uses_the_particles_on_the_grid_alone():
    observed = np.array([[1.0, 0.5], [0.0, -0.5], [5.0, 5.0]])
    base = landscape()
    tilted = landscapes.Landscape(
        "tilted", GRID, GRID, base.true, base.true + 2 * X + 10 * Y, observed, observed
    )
    assert landscapes.offset(tilted) == pytest.approx((2 * 1.0 + 10 * 0.5 + 0.0 - 10 * 0.5) / 2)


def test_levels_cut_equal_areas_and_skip_a_plateau():
    np.testing.assert_allclose(landscapes.levels(X, count=3), [-1.0, 0.0, 1.0])
    assert np.all(landscapes.levels(np.maximum(X, 0.0)) > 0)
    assert len(landscapes.levels(np.zeros_like(X))) == 0


def test_a_constant_potential_is_said_in_words():
    flat = landscapes.Landscape("flat", GRID, GRID, 0 * X, 0 * X + 0.1 * X, cloud(1), cloud(2))
    figure = landscapes.level_curves([flat], "mlp")
    assert texts(figure.axes[0]) == ["true V is constant"]


def test_methods_that_differ_in_their_scheme_alone_are_one_family():
    assert style.families(METHODS) == {"mlp": 0, "mlp_explicit": 0, "linear": 1}


def test_thinned_draws_distinct_particles_and_the_same_each_time():
    many = cloud(3, 500)
    few = style.thinned(many, 90)
    assert len(np.unique(few, axis=0)) == 90
    np.testing.assert_array_equal(few, style.thinned(many, 90))
    np.testing.assert_array_equal(style.thinned(many[:90], 90), many[:90])


def test_reference_lines_and_markers_stand_at_their_errors():
    figure = FIGURES["embryoid"]()
    axis = next(a for a in figure.axes if a.get_ylabel().startswith("one-step EMD"))
    heights = np.concatenate([np.atleast_1d(line.get_ydata()) for line in axis.lines])
    assert {1.0, 2.0, 3.0, 4.0} <= set(heights[np.isfinite(heights)].tolist())
    labels = [text.get_text() for text in figure.legends[1].get_texts()]
    assert labels == ["identity", "mlp, implicit", "mlp, explicit", "mlp_explicit, explicit"]


def dots(axis, style: dict) -> np.ndarray:
    """(n, 2) points that are drawn with a colour, a marker and a filling."""
    wanted = style["color"], style["marker"], style["mfc"]
    lines = [
        line.get_xydata()
        for line in axis.lines
        if (line.get_color(), line.get_marker(), line.get_markerfacecolor()) == wanted
    ]
    return np.concatenate(lines)


def test_methods_are_told_apart_by_colour_and_marker_and_schemes_by_filling():
    look = style.method_styles(METHODS)
    for key in ("color", "marker"):
        assert look["mlp"][key] == look["mlp_explicit"][key] != look["linear"][key]
    assert look["mlp"]["mfc"] == look["mlp"]["color"] and look["mlp_explicit"]["mfc"] == "white"
    by_scheme = style.method_styles(METHODS, "scheme")
    assert by_scheme["mlp"]["color"] == by_scheme["linear"]["color"]
    assert by_scheme["mlp"]["color"] != by_scheme["mlp_explicit"]["color"]
    assert by_scheme["mlp"]["marker"] == by_scheme["mlp_explicit"]["marker"]


def test_a_dot_of_an_error_by_landscape_stands_at_its_mean_beside_its_landscape():
    axis = FIGURES["errors"]().axes[0]
    assert (axis.get_xscale(), axis.get_xlabel()) == ("log", "L2-UVP (%)")
    look = style.method_styles(METHODS)
    np.testing.assert_allclose(dots(axis, look["mlp"]), [[1e-4, -0.27], [1e-4, 0.73]])
    # The error of mlp_explicit on the first landscape is NaN.
    np.testing.assert_allclose(dots(axis, look["mlp_explicit"]), [[1e-3, 1.0]])


def test_panels_of_errors_have_one_range_that_holds_all():
    first, second = FIGURES["two_errors"]().axes
    assert first.get_xlim() == second.get_xlim()
    assert first.get_xlim()[0] < 1e-4 and first.get_xlim()[1] > 3
    assert (first.get_xlabel(), second.get_xlabel()) == ("of V (%)", "of W (%)")


def test_failures_of_one_landscape_stand_side_by_side():
    table = scheme_errors().assign(mean=np.nan)
    figure = errors.by_landscape({"L2-UVP (%)": table}, METHODS, {})
    with mpl.rc_context(style.STYLE):
        figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 6
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_legend_has_as_many_columns_as_its_longest_label_lets_it():
    assert style.legend_columns(["a"], 3.3) > style.legend_columns(["a" * 20], 3.3) == 2
    assert style.legend_columns(["a" * 200], 3.3) == 1


def test_a_column_of_combinations_shows_own_schemes_ticks_and_failures():
    figure = FIGURES["combinations"]()
    axes = np.reshape(figure.axes, (4, 2))
    assert [axis.get_title() for axis in axes[0]] == ["d = 2, n = 100", "d = 2, n = 1000"]
    look = style.method_styles(METHODS)
    excess, bures, gradient = axes[:3, 0]
    # Of mlp the implicit scheme alone, with errors of -1e-4, 1e-4 and 1e-4.
    np.testing.assert_allclose(dots(excess, look["mlp"]), [[-0.36, -1e-4], [0.64, -1e-4]])
    np.testing.assert_allclose(dots(gradient, look["mlp"]), [[-0.36, 1e-4], [0.64, 1e-4]])
    assert excess.get_yscale() == "symlog" and bures.get_yscale() == gradient.get_yscale() == "log"
    np.testing.assert_allclose(dots(bures, look["mlp_explicit"]), [[1.0, 1e-3]])
    crosses = [line.get_xydata() for line in bures.lines if line.get_marker() == "x"]
    np.testing.assert_allclose(crosses, [[[0.0, 1.0]]])
    # V = 0 is the row identity of a prediction, 1, and zero_energy of an energy, 100;
    # the oracle has 10.
    for axis, heights in ((excess, [1, 1]), (bures, [1, 1, 10, 10]), (gradient, [100, 100])):
        segments = np.concatenate([lines.get_segments() for lines in ticks(axis)])
        np.testing.assert_allclose(segments[:, 0, 1], heights)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [*METHODS, "V = 0", "oracle", "every seed failed"]


def ticks(axis) -> list[LineCollection]:
    """The references, without the bars of the spread."""
    wide = [c for c in axis.collections if isinstance(c, LineCollection)]
    return [c for c in wide if np.ptp(c.get_segments()[0][:, 1]) == 0]


def test_the_way_through_the_training_is_a_line_in_a_band():
    axis = np.reshape(FIGURES["combinations"]().axes, (4, 2))[3, 1]
    line = dots(axis, style.method_styles(METHODS)["mlp"])
    np.testing.assert_allclose(line, [[1, 1], [10, 0.5], [100, 0.25]])
    band = axis.collections[0].get_paths()[0].get_extents()
    np.testing.assert_allclose([band.x0, band.y0, band.x1, band.y1], [1, 0.125, 100, 2])
    assert texts(FIGURES["one_combination"]().axes[3]) == ["no error along the training"]


def test_a_gap_is_a_line_for_each_seed_averaged_over_equal_spans():
    figure = FIGURES["gaps"]()
    assert [axis.get_title() for axis in figure.axes] == ["flat", "wavy plateau"]
    lines = [line for line in figure.axes[1].lines if len(line.get_xdata()) > 2]
    assert len(lines) == 2
    epoch, gap = lines[0].get_xydata().T
    np.testing.assert_array_equal(epoch, np.arange(3, 301, 3))
    np.testing.assert_allclose(gap[:2], [-(1 + 1 / 2 + 1 / 3) / 3, -(1 / 4 + 1 / 5 + 1 / 6) / 3])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["mlp"]
    assert {axis.get_yscale() for axis in figure.axes} == {"symlog"}
    with pytest.raises(ValueError, match="no history holds a gap"):
        gaps.gaps(histories().drop(columns="gap"), ROWS, "symlog")


def test_gaps_of_one_population_are_one_panel_to_a_linear_scale():
    one = histories()[lambda table: table["landscape"] == "flat"]
    figure = gaps.gaps(one, ROWS, "linear")
    assert [axis.get_yscale() for axis in figure.axes] == ["linear"]
    assert figure.get_figwidth() == style.COLUMN


def test_every_kind_of_data_has_its_own_row_of_gaps():
    more = histories().assign(n_train=2000, gap=lambda table: 2 * table["gap"])
    figure = gaps.gaps(pd.concat([histories(), more], ignore_index=True), ROWS, "symlog")
    assert [axis.get_ylabel() for axis in figure.axes] == [
        "d = 2, n = 1000",
        "",
        "d = 2, n = 2000",
        "",
    ]
    ends = [axis.lines[-1].get_ydata()[0] for axis in figure.axes]
    np.testing.assert_allclose(ends, np.array([1, 1, 2, 2]) * -(1 + 1 / 2 + 1 / 3) / 3)


def test_averages_of_few_numbers_are_the_numbers():
    numbers = np.array([1.0, np.nan, 3.0])
    mean, last = gaps.averaged(numbers)
    np.testing.assert_array_equal(mean, numbers)
    np.testing.assert_array_equal(last, [0, 1, 2])
    # Seven numbers in three spans: 2, 2 and 3 of them.
    mean, last = gaps.averaged(np.arange(7.0), 3)
    np.testing.assert_allclose(mean, [0.5, 2.5, 5.0])
    np.testing.assert_array_equal(last, [1, 3, 6])


def test_a_term_stands_at_its_median_beside_its_beta_with_its_quartiles():
    figure = terms.by_beta(term_summary(), METHODS)
    panels = drawn_axes(figure)
    assert [axis.get_yscale() for axis in panels] == ["log", "log", "log", "linear", "linear"]
    for axis in panels:
        first, second, _ = axis.containers
        np.testing.assert_allclose(first[0].get_xydata(), [[-0.3, 0.5], [0.7, 0.6], [1.7, 0.7]])
        # mlp_explicit has no number at the last beta: a cross at the upper edge in its place.
        assert len(second[0].get_xydata()) == 2
        crosses = [line for line in axis.lines if line.get_marker() == "x"]
        assert [line.get_xydata().tolist() for line in crosses] == [[[2.0, 1.0]]]
    bars = panels[0].containers[0][2][0].get_segments()
    np.testing.assert_allclose([bar[:, 1] for bar in bars], [[0.4, 0.7], [0.5, 0.8], [0.6, 0.9]])
    bars = panels[3].containers[0][2][0].get_segments()
    np.testing.assert_allclose(bars[0][:, 1], [0.45, 0.55])
    lines = [c for c in panels[3].collections if isinstance(c, LineCollection)]
    heights = [[s[0, 1] for s in c.get_segments()] for c in lines]
    assert [0.0, 0.1, 0.2] in heights


def test_a_reference_that_is_nowhere_drawn_is_not_in_the_legend():
    def labels(summary):
        legend = terms.by_beta(summary, METHODS).axes[-1].get_legend()
        return {text.get_text() for text in legend.get_texts()}

    summary, even = term_summary(), "even part of W"
    assert even in labels(summary)
    none = summary["median"].where(summary["method"] != "even_oracle", 0.0)
    assert labels(summary) - labels(summary.assign(median=none)) == {even}


def test_scaling_lines_are_medians_of_the_landscapes_for_each_number_of_particles():
    axes = FIGURES["scaling"]().axes
    error, seconds = axes[0], axes[6]
    lines = [line for line in error.lines if line.get_linestyle() == "-"]
    assert len(lines) == 3
    for line in lines:
        np.testing.assert_allclose(line.get_xydata(), [[10, 5050], [50, 25250]])
    (zero,) = [line for line in error.lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(zero.get_ydata(), 1e5)
    training = [line for line in seconds.lines if line.get_linestyle() == "-"]
    found = [line.get_xydata().tolist() for line in training]
    assert found == [[[n, n + d] for n in (1000, 2500, 10000)] for d in (10, 50)]


def test_the_costs_of_a_coupling_stand_above_its_name():
    error, seconds, memory = FIGURES["couplings"]().axes
    flowers, styblinski = (line for line in error.lines if line.get_linestyle() == "None")
    np.testing.assert_allclose(flowers.get_ydata(), [1, 2, np.nan])
    np.testing.assert_allclose(styblinski.get_ydata(), [1, 2, 3])
    found = [line.get_ydata().tolist() for line in seconds.lines]
    assert found == 2 * [[10, 100, 1000], [10, 20, 30]]
    assert [line.get_ydata().tolist() for line in memory.lines] == 2 * [[200, 400, 600]]
    words = [label.get_text() for label in memory.get_xticklabels()]
    assert words == ["exact", "sinkhorn\n0.1", "minibatch\n250"]


def test_an_epoch_is_a_dot_and_the_whole_fit_a_tick():
    (axis,) = FIGURES["epochs"]().axes
    found = [line.get_xydata().tolist() for line in axis.lines]
    assert found == [[[0.02, 0]], [[30, 0]], [[2, 1]], [[6, 1]]]


def test_an_error_of_the_own_scheme_stands_beside_the_seconds_of_an_epoch():
    left, right = FIGURES["lightspeed"]().axes
    look = style.method_styles(METHODS)
    np.testing.assert_allclose(dots(left, look["mlp"]), [[1e-4, -0.27], [1e-4, 0.73]])
    assert sorted(texts(left)) == ["0", "NaN"]
    np.testing.assert_allclose(dots(right, look["mlp"]), [[0.02, 0]])
    np.testing.assert_allclose(dots(right, look["linear"]), [[2.0, 2]])
    assert [label.get_text() for label in right.get_yticklabels()] == list(METHODS)
