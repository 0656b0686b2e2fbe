"""What tltool raises when a user can put it right: each message says where, which rule, and what to do."""


class TltoolError(Exception):
    """A mistake in what tltool was given. The command line prints the message alone and exits with status 2."""


class DataError(TltoolError):
    """Pictures, folders or archives that cannot be used as they are."""


class PictureError(DataError):
    """One picture that cannot be used; the message is a reason without the file's name.

    Attributes:
        kind: What is wrong with it, one of `KINDS`.
    """

    KINDS = ("empty", "truncated", "damaged", "not-a-picture", "too-large", "unreadable")

    def __init__(self, message: str, kind: str = "damaged"):
        super().__init__(message)
        self.kind = kind


class RecipeError(TltoolError):
    """A recipe that cannot be read or breaks its rules; the message lists every fault."""


class OptimizerError(TltoolError, ValueError):
    """An optimizer, a schedule or a search for a rate that was asked for something it cannot do."""


class AugmentError(TltoolError, ValueError):
    """A policy of augmentation, or one of its steps, that was asked for something it cannot do."""


class RegularizerError(TltoolError, ValueError):
    """A regularizer or a layer of tltool that was asked for something it cannot do."""


class DivergedError(TltoolError):
    """A loss that is no longer a number; the message says at which step and rate, and what to change."""


class WeightsError(TltoolError):
    """Pretrained weights that are missing, cannot be reached, or do not fit the network."""


class RunError(TltoolError):
    """A run folder that is missing, unfinished or would be overwritten."""


class StoppedError(RunError):
    """A run that had to stop, with all that it needs to go on; the message says what to do before."""


class ExportError(TltoolError):
    """A model that cannot be exported or loaded as asked."""


class ShapeError(TltoolError, ValueError):
    """Arrays whose shapes do not fit each other."""
