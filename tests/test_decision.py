"""The table, both sides of each of its boundaries, and evidence that overrules it."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.inspection.flips import CHANGED, KNOWN, UNSURE, orientation, symmetry
from tltool import decision
from tltool.augment.policies import POLICIES, read_policy
from tltool.decision import decide, judge_similarity, judge_size, pick_image_size
from tltool.heads.cross_validation import CrossValidation
from tltool.inspection.baselines import Baseline, ProbeSpec
from tltool.inspection.inspection import Health, Inspection
from tltool.inspection.similarity import Similarity
from tltool.inspection.size import Size

LITTLE, A_LOT = [50] * 4, [500] * 10
SIMILAR, DIFFERENT = 0.05, 0.3
PICTURES = 200


def size(counts):
    return Size(sum(counts), {f"class {position}": count for position, count in enumerate(counts)}, 10)


def similarity(divergence, confidence=0.5):
    return Similarity(divergence, {} if divergence is None else {"top": divergence}, confidence, 64)


def parting(early, middle, late, divergence=DIFFERENT):
    """A network of six stages whose thirds diverge by these."""
    thirds = {"stem": early, "a": early, "b": middle, "c": middle, "d": late, "top": late}
    return Similarity(divergence, thirds, 0.5, 64)


def baseline(name, losses, accuracy=0.8):
    correct = np.arange(len(losses)) < accuracy * len(losses)
    validation = CrossValidation(1.0, ((1.0, float(np.mean(losses)), accuracy),), losses, correct.astype(float))
    return Baseline(ProbeSpec(name, ("top",), ("mean",), (1.0,), 4, 1), validation, len(losses))


def evidence(z, better="stage-probe"):
    """Baselines of the two linear recipes, `better` ahead by z standard errors of the paired difference."""
    noise = np.tile([1.0, -1.0], PICTURES // 2)
    error = noise.std(ddof=1) / np.sqrt(PICTURES)
    losses = {"linear-probe": np.full(PICTURES, 3.0), "stage-probe": np.full(PICTURES, 3.0)}
    losses[better] = losses[better] + noise - z * error
    return tuple(baseline(name, values) for name, values in losses.items())


def facts(counts, divergence, baselines=(), confidence=0.5, symmetry=None):
    health = Health(1, (), ())
    seen = similarity(divergence, confidence)
    return Inspection("photos", "tiny_random", size(counts), seen, baselines, health, symmetry=symmetry)


CELLS = [
    (LITTLE, SIMILAR, "little, similar", "linear-probe"),
    (LITTLE, DIFFERENT, "little, different", "stage-probe"),
    (A_LOT, SIMILAR, "a lot, similar", "finetune-top"),
    (A_LOT, DIFFERENT, "a lot, different", "finetune-all"),
]


@pytest.mark.parametrize(("counts", "divergence", "cell", "recipe"), CELLS, ids=[cell for _, _, cell, _ in CELLS])
def test_every_cell(counts, divergence, cell, recipe):
    found = decide(facts(counts, divergence))
    assert found.cell == cell
    assert found.prior == found.recipe == recipe
    assert not found.overruled
    text = " ".join(found.reasons)
    assert f"{sum(counts)} training pictures in {len(counts)} classes" in text
    assert f"diverge by {divergence:.3f}" in text
    assert f"The table says {recipe}: " in text
    amount = "little data" if counts is LITTLE else "a lot of data"
    assert f"typically {counts[0]} a class: {amount} (a lot is at least 2000 in total and 100 a class)" in text
    assert "evidence" not in text  # none was given


# With a hundred pictures in the typical class, and with two thousand in all, the other number decides.
@pytest.mark.parametrize(
    ("counts", "amount"),
    [
        ([decision.A_LOT_A_CLASS] * 19 + [decision.A_LOT_A_CLASS - 1], "little"),
        ([decision.A_LOT_A_CLASS] * 20, "a lot"),
        ([decision.A_LOT_A_CLASS - 1] * 30, "little"),
        ([decision.A_LOT_A_CLASS] * 30, "a lot"),
        ([decision.A_LOT_OF_IMAGES - 1], "little"),
        ([decision.A_LOT_OF_IMAGES], "a lot"),
        ([decision.A_LOT_OF_IMAGES, 20, 20], "little"),  # one large class among small ones
        ([20, 1000, 1000], "a lot"),
    ],
)
def test_both_sides_of_the_size(counts, amount):
    assert judge_size(size(counts)) == amount


@pytest.mark.parametrize(
    ("divergence", "kinship"),
    [
        (0.0, "similar"),
        (np.nextafter(decision.SIMILAR_BELOW, 0), "similar"),
        (decision.SIMILAR_BELOW, "different"),
        (5.0, "different"),
    ],
)
@pytest.mark.parametrize("confidence", [0.01, 0.99])
def test_both_sides_of_the_divergence_whatever_the_confidence(divergence, kinship, confidence):
    assert judge_similarity(similarity(divergence, confidence)) == kinship


@pytest.mark.parametrize(
    ("confidence", "kinship"),
    [(np.nextafter(decision.CONFIDENT_ABOVE, 0), "different"), (decision.CONFIDENT_ABOVE, "similar")],
)
@pytest.mark.parametrize("baselines", [(), evidence(1.99), evidence(1.99, "linear-probe"), evidence(9)[:1]])
def test_without_batchnorm_confidence_decides_where_the_probes_do_not(confidence, kinship, baselines):
    assert judge_similarity(similarity(None, confidence), baselines) == kinship


@pytest.mark.parametrize("confidence", [0.01, 0.99])
@pytest.mark.parametrize(("better", "kinship"), [("stage-probe", "different"), ("linear-probe", "similar")])
def test_without_batchnorm_the_probes_come_before_confidence(confidence, better, kinship):
    assert judge_similarity(similarity(None, confidence), evidence(2.01, better)) == kinship


def test_with_batchnorm_the_probes_do_not_move_the_column():
    assert judge_similarity(similarity(SIMILAR), evidence(9, "stage-probe")) == "similar"


def test_a_network_without_batchnorm_is_told_so():
    found = decide(facts(LITTLE, None, confidence=0.4))
    assert found.cell == "little, similar"
    assert "tiny_random has no BatchNorm to compare with; its own classifier is 40% confident" in found.reasons[1]


@pytest.mark.parametrize(
    ("confidence", "words"), [(0.9, "confidence, 90%, agrees"), (0.1, "confidence, 10%, would say otherwise")]
)
def test_a_confidence_that_disagrees_is_mentioned(confidence, words):
    assert words in decide(facts(LITTLE, SIMILAR, confidence=confidence)).reasons[1]


@pytest.mark.parametrize(
    ("divergence", "prior", "rival"),
    [(SIMILAR, "linear-probe", "stage-probe"), (DIFFERENT, "stage-probe", "linear-probe")],
)
@pytest.mark.parametrize(
    ("z", "overruled"),
    [(-5.0, False), (0.0, False), (decision.EVIDENCE_Z - 0.01, False), (decision.EVIDENCE_Z + 0.01, True), (9, True)],
)
def test_evidence_overrules_the_table_only_beyond_the_noise(divergence, prior, rival, z, overruled):
    found = decide(facts(LITTLE, divergence, evidence(z, rival)))
    assert found.prior == prior
    assert found.recipe == (rival if overruled else prior)
    assert found.overruled == overruled
    assert found.to_json()["overruled"] == overruled
    assert "linear-probe 80.0% ± 2.8%, stage-probe 80.0% ± 2.8%" in found.reasons[3]
    if overruled:
        gain = z * np.sqrt(PICTURES / (PICTURES - 1)) / np.sqrt(PICTURES)
        assert found.reasons[-2] == (
            f"The evidence overrules the table: {rival} lowers the log loss by {gain:.3f} ({z:.1f} standard errors)."
        )
    else:
        relation = "worse" if z <= -decision.EVIDENCE_Z else "not better beyond the noise"
        assert found.reasons[-2].startswith(f"The evidence agrees with the table: {rival} is {relation} (log loss ")


@pytest.mark.parametrize("better", ["linear-probe", "stage-probe"])
@pytest.mark.parametrize(("divergence", "recipe"), [(SIMILAR, "finetune-top"), (DIFFERENT, "finetune-all")])
def test_linear_evidence_never_overrules_fine_tuning(divergence, recipe, better):
    found = decide(facts(A_LOT, divergence, evidence(50.0, better)))
    assert found.recipe == found.prior == recipe
    assert not found.overruled
    assert found.reasons[-2].startswith("Cross-validated on the training pictures: linear-probe 80.0%")


def test_a_probe_that_was_not_tried_is_not_overruled():
    found = decide(facts(LITTLE, SIMILAR, evidence(50.0)[1:]))
    assert found.recipe == "linear-probe"
    assert found.reasons[-2].startswith("Cross-validated on the training pictures: stage-probe")


POLICY = {
    "one way": ("documents", "documents", "documents", "documents"),
    "any way": ("aerial-and-microscopy",) * 4,
    "upright": ("photographs", "standard", "photographs", "light"),
    "unclear": ("photographs", "documents", "photographs", "documents"),
}
SHOWN = {
    "one way": symmetry(CHANGED),
    "any way": symmetry(),
    "upright": symmetry(turned=CHANGED),
    "unclear": symmetry(UNSURE),
}


@pytest.mark.parametrize("way", POLICY)
@pytest.mark.parametrize("cell", range(4), ids=[cell for _, _, cell, _ in CELLS])
def test_the_augmentation_of_every_cell(way, cell):
    counts, divergence, _, recipe = CELLS[cell]
    found = decide(facts(counts, divergence, symmetry=SHOWN[way]))
    assert found.augmentation == found.to_json()["augmentation"] == POLICY[way][cell]
    assert found.recipe == recipe  # flips do not move it
    assert f"Augmentation {found.augmentation}: " in found.reasons[-1]


def test_each_policy_that_can_be_picked_exists_and_flips_as_the_pictures_bear():
    """Where pictures must not be mirrored, or it is not known of unusual ones, no step may do it."""
    flips = {name: {step.name for step in read_policy(name).steps} for name in POLICIES}
    assert {policy for cells in decision.AUGMENTATION.values() for policy in cells.values()} <= set(POLICIES)
    assert decision.NOT_MEASURED in POLICIES
    for policy in decision.AUGMENTATION["one way"].values():
        assert not flips[policy] & {"flip_horizontal", "flip_vertical", "rand_augment"}
    for policy in decision.AUGMENTATION["upright"].values():
        assert "flip_horizontal" in flips[policy]
        assert "flip_vertical" not in flips[policy]
    for policy in decision.AUGMENTATION["any way"].values():
        assert {"flip_horizontal", "flip_vertical", "rotate"} <= flips[policy]


@pytest.mark.parametrize(("counts", "divergence", "cell", "recipe"), CELLS, ids=[cell for _, _, cell, _ in CELLS])
def test_flips_that_were_not_measured(counts, divergence, cell, recipe):
    found = decide(facts(counts, divergence))
    assert found.augmentation == "standard"
    assert found.reasons[-1].startswith("What flips do to the classes was not measured; ")


SEVEN, NINE = (20, 0.9, 0.3, 1e-4), (20, 0.9, 0.5, 1e-4)
OTHERS = dict.fromkeys(("zero", "two", "three"), (20, 1.0, 0.2, 1e-6))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            symmetry(orientation(0.154, 0.026)),
            "Mirrored, pictures are others: a linear head loses 15% ± 3% of what it knows. Augmentation documents: no",
        ),
        (symmetry(orientation(0.154, 0.026, nine=NINE, seven=SEVEN)), " of what it knows, above all of seven, nine."),
        (symmetry(orientation(0.3, seven=SEVEN, **OTHERS)), "knows, above all of zero, two, three and 1 more."),
        (symmetry(orientation(0.02, seven=SEVEN)), "Mirrored, some classes are no longer found: seven."),
        (symmetry(orientation(0.02, told=0.98)), "Mirrored, pictures are known to be so in 98% of cases: they do not"),
        (symmetry(orientation(None, told=0.98)), "Mirrored, pictures are known to be so in 98% of cases: they do not"),
        (symmetry(orientation(0.3, 0.2, told=0.98)), "Mirrored, pictures are known to be so in 98% of cases: they do"),
        (
            symmetry(orientation(-0.01, 0.02), orientation(0.03, 0.01), orientation(0.05)),
            "Mirrored, pictures keep their classes (a linear head loses nothing (-1% ± 2%) of what it knows), and "
            "there is no up: upside down it loses 3% ± 1%, turned by a quarter 5% ± 1%. Augmentation aerial-and-",
        ),
        (symmetry(upside_down=CHANGED, turned=CHANGED), "knows). Upside down, pictures are others: a linear head"),
        (symmetry(upside_down=KNOWN), "knows). Upside down, pictures are known to be so in 100% of cases"),
        (symmetry(upside_down=UNSURE), "knows). Upside down, that is not sure. Augmentation photographs: what cameras"),
        (symmetry(orientation(-0.001)), "(a linear head loses nothing (0% ± 1%) of what it knows)"),
        (symmetry(turned=CHANGED), "knows). Turned by a quarter, pictures are others: a linear head loses 50%"),
        (symmetry(pictures=12), "12 pictures do not tell whether they are still themselves when mirrored; things in"),
    ],
)
def test_the_augmentation_in_words(found, words):
    assert words in decide(facts(LITTLE, SIMILAR, symmetry=found)).reasons[-1]


def test_unusual_pictures_are_not_flipped_on_a_guess():
    found = decide(facts(LITTLE, DIFFERENT, symmetry=symmetry(UNSURE)))
    assert "when mirrored; a flip that changes classes does more harm than one left out." in found.reasons[-1]


@pytest.mark.parametrize(
    ("thirds", "stages", "words"),
    [
        ((0.9, 0.1, 0.3), ("stem", "a"), "The statistics part most at stem and a (early): an input shift."),
        ((0.1, 0.9, 0.3), ("b", "c"), "The statistics part most at b and c (middle): a feature shift."),
        ((0.1, 0.1, 0.9), ("d", "top"), "The statistics part most at d and top (late): an output shift."),
        ((0.03, 0.01, 0.02), ("d", "top"), None),  # nowhere worth a word
        ((0.9, 0.5, 0.3), (), "The statistics part at all stages, early, middle and late: pictures of another kind."),
    ],
)
def test_the_stages_at_which_the_pictures_part(thirds, stages, words):
    found = decide(replace(facts(LITTLE, DIFFERENT), similarity=parting(*thirds)))
    assert found.diverging == stages
    assert found.to_json()["diverging"] == list(stages)
    assert found.recipe == "stage-probe"  # it is for a recipe that leaves its stages to the decision
    assert "diverge by 0.300" in found.reasons[1]
    told = [reason for reason in found.reasons if "statistics part" in reason]
    assert told == ([found.reasons[2]] if words else [])
    assert told == ([words] if words else [])
    assert "Augmentation " in found.reasons[-1]


@pytest.mark.parametrize("divergence", [None, SIMILAR])
def test_without_stages_to_compare_none_diverges(divergence):
    found = decide(facts(LITTLE, divergence))  # none with BatchNorm, or one
    assert found.diverging == ()
    assert found.to_json()["diverging"] == []
    assert "statistics part" not in " ".join(found.reasons)


@pytest.mark.parametrize(
    ("side", "native", "size"),
    [
        (28, 224, 96),
        (1, 224, 96),
        (32, 224, 96),
        (33, 224, 128),
        (42, 224, 128),
        (43, 224, 160),
        (64, 224, 192),
        (65, 224, 224),
        (4000, 224, 224),
        (75, 240, 240),  # not past the network's own, which need be no multiple
        (75, 300, 256),
        (28, 32, 32),
        (None, 224, 224),
    ],
)
def test_the_size_follows_the_pictures(side, native, size):
    assert pick_image_size(side, native)[0] == size


@pytest.mark.parametrize(
    ("side", "reason"),
    [
        (
            28,
            "Pictures of typically 28 pixels: the network looks at them at 96 pixels, not its own 224, in 18% of the "
            "time.",
        ),
        (300, "Pictures of typically 300 pixels: the network looks at them at its own 224 pixels."),
        (None, "No picture could be measured: the network looks at them at its own 224 pixels."),
    ],
)
def test_the_size_in_words(side, reason):
    assert pick_image_size(side, 224)[1] == reason


def test_the_same_facts_give_the_same_decision_and_stay_as_they_are():
    given = facts(LITTLE, SIMILAR, evidence(3.0), symmetry=symmetry(CHANGED))
    before = given.to_json(), [entry.validation.losses.copy() for entry in given.baselines]
    assert decide(given) == decide(given)
    assert given.to_json() == before[0]
    for entry, losses in zip(given.baselines, before[1], strict=True):
        np.testing.assert_array_equal(entry.validation.losses, losses)


def test_deciding_needs_no_keras():
    code = (
        "import sys\n"
        "from tltool.decision import decide\n"
        "from tltool.inspection.inspection import Health, Inspection\n"
        "from tltool.inspection.similarity import Similarity\n"
        "from tltool.inspection.size import Size\n"
        "found = decide(Inspection('', '', Size(8, {'a': 8}, 1), Similarity(0.5, {}, 0.5, 8), (), Health(8, (), ())))\n"
        "print(found.recipe, sorted({'keras', 'tensorflow'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "stage-probe []"
