"""Single held-out pictures: where the network looked, and what it has learned from that is like them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import keras
import numpy as np
from PIL import Image

from tltool.data.batches import read_batches
from tltool.data.decoding import decode
from tltool.doctor.icons import data_uri
from tltool.errors import PictureError, TltoolError
from tltool.evaluation.gradcam import grad_cam, on_picture, overlay
from tltool.evaluation.neighbours import nearest
from tltool.heads.network import framings_of
from tltool.report.answers import Answers

WRONG_SHOWN, RIGHT_SHOWN = 9, 3  # twelve pictures cost about two seconds
NEIGHBOURS_SHOWN = 3
SIDE = 224  # pixels of the longer side


@dataclass(frozen=True)
class CloserLook:
    """One picture.

    Attributes:
        position: Among the answers.
        asked: The class that the heat speaks for.
        picture: As HTML can carry it.
        heat: The same with the heat over it; None where there is none to show.
        alike: Positions in the data set of the nearest pictures that were learned from.
    """

    position: int
    asked: int
    picture: str
    heat: str | None
    alike: tuple[int, ...]


def look_closer(model: keras.Model, answers: Answers) -> tuple[list[CloserLook], list[CloserLook]]:
    """The costliest mistakes, and the surest right answers, of different classes.

    Args:
        model: The picture model.
        answers: Of it.

    Returns:
        The wrong ones, and the right ones; of a picture that is read no more there is none.
    """
    mistakes = answers.mistakes
    wrong = [position for position in mistakes.order.tolist() if mistakes.wrong[position]][:WRONG_SHOWN]
    right = _surest(answers)
    chosen = np.array([*wrong, *right], dtype=np.int64)
    looks = {look.position: look for look in _look(model, answers, chosen)}
    return [looks[p] for p in wrong if p in looks], [looks[p] for p in right if p in looks]


def _surest(answers: Answers) -> list[int]:
    """The right answers with the lowest loss, of each class that is asked about at most one."""
    found: dict[int, int] = {}
    for position in answers.mistakes.order[::-1].tolist():
        if not answers.mistakes.wrong[position]:
            found.setdefault(_asked(answers, position), position)
    return list(found.values())[:RIGHT_SHOWN]


def _asked(answers: Answers, position: int) -> int:
    """The class that the heat is to speak for: the answer, or of several labels the one that cost the most."""
    if answers.mistakes.wrong[position] or answers.labels.ndim == 1:
        return int(answers.mistakes.blamed[position])
    return int((answers.prob[position] * answers.labels[position]).argmax())


def _look(model: keras.Model, answers: Answers, chosen: np.ndarray) -> list[CloserLook]:
    if not len(chosen):
        return []
    heats = _heats(model, answers, chosen)
    alike = np.empty((len(chosen), 0), np.int64)
    if len(answers.known):
        alike = answers.known[nearest(answers.features[chosen], answers.known_features, NEIGHBOURS_SHOWN).positions]
    framing = framings_of(model)[0]
    found = []
    for place, position in enumerate(chosen.tolist()):
        path = answers.data.root / answers.data.files[answers.rows[position]]
        with suppress(PictureError):
            picture = Image.fromarray(decode(path, SIDE))
            picture.thumbnail((SIDE, SIDE))
            heat = None
            if position in heats:
                spread = on_picture(heats[position], framing, picture.height, picture.width)
                heat = data_uri(Image.fromarray(overlay(np.asarray(picture), spread)))
            asked = _asked(answers, position)
            found.append(CloserLook(position, asked, data_uri(picture), heat, tuple(alike[place].tolist())))
    return found


def _heats(model: keras.Model, answers: Answers, chosen: np.ndarray) -> dict[int, np.ndarray]:
    """Heat by position; none where the network has no map, or one of a single place."""
    paths: Sequence = [answers.data.root / answers.data.files[answers.rows[position]] for position in chosen]
    keys = [answers.keys[position] for position in chosen]
    batches = [next(read_batches(paths, framing, len(paths), keys=keys)) for framing in framings_of(model)]
    places = batches[0].indices
    asked = np.array([_asked(answers, position) for position in chosen[places].tolist()])
    if not len(places):
        return {}
    try:
        heats = grad_cam(model, [batch.pixels for batch in batches], asked)
    except TltoolError:
        return {}
    if heats.shape[1] * heats.shape[2] == 1:
        return {}
    return dict(zip(chosen[places].tolist(), heats, strict=True))
