"""The table, both sides of each of its boundaries, and evidence that overrules it."""

import subprocess
import sys

import numpy as np
import pytest

from tltool import decision
from tltool.decision import decide, judge_similarity, judge_size
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


def facts(counts, divergence, baselines=(), confidence=0.5):
    return Inspection(
        "photos", "tiny_random", size(counts), similarity(divergence, confidence), baselines, Health(1, (), ())
    )


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
        assert found.reasons[-1] == (
            f"The evidence overrules the table: {rival} lowers the log loss by {gain:.3f} ({z:.1f} standard errors)."
        )
    else:
        relation = "worse" if z <= -decision.EVIDENCE_Z else "not better beyond the noise"
        assert found.reasons[-1].startswith(f"The evidence agrees with the table: {rival} is {relation} (log loss ")


@pytest.mark.parametrize("better", ["linear-probe", "stage-probe"])
@pytest.mark.parametrize(("divergence", "recipe"), [(SIMILAR, "finetune-top"), (DIFFERENT, "finetune-all")])
def test_linear_evidence_never_overrules_fine_tuning(divergence, recipe, better):
    found = decide(facts(A_LOT, divergence, evidence(50.0, better)))
    assert found.recipe == found.prior == recipe
    assert not found.overruled
    assert found.reasons[-1].startswith("Cross-validated on the training pictures: linear-probe 80.0%")


def test_a_probe_that_was_not_tried_is_not_overruled():
    found = decide(facts(LITTLE, SIMILAR, evidence(50.0)[1:]))
    assert found.recipe == "linear-probe"
    assert found.reasons[-1].startswith("Cross-validated on the training pictures: stage-probe")


def test_the_same_facts_give_the_same_decision_and_stay_as_they_are():
    given = facts(LITTLE, SIMILAR, evidence(3.0))
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
