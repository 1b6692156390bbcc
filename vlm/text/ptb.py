"""Caption tokens as COCO scoring makes them (Penn Treebank rules), without its Java program.

The reference is the Stanford tokenizer in the settings of the COCO caption evaluation, followed by
the removal of punctuation. This one was written from the reference's outputs alone. It agrees with
it on 64,356 different captions of COCO and Flickr8k, 34,875 questions and 26,255 answers of VQA v2
and DAQUAR, each file read in order; on all 830,584 strings of three ASCII characters; and on all
but 136 of 1.2 million strings of up to five fragments (words, digits, quotes, signs, parts of tags
and addresses). The rules were written with those outputs in view. Blind, on 24,000 captions made
only afterwards: 1 of 5,000 with odd fragments glued in differs, and 5 of 19,000 full of
abbreviations, numbers, addresses, smileys, scripts and signs.

One difference by choice: a line break of any kind inside a caption is a space, where the reference
shifts all later captions by a line.

Known to differ: a soft hyphen beside a digit, a hyphen or in an address; the letters that Unicode
gained after 6.1, which the reference drops; addresses with ``www.`` amid other signs or with a
no-break space; and parts of an address longer than the bounds of the rules.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain

from vlm.errors import InputError
from vlm.text.ptb_rules import beyond_a_space, plain_line, plain_word, rules, straightened

# The evaluation also lists -LRB- and its kin, but in capitals, which no lower-cased token has. The
# reference prints "--" and "..." for runs of up to four; longer runs of "-" stay.
_REMOVED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", ";", ""])
_REMOVED |= {"-", "--", "---", "----", "...", "...."}

_BREAKS = str.maketrans(dict.fromkeys("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029", " "))

# How a token is spelt: a quote or a contraction; any other; one that is this sign alone.
_QUOTES = str.maketrans(
    dict.fromkeys("\u0091\u2018\u201b\u2039", "`")
    | dict.fromkeys("\u0092\u2019\u203a", "'")
    | dict.fromkeys("\u0093\u00ab\u201c", "``")
    | dict.fromkeys('"\u0094\u00bb\u201d', "''")
)
_WITHIN = str.maketrans({"(": "-lrb-", ")": "-rrb-", "\u00ad": "", " ": "\u00a0"})
_ALONE = (
    {"[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-", "\u2026": "..."}
    | dict.fromkeys("\u0096\u0097\u2013\u2014\u2015", "--")
    | {"\u00a3": "#", "\u00a2": "cents"}
    | dict.fromkeys("\u0080\u00a4\u20a0\u20ac", "$")
    | {"\u00bc": "1/4", "\u00bd": "1/2", "\u00be": "3/4", "\u2153": "1/3", "\u2154": "2/3"}
    | {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&nbsp;": "", "&ndash;": "--", "&mdash;": "--"}
)

_MEMORY = 2**16  # chunks remembered; the 30,000 captions of COCO val2017 have 11,000


def tokenize(captions: Sequence[str]) -> list[list[str]]:
    """Tokenises captions for scoring: lower-cased, without punctuation.

    Captions are read as the lines of one file, in the order given: whether a final initial
    (``"a sign with a K."``) keeps its period depends on the first word of the next caption.

    Args:
        captions: Raw text, one caption each. Line breaks count as spaces.

    Returns:
        The tokens of each caption. A token can hold U+00A0, for a space within it (``22 3/4``).

    Raises:
        InputError: if there is one text in place of a list of them, or a caption that is none.
    """
    if isinstance(captions, str):
        raise InputError(
            f"expected a list of captions, got the text {captions[:60]!r}; give [text]"
        )
    tokens = []
    following = ""
    for caption in reversed(captions):
        if not isinstance(caption, str):
            raise InputError(
                f"expected text as caption, got {caption!r}; write one or leave it out"
            )
        chunks = caption.split()
        tokens.append(_read(caption, chunks, following))
        following = chunks[0] if chunks else following
    return tokens[::-1]


def _read(caption: str, chunks: list[str], following: str) -> list[str]:
    """The tokens of one caption, given the first word of the next one."""
    if not plain_line().match(caption):
        line = caption.translate(_BREAKS)
        if beyond_a_space().search(f"{line}\n{following}\n"):
            return _lex(line, following)
    return list(chain.from_iterable(map(_lex_chunk, chunks)))


@lru_cache(_MEMORY)
def _lex_chunk(chunk: str) -> tuple[str, ...]:
    plain = plain_word().fullmatch(chunk)
    return (plain["word"].lower(),) if plain else tuple(_lex(chunk, ""))


def _lex(line: str, following: str) -> list[str]:
    """The tokens of one line, given the first word of the next one."""
    text = f"{line}\n{following}\n"
    tokens = []
    position = 0
    while position < len(line):
        found = _longest_match(text, position)
        position += len(found) or 1
        token = _spell(found)
        if token not in _REMOVED:
            tokens.append(token)
    return tokens


def _spell(found: str) -> str:
    """What the reference prints for a token that it found."""
    if found in _ALONE:
        return _ALONE[found]
    token = found.lower()
    if found.isalnum():
        return token
    if straightened().fullmatch(found):
        return token.replace("&apos;", "'").replace("&quot;", "''").translate(_QUOTES)
    if token.replace("&amp;", "").isalpha():
        return token.replace("&amp;", "&")
    if token[:1] == "<" and token[-1:] == ">":
        return token.replace(" ", "\u00a0")  # a tag, whose brackets stay
    return _ALONE.get(token, token).translate(_WITHIN)


def _longest_match(text: str, position: int) -> str:
    """The token that starts at a position, as it stands there; empty where none does."""
    token, reach = "", position
    for rule in rules():
        match = rule.match(text, position)
        if match and match.end() > reach:
            token, reach = match[match.lastindex or 0], match.end()
    return token
