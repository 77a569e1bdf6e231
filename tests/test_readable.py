"""Tables as text: numbers, failures and sections as a reader sees them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from jko import readable
from measured import cells_table, landscape_table


@pytest.mark.parametrize(
    ("mean", "std", "text"),
    [
        (0.6084, 0.0123, "0.608 ± 0.012"),
        (12.3456, np.nan, "12.346"),
        (1.6e-4, 2.1e-5, "1.60e-04 ± 2e-05"),
        (-0.012, 0.003, "-1.20e-02 ± 3e-03"),
        (12345.6, 21.0, "1.23e+04 ± 2e+01"),
        (0.0, 0.0, "0.000 ± 0.000"),
    ],
)
def test_numbers(mean, std, text):
    assert readable.number(mean, std) == text


def test_markdown_of_the_cells():
    table = cells_table()
    text = readable.markdown(readable.wide(table, ["method", "scheme"], ["interval"]))
    assert text.splitlines() == [
        "| method | scheme | 0-3 to 6-9 | 6-9 to 12-15 | mean over intervals |",
        "| --- | --- | ---: | ---: | ---: |",
        "| mlp | implicit | 2.000 ± 1.414 (1 failed) | 3.500 ± 2.121 (1 failed) "
        "| 2.750 ± 1.768 (1 failed) |",
        "| mlp | explicit | 11.000 ± 1.000 | 11.000 ± 1.000 | 11.000 ± 1.000 |",
        "| mlp_explicit | explicit | 4.000 (2 failed) | 3 failed | 3 failed |",
        "| floor | none | 3 failed | 3 failed | 3 failed |",
        "| identity | none | 7.000 ± 0.000 | 7.000 ± 0.000 | 7.000 ± 0.000 |",
    ]
    everywhere = "0-3 to 6-9, 6-9 to 12-15, mean over intervals"
    line = f"- mlp, implicit, {everywhere}: seed 2: diverged at step 512\n"
    assert readable.failures(table).count("diverged at step 512") == 1
    assert line in readable.failures(table)
    assert readable.failures(table[table["n_failed"] == 0]) == ""


def test_sections_of_the_landscapes():
    text = readable.sections(
        landscape_table(),
        {"l2_uvp": "L2-UVP (%)", "w1": "EMD", "absent": "None"},
        ["landscape"],
        ["method", "scheme"],
        by=["pairing"],
    )
    assert text.splitlines()[:5] == [
        "### L2-UVP (%), paired",
        "",
        "| landscape | mlp, implicit | zero_energy |",
        "| --- | ---: | ---: |",
        "| flowers | 1.00e-04 ± 0e+00 | 0.200 ± 0.000 |",
    ]
    assert "### EMD, paired" in text and "None" not in text


def test_numbers_survive_the_file(tmp_path):
    table = cells_table()
    readable.write(table, "", tmp_path / "t.tsv", tmp_path / "t.md")
    none = {"mean": "nan", "std": "nan"}
    read = pd.read_csv(tmp_path / "t.tsv", sep="\t", keep_default_na=False, na_values=none)
    pd.testing.assert_frame_equal(read, table)


def test_columns_may_be_numbers():
    numbers = {"mean": 1.0, "std": 0.5, "n": 2, "n_failed": 0, "reason": ""}
    table = pd.DataFrame([{"method": "mlp", "share": share} | numbers for share in (0.7, 1)])
    found = readable.wide(table, ["method"], ["share"])
    assert list(found.columns) == ["method", "0.7", "1.0"]
    assert found.iloc[0].tolist() == ["mlp", "1.000 ± 0.500", "1.000 ± 0.500"]
