"""What is read off a sweep whose shape is known, on both sides of each boundary, and the picture of it."""

import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tltool.errors import OptimizerError
from tltool.optimizers.rate_sweep_plot import CLEAR_NOISES, CLEAR_SHARE, VALLEY_AT, RateSweep, judge, window_of

DECADES = np.linspace(-7, 1, 81)  # ten steps in each decade
RATES = 10**DECADES
PLAIN, BOTTOM = 30, 60  # a rate of 1e-4, and of 0.1


def curve(fall: float, level: float = 2.0, bottom: int = BOTTOM) -> np.ndarray:
    """Level, then half a cosine down by `fall`, then steeply up."""
    step = np.arange(81)
    down = level - fall / 2 * (1 - np.cos(np.pi * (step - PLAIN) / (bottom - PLAIN)))
    return np.select([step <= PLAIN, step <= bottom], [level, down], level - fall + (step - bottom) * 0.5)


def read(smoothed: np.ndarray, noise: float = 0.0, smoothing: float = 0.9, stopped: bool = True) -> RateSweep:
    """The batches' losses leave the average by as much, up and down in turn."""
    losses = smoothed + noise * (-1.0) ** np.arange(len(smoothed))
    return judge(RATES[: len(smoothed)], losses, smoothed, smoothing, stopped)


def test_the_three_suggestions():
    found = read(curve(1.0))
    assert found.minimum_tenth == pytest.approx(0.01)
    assert found.steepest == pytest.approx(10**-2.5)  # half a cosine is steepest in its middle
    # A cosine has lost a twentieth of its fall where its angle is acos(0.9): 0.1436 of the way, in the fifth step.
    begin = PLAIN + math.floor((BOTTOM - PLAIN) * math.acos(0.9) / math.pi)
    assert begin == 34
    assert found.valley == found.suggestion == pytest.approx(RATES[begin + round(VALLEY_AT * (BOTTOM - begin))])
    assert found.verdict == "The loss falls from 2 to 1 between the rates 0.00025 and 0.1: train with 0.0025."


def test_the_suggestion_does_not_move_with_the_first_rate():
    """On the plain each step gains a little; a run of falling losses would begin with the sweep."""
    smoothed = curve(1.0) - 1e-5 * np.arange(81)
    whole, late = (
        judge(RATES, smoothed, smoothed, 0.9, True),
        judge(RATES[18:], smoothed[18:], smoothed[18:], 0.9, True),
    )
    assert whole.valley == late.valley


@pytest.mark.parametrize("smoothing", [0.0, 0.5, 0.9])
def test_a_fall_is_clear_from_so_many_deviations_on(smoothing: float):
    # Batches that jump by 2 d have, by the median's rule, a deviation of 1.4826 * 2 d / sqrt(2).
    deviation = 1.4826 * math.sqrt(2) * math.sqrt((1 - smoothing) / (1 + smoothing))
    for factor, clear in ((1.05, True), (0.95, False)):
        noise = 0.5 / (CLEAR_NOISES * deviation) / factor
        assert (read(curve(0.5), noise, smoothing).suggestion is not None) == clear


def test_a_fall_is_clear_from_a_share_of_the_loss_on():
    assert read(curve(1.05 * CLEAR_SHARE * 2.0)).suggestion is not None
    small = read(curve(0.95 * CLEAR_SHARE * 2.0))
    assert small.suggestion is small.steepest is small.minimum_tenth is None
    assert small.verdict.startswith("No clear valley: the loss fell by 0.038 from 2, and its average moves by ")
    assert "take larger batches, more `steps` or a higher `highest`" in small.verdict


def test_a_level_or_a_rising_loss_has_no_valley():
    for smoothed in (np.full(81, 2.0), np.zeros(81), 2 + np.arange(81) / 50):
        assert read(smoothed, stopped=False).verdict.startswith("No clear valley: the loss fell by 0 from")


