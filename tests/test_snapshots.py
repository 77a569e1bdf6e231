"""Snapshots: seeded splits, disjoint and balanced; whole files; promises that are checked."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from clouds import observed
from jko import snapshots
from jko.snapshots import Truth


def test_the_split_holds_every_row_once_and_the_same_number_per_snapshot():
    data = observed(sizes=(31, 24, 37), seeds=range(4))
    assert (data.train ^ data.test).all()
    for s, (k, n) in [(s, pair) for s in range(4) for pair in enumerate((31, 24, 37))]:
        assert len(data.rows(s, "train", k)) == int(0.6 * n)
        assert len(data.rows(s, "test", k)) == n - int(0.6 * n)


def test_a_seed_gives_its_own_split_whatever_the_other_seeds_are():
    several, alone = observed(seeds=(0, 7, 3)), observed(seeds=(7,))
    np.testing.assert_array_equal(several.train[1], alone.train[0])
    assert not np.array_equal(several.train[0], several.train[1])


def test_a_validation_split_stays_within_the_train_rows_of_the_same_seed():
    rng = np.random.default_rng(0)
    x, time = rng.normal(size=(90, 2)), np.repeat([0.0, 1.0], [50, 40])
    whole = snapshots.split(x, time, [0, 7], 0.6)
    inner = snapshots.split(x, time, [0, 7], 0.6, 0.2)
    np.testing.assert_array_equal(inner.train | inner.test, whole.train)
    assert not (inner.test & whole.test).any()
    assert [[len(inner.rows(s, "test", k)) for k in (0, 1)] for s in (0, 1)] == [[6, 5]] * 2
    with pytest.raises(ValueError, match="validation_fraction is 1.0; it must lie between 0 and 1"):
        snapshots.split(x, time, [0], 0.6, 1.0)


def test_snapshots_are_the_distinct_times_in_order():
    time = np.array([4.0, 1.0, 1.0, 4.0, 1.0, 4.0, 2.5, 2.5, 2.5, 2.5, 4.0, 1.0])
    x = np.arange(24.0).reshape(12, 2)
    data = snapshots.split(x, time, [0], 0.5)
    assert data.time.tolist() == [1.0, 2.5, 4.0] and data.tau.tolist() == [1.5, 1.5]
    for k, t in enumerate(data.time):
        both = np.concatenate([data.cloud(0, "train", k), data.cloud(0, "test", k)])
        assert sorted(map(tuple, both)) == sorted(map(tuple, x[time == t]))
    assert [len(cloud) for cloud in data.clouds(0, "train")] == [2, 2, 2]
    assert data.dimension == 2


@pytest.mark.parametrize(
    "truth", [None, Truth("flowers", None, 0.0), Truth("sphere", "quadratic", 0.5, 10)]
)
def test_a_file_gives_back_what_was_saved(tmp_path, truth):
    data = dataclasses.replace(observed(), truth=truth)
    snapshots.save(data, tmp_path / "a" / "snapshots.npz")
    back = snapshots.load(tmp_path / "a" / "snapshots.npz")
    assert back.truth == truth
    for name in ("x", "snapshot", "time", "seed", "train", "test"):
        before, after = getattr(data, name), getattr(back, name)
        np.testing.assert_array_equal(before, after)
        assert before.dtype == after.dtype


def with_row(name: str, row: int, value):
    def change(data):
        array = getattr(data, name).copy()
        array[..., row] = value
        return {name: array}

    return change


def nan_row(data):
    x = data.x.copy()
    x[5, 1] = np.nan
    return {"x": x}


MALFORMED = {
    "x of one axis": (lambda data: {"x": data.x[:, 0]}, r"x has shape \(90,\)"),
    "no coordinates": (lambda data: {"x": data.x[:, :0]}, r"x has shape \(90, 0\)"),
    "one time": (
        lambda data: {"time": data.time[:1]},
        r"1 snapshot time\(s\) \[0.0\]; at least two",
    ),
    "times that fall": (lambda data: {"time": data.time[::-1]}, "strictly increasing"),
    "a time that is no number": (with_row("time", 1, np.nan), "must be finite"),
    "a coordinate that is no number": (nan_row, r"row 5 of x holds \[.*nan\]"),
    "too few indices": (lambda data: {"snapshot": data.snapshot[:-1]}, r"90 indices in 0\.\.2"),
    "a snapshot without a time": (with_row("snapshot", 3, 3), r"indices in 0\.\.2"),
    "a negative index": (with_row("snapshot", 3, -1), r"indices in 0\.\.2"),
    "the same seed twice": (
        lambda data: {"seed": np.array([1, 1])},
        r"seeds \[1, 1\] must be distinct",
    ),
    "no seed": (lambda data: {"seed": np.array([], int)}, "at least one"),
    "a mask of integers": (lambda data: {"train": data.train.astype(int)}, "train must be bool"),
    "a mask of one seed": (
        lambda data: {"test": data.test[:1]},
        r"test must be bool of shape \(2, 90\)",
    ),
    "train rows that test": (
        lambda data: {"test": data.train},
        "in train and in test under the same",
    ),
    "one test particle": (
        lambda data: {"test": data.test & (np.cumsum(data.test, axis=1) <= 11)},
        r"snapshot 1 \(time 0.5\) has fewer than 2 test particles under seed 0",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_broken_promise_is_named(case):
    change, message = MALFORMED[case]
    data = observed()
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(data, **change(data))


def test_a_split_that_cannot_be_made_says_why():
    x, time = np.zeros((6, 2)), np.repeat([0.0, 1.0], 3)
    with pytest.raises(ValueError, match="train_fraction is 1.0; it must lie between 0 and 1"):
        snapshots.split(x, time, [0], 1.0)
    with pytest.raises(ValueError, match=r"snapshot 0 \(time 0\) has fewer than 2 train particles"):
        snapshots.split(x, time, [0], 0.5)
    with pytest.raises(ValueError, match=r"times must be finite numbers, found \[nan\]"):
        snapshots.split(x, np.append(time[:-1], np.nan), [0], 0.5)


def test_a_part_of_the_train_rows_leaves_the_test_rows_as_they_are():
    rng = np.random.default_rng(0)
    x, time = rng.normal(size=(60, 2)), np.repeat([0.0, 1.0], 30)
    whole = snapshots.split(x, time, [0, 1], 0.6)
    part = snapshots.split(x, time, [0, 1], 0.6, learned_fraction=0.5)
    np.testing.assert_array_equal(part.test, whole.test)
    assert (part.train <= whole.train).all()
    for s, k in np.ndindex(2, 2):
        assert len(whole.rows(s, "train", k)) == 18 and len(part.rows(s, "train", k)) == 9


def test_exchanged_snapshots_are_measured_on_train_rows_of_the_sizes_of_the_test():
    rng = np.random.default_rng(0)
    x, time = rng.normal(size=(60, 2)), np.repeat([0.0, 1.0], 30)
    data = snapshots.split(x, time, [0, 1], 0.6)
    found = snapshots.exchanged(data)
    assert (found.test <= data.train).all() and not (found.test & data.test).any()
    for s, k in np.ndindex(2, 2):
        assert len(found.rows(s, "test", k)) == len(data.rows(s, "test", k)) == 12
    with pytest.raises(
        ValueError, match=r"snapshot 0 \(time 0\) has 12 train and 18 test particles"
    ):
        snapshots.exchanged(snapshots.split(x, time, [0], 0.4))


def test_a_file_that_is_not_whole_names_itself_and_the_defect(tmp_path):
    path = tmp_path / "snapshots.npz"
    snapshots.save(observed(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"snapshots\.npz: not a readable npz file"):
        snapshots.load(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"snapshots\.npz: not a readable npz file"):
        snapshots.load(path)
    path.write_text("time\tx\n0\t1\n")
    with pytest.raises(ValueError, match=r"snapshots\.npz: not a readable npz file"):
        snapshots.load(path)


def test_a_file_without_an_array_or_with_a_broken_promise_is_refused(tmp_path):
    path, data = tmp_path / "snapshots.npz", observed()
    arrays = {
        name: getattr(data, name) for name in ("x", "snapshot", "time", "seed", "train", "test")
    }
    np.savez(path, **{name: arrays[name] for name in arrays if name != "time"})
    with pytest.raises(
        ValueError, match=r"snapshots\.npz: arrays \['time'\] are missing; found \['seed'"
    ):
        snapshots.load(path)
    np.savez(path, **arrays | {"time": data.time[::-1]})
    with pytest.raises(ValueError, match=r"snapshots\.npz: snapshot times .* strictly increasing"):
        snapshots.load(path)
    np.savez(path, **arrays | {"x": data.x.astype(object)})
    with pytest.raises(ValueError, match=r"snapshots\.npz: not a readable npz file"):
        snapshots.load(path)
