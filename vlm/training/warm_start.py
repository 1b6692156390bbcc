"""Weights of one model taken over by another: encoder and decoder as they are, words by text."""

from typing import Any

from torch import Tensor

from vlm.errors import InputError
from vlm.text.tokenizer import CaptionTokenizer
from vlm.training.checkpoint import SECTION
from vlm.training.module import VisionLanguageModule

TAKEN = ("network.encoder.", "network.decoder.")
WORDS = "network.decoder.token_embedding.weight"


def take_over(module: VisionLanguageModule, content: dict[str, Any]) -> None:
    """Gives a module the encoder and the decoder of a checkpoint.

    Args:
        module: about to be trained.
        content: of the checkpoint.

    Raises:
        InputError: if its parts have other names or shapes, or it looks with another backbone.
    """
    recipe, own = content[SECTION], module.state_dict()
    if recipe["backbone"]["hash"] != module.backbone.hash:
        raise InputError(
            f"the checkpoint to start from looks with {recipe['backbone']['init_args']['name']!r} "
            f"of weights {recipe['backbone']['hash']}, this model with {module.backbone.name!r} of "
            f"{module.backbone.hash}; start from one of the same backbone"
        )
    taken = {name: value for name, value in content["state_dict"].items() if name.startswith(TAKEN)}
    known, vocabulary = (
        CaptionTokenizer(recipe["tokenizer"]).vocabulary,
        module.tokenizer.vocabulary,
    )
    taken[WORDS] = _words(known, vocabulary, taken[WORDS], own[WORDS])
    expected = {name: value.shape for name, value in own.items() if name.startswith(TAKEN)}
    found = {name: value.shape for name, value in taken.items()}
    if found != expected:
        name = min(name for name in expected | found if expected.get(name) != found.get(name))
        raise InputError(
            f"the checkpoint to start from has another encoder or decoder ({name}: "
            f"{_shape(found, name)}, this model {_shape(expected, name)}); give both models the "
            "same widths and layers"
        )
    module.load_state_dict(own | taken)
    for task in module.tasks:
        task.untaught = frozenset(vocabulary[word] for word in vocabulary.keys() - known.keys())


def _words(
    known: dict[str, int], vocabulary: dict[str, int], theirs: Tensor, ours: Tensor
) -> Tensor:
    """Embeddings of our words: theirs where they know the word."""
    if theirs.shape[1:] != ours.shape[1:]:
        return theirs
    words = ours.clone()
    for word, place in vocabulary.items():
        if word in known:
            words[place] = theirs[known[word]]
    return words


def _shape(shapes: dict[str, Any], name: str) -> str:
    return str(tuple(shapes[name])) if name in shapes else "not there"
