"""Mistakes with their pictures: where the network looked, what is like them, which classes are taken for each other."""

from collections.abc import Mapping, Sequence

import numpy as np

from tltool.data.manifests import SEPARATOR
from tltool.doctor.findings import counted
from tltool.doctor.icons import figure, read_icons
from tltool.doctor.markup import Markup, tag
from tltool.report.answers import Answers
from tltool.report.closer_look import CloserLook
from tltool.report.words import share

PAIRS_SHOWN, OF_PAIR_SHOWN = 6, 4
SUSPECTS_SHOWN = 12


def mistakes_section(
    answers: Answers, wrong: Sequence[CloserLook], right: Sequence[CloserLook], threshold: float | None
) -> Markup:
    """The costliest mistakes under the glass, and a few right answers."""
    mistakes = answers.mistakes
    suspects = mistakes.suspected[:SUSPECTS_SHOWN]
    pairs = mistakes.pairs[:PAIRS_SHOWN]
    positions = [*suspects.tolist(), *(position for pair in pairs for position in pair.positions[:OF_PAIR_SHOWN])]
    rows = [int(answers.rows[position]) for position in positions]
    rows += [row for look in (*wrong, *right) for row in look.alike]
    icons = read_icons(answers.data.root, [answers.data.files[row] for row in rows])
    count = int(mistakes.wrong.sum())
    intro = (
        f"{count} of {len(mistakes.wrong)} are wrong; here those in which it gave the right answer the least."
        if count
        else "Not one of the held-out pictures is wrong. A harder test would tell more."
    )
    parts = [tag("h2", "Mistakes"), tag("p", intro, class_="quiet")]
    if wrong:
        parts.append(_glasses(answers, wrong, icons, threshold))
    if pairs:
        parts += [tag("h3", "Most confused"), _pairs(answers, icons)]
    if len(suspects):
        parts += [tag("h3", "Labels that may be wrong"), _suspects(answers, suspects, icons)]
    if right:
        parts += [tag("h3", "And where it was right"), _glasses(answers, right, icons, threshold)]
    if any(look.heat for look in (*wrong, *right)):
        parts.append(tag("p", _about_heat(answers), class_="quiet"))
    return tag("section", *parts, id="mistakes")


def _about_heat(answers: Answers) -> str:
    alike = "by the features of the pretrained network" if answers.pretrained else "by its features"
    return (
        "Heat (Grad-CAM): what in the picture speaks for the class that is named above it, yellow the most, seen at "
        f"the network's last feature map. Below it the nearest pictures that it has learned from, {alike}."
    )


def _glasses(
    answers: Answers, looks: Sequence[CloserLook], icons: Mapping[str, str], threshold: float | None
) -> Markup:
    return tag("div", *(_glass(answers, look, icons, threshold) for look in looks), class_="glasses")


def _glass(answers: Answers, look: CloserLook, icons: Mapping[str, str], threshold: float | None) -> Markup:
    data, row = answers.data, int(answers.rows[look.position])
    truth = SEPARATOR.join(data.label_names(row))
    prob = answers.prob[look.position]
    asked = data.class_names[look.asked]
    answer, sure = _answer(data.class_names, prob, threshold)
    wrong = bool(answers.mistakes.wrong[look.position])
    caption = [tag("b", tag("bdi", answer), class_="bad" if wrong else "good"), tag("span", f" {sure}", class_="quiet")]
    if wrong:
        caption += [tag("span", " · is "), tag("b", tag("bdi", truth))]
    pictures = [tag("img", src=look.picture, alt=data.files[row])]
    if look.heat:
        pictures.append(tag("img", src=look.heat, alt=f"heat for {asked}"))
    alike = [_alike(data.files[i], SEPARATOR.join(data.label_names(i)), icons) for i in look.alike]
    heat = [tag("p", "heat: ", tag("bdi", asked), class_="quiet")] if look.heat and asked != answer else []
    return tag(
        "article",
        tag("p", *caption),
        tag("div", *pictures, class_="pair" if look.heat else "pair alone"),
        *heat,
        tag("div", *alike, class_="alike") if alike else None,
        tag("p", tag("bdi", data.files[row]), class_="quiet file"),
        class_="card glass",
    )


def _answer(names: Sequence[str], prob: np.ndarray, threshold: float | None) -> tuple[str, str]:
    if threshold is None:
        return names[int(prob.argmax())], share(float(prob.max()), 0)
    said = [f"{name} {share(float(value), 0)}" for name, value in zip(names, prob, strict=True) if value >= threshold]
    return " · ".join(said) or "none", ""


def _alike(file: str, label: str, icons: Mapping[str, str]) -> Markup:
    shown = tag("img", src=icons[file], alt=file) if file in icons else Markup("no picture")
    return tag("figure", tag("div", shown, class_="frame"), tag("figcaption", tag("bdi", label)), title=file)


def _pairs(answers: Answers, icons: Mapping[str, str]) -> Markup:
    names, cards = answers.data.class_names, []
    for pair in answers.mistakes.pairs[:PAIRS_SHOWN]:
        files = [answers.data.files[answers.rows[position]] for position in pair.positions[:OF_PAIR_SHOWN]]
        count = len(pair.positions)
        cards.append(
            tag(
                "div",
                tag("p", tag("b", tag("bdi", names[pair.truth])), " called ", tag("b", tag("bdi", names[pair.answer]))),
                tag("p", f"{counted(count, 'picture')}, {share(pair.share, 0)} of its class", class_="quiet"),
                tag("div", *(figure(file, icons) for file in files), class_="pictures small"),
                class_="card",
            )
        )
    return tag("div", *cards, class_="pairs")


def _suspects(answers: Answers, suspects: np.ndarray, icons: Mapping[str, str]) -> Markup:
    names, figures = answers.data.class_names, []
    for position in suspects.tolist():
        row = int(answers.rows[position])
        given = SEPARATOR.join(answers.data.label_names(row))
        better = names[int(answers.mistakes.suggestion[position])]
        caption = tag("span", f"{given} ", tag("b", f"→ {better}"), class_="quiet swap")
        figures.append(figure(answers.data.files[row], icons, caption))
    more = len(answers.mistakes.suspected) - len(figures)
    words = "The model, which has not learned from these, is sure of another class: look whether the label is right."
    return tag(
        "div",
        tag("p", words, class_="quiet"),
        tag("div", *figures, class_="pictures"),
        tag("p", f"and {more:,} more", class_="quiet") if more else None,
        class_="card warning",
    )
