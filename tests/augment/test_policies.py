import pytest

from tltool.augment.policies import POLICIES, Policy, read_policy
from tltool.augment.steps import STEPS
from tltool.errors import AugmentError


@pytest.mark.parametrize("name", POLICIES)
def test_every_named_policy_reads_and_keeps_its_order(name):
    policy = read_policy(name)
    assert policy.name == name
    assert [step.name for step in policy.steps] == list(POLICIES[name])
    assert bool(policy) == (name != "none")


def test_documents_are_never_flipped_and_pictures_from_above_always_may_be():
    assert not {"flip_horizontal", "flip_vertical"} & set(POLICIES["documents"])
    assert read_policy("documents").steps[0].magnitude < 20
    above = {step.name: step.magnitude for step in read_policy("aerial-and-microscopy").steps}
    assert (above["flip_horizontal"], above["flip_vertical"], above["rotate"]) == (0.5, 0.5, 180)


def test_all_faults_are_told_at_once():
    with pytest.raises(AugmentError) as caught:
        read_policy({"rotate": 500, "crop": 2, "sheer": 5})
    assert len(str(caught.value).splitlines()) == 3


def test_unknown_policies_and_things_that_are_none():
    with pytest.raises(AugmentError, match=r"no policy 'standart'. Did you mean `standard`\? There are none, light"):
        read_policy("standart")
    with pytest.raises(AugmentError, match="a policy is a name or a table of steps, not 3"):
        read_policy(3)


def test_mixing_comes_last():
    with pytest.raises(AugmentError, match="`rotate` stands after mixing"):
        read_policy({"mix_up": 0.2, "rotate": 10})
    mixed = read_policy({"rotate": 10, "mix_up": 0.2, "cut_mix": 1.0})
    assert mixed.mixes
    assert [step.name for step in mixed.per_picture.steps] == ["rotate"]


def test_steps_are_added_to_a_policy_or_take_the_place_of_its_own():
    mixed = read_policy({"policy": "light", "cut_mix": 1.0, "rotate": 5, "crop": 0.5})
    assert [step.name for step in mixed.steps] == ["flip_horizontal", "crop", "rotate", "cut_mix"]
    shaken = read_policy({"policy": "documents", "translate": 0.1, "hue": 0.1, "cut_mix": 1.0})
    warps = ["rotate", "shear", "perspective", "crop", "translate"]
    assert [step.name for step in shaken.steps] == [*warps, "brightness", "contrast", "hue", "blur", "jpeg", "cut_mix"]
    assert mixed.digest == read_policy({"flip_horizontal": 0.5, "crop": 0.5, "rotate": 5, "cut_mix": 1.0}).digest
    assert mixed.name == "custom"
    assert read_policy({"policy": "light"}) == read_policy("light")
    assert [step.name for step in read_policy({"policy": "strong", "hue": 0.1}).steps][-2:] == ["hue", "cut_mix"]
    for unknown in ("lihgt", "policy", 3, ["light"]):
        with pytest.raises(AugmentError, match=r"there is no policy .*There are none, light"):
            read_policy({"policy": unknown})


def test_the_digest_is_of_the_numbers_and_their_order_alone():
    assert read_policy("light").digest == read_policy(dict(POLICIES["light"])).digest
    assert read_policy({"rotate": 10}).digest != read_policy({"rotate": 11}).digest
    assert read_policy({"rotate": 9, "shear": 9}).digest != read_policy({"shear": 9, "rotate": 9}).digest


def test_a_policy_is_taken_as_it_is_and_no_step_is_none():
    policy = read_policy("light")
    assert read_policy(policy) is policy
    assert read_policy({}) == Policy("none", ())


def test_each_step_is_in_a_kind_that_something_does():
    assert {rule.kind for rule in STEPS.values()} == {"geometry", "colour", "pixels", "chosen", "mixing"}
