"""The lexical rules of Penn Treebank caption tokens: what one token can look like."""

import re
from functools import cache

# `\w` takes superscripts, fractions, circled and Roman numerals for letters; the rules do not, and
# they know no letter beyond the basic plane.
_NOT_ALNUM = (
    "_\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u218b\u2460-\u24ff\u2776-\u2793\U00010000-\U0010ffff"
)
# Accents and vowel signs, which `\w` leaves out, and the soft hyphen: part of the word they are in.
_MARKS = (
    "\u00ad\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
    "\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u0900-\u0903"
    "\u093a-\u094f\u0951-\u0957\u0962\u0963\u0981-\u0983\u09bc-\u09d7\u0a01-\u0a03\u0a3c-\u0a51"
    "\u0a81-\u0a83\u0abc-\u0acd\u0b01-\u0b03\u0b3c-\u0b57\u0b82\u0bbe-\u0bd7\u0c00-\u0c04"
    "\u0c3e-\u0c56\u0c81-\u0c83\u0cbc-\u0cd6\u0d00-\u0d03\u0d3b-\u0d57\u0dca-\u0ddf"
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd\u0f71-\u0f84"
    "\u102b-\u103e\u17b4-\u17d3\u3099\u309a"
)
# Controls, zero-width, private and variation characters, emoji: they end a token and vanish.
_INVISIBLE = (
    "\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\uf8ff"
    "\ufe00-\ufe0f\ufeff\ufff0-\uffff\U00010000-\U0010ffff"
)

# The two alternatives never share a character, or backtracking would double with every letter.
_MARK = rf"(?!\w)[{_MARKS}]"
_LETTER = rf"(?:[^\W\d{_NOT_ALNUM}]|{_MARK})"
_ALNUM = rf"(?:[^\W{_NOT_ALNUM}]|{_MARK})"
_APOSTROPHE = "['\u2018\u2019]"
_SUFFIX = rf"{_APOSTROPHE}(?i:s|m|d|re|ve|ll)(?!{_ALNUM})"
_NEGATION = rf"(?i:n{_APOSTROPHE}t)"

# Words joined by a mark: img_001; dog.A, x?y; e-mail, milk.well-dressed; and/or, 12/25/2014.
_SCORED = rf"{_ALNUM}+(?:_{_ALNUM}+)*"
_DOTTED = rf"{_LETTER}{_ALNUM}*(?:[.!?]{_LETTER}{_ALNUM}*)+"
_PART = rf"(?:{_DOTTED}|{_SCORED})"

_PATH = r"[^\s<>\"|()]*[^\s<>\"|().,:;!?'\]}]"

# Abbreviations that keep their period: titles, which a name follows; endings, after which a
# capital starts a new sentence; and those that only a number makes one.
_TITLES = (
    "mr|mrs|ms|messrs|drs?|prof|rev|hon|st|mt|ft|gen|col|lt|capt|cpl|sgt|maj|cmdr|adm|gov|sen"
    r"|pres|atty|supt|vs|bros|ph\.d"
)
_ENDINGS = (
    "ave|blvd|rd|hwy|jr|sr|etc|inc|corp|co|ltd|esq|dept|univ|assn|bldg|ky|calif|conn|fla|tenn"
    "|okla|minn|wis|mich|nev|tex|ariz|ala|va|vt|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec"
    "|mon|tues?|thurs?|thu|fri"
)
_NUMBERED = "nos?|pp?|vols?|figs?|chs?"

# Capitalised words that start a sentence, so that an initial before one ended a sentence.
_OPENERS = (
    "A|An|The|In|On|At|There|This|That|These|Those|He|She|It|They|We|You|His|Her|Their|Its|Our"
    "|My|Your|Some|All|And|But|As|If|When|While|After|Before|Since|With|For|From|What|Who|Where"
    "|Why|How|Here|Not|So|Then|Yet|Another|Each|Every|Many|Most|Several|Such"
)

# Tokens that need what stands beyond a space: an initial and an abbreviation before a number their
# right context, mixed fractions (22 3/4), telephone numbers and tags a part of themselves.
_INITIAL = rf"([A-Za-z])\.\s+(?:{_OPENERS})(?=\s)"
_NUMBER_SIGN = rf"((?i:{_NUMBERED})\.)\s*\d"
_MIXED_FRACTION = r"\d+ +\d+/\d+"
_TELEPHONE = r"\(\d{2,3}\) ?\d{3,4}[- .]?\d{4}"
_TAG = r"</?[A-Za-z][^<>\n]*>|<![^<>\n]*>"

