"""Data sets of tensorflow-datasets, copied out into pictures and a manifest."""

import csv
import difflib
import hashlib
import json
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies

import numpy as np

from tltool.cache import cache_dir
from tltool.data.dataset import Dataset
from tltool.data.layout import PART_NAMES
from tltool.data.listing import shortened
from tltool.data.manifests import SEPARATOR, read_manifest
from tltool.data.mirror import reason
from tltool.data.published import published
from tltool.errors import DataError
from tltool.progress import Report
from tltool.startup import load_keras_quietly

if TYPE_CHECKING:
    import tensorflow_datasets

PREFIX = "tfds:"
TASK = "Copying pictures out of tfds"
TABLE, NOTES = "labels.csv", "notes.json"
NAME_DIGITS = 32  # hex digits of the SHA-256 in the folder's name: 128 bits, so that no two sets meet
UNLABELLED = -1  # what tfds gives as the class of pictures whose class is kept secret
# How files of each kind begin. Decoding goes by the content: the ending only has to be one of a picture.
ENDINGS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"BM": ".bmp", b"RIFF": ".webp"}


class Features(NamedTuple):
    """Which features of a set hold what."""

    picture: str
    label: str
    class_names: tuple[str, ...]
    multi_label: bool


def read_tfds(source: str, seed: int, *, trainable: bool, columns: Mapping[str, str] | None, report: Report) -> Dataset:
    """Reads a data set of tensorflow-datasets; one that is not on this machine is downloaded, as tfds does it.

    Its splits train, validation and test become parts; a set of a single split is split like any folder. The encoded
    pictures are copied into the cache as they are, once.

    Args:
        source: `tfds:` and what `tfds.builder` takes: a name, with "/config" and ":version" behind it if need be.
        seed: Of the split.
        trainable: Whether it must be fit to train on.
        columns: Names of the features by "path" (the picture) and "label", where there are several.
        report: Told how many pictures are copied.

    Raises:
        DataError: if tensorflow-datasets is not installed, has no such data set or cannot download it, or if the set
            has no picture or no class label.
    """
    builder = _prepared(source)
    features = _features(builder.info, columns, source)
    parts, notes = _parts_of(list(builder.info.splits), source)
    try:
        made = (builder.data_path / "dataset_info.json").read_text("utf-8")
        identity = json.dumps([builder.info.full_name, str(builder.data_path), made, features, parts])
        target = cache_dir() / "datasets" / f"tfds-{hashlib.sha256(identity.encode()).hexdigest()[:NAME_DIGITS]}"
        published(target, lambda folder: _copy_out(folder, builder, features, parts, report))
        notes += json.loads((target / NOTES).read_text("utf-8"))
    except Exception as error:
        # OSError where the disk is full, TensorFlow's own errors where the set's files are damaged.
        raise DataError(
            f"{source}: cannot be copied out of {builder.data_path} ({type(error).__name__}: {reason(error)}). "
            "Is the disk full, or the set not whole?"
        ) from None
    return read_manifest(
        target / TABLE, source, seed, notes, trainable=trainable, confined=True, multi_label=features.multi_label
    )


