"""Features once: what was read of a picture is found again by its content, and by nothing else."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image

from tests.pictures import make_class_folders, make_picture
from tltool.backbones import load_backbone
from tltool.data import batches
from tltool.data.decoding import FITS, decode, prepare
from tltool.features import extract as module
from tltool.features.engine import _keras_engine, load_engine
from tltool.features.extract import content_keys, digest, extract
from tltool.features.reading import FEATURES
from tltool.features.taps import POOLINGS, pooled, tap_layout
from tltool.features.views import MIRRORED, UPSIDE_DOWN, View


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("tiny_random")


@pytest.fixture(scope="module")
def engine(backbone):
    return load_engine(module.reading_model(backbone), FEATURES)


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def read(monkeypatch, engine):
    """How many pictures each batch through the engine had."""
    sizes = []

    def counting(pictures):
        sizes.append(len(pictures))
        return engine(pictures)

    monkeypatch.setattr(module, "load_engine", lambda model, outputs: counting)
    return sizes


@pytest.fixture
def root(tmp_path):
    return make_class_folders(tmp_path / "photos", {"ant": 10, "bee": 9}, size=40)


def listed(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*"))


def make_wide(path):
    """A picture of other proportions, that looks different to each fit."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def no_engine(model, outputs):
    raise AssertionError("everything was known")


def test_features_are_those_of_the_network_on_the_prepared_picture(backbone, root, read):
    files = listed(root)
    table = extract(backbone, root, files)
    model = keras.Model(
        backbone.network.input, [pooled(backbone, ["stage2", "top"], POOLINGS), backbone.network.output]
    )
    pixels = np.stack([prepare(decode(root / file), backbone.framing) for file in files])
    features, logits = model.predict_on_batch(pixels)
    assert table.indices.tolist() == list(range(19))
    assert table.values.shape == (19, tap_layout(backbone).width)
    np.testing.assert_allclose(
        table.select(["stage2", "top"], POOLINGS), features, rtol=1e-3, atol=1e-4 * np.abs(features).max()
    )
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(table.confidence, probabilities.max(axis=1), rtol=1e-3)
    assert len({row.tobytes() for row in table.values}) == 19  # the pictures differ, so that a mix-up would show


def test_the_second_time_the_network_is_not_asked(backbone, root, read, monkeypatch):
    files = listed(root)
    first = extract(backbone, root, files)
    assert sum(read) == 19
    monkeypatch.setattr(module, "load_engine", no_engine)
    second = extract(load_backbone("tiny_random"), root, files)
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.confidence, second.confidence)
    assert first.keys == second.keys
    backwards = extract(backbone, root, files[::-1])
    np.testing.assert_array_equal(first.values, backwards.values[::-1])


def test_keys_from_a_scan_spare_the_reading(backbone, root, read, monkeypatch):
    files = listed(root)
    expected = extract(backbone, root, files)
    monkeypatch.setenv("TLTOOL_CACHE", str(root.parent / "another cache"))
    asked = []
    whole = module.read_bytes
    monkeypatch.setattr(module, "read_bytes", lambda path: asked.append(path) or whole(path))
    keys = list(expected.keys)
    keys[3] = None  # which the scan could not read
    for _ in range(2):
        table = extract(backbone, root, files, keys=keys)
        np.testing.assert_array_equal(table.values, expected.values)
        assert table.keys == expected.keys
        assert asked == [root / files[3]]
        asked.clear()
    (root / files[3]).write_text("no picture")
    table = extract(backbone, root, files, keys=keys)
    assert [problem.path for problem in table.problems] == [files[3]]
    assert table.indices.tolist() == [index for index in range(19) if index != 3]


def test_pixels_in_the_cache_are_not_decoded_again(backbone, root, read, monkeypatch):
    files = listed(root)
    expected = extract(backbone, root, files)
    stored = list((root.parent / "cache").rglob("*.sqlite"))
    assert stored
    for file in stored:
        file.unlink()
    monkeypatch.setattr(batches, "decode", lambda *_: pytest.fail("its pixels were known"))
    np.testing.assert_array_equal(extract(backbone, root, files).values, expected.values)


def test_a_renamed_or_moved_file_keeps_its_features(backbone, root, tmp_path, read, monkeypatch):
    before = extract(backbone, root, ["ant/ant_0003.png"])
    (root / "ant/ant_0003.png").rename(root / "bee/other.png")
    root.rename(tmp_path / "elsewhere")
    monkeypatch.setattr(module, "load_engine", no_engine)
    after = extract(backbone, tmp_path / "elsewhere", ["bee/other.png"])
    np.testing.assert_array_equal(before.values, after.values)
    assert before.keys == after.keys


