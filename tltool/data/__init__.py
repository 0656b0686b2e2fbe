"""From files to pixels: which pictures there are, how they are split, and how they are read."""

from tltool.data.batches import Batch, read_batches
from tltool.data.dataset import PARTS, Dataset, Problem, load_index
from tltool.data.decoding import decode, prepare
from tltool.data.sources import load_dataset

__all__ = ["PARTS", "Batch", "Dataset", "Problem", "decode", "load_dataset", "load_index", "prepare", "read_batches"]
