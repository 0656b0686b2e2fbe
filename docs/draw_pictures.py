"""Draws the pictures of docs/augmentation.md and docs/regularization.md, and prints the table of steps.

python docs/draw_pictures.py [FOLDER]     docs/images where none is given
python docs/draw_pictures.py --table      the table of steps, for docs/augmentation.md
"""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from draw_penalties import draw_penalties
from draw_regularization import draw_regularization
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_image

from tltool.augment.forms import operations
from tltool.augment.geometry import Warp
from tltool.augment.grid import draw_grid, preview
from tltool.augment.mixing import cut_mix, mix_up
from tltool.augment.policies import POLICIES
from tltool.augment.steps import STEPS, Magnitude, read_step
from tltool.optimizers.race_picture import COLOURS

CELL = 88  # pixels of a picture on the pages of steps
POLICY_CELL = 104
SEEDS = {"geometry": 309, "colour": 309, "pixels": 309, "chosen": 2}  # whose three draws show the range of each step
MARGIN, CAPTION = 16, 20  # pixels between strips, and above each
INK = (40, 40, 40)
ALMOST_WHITE = 244  # of 255; the paper would else become the nearest colour of a sky
SHEET = "b d p q\n6 9 2 5\nR S N Z\n3 E 7 L"  # signs that flips make others of, or none
# One number for each step, strong enough that it is seen at the size of a thumbnail.
EXAMPLES = {
    "flip_horizontal": 0.5,
    "flip_vertical": 0.5,
    "rotate": 30,
    "crop": 0.3,
    "zoom": 0.4,
    "translate": 0.3,
    "stretch": 0.6,
    "shear": 20,
    "perspective": 0.5,
    "lens": 0.3,
    "brightness": 0.3,
    "contrast": 0.6,
    "saturation": 0.9,
    "hue": 0.2,
    "grey": 0.5,
    "blur": 2.5,
    "jpeg": 5,
    "cutout": 0.4,
    "erase": 0.3,
    "grid_mask": 0.5,
    "rand_augment": {"magnitude": 12, "layers": 2},
    "trivial_augment": 1.0,
    "aug_mix": 20,
}


def photograph(name: str, size: int) -> np.ndarray:
    """The middle of one of scikit-learn's photographs, shape (size, size, 3), uint8."""
    picture = Image.fromarray(load_sample_image(name))
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS))


def photographs(size: int) -> np.ndarray:
    return np.stack([photograph("flower.jpg", size), photograph("china.jpg", size)])


