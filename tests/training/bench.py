"""A small backbone with a solved head on a few pictures: fine-tuning it takes seconds."""

import dataclasses

import keras
import numpy as np

from tltool.backbones.backbone import Backbone, Stage
from tltool.heads.logistic import LogisticProblem
from tltool.heads.network import attach_head
from tltool.recipe_parts import StageRecipe
from tltool.training.checkpoints import Checkpoints
from tltool.training.events import EventLog
from tltool.training.fine_tuning import FineTuning
from tltool.training.finetune import fine_tune
from tltool.training.pictures import Pictures

STAGE = StageRecipe(
    name="tune",
    trainable="head",
    statistics="kept",
    image_size="full",
    epochs=2,
    batch_size=8,
    precision="float32",
    optimizer="adamw",
    optimizer_arguments={},
    learning_rate=0.003,
    layer_decay=1.0,
    schedule="cosine",
    schedule_arguments={},
    weight_decay=0.01,
    warmup=0.0,
    label_smoothing=0.0,
    focal_gamma=0.0,
    balance="none",
    augmentation="none",
    views=0,
    regularizers={},
    average="none",
    snapshots=0,
    choose_by="log_loss",
    patience=3,
)
SIZE = 32


@dataclasses.dataclass
class Bench:
    """A backbone with a solved head, pictures, and the events of what is done with them."""

    backbone: Backbone
    model: keras.Model
    train: Pictures
    valid: Pictures
    heard: list = dataclasses.field(default_factory=list)

    def tune(
        self,
        *stages: StageRecipe,
        seed: int = 0,
        deadline: float | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> FineTuning:
        events = EventLog(None, self.heard.append)
        pictures = self.train, self.valid
        return fine_tune(self.model, self.backbone, stages, *pictures, seed, events, deadline, checkpoints)

    def texts(self, kind: str) -> list[str]:
        return [event["text"] for event in self.heard if event["event"] == kind]

    @property
    def epochs(self) -> list[dict]:
        return [event for event in self.heard if event["event"] == "epoch"]


def small_backbone() -> Backbone:
    """Four stages of convolution, BatchNorm and ReLU after a fixed layer; a real one takes seconds to compile."""
    x = picture = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Rescaling(1 / 128, -127 / 128, name="rescale")(x)
    turn = keras.initializers.Orthogonal(seed=0)
    x = keras.layers.Conv2D(3, 1, use_bias=False, kernel_initializer=turn, name="preprocess_turn")(x)
    stages = []
    for number in range(1, 5):
        seed = keras.initializers.HeNormal(seed=number)
        x = keras.layers.Conv2D(8, 3, strides=2, padding="same", kernel_initializer=seed, name=f"conv{number}")(x)
        x = keras.layers.BatchNormalization(name=f"bn{number}")(x)
        x = keras.layers.ReLU(name=f"relu{number}")(x)
        stages.append(Stage(f"stage{number}", f"relu{number}"))
    logits = keras.layers.Dense(10, name="old_logits")(keras.layers.GlobalAveragePooling2D(name="old_pool")(x))
    return Backbone("small", keras.Model(picture, logits), tuple(stages), SIZE, "")


def make_bench(pictures) -> Bench:
    """A new backbone each time, for fine-tuning changes it. The ridge is strong, so there is room for improvement."""
    data, features = pictures
    backbone = small_backbone()
    rows = data.indices("train")
    head = LogisticProblem(features[rows], data.labels_of(rows), 3).fit(30.0)

    def part(name: str) -> Pictures:
        indices = data.indices(name)
        return Pictures([data.paths[i] for i in indices], data.labels_of(indices))

    return Bench(backbone, attach_head(backbone, ["stage4"], ["mean"], head), part("train"), part("valid"))


def weights_of(model: keras.Model) -> dict[str, np.ndarray]:
    return {variable.path: np.array(keras.ops.convert_to_numpy(variable)) for variable in model.variables}


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    assert before.keys() == after.keys()
    return {path for path in before if not np.array_equal(before[path], after[path])}


def value(variable) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable)


def same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
