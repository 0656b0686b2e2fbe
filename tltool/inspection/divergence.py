"""At which stages of a network new pictures part from those that it was pretrained on.

What shifts the pictures themselves (noise, light, missing colour) shows from the first layers on; new things made of
known colours and edges show further up; known things under new names only at the end.

Reference: Lee et al., 2023, "Surgical fine-tuning improves adaptation to distribution shifts": shifts of input, feature
and output are best met by training early, middle and last layers alone.
"""

from typing import NamedTuple

import numpy as np

from tltool.inspection.similarity import Similarity

# Thirds, not the best block of any place and length: blurred flowers moved such a block from seed to seed.
SHIFTS = {"early": "an input shift", "middle": "a feature shift", "late": "an output shift"}
# Mean divergence of a third, nats, below which pictures are like ImageNet's all the way, and only their classes new. In
# efficientnet_lite0 bees and ants, drawn from ImageNet itself, reach 0.07, flowers in negative 0.11.
PART_FROM = 0.09
# How much more a later third must diverge than an earlier one to count: what parts early parts later, too. Late over
# early: aerial pictures 1.1 to 1.3 (two seeds, lite0 and lite2), cats and dogs 1.6 and 2.0; every kind of spoilt
# flowers, X-rays, skin and characters below 0.9, but for pixels of an eighth, which look like blocks from stage4 on.
LATER_BY = 1.45
# What all thirds must reach for no part to be named: between skin (0.25) and Japanese characters (0.31), of which early
# stages alone learned nothing: log loss 0.457 where the probe had 0.448 and the whole network came to 0.395.
EVERYWHERE_FROM = 0.28


class Block(NamedTuple):
    """A third of the stages.

    Attributes:
        place: "early", "middle" or "late".
        stages: From the picture to the top.
        divergence: The mean of theirs, nats.
    """

    place: str
    stages: tuple[str, ...]
    divergence: float


def diverging_stages(similarity: Similarity) -> tuple[str, ...]:
    """The third of the stages at which the pictures part from the network's own; of those with BatchNorm.

    Returns:
        Names, from the picture to the top; none where they part everywhere, or the network has fewer than three such
        stages.
    """
    blocks = _thirds(similarity)
    return () if not blocks or _everywhere(blocks) else _parting(blocks).stages


def divergence_in_words(similarity: Similarity) -> str:
    """A sentence about these stages; "" where the pictures part nowhere."""
    blocks = _thirds(similarity)
    if not blocks or max(block.divergence for block in blocks) < PART_FROM:
        return ""
    if _everywhere(blocks):
        return "The statistics part at all stages, early, middle and late: pictures of another kind."
    block = _parting(blocks)
    *others, last = block.stages
    names = f"{', '.join(others)} and {last}" if others else last
    return f"The statistics part most at {names} ({block.place}): {SHIFTS[block.place]}."


def _thirds(similarity: Similarity) -> list[Block]:
    if len(similarity.by_stage) < len(SHIFTS):
        return []
    thirds = np.array_split(np.array(list(similarity.by_stage), dtype=object), len(SHIFTS))
    return [
        Block(place, tuple(stages), float(np.mean([similarity.by_stage[stage] for stage in stages])))
        for place, stages in zip(SHIFTS, thirds, strict=True)
    ]


def _everywhere(blocks: list[Block]) -> bool:
    return min(block.divergence for block in blocks) >= EVERYWHERE_FROM


def _parting(blocks: list[Block]) -> Block:
    most = max(block.divergence for block in blocks)
    if most < PART_FROM:
        return blocks[-1]
    return next(block for block in blocks if block.divergence * LATER_BY >= most)
