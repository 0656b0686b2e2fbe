"""For any tree of files: what was packed is what is unpacked, and nothing lands anywhere else."""

import tempfile
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import hypothesis.strategies as st
import pytest
from hypothesis import assume, example, given, settings

from tests.packing import everything_under, pack, tree
from tltool.data.archives import unpack
from tltool.data.formats import ARCHIVE_SUFFIXES
from tltool.data.listing import is_litter
from tltool.data.members import MAX_NAME_BYTES
from tltool.errors import DataError

# derandomize: the same trees at each run, so that a change is what makes it fail.
quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)

Tree = Mapping[str, "bytes | Tree"]

# Every script, every symbol; only what is no part of a name, or marks a way out, is missing.
characters = st.characters(exclude_categories=("Cs",), exclude_characters="/\\:\0")
names = st.one_of(
    st.text(characters, min_size=1, max_size=20),
    st.text(st.sampled_from("aé犬. 🐈"), min_size=60, max_size=120),
    st.sampled_from(("a..", "a...b", "con", "nul.png", "-rf", " ", "~", "*", "a\nb", "%2e%2e", "é", "İ", "ß")),
).filter(lambda name: not is_litter(name) and len(name.encode()) <= MAX_NAME_BYTES)
trees = st.recursive(st.binary(max_size=2000), lambda inside: st.dictionaries(names, inside, max_size=4), max_leaves=12)
hostile_names = st.text(st.sampled_from("./\\:\0aCé \u202e"), min_size=1, max_size=12)


def files_of(contents: Tree, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    """Paths and contents of all files of a tree, without names that some file systems take for the same."""
    seen = set()
    for name, content in contents.items():
        folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        if folded in seen:
            continue
        seen.add(folded)
        if isinstance(content, bytes):
            yield prefix + name, content
        else:
            yield from files_of(content, f"{prefix}{name}/")


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tgz"])
@quick
@given(contents=st.dictionaries(names, trees, min_size=1, max_size=4))
@example(contents={"кот": {"1.png": b"1"}, "x" * 255: {"犬" * 85: b""}, "a...": b"2"})
def test_any_tree_comes_back_as_it_was(ending: str, contents: Tree) -> None:
    files = dict(files_of(contents))
    assume(any(PurePosixPath(name).suffix.lower() not in ARCHIVE_SUFFIXES for name in files))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        packed = pack(root / f"a{ending}", files)
        target = unpack(packed, root / "cache" / "datasets")
        inside = target.relative_to(root).as_posix()
        assert tree(target) == files
        assert {path for path in everything_under(root) if not path.startswith(f"{inside}/")} == {
            *(packed.name, "cache", "cache/datasets", inside),
        }
        assert unpack(packed, root / "cache" / "datasets") == target


@pytest.mark.parametrize("ending", [".zip", ".tar"])
@quick
@given(contents=st.dictionaries(hostile_names, st.binary(max_size=3), min_size=1, max_size=3))
@example(contents={"../a": b"x"})
@example(contents={"/a": b"x"})
@example(contents={"a": b"1", "a/../../C": b"x"})
@example(contents={"a": b"1", "a/./a": b"x"})
@example(contents={"C": b"1", "a//.\u202e": b"x"})
def test_no_name_leads_elsewhere(ending: str, contents: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "deep" / "deep"
        root.mkdir(parents=True)
        # An absolute path leads back to where it would be seen.
        contents = {f"{folder}{name}" if name.startswith("/") else name: contents[name] for name in contents}
        packed = pack(root / f"a{ending}", contents)
        try:
            unpacked = unpack(packed, root / "cache")
        except DataError as error:
            assert str(error).startswith(f"{packed}: ")  # noqa: PT017
            unpacked = root / "cache"
        inside = unpacked.relative_to(folder).as_posix()
        assert {path for path in everything_under(Path(folder)) if not path.startswith(f"{inside}/")} <= {
            *("deep", "deep/deep", f"deep/deep/{packed.name}", "deep/deep/cache", inside),
        }
        if unpacked == root / "cache":
            assert everything_under(unpacked) == set()


def test_both_outcomes_occur_for_hostile_names(tmp_path: Path) -> None:
    # Without it the test above would hold for an `unpack` that refuses everything.
    assert tree(unpack(pack(tmp_path / "a.zip", {"a/./é ": b"1"}), tmp_path / "cache")) == {"a/é ": b"1"}
    with pytest.raises(DataError):
        unpack(pack(tmp_path / "b.zip", {"a/../é": b"1"}), tmp_path / "cache")
