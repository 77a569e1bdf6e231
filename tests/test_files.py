"""Outputs appear whole or not at all, with the rights of any other new file."""

from __future__ import annotations

import os
import stat

import pytest

from jko.files import atomic_path, write_text


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "folder" / "table.tsv"
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent and temporary.suffix == ".tsv"
        temporary.write_text("a")
        assert not path.exists()
    assert path.read_text() == "a"
    assert [entry.name for entry in path.parent.iterdir()] == ["table.tsv"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="halfway"), atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError("halfway")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.tsv"]


def test_two_writers_do_not_share_a_temporary_file(tmp_path):
    path = tmp_path / "table.tsv"
    with atomic_path(path) as first, atomic_path(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"


@pytest.mark.parametrize(("umask", "rights"), [(0o022, 0o644), (0o027, 0o640)])
def test_the_rights_are_those_of_a_new_file(tmp_path, umask, rights):
    before = os.umask(umask)
    try:
        write_text("ε\n", tmp_path / "table.tsv")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "table.tsv").stat().st_mode) == rights
    assert (tmp_path / "table.tsv").read_bytes() == "ε\n".encode()