def test_a_changed_picture_is_read_again(backbone, root, read):
    files = listed(root)
    before = extract(backbone, root, files)
    read.clear()
    make_picture(root / files[4], (1, 2, 3), 40)
    after = extract(backbone, root, files)
    assert read == [1]
    changed = (before.values != after.values).any(axis=1)
    assert np.flatnonzero(changed).tolist() == [4]


def test_unreadable_files_are_told_of_and_the_rows_stay_aligned(backbone, root, read):
    whole = extract(backbone, root, listed(root))
    by_name = dict(zip(listed(root), whole.values, strict=True))
    (root / "ant/ant_0002.png").write_text("no picture")
    (root / "bee/bee_0000.png").write_bytes((root / "bee/bee_0000.png").read_bytes()[:200])
    (root / "bee/bee_0003.png").write_bytes(b"")
    (root / "ant/ant_0005.png").unlink()
    files = [*by_name, "bee/never_was.png"]
    for _ in range(2):  # the second time everything readable is known
        table = extract(backbone, root, files)
        assert [(problem.path, problem.kind) for problem in table.problems] == [
            ("ant/ant_0002.png", "not-a-picture"),
            ("ant/ant_0005.png", "unreadable"),
            ("bee/bee_0000.png", "truncated"),
            ("bee/bee_0003.png", "empty"),
            ("bee/never_was.png", "unreadable"),
        ]
        assert table.problems[0].reason == "not a picture that can be read"
        assert len(table.indices) == len(table.values) == len(table.confidence) == len(table.keys) == 15
        for index, row in zip(table.indices, table.values, strict=True):
            np.testing.assert_array_equal(row, by_name[files[index]])


def test_nothing_readable_gives_an_empty_table(backbone, root, read):
    (root / "ant/ant_0000.png").write_text("no picture")
    table = extract(backbone, root, ["ant/ant_0000.png", "ant/never_was.png"])
    assert table.values.shape == (0, tap_layout(backbone).width)
    assert table.confidence.shape == (0,)
    assert len(table.problems) == 2
    assert extract(backbone, root, []).values.shape == (0, tap_layout(backbone).width)


def test_copies_of_a_picture_have_a_row_each(backbone, root, read):
    (root / "ant/copy.png").write_bytes((root / "ant/ant_0000.png").read_bytes())
    table = extract(backbone, root, ["ant/ant_0000.png", "ant/ant_0001.png", "ant/copy.png"])
    assert table.indices.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(table.values[0], table.values[2])
    assert (table.values[0] != table.values[1]).any()


def test_other_weights_another_size_or_fit_have_features_of_their_own(backbone, root, monkeypatch):
    files = listed(root)[:3]
    monkeypatch.setattr(module, "load_engine", _keras_engine)  # it starts sooner
    first = extract(backbone, root, files)
    changed = load_backbone("tiny_random")
    kernel = changed.network.get_layer("stem_conv").kernel
    kernel.assign(kernel * 1.5)
    second = extract(changed, root, files)
    assert (first.values != second.values).any(axis=1).all()
    third = extract(load_backbone("tiny_random", image_size=48), root, files)
    assert (third.values != first.values).any(axis=1).all()
    make_wide(root / files[0])
    wide = [extract(load_backbone("tiny_random", fit=fit), root, files[:1]).values for fit in FITS]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (wide[one] != wide[other]).any()
    files = files[1:]
    first, second = first.take(np.arange(1, 3)), second.take(np.arange(1, 3))
    monkeypatch.setattr(module, "load_engine", no_engine)
    np.testing.assert_array_equal(extract(backbone, root, files).values, first.values)
    np.testing.assert_array_equal(extract(replace(changed), root, files).values, second.values)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interruption_keeps_what_was_stored(backbone, root, read, engine, error, monkeypatch):
    files = listed(root)
    expected = extract(backbone, root, files).values
    monkeypatch.setenv("TLTOOL_CACHE", str(root.parent / "another cache"))
    monkeypatch.setattr(module, "TRANSACTION", 8)
    seen = []

    def failing(pictures):
        if sum(seen) >= 16:
            raise error("stopped")
        seen.append(len(pictures))
        return engine(pictures)

    monkeypatch.setattr(module, "load_engine", lambda *_: failing)
    with pytest.raises(error, match="stopped"):
        extract(backbone, root, files)
    assert seen == [8, 8]
    read.clear()
    finishing = []
    monkeypatch.setattr(
        module, "load_engine", lambda *_: lambda pictures: finishing.append(pictures) or engine(pictures)
    )
    table = extract(backbone, root, files)
    assert [len(pictures) for pictures in finishing] == [3]
    np.testing.assert_allclose(table.values, expected, rtol=1e-4, atol=1e-5)


