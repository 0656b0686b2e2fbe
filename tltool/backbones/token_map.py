"""Tokens of a transformer as a map and a vector, which is what everything else here pools, taps and explains."""

from keras import layers


def token_map(tokens, extra: int, name: str):
    """The tokens of the patches as a square map, symbolic, shape (N, side, side, d); by Keras' own layers alone.

    Args:
        tokens: Symbolic, shape (N, extra + side * side, d).
        extra: Tokens before those of the patches: class, distillation and register tokens.
        name: What the layers' names begin with.
    """
    count, width = tokens.shape[1] - extra, tokens.shape[2]
    side = round(count**0.5)
    patches = layers.Cropping1D((extra, 0), name=f"{name}_patches")(tokens) if extra else tokens
    return layers.Reshape((side, side, width), name=f"{name}_map")(patches)


def class_token(tokens, name: str):
    """The first token, symbolic, shape (N, d)."""
    first = layers.Cropping1D((0, tokens.shape[1] - 1), name=f"{name}_first")(tokens)
    return layers.Flatten(name=f"{name}_class_token")(first)
