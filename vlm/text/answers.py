"""Short answers as the VQA evaluation reads them, and the answer vocabulary and soft targets.

The normalisation is that of the official evaluation program (Goyal et al., 2017) with its oddities,
which decide scores:

- A listed sign becomes a space, or nothing if a space stands beside that sign anywhere in the
  answer: "t-shirt" gives "t shirt", but "a t-shirt -" gives "tshirt".
- A comma between two ASCII digits makes all signs nothing: "1,000 t-shirts" gives "1000 tshirts".
- Every period goes that no digit follows, but at most 32; "no.1" keeps its own.
- Apostrophe, colon and $ % & * # ~ are no signs; neither is a dash other than the hyphen.
- "none" is 0 and numbers above ten stay words; "the" alone becomes "".
- "dont" becomes "don't" and "somebody'd" "somebodyd", but "lets", "shes", "im" and "ive" stay.

All of it is pure and remembered per string, since people give few different answers.
"""

import re
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from functools import lru_cache

from vlm.errors import InputError

SOFT_SCORES = (0.0, 0.3, 0.6, 0.9, 1.0)  # of an answer that 0, 1, 2, 3, 4 or more people gave

_memo = lru_cache(2**17)  # strings; the answers to 45,680 questions of VQA v2 are 25,316

_SIGNS = ';/[]"{}()=+\\_-><@`,?!'
_PERIOD = re.compile(r"\.(?!\d)", re.ASCII)
_MOST_PERIODS = 32  # the official program passes a flag, worth 32, where the count belongs
_THOUSANDS = re.compile(r"\d,\d", re.ASCII)

_ARTICLES = frozenset(["a", "an", "the"])
_NUMBERS = "zero one two three four five six seven eight nine ten"
_DIGITS = {word: str(value) for value, word in enumerate(_NUMBERS.split())} | {"none": "0"}

# Each is also written with any one of its apostrophes left out: wouldnt've, wouldn'tve.
_CONTRACTIONS = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
    haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't
    mightn't've must've mustn't needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
    shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
    someone's something'd something'd've something'll that's there'd there'd've there're there's
    they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're
    what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're
    why's won't would've wouldn't wouldn't've y'all y'all'd've y'all'll you'd you'd've you'll you're
    you've
"""
_SPELLINGS = {
    word[:at] + word[at + 1 :]: word
    for word in _CONTRACTIONS.split()
    for at, letter in enumerate(word)
    if letter == "'"
} | {"somebody'd": "somebodyd"}


def clean_spaces(answer: str) -> str:
    """Makes line feeds and tabs spaces and strips both ends."""
    return answer.replace("\n", " ").replace("\t", " ").strip()


@_memo
def strip_punctuation(answer: str) -> str:
    """Replaces signs by spaces or nothing and removes periods, by the rules above."""
    thousands = _THOUSANDS.search(answer) is not None
    stripped = answer
    for sign in _SIGNS:
        if sign in answer:
            beside_space = f"{sign} " in answer or f" {sign}" in answer
            stripped = stripped.replace(sign, "" if thousands or beside_space else " ")
    return _PERIOD.sub("", stripped, count=_MOST_PERIODS)


@_memo
def respell_words(answer: str) -> str:
    """Lower-cases, drops articles, and writes numbers to ten as digits and apostrophes in full."""
    words = [_DIGITS.get(word, word) for word in _lower(answer).split()]
    return " ".join(_SPELLINGS.get(word, word) for word in words if word not in _ARTICLES)


@_memo
def normalise(answer: str) -> str:
    """Normalises as the official program does: spaces, then punctuation, then words.

    Doing it again changes nothing unless the answer has more than 32 periods to remove.
    """
    return respell_words(strip_punctuation(clean_spaces(answer)))


@_memo
def normalise_mmf(answer: str) -> str:
    """Normalises as MMF (Pythia) does: commas and question marks go first and "'s" stands apart.

    Written from a description of that program and not compared with its output. Its own test for
    commas between digits finds none, since they are gone by then: "1,000 t-shirts" gives
    "1000 t shirts". Not idempotent: "hes" becomes "he's", and that becomes "he 's".
    """
    apart = answer.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    return normalise(apart)


def vocabulary_form(answer: str) -> str:
    """The form in which ``compute_softscore.py`` counts answers (Anderson et al., 2018).

    That of :func:`normalise` without :func:`clean_spaces`: a sign at the end before a last space
    has a space beside it, one before a line feed has not.
    """
    return respell_words(strip_punctuation(answer))


def answer_vocabulary(answers: Iterable[str], *, min_count: int = 9) -> list[str]:
    """The answers that a classifier chooses from.

    Args:
        answers: Of each question the one that most people gave, as written.
        min_count: Questions that an answer must belong to, at least 1.

    Returns:
        Normalised answers, the most frequent first, those of one count in alphabetical order.

    Raises:
        InputError: ``min_count`` is below 1, or no answer is frequent enough.
    """
    if min_count < 1:
        raise InputError(f"min_count is {min_count}: expected 1 or more questions an answer")
    counts = Counter(map(vocabulary_form, answers))
    kept = [answer for answer, count in counts.items() if count >= min_count]
    if not kept:
        raise InputError(
            f"no answer belongs to {min_count} or more of {counts.total()} questions: "
            "lower min_count or give more questions"
        )
    return sorted(kept, key=lambda answer: (-counts[answer], answer))


def soft_targets(answers: Sequence[str], vocabulary: Container[str]) -> dict[str, float]:
    """What a classifier should give each answer of the vocabulary for one question.

    As in ``compute_softscore.py``, answers are looked up as written: one that is in the vocabulary
    only once normalised counts for nothing.

    Args:
        answers: All that people answered to the question, as written.
        vocabulary: A set, or anything else that is quick to look up in.

    Returns:
        The answers with a score above 0, in (0, 1], of :data:`SOFT_SCORES`.
    """
    most = len(SOFT_SCORES) - 1
    counts = Counter(answers)
    return {word: SOFT_SCORES[min(n, most)] for word, n in counts.items() if word in vocabulary}


def _lower(text: str) -> str:
    """Lower-cases letter by letter, as Python 2 did: no final sigma, and dotted I becomes i."""
    if text.isascii():
        return text.lower()
    return "".join(letter.lower() for letter in text.replace("\u0130", "i"))