def test_the_backbone_stays_as_it_is(backbone, root, read):
    before = [weight.copy() for weight in backbone.network.get_weights()]
    extract(backbone, root, listed(root))
    for old, new in zip(before, backbone.network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_progress_grows_to_its_total(backbone, root, read):
    (root / "ant/ant_0002.png").write_text("no picture")
    files = [*listed(root), "ant/never_was.png"]
    extract(backbone, root, files[:5])
    told = []
    extract(backbone, root, files, lambda *report: told.append(report))
    done = [count for _, count, _ in told]
    assert {(task, total) for task, _, total in told} == {(module.TASK, 20)}
    assert done == sorted(done)
    assert (done[0], done[-1]) == (4, 20)


def test_a_view_shows_the_network_changed_pictures(backbone, root, read):
    files = listed(root)
    table = extract(backbone, root, files, view=MIRRORED)
    (root / "mirrored").mkdir()
    for number, file in enumerate(files):
        pixels = prepare(decode(root / file), backbone.framing)
        Image.fromarray(pixels[:, ::-1]).save(root / f"mirrored/{number:02}.png")
    expected = extract(backbone, root, [f"mirrored/{number:02}.png" for number in range(19)])
    np.testing.assert_allclose(table.values, expected.values, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(table.confidence, expected.confidence, rtol=1e-4)
    clean = extract(backbone, root, files)
    assert (table.values != clean.values).any(axis=1).all()
    assert table.keys == clean.keys
    assert table.indices.tolist() == list(range(19))


def test_views_and_clean_pictures_are_cached_beside_each_other(backbone, root, read, monkeypatch):
    files = listed(root)
    views = [None, MIRRORED, UPSIDE_DOWN]
    first = [extract(backbone, root, files, view=view) for view in views]
    assert sum(read) == 3 * 19
    monkeypatch.setattr(module, "load_engine", no_engine)
    for view, before in reversed(list(zip(views, first, strict=True))):
        after = extract(backbone, root, files, view=view)
        np.testing.assert_array_equal(after.values, before.values)
        np.testing.assert_array_equal(after.confidence, before.confidence)


def test_a_view_is_told_the_keys_of_its_pictures(backbone, root, read):
    """Whatever batch they are in, and where files that cannot be read are missing from it."""
    (root / "ant/ant_0002.png").write_text("no picture")
    files = listed(root)
    by_key = dict(zip(*reversed((files, content_keys(root, files)[0])), strict=True))
    told = {}

    def change(pixels, keys):
        told.update(zip(keys, pixels.copy(), strict=True))
        return 255 - pixels

    table = extract(backbone, root, files, view=View("negative", change))
    readable = [file for file in files if file != "ant/ant_0002.png"]
    assert {by_key[key] for key in told} == set(readable)
    for key, pixels in told.items():
        np.testing.assert_array_equal(pixels, prepare(decode(root / by_key[key]), backbone.framing))
    assert [problem.path for problem in table.problems] == ["ant/ant_0002.png"]
    assert [files[index] for index in table.indices] == readable
    extract(backbone, root, files, view=View("negative", lambda *_: pytest.fail("all of them are known")))


def test_progress_says_which_pictures_are_read(backbone, root, read):
    told = []
    report = lambda *args: told.append(args)  # noqa: E731
    extract(backbone, root, listed(root), report, view=MIRRORED)
    extract(backbone, root, listed(root), report, view=View("5-0-1", lambda pixels, keys: pixels))
    assert {(task, total) for task, _, total in told} == {
        ("Reading mirrored pictures", 19),
        ("Reading augmented pictures", 19),
    }
    assert [done for task, done, _ in told if "mirrored" in task][-1] == 19


def test_content_keys_stand_for_bytes(root):
    (root / "copy.png").write_bytes((root / "ant/ant_0000.png").read_bytes())
    keys, problems = content_keys(root, ["ant/ant_0000.png", "none.png", "copy.png", "ant/ant_0001.png"])
    assert keys[0] == keys[2] != keys[3]
    assert keys[1] is None
    assert [problem.path for problem in problems] == ["none.png"]


def test_the_digest_of_a_set_does_not_follow_its_order():
    assert digest(["a", "b", "c"]) == digest(["c", "a", "b"])
    assert len({digest(keys) for keys in (["a", "b"], ["a"], ["ab"], [])}) == 4
