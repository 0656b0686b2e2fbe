"""Makes pytorch_values.json: where PyTorch's optimizers take each weight after 20 steps, in float64.

    python tests/optimizers/make_pytorch_values.py      in an environment with torch

The loss is `sum(CURVATURE * w^2) / 2`, so the gradient is `CURVATURE * w`.
"""

import json
from pathlib import Path

import torch

START = [1.0, -2.0, 0.5, 3.0]
CURVATURE = [0.1, 1.0, 2.0, 5.0]
STEPS = 20
TARGET = Path(__file__).with_name("pytorch_values.json")


def path(make, cycle: int = 0) -> list[float]:
    """The weights after the last step; with a cycle, the optimizer starts afresh and its rate falls along a cosine."""
    weights = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    for step in range(STEPS):
        if step == 0 or (cycle and step % cycle == 0):
            optimizer = make([weights])
            scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, cycle) if cycle else None
        optimizer.zero_grad()
        (torch.tensor(CURVATURE, dtype=torch.float64) * weights.square()).sum().div(2).backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
    return weights.tolist()


optim = torch.optim
CASES = {
    "SGD(lr=0.1)": path(lambda w: optim.SGD(w, lr=0.1)),
    "SGD(lr=0.1, momentum=0.8)": path(lambda w: optim.SGD(w, lr=0.1, momentum=0.8)),
    "SGD(lr=0.1, momentum=0.8, nesterov=True)": path(lambda w: optim.SGD(w, lr=0.1, momentum=0.8, nesterov=True)),
    "Adagrad(lr=0.1, initial_accumulator_value=0.1, eps=0)": path(
        lambda w: optim.Adagrad(w, lr=0.1, initial_accumulator_value=0.1, eps=0)
    ),
    "Adagrad(lr=0.1, initial_accumulator_value=0.1, eps=0), anew every 7 steps, CosineAnnealingWarmRestarts(7)": path(
        lambda w: optim.Adagrad(w, lr=0.1, initial_accumulator_value=0.1, eps=0), cycle=7
    ),
    "RMSprop(lr=0.1, alpha=0.9, eps=1e-30)": path(lambda w: optim.RMSprop(w, lr=0.1, alpha=0.9, eps=1e-30)),
    "Adam(lr=0.1, betas=(0.9, 0.99), eps=1e-30)": path(lambda w: optim.Adam(w, lr=0.1, betas=(0.9, 0.99), eps=1e-30)),
    "AdamW(lr=0.1, betas=(0.9, 0.99), eps=1e-30, weight_decay=0.2)": path(
        lambda w: optim.AdamW(w, lr=0.1, betas=(0.9, 0.99), eps=1e-30, weight_decay=0.2)
    ),
}

if __name__ == "__main__":
    made = {"torch": torch.__version__, "start": START, "curvature": CURVATURE, "steps": STEPS, "weights": CASES}
    TARGET.write_text(json.dumps(made, indent=1) + "\n", "utf-8")
