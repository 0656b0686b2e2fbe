"""What a run was asked for: enough to carry it out in another process, or another day."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tltool.errors import RunError


@dataclass(frozen=True)
class Request:
    """What a run was asked for.

    Attributes:
        recipe: The whole recipe as TOML, changes included; None where the table decides.
        settings: Changes as they were given, such as "head.folds=3"; they are in `recipe` already.
        seed: Of the split, the folds and the order of the pictures.
        budget: Seconds, > 0; None for no bound.
        mlflow: Address of a tracking server, or a folder; None to log to none.
        searching: Whether to search the recipe's numbers until the budget is used up.
        trials: Sets of numbers to try at most; None for no bound.
    """

    recipe: str | None
    settings: tuple[str, ...]
    seed: int
    budget: float | None
    mlflow: str | None
    searching: bool = False
    trials: int | None = None

    def to_json(self) -> dict[str, Any]:
        """What a run folder stores as `request.json`."""
        return asdict(self)


def read_request(path: Path) -> Request:
    """Reads back a `request.json`.

    Raises:
        RunError: if there is none, or it is not one of tltool's.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
        request = Request(**values | {"settings": tuple(values["settings"])})
        _check(request)
    except FileNotFoundError:
        raise RunError(f"{path}: is missing, so nobody knows what this run was asked for. Fit again.") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path}: damaged ({error}). Fit again.") from None
    return request


def _check(request: Request) -> None:
    kinds = {"recipe": str | None, "seed": int, "budget": int | float | None, "mlflow": str | None}
    wrong = [name for name, kind in kinds.items() if not isinstance(getattr(request, name), kind)]
    if wrong or not all(isinstance(setting, str) for setting in request.settings):
        raise TypeError(f"`{(wrong or ['settings'])[0]}` is of a wrong kind")