def test_a_loss_that_falls_to_the_end():
    end = "No clear valley: the loss still falls at the last rate, 10. Go on to a higher one with `highest`."
    assert read(curve(1.0, bottom=76), stopped=False).verdict == end
    assert read(curve(1.0, bottom=75), stopped=False).suggestion is not None
    # Exploded at the next step, the end is one.
    assert read(curve(1.0, bottom=76)).suggestion is not None


def test_a_loss_that_explodes_at_once():
    found = read(curve(1.0)[:19])
    assert found.verdict == "No clear valley: the loss exploded at step 20. Start at a lower rate with `lowest`."
    assert "fell by 0" in read(curve(1.0)[:20]).verdict
    assert "the first loss is not a number" in read(np.zeros(0)).verdict


def test_window():
    assert [window_of(smoothing) for smoothing in (0.0, 0.4, 0.9, 0.98)] == [1, 2, 10, 50]


def colors(path) -> np.ndarray:
    """The drawn colours, as pixels between black and white have them; shape (H, W, 3)."""
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def near(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Columns in which a colour is, from left to right."""
    return np.flatnonzero((np.abs(picture - color).max(axis=2) < 12).any(axis=0))


def crossed(picture: np.ndarray, channel: int) -> int:
    """The column of the line in which this channel is the strongest: 1, green, the valley; 2, purple, minimum / 10."""
    strong = picture[..., channel] > np.delete(picture, channel, axis=2).max(axis=2) + 15
    strong &= (picture[..., 0] > picture[..., 1]) | (channel == 1)  # not the blue of the average
    return int(np.argmax(strong.sum(axis=0) * (strong[:200].any(axis=0) & strong[-200:].any(axis=0))))


GREEN, BLUE = (44, 160, 44), (31, 119, 180)  # the valley, the average


def test_picture(tmp_path):
    found = read(curve(1.0), 0.02)
    path = found.plot(tmp_path / "sweep.png")
    assert path == tmp_path / "sweep.png"
    assert [file.name for file in tmp_path.iterdir()] == ["sweep.png"]
    picture = colors(path)
    assert picture.shape == (600, 960, 3)
    # Two lines cross the picture from top to bottom, as far from the first rate as a log axis puts them.
    start = near(picture, BLUE)[0]
    found_at = crossed(picture, 1) - start, crossed(picture, 2) - start
    decades = [math.log10(rate) - DECADES[0] for rate in (found.valley, found.minimum_tenth)]
    assert found_at[0] / found_at[1] == pytest.approx(decades[0] / decades[1], abs=0.02)
    again = RateSweep(RATES, curve(1.0), curve(1.0), None, None, None, "No clear valley: none.")
    again.plot(str(tmp_path / "none.PNG"))
    assert near(colors(tmp_path / "none.PNG"), GREEN).size == 0
    RateSweep(*[np.zeros(0)] * 3, None, None, None, "No clear valley: nothing.").plot(tmp_path / "nothing.png")


def test_a_picture_is_never_written_over(tmp_path):
    path = tmp_path / "sweep.png"
    path.write_bytes(b"mine")
    with pytest.raises(OptimizerError, match=r"sweep\.png: exists already\. Choose another name"):
        read(curve(1.0)).plot(path)
    assert path.read_bytes() == b"mine"
    with pytest.raises(OptimizerError, match=r"sweep\.pdf: the picture of a sweep is a \.png"):
        read(curve(1.0)).plot(tmp_path / "sweep.pdf")
    assert not (tmp_path / "sweep.pdf").exists()


def test_without_matplotlib_it_says_what_to_install(tmp_path):
    code = f"""
import sys
sys.modules["matplotlib"] = None
import numpy as np
from tltool.optimizers.rate_sweep_plot import RateSweep
RateSweep(np.ones(3), np.ones(3), np.ones(3), None, None, None, "").plot({str(tmp_path / "sweep.png")!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1].endswith(
        'Pictures need matplotlib. Install it with: pip install "tltool[plots]"'
    )
    assert not any(tmp_path.iterdir())
