"""Captions without a captioner and answers without eyes: what a trained model has to beat."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vlm.data.store import FeatureStore
from vlm.errors import InputError
from vlm.formats.ids import Id
from vlm.formats.question_sets import QuestionSample
from vlm.metrics import score_captions
from vlm.metrics.cider import DocumentFrequencies, cider_d
from vlm.metrics.ngrams import count_ngrams
from vlm.text.answers import vocabulary_form
from vlm.text.ptb import tokenize

ImageId = TypeVar("ImageId", bound=Hashable)
Tokens = list[str]


def shuffled(captions: Mapping[ImageId, str], *, seed: int = 0) -> dict[ImageId, str]:
    """The same captions, each given to another image: what they say of images in general.

    Args:
        captions: of at least two images.
        seed: of the order.

    Raises:
        InputError: if there is only one image.
    """
    if len(captions) < 2:
        raise InputError(f"expected captions of at least 2 images to shuffle, got {len(captions)}")
    texts = list(captions.values())
    pairs = zip(captions, _elsewhere(len(texts), seed), strict=True)
    return {image: texts[origin] for image, origin in pairs}


def shuffled_images(samples: Sequence[QuestionSample], *, seed: int = 0) -> list[QuestionSample]:
    """The same questions, those of an image asked about another one: what their words tell.

    Args:
        samples: of at least two images.
        seed: of the order.

    Raises:
        InputError: if there is only one image.
    """
    if len(samples) < 2:
        raise InputError(f"expected questions about at least 2 images, got {len(samples)}")
    pairs = zip(samples, _elsewhere(len(samples), seed), strict=True)
    return [image._replace(questions=samples[asked].questions) for image, asked in pairs]


def frequent_answers(
    training: Sequence[QuestionSample], samples: Sequence[QuestionSample]
) -> dict[Id, str]:
    """To each question the most frequent answer that its type has in training.

    The prior per question type of Antol et al. 2015 (arXiv:1505.00468). A type that training
    does not have gets the most frequent answer of all; ties go to the first by the alphabet.

    Args:
        training: with answers.
        samples: that are answered; their types are taken from their own annotations.

    Raises:
        InputError: if training has no answer.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    overall: Counter[str] = Counter()
    for question in (question for sample in training for question in sample.questions):
        if question.answers:
            answer = vocabulary_form(question.answer)
            counts[question.question_type][answer] += 1
            overall[answer] += 1
    if not overall:
        raise InputError("expected answers to the training questions, got none; give annotations")
    best = {kind: _most_frequent(of_kind) for kind, of_kind in counts.items()}
    otherwise = _most_frequent(overall)
    return {
        question.question_id: best.get(question.question_type, otherwise)
        for sample in samples
        for question in sample.questions
    }


def _elsewhere(count: int, seed: int) -> list[int]:
    """For each place another one, each once: along one random cycle nothing stays where it was."""
    cycle = np.random.default_rng(seed).permutation(count)
    origins = np.empty(count, dtype=int)
    origins[cycle] = np.roll(cycle, 1)
    return origins.tolist()


def _most_frequent(counts: Counter[str]) -> str:
    return min(counts, key=lambda answer: (-counts[answer], answer))


def nearest_captions(
    features: NDArray[np.floating],
    training_features: NDArray[np.floating],
    training_captions: Sequence[Sequence[str]],
    *,
    neighbours: int = 20,
) -> list[str]:
    """For each image the consensus caption of its nearest training images.

    Of all captions of the neighbours, the one most similar to the others by CIDEr-D
    (Devlin et al. 2015, arXiv:1505.04467), document frequencies of the training set.

    Args:
        features: ``(queries, D)``, one vector an image.
        training_features: ``(images, D)``.
        training_captions: of each training image.
        neighbours: training images that vote, by cosine similarity.

    Returns:
        ``queries`` captions, each written by somebody for a training image.
    """
    similarity = _unit(features) @ _unit(training_features).T
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :neighbours]
    flat = iter(tokenize([text for captions in training_captions for text in captions]))
    tokens = [[next(flat) for _ in captions] for captions in training_captions]
    frequencies = DocumentFrequencies.from_references(tokens)
    chosen = []
    for row in nearest:
        texts = [text for image in row for text in training_captions[image]]
        words = [caption for image in row for caption in tokens[image]]
        chosen.append(texts[_consensus(words, frequencies)])
    return chosen


def mean_features(store: FeatureStore, rows: Sequence[int]) -> NDArray[np.float32]:
    """One vector an image: the mean over the regions of its clean view.

    Args:
        store: of region features.
        rows: where the images stand in it.

    Returns:
        ``(images, D)``.
    """
    regions = (store.batch([row]) for row in rows)
    return np.stack([found.features[0].float().mean(dim=0).numpy() for found in regions])


def reference_agreement(references: Mapping[ImageId, Sequence[str]]) -> dict[str, float]:
    """What a reference scores against the others of its image: people as captioners.

    Args:
        references: at least two for each image; as many rounds are scored and averaged
            as the image with the fewest has.

    Raises:
        InputError: if an image has a single reference.
    """
    fewest = min(len(captions) for captions in references.values())
    if fewest < 2:
        raise InputError("expected at least 2 references for each image, got 1 for some")
    rounds = []
    for left_out in range(fewest):
        candidates = {image: captions[left_out] for image, captions in references.items()}
        others = {
            image: [text for index, text in enumerate(captions) if index != left_out]
            for image, captions in references.items()
        }
        rounds.append(score_captions(candidates, others).corpus)
    return {name: float(np.mean([scores[name] for scores in rounds])) for name in rounds[0]}


def _consensus(captions: list[Tokens], frequencies: DocumentFrequencies) -> int:
    """Which caption the others resemble most."""
    others = [captions[:index] + captions[index + 1 :] for index in range(len(captions))]
    return int(np.argmax(cider_d(count_ngrams(captions, others), frequencies)))


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