def documents(size: int) -> np.ndarray:
    """A sheet of signs, and one of them alone."""
    sheets = []
    for text, height in ((SHEET, size // 5), ("6", size)):
        sheet = Image.new("RGB", (size, size), (250, 248, 240))
        pen = ImageDraw.Draw(sheet)
        pen.multiline_text(
            (size / 2, size / 2), text, INK, ImageFont.load_default(height), anchor="mm", spacing=size // 20
        )
        sheets.append(np.asarray(sheet))
    return np.stack(sheets)


def save(page: Image.Image, path: Path) -> None:
    # 256 colours make a page of photographs half as large; without dithering skies would show steps.
    few = page.quantize(256)
    palette = np.array(few.getpalette()).reshape(-1, 3)
    palette[(palette > ALMOST_WHITE).all(axis=1)] = 255
    few.putpalette(palette.ravel().tolist())
    page.quantize(palette=few, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)


def draw_policies(folder: Path) -> None:
    """A page for each policy that does something."""
    for name in POLICIES:
        if name != "none":
            pictures = documents(POLICY_CELL) if name == "documents" else photographs(POLICY_CELL)
            save(draw_grid(preview(pictures, name, draws=6)), folder / f"policy-{name}.png")


def draw_steps(folder: Path) -> None:
    """A page for each kind of steps but mixing: a step's name and number over the original and three draws."""
    font = ImageFont.load_default(13)
    for kind, seed in SEEDS.items():
        # A temple, whose lines show what geometry does; a flower, whose colours show the rest.
        picture = photograph("china.jpg" if kind == "geometry" else "flower.jpg", CELL)[None]
        names = [name for name in STEPS if STEPS[name].kind == kind]
        strips = [draw_grid(preview(picture, {name: EXAMPLES[name]}, draws=3, seed=seed)) for name in names]
        wide, high = strips[0].width + MARGIN, strips[0].height + CAPTION + 6
        page = Image.new("RGB", (2 * wide - MARGIN, -(-len(names) // 2) * high), (255, 255, 255))
        pen = ImageDraw.Draw(page)
        for place, (name, strip) in enumerate(zip(names, strips, strict=True)):
            left, top = place % 2 * wide, place // 2 * high
            pen.text((left, top + 2), f"{name} = {_written(EXAMPLES[name])}", INK, font)
            page.paste(strip, (left, top + CAPTION))
        save(page, folder / f"steps-{kind}.png")


def _written(value: float | dict[str, float]) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {number}" for key, number in value.items()) + " }"
    return str(value)


def draw_lens(folder: Path) -> None:
    """A chequered square and a photograph under five strengths."""
    rows, columns = np.mgrid[0:150, 0:150] // 15
    board = np.where(((rows + columns) % 2 == 0)[..., None], (235, 240, 245), (0, 114, 178)).astype(np.uint8)
    pictures = np.stack([board, photograph("china.jpg", 150)])
    strengths = [-0.3, -0.15, 0.0, 0.15, 0.3]
    warp = Warp([read_step("lens", 0.3)])
    still = np.tile(np.eye(3, dtype=np.float32), (2, 1, 1))
    seen = [
        warp.apply(pictures.astype(np.float32), [still, np.full(2, strength, np.float32), still], operations())
        for strength in strengths
    ]
    grid = np.stack([np.rint(np.asarray(each)).astype(np.uint8) for each in seen], axis=1)
    ways = {-1: "pincushion", 0: "as it is", 1: "barrel"}
    captions = [f"{strength:g}: {ways[int(np.sign(strength))]}" for strength in strengths]
    save(draw_grid(grid, captions), folder / "lens.png")


def draw_one_warp(folder: Path) -> None:
    """The middle of a photograph after seven steps, resampled seven times and once."""
    table = {"rotate": 25, "stretch": 0.2, "shear": 8, "perspective": 0.15, "zoom": 0.1, "lens": 0.15}
    steps = [*(read_step(name, value) for name, value in table.items()), read_step("rotate", 25)]
    picture = photograph("china.jpg", 224)[None].astype(np.float32)

    def warped(pictures: np.ndarray, random: np.random.Generator, steps: list) -> np.ndarray:
        warp = Warp(steps)
        parameters = [values[None] for values in warp.draw(random, *pictures.shape[1:3])]
        return np.asarray(warp.apply(pictures, parameters, operations()))

    random, each = np.random.default_rng(3), picture
    for step in steps:
        each = warped(each, random, [step])
    once = warped(picture, np.random.default_rng(3), steps)
    titles = "as it is", "seven steps, seven resamplings", "the same steps as one warp"
    figure = Figure(figsize=(9, 3.3), dpi=100, layout="constrained")
    for axes, title, shown in zip(figure.subplots(1, 3), titles, (picture, each, once), strict=True):
        axes.imshow(np.clip(shown[0, 70:160, 70:160] / 255, 0, 1), interpolation="nearest")
        axes.set_title(title, fontsize=11)
        axes.set_axis_off()
    _save_figure(figure, folder / "one-warp.png")


def draw_mixing(folder: Path) -> None:
    """What two pictures and their targets are mixed to."""
    pictures, targets = photographs(160).astype(np.float32), np.eye(2, dtype=np.float32)
    partners = np.array([1, 0], np.int32)
    smooth = mix_up(pictures, targets, partners, np.array([0.65, 0.65], np.float32))
    boxes = np.array([[0, 60, 80, 160]] * 2, np.float32)
    pasted = cut_mix(pictures, targets, partners, boxes)
    shown = [
        ("flower", pictures[0], targets[0]),
        ("temple", pictures[1], targets[1]),
        ("mix_up, share 0.65", smooth[0][0], smooth[1][0]),
        ("cut_mix", pasted[0][0], pasted[1][0]),
    ]
    figure = Figure(figsize=(9, 3.0), dpi=100, layout="constrained")
    axes = figure.subplots(2, 4, height_ratios=(4, 1))
    for (title, picture, target), above, below in zip(shown, *axes, strict=True):
        above.imshow(picture / 255)
        above.set_title(title, fontsize=11)
        above.set_axis_off()
        bars = below.barh(["flower", "temple"], target, color=COLOURS[:2])
        below.bar_label(bars, [f"{value:.2f}" for value in target], padding=3, fontsize=9)
        below.set(xlim=(0, 1.3), xticks=[])
        below.tick_params(left=False, labelleft=below is axes[1, 0])
        below.invert_yaxis()
        below.spines[["top", "right", "bottom"]].set_visible(False)
    _save_figure(figure, folder / "mixing.png")


def _save_figure(figure: Figure, path: Path) -> None:
    stream = io.BytesIO()
    figure.savefig(stream)
    save(Image.open(stream).convert("RGB"), path)


def step_table() -> Iterator[str]:
    """The table of steps in docs/augmentation.md, line by line."""
    yield "| step | kind | numbers | range | meaning |"
    yield "|---|---|---|---|---|"
    for name, rule in STEPS.items():
        for each in rule.magnitudes:
            if each is rule.main:
                yield f"| `{name}` | {rule.kind} | `{each.name}` | {_range(each)} | {each.meaning} |"
            elif each.name != "chance":
                yield f"| | | `{each.name}` | {_range(each)} | {each.meaning}; {each.default:g} if not given |"


def _range(magnitude: Magnitude) -> str:
    return f"{magnitude.lowest:g} to {magnitude.highest:g}"


def main() -> None:
    if sys.argv[1:] == ["--table"]:
        print("\n".join(step_table()))
        return
    folder = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent / "images"
    for draw in (draw_policies, draw_steps, draw_lens, draw_one_warp, draw_mixing, draw_penalties, draw_regularization):
        draw(folder)


if __name__ == "__main__":
    main()