# Words that are two, though no sign parts them.
_JOINED = "(can)not|(gon|wan)na|(got)ta|(lem|gim)me"

_RULES = (
    # Contractions split: it|'s, is|n't, can|not, gon|na, 't|is, y'|all.
    rf"({_ALNUM}+){_SUFFIX}",
    rf"({_LETTER}+){_NEGATION}",
    rf"{_SUFFIX}|{_NEGATION}",
    rf"(?i:{_JOINED}|({_APOSTROPHE}t)(?:is|was)|(y{_APOSTROPHE})all)",
    # Apostrophes within: 'em, 'n', '90s; l'homme; O'Brien, n'tby; Ho'ohu, ma'am.
    rf"(?i:{_APOSTROPHE}(?:em|n{_APOSTROPHE}|[2-9]0s))|[dlo]{_APOSTROPHE}{_LETTER}+",
    rf"[A-HJ-XZn](?:{_APOSTROPHE}|`){_LETTER}{{2,}}",
    rf"{_LETTER}+[aeiouyAEIOUY](?:{_APOSTROPHE}|`)[aeiouA-Z]{_LETTER}*",
    # Periods and ampersands within: an initial; t.v., J.R.R.; AT&T; St.; etc.; No. 5.
    _INITIAL,
    r"[A-Za-z](?:\.[A-Za-z])*\.",
    "[A-Z]+(?:&[A-Z]+)+",
    rf"(?i:{_TITLES})\.",
    rf"((?i:{_ENDINGS})\.)[A-Z]?",
    _NUMBER_SIGN,
    # The network: pages, sites, addresses, accounts and topics.
    rf"(?i:https?|ftp)://{_PATH}",
    rf"(?i:(?:[\w-]+\.)+(?:com|net|org|edu|gov))(?:/{_PATH})?",
    r"\w[\w.+-]{0,63}@\w+(?:[.-]\w+)*",
    rf"@[A-Za-z_]\w*|\#{_LETTER}\w*",
    # All other words, then numbers: 1,000, 3.5, 10:30, :30, -2.5, +7.
    rf"{_PART}(?:[-\u2010\u2011]{_PART})*",
    rf"{_SCORED}(?:[-/]{_SCORED})*",
    r"[-+]?(?:\d*(?:[.,:]\d+)+|\d+)",
    _MIXED_FRACTION,
    _TELEPHONE,
    # Signs: US$; <b>; &amp;; -LRB-; :-) before no letter; runs of one sign; any sign alone.
    r"[A-Z]+\$",
    _TAG,
    "(?i:&(?:amp|lt|gt|quot|apos|nbsp);)",
    "(?i:-[lr][rcs]b-)",
    rf"[<>]?[:;=][-o*']?[()DPpOo\\{{}}@|\[\]](?!{_ALNUM})",
    r"\.\.\.|--+|[?!]+|\*+|_+|``|''",
    rf"[^\s{_INVISIBLE}]",
)


@cache
def rules() -> tuple[re.Pattern[str], ...]:
    """Every rule; the longest match counts, the earlier rule's where two are equally long.

    The first group that took part in a match, if the rule has groups, is the token and the rest
    only its right context, as in ``(can)not``.
    """
    return tuple(re.compile(rule) for rule in _RULES)


@cache
def beyond_a_space() -> re.Pattern[str]:
    """What only a whole line shows; a line without it may be read chunk by chunk."""
    parts = (rf"\b{_INITIAL}", _NUMBER_SIGN, _MIXED_FRACTION, _TELEPHONE, _TAG)
    return re.compile("|".join(parts))


@cache
def plain_line() -> re.Pattern[str]:
    """Lines that :func:`beyond_a_space` cannot match, told faster; most captions are.

    All that it looks for has a digit, a ``(`` or a ``<``, or a period after a shorter word.
    """
    return re.compile(r"[^\d(<.]*(?:[a-z]{5}\.\s*)?\Z")


@cache
def plain_word() -> re.Pattern[str]:
    """Chunks whose one token is their letters, told without the rules; most chunks are.

    A word that keeps its period, as abbreviations do, is shorter.
    """
    word = r"[A-Za-z]{2,}(?=,?\Z)|[a-z]{8,}(?=\.\Z)"
    return re.compile(rf"(?!(?i:{_JOINED}),?\Z)(?P<word>{word})[,.]?")