def _prepared(source: str) -> "tensorflow_datasets.core.DatasetBuilder":
    """The set, on this machine."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataError(
            f"{source}: tensorflow-datasets cannot be imported ({reason(error)}). Run: pip install 'tltool[tfds]'"
        ) from None
    name = source.removeprefix(PREFIX)
    try:
        # It prints to standard output, which belongs to results.
        with redirect_stdout(sys.stderr):
            builder = tfds.builder(name)
            if not builder.is_prepared():
                _check_network(builder, source)
                builder.download_and_prepare()
    except DataError:
        raise
    except tfds.core.DatasetNotFoundError:
        known = tfds.list_builders(with_community_datasets=False)
        close = difflib.get_close_matches(name.split("/")[0].split(":")[0], known, n=3)
        meant = f"Did you mean {' or '.join(close)}? " if close else ""
        raise DataError(
            f"{source}: tensorflow-datasets has no such data set, version or configuration. {meant}"
            f"Sets of your own are looked for in {tfds.core.constants.DATA_DIR}; TFDS_DATA_DIR names another folder."
        ) from None
    except Exception as error:
        # Each set has download code of its own: what it raises is as various as they are.
        raise DataError(
            f"{source}: cannot be downloaded or prepared by tensorflow-datasets ({type(error).__name__}: "
            f"{reason(error)}). Check the name and the network, or copy it from a machine that has it."
        ) from None
    return builder


def _check_network(builder: "tensorflow_datasets.core.DatasetBuilder", source: str) -> None:
    """Refuses at once where no server of the set can be found: tfds itself tries for minutes before it says so."""
    hosts = {urlsplit(url).hostname for url in builder.url_infos or ()} - {None}
    if not hosts or getproxies():
        return
    for host in hosts:
        try:
            socket.getaddrinfo(host, None)
            return
        except OSError:
            continue
    raise DataError(
        f"{source}: not on this machine ({builder.data_path}), and {shortened(sorted(hosts))} cannot be reached to "
        "download it. Check the network, or copy the folder from a machine that has it."
    )


def _features(info: "tensorflow_datasets.core.DatasetInfo", columns: Mapping[str, str] | None, source: str) -> Features:
    import tensorflow_datasets as tfds

    features = dict(info.features.items()) if isinstance(info.features, tfds.features.FeaturesDict) else {}
    pictures = [name for name, feature in features.items() if type(feature) is tfds.features.Image]
    labels = [name for name, feature in features.items() if _class_label(feature)]
    columns = dict(columns or {})
    usual = [key for key in info.supervised_keys or () if isinstance(key, str)]
    try:
        picture = _pick("picture", pictures, columns.pop("path", None), [*usual, "image"])
        label = _pick("class label", labels, columns.pop("label", None), [*usual, "label", "labels"])
        if columns:
            raise LookupError(f"of a tfds set only path and label can be named, not {', '.join(columns)}")
        if features[picture].np_dtype != np.uint8:
            raise LookupError(f"'{picture}' has values of {np.dtype(features[picture].np_dtype)}, not uint8")
    except LookupError as error:
        shown = shortened(f"{name} ({type(feature).__name__})" for name, feature in sorted(features.items()))
        raise DataError(
            f"{source}: {error.args[0]}. Its features: {shown or type(info.features).__name__}. "
            "Name one with --column label=NAME, or take another data set."
        ) from None
    return Features(picture, label, tuple(_class_label(features[label]).names), features[label].shape != ())


def _class_label(feature: Any) -> Any:
    """The `ClassLabel` that a feature is or is a list of; None if it is neither."""
    import tensorflow_datasets as tfds

    inner = feature.feature if isinstance(feature, tfds.features.Sequence) else feature
    return inner if isinstance(inner, tfds.features.ClassLabel) else None


def _pick(what: str, names: Sequence[str], chosen: str | None, usual: Sequence[str]) -> str:
    """One of the names: the chosen one, the only one, or the first usual one.

    Raises:
        LookupError: saying why there is none.
    """
    if chosen and chosen not in names:
        raise LookupError(f"'{chosen}' is no feature that holds a {what}")
    fitting = [chosen] if chosen else [name for name in usual if name in names] or names
    if not fitting:
        raise LookupError(f"no feature holds a {what}")
    if fitting is names and len(names) > 1:
        raise LookupError(f"several features hold a {what}: {', '.join(sorted(names))}")
    return fitting[0]


def _parts_of(splits: Sequence[str], source: str) -> tuple[dict[str, str], list[str]]:
    """The part of each split that is used, "" if the set comes without; and a note on those that are not."""
    parts = {split: PART_NAMES[split.lower()] for split in splits if split.lower() in PART_NAMES}
    if not parts and len(splits) == 1:
        return {splits[0]: ""}, []
    if not parts:
        raise DataError(f"{source}: its splits are {shortened(splits)}; train, validation or test are needed.")
    others = [split for split in splits if split not in parts]
    return parts, [f"Splits that are left out: {shortened(others)}."] if others else []


def _copy_out(
    folder: Path,
    builder: "tensorflow_datasets.core.DatasetBuilder",
    features: Features,
    parts: Mapping[str, str],
    report: Report,
) -> None:
    """Writes the pictures of these splits, a manifest of them, and notes on those without a label."""
    load_keras_quietly()  # TensorFlow's first use would fill the terminal otherwise
    total = sum(builder.info.splits[split].num_examples for split in parts)
    done, notes = 0, []
    # Not class folders: sets have classes such as "/a/abbey", which cannot be the name of a folder.
    with open(folder / TABLE, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "label", "split"))
        for split, part in parts.items():
            (folder / split).mkdir()
            unlabelled = 0
            for index, (data, labels) in enumerate(_examples(builder, split, features)):
                done += 1
                report(TASK, done, total)
                if not labels:
                    unlabelled += 1
                    continue
                ending = next((ending for start, ending in ENDINGS.items() if data.startswith(start)), ".png")
                path = f"{split}/{index:07}{ending}"
                (folder / path).write_bytes(data)
                table.writerow((path, SEPARATOR.join(labels), part))
            if unlabelled:
                notes.append(f"Pictures of the {split} split that have no label are left out: {unlabelled:,}.")
    (folder / NOTES).write_text(json.dumps(notes), "utf-8")


def _examples(
    builder: "tensorflow_datasets.core.DatasetBuilder", split: str, features: Features
) -> Iterator[tuple[bytes, list[str]]]:
    """The encoded picture and the names of its classes, of each example, always in the same order."""
    import tensorflow_datasets as tfds

    names = features.class_names
    if features.multi_label:
        names = [name.replace(SEPARATOR, "/") for name in names]
    examples = builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders={features.picture: tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )
    for example in tfds.as_numpy(examples):
        labels = np.atleast_1d(example[features.label])
        yield example[features.picture], [names[label] for label in labels if label != UNLABELLED]
