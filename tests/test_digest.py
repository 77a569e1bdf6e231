"""Digests of code: what changes a result reruns it, what only reads differently does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from digest import digest

FILES = {
    "train.py": """
from jko import methods
from jko.files import write

write(methods.fit())
""",
    "jko/__init__.py": '"""The package."""\n',
    "jko/files.py": '''
import os


def write(text):
    """Write it."""
    print(text)  # to the screen
''',
    "jko/methods/__init__.py": '''"""Methods."""

from jko import solvers


def fit():
    return solvers.step(1)
''',
    "jko/methods/one.py": "import jko.energies\n\nRATE = 0.1\n",
    "jko/methods/two.py": "RATE = 0.2\n",
    "jko/solvers.py": '''"""Steps."""


def step(x):
    """A step."""
    from jko.energies import drift

    return x + drift(x)
''',
    "jko/energies.py": "def drift(x):\n    return -x\n",
    "jko/plotting.py": "COLOUR = 'blue'\n",
}


def folder_of(path: Path, **changes: tuple[str, str]) -> Path:
    """The package, with a text replaced in some files; every folder is read once."""
    for name, text in FILES.items():
        old, new = changes.get(name.replace("/", "_").removesuffix(".py"), ("", ""))
        assert old in text
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text.replace(old, new) if old else text)
    return path


def changed(tmp_path: Path, modules: tuple[str, ...] = (), **changes: tuple[str, str]) -> bool:
    before = digest("train", modules, folder_of(tmp_path / "before"))
    return digest("train", modules, folder_of(tmp_path / "after", **changes)) != before


READS_DIFFERENTLY = {
    "comment": {"jko_files": ("# to the screen", "# to the user's screen")},
    "docstring of a function": {"jko_files": ('"""Write it."""', '"""Write the text."""')},
    "docstring of a module": {
        "jko_methods___init__": ('"""Methods."""', '"""All methods.\n\nOf all papers."""')
    },
    "layout": {"jko_energies": ("return -x", "return (\n        -x\n    )")},
    "blank lines": {"jko_solvers": ("\n\n\n", "\n\n\n\n\n")},
    "docstring that comes or goes": {"jko_energies": (":\n", ':\n    """Down."""\n')},
    "module that is not imported": {"jko_plotting": ("blue", "orange")},
    "method that is not asked for": {"jko_methods_two": ("0.2", "0.3")},
    "text of the script": {"train": ("write(methods.fit())", "write(str(methods.fit()))")},
}


@pytest.mark.parametrize("case", READS_DIFFERENTLY)
def test_what_changes_no_result_changes_no_digest(tmp_path, case):
    assert not changed(tmp_path, ("jko.methods.one",), **READS_DIFFERENTLY[case])


ACTS_DIFFERENTLY = {
    "imported module": {"jko_files": ("print(text)", "print(text, text)")},
    "package of an imported module": {"jko_methods___init__": ("step(1)", "step(2)")},
    "top package": {"jko___init__": ('"""\n', '"""\n\nVERSION = 2\n')},
    "module that an imported one imports": {"jko_solvers": ("x + drift", "x - drift")},
    "module that is imported within a function": {"jko_energies": ("-x", "-2 * x")},
    "named method": {"jko_methods_one": ("0.1", "0.5")},
    "text that is no docstring": {"jko_files": ('"""Write it."""', '"""Write it."""\n    "x"')},
}


@pytest.mark.parametrize("case", ACTS_DIFFERENTLY)
def test_what_may_change_a_result_changes_the_digest(tmp_path, case):
    assert changed(tmp_path, ("jko.methods.one",), **ACTS_DIFFERENTLY[case])


def test_one_method_does_not_change_the_digest_of_another(tmp_path):
    change = {"jko_methods_one": ("0.1", "0.5")}
    assert changed(tmp_path / "one", ("jko.methods.one",), **change)
    assert not changed(tmp_path / "two", ("jko.methods.two",), **change)


def test_a_digest_is_the_same_wherever_the_package_stands(tmp_path):
    first, second = (digest("train", (), folder_of(tmp_path / name)) for name in "ab")
    assert first == second and len(first) == 16
    assert digest("train") != first
