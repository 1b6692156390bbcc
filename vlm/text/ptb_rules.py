"""The lexical rules of Penn Treebank caption tokens: what one token can look like."""

import re
from functools import cache

# `\w` takes superscripts, fractions, circled and Roman numerals for letters; the rules do not, and
# they know no character beyond the basic plane.
_NOT_ALNUM = (
    "_\u00b2\u00b3\u00b9\u00bc-\u00be\u09f4-\u09f9\u0b72-\u0b77\u0bf0-\u0bf2\u0c78-\u0c7e"
    "\u0d70-\u0d78\u0f2a-\u0f33\u1369-\u137c\u2070\u2074-\u2079\u2080-\u2089\u2150-\u2182"
    "\u2185-\u2793\u3007\u3021-\u3029\u3038-\u303a\u3192-\u3195\u3220-\u32bf"
    "\U00010000-\U0010ffff"
)
# Accents and vowel signs, which `\w` leaves out, and the soft hyphen: part of the word they are in.
_MARKS = (
    "\u00ad\u02c2-\u0379\u0384-\u0385\u03f6\u0483-\u0487\u055a-\u055f\u0591-\u05bd\u05bf\u05c1"
    "\u05c2\u05c4\u05c5\u05c7\u0615-\u061a\u064b-\u065e\u0670\u06d6-\u06fe\u070f-\u07b0"
    "\u07eb-\u07f3\u0900-\u0903\u093c-\u094e\u0951-\u0955\u0962\u0963\u0981-\u0983\u09bc-\u09cd"
    "\u09d7\u09e2\u09e3\u0a01-\u0a03\u0a3c\u0a3e-\u0a4f\u0a81-\u0a83\u0abc-\u0acf\u0b82"
    "\u0bbe-\u0bcd\u0c01-\u0c03\u0c3e-\u0c56\u0d3e-\u0d48\u0e31-\u0e3a\u0e47-\u0e4e\u0eb1-\u0ebc"
    "\u0ec8-\u0ecd"
)
# Signs that stand as a token of their own. Every other character (controls, most currencies,
# Indic and box punctuation, emoji) ends a token and vanishes.
_SIGNS = (
    "!-~\u0080\u0091-\u0094\u0096\u0097\u00a1-\u037e\u0387\u0589\u05be-\u05c6\u05f3\u05f4"
    "\u0600-\u0603\u0606-\u060c\u0614\u061b\u061e\u061f\u066a\u066d\u06d4\u0700-\u070d"
    "\u07f6-\u07f8\u0964\u0965\u0e3f\u0e4f\u1fbd\u2013-\u2023\u2026\u2030-\u203b\u203e-\u2042"
    "\u2044\u2070\u2074-\u208e\u20a0\u20a4\u20ac\u2100-\u214f\u2153-\u215e\u2190-\u2bff"
    "\u3001\u3002\u3012\u30fb\uff01-\uff65\uffe0\uffe1\uffe5\uffe6"
)

# No two alternatives share a character, or backtracking would double with every letter.
_LETTER = rf"[^\W\d{_NOT_ALNUM}]"
_PLAIN = rf"[^\W{_NOT_ALNUM}]"
_ACCENTED = "&[aeiouAEIOU](?i:acute|grave|uml);"
_MARK = rf"(?!\w)[{_MARKS}]"
_SPELT = rf"(?:{_LETTER}|{_MARK}|{_ACCENTED})"
_WORD = rf"{_SPELT}{_PLAIN}*(?:(?:{_MARK}|{_ACCENTED}){_PLAIN}*)*"

# Words that are two, though no sign parts them.
_JOINED = "(can)not|(gon|wan)na|(got)ta|(lem|gim)me"

# A contraction ends in 's and its kin or in n't. Its apostrophe is spelt straight, as quotes are.
_APOSTROPHE = r"(?:['`\u0091\u0092\u2018\u2019\u201b]|&apos;)"
_RAISED = r"(?:['\u0092\u2019]|&apos;)"
_KIN = "(?i:s|m|d|re|ve|ll)"
_CLITIC = rf"'{_KIN}(?![A-Za-z])|(?!'){_RAISED}{_KIN}|(?i:n{_APOSTROPHE}t)"
_QUOTE = r"[`\u0091-\u0094\u00ab\u00bb\u2018-\u201f\u2039\u203a]"

# Words joined by a mark: img_001, dog.A, x?y; e-mail, a,b-c, jack-o'lantern, non-U.S.; and/or.
_ELIDED = rf"(?:[dloDLO]{_APOSTROPHE}(?={_PLAIN}{{2}}))?"
_SCORED = rf"{_ELIDED}{_PLAIN}+(?:(?:_|(?<!\d)\u00ad){_ELIDED}{_PLAIN}+)*"
_HYPHENED = rf"{_SCORED}(?:[-\u058a\u2010\u2011]{_SCORED})*"
_POINTED = r"[A-Za-z0-9][A-Za-z0-9.,]{0,255}(?:-(?:(?:[A-Za-z]\.){2,}|[A-Za-z0-9]+))+"
_DOTTED = rf"{_WORD}(?:[.!?]{_WORD})*"
_SLASHED = r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"

# Abbreviations that keep their period: titles, streets, states, months, firms. Titles are part of
# a compound (St.-Denis), endings are not (etc.-and); some need a capital, some a number behind.
_TITLES = (
    "adj|adm|adv|alex|assoc|asst|attys?|ave|brig|capt|cf|cie|cmdr|col|comdr|cpl|dept|det|drs?|elec"
    "|ens|ft|gen|govs?|hon|insp|invt|jos|lieut|lt|maj|messrs|mlle|mme|mrs?|ms|msgr|mt|natl|pfc"
    "|ph(?:\\.d)?|pres|profs?|pvt|reps?|rev|sens?|sfc|sgt|spc|st|ste|supts?|treas|vs|wm"
)
_ENDINGS = (
    "ala?|apr|ariz|assn|aug|bhd|bldg|blvd|bros|calif|colo|conn|corp|cos?|ct|dak|dec|esq|est|etc|ext"
    "|feb|fla|fri|ga|inc|ind|intl|jan|jr|jul|jun|kans?|ky|ltd|mar|md|mich|minn|mon?|mont|neb|nev"
    "|nov|oct|okla|penn|plc|rd|rt|sept?|seq|sq|sr|sys|tel|tenn|thu|thurs|tues?|univ|va|vt|wed|wisc?"
    "|wyo"
)
_CAPITALISED = (
    "A[Zz]|Ark|Del|Ill|L[Aa]|Mass|Miss|Ore|P[Aa]|Tex|Wash|ARK|DEL|ILL|MASS|MISS|ORE|TEX|WASH"
    "|[Pp]p?tes?|[Pp]p?ty|[Pp]tys"
)
_NUMBERED = "art|ca|figs?|nos?|op|pp?|prop"

# Capitalised words that start a sentence, so that an initial before one ended a sentence.
_OPENERS = (
    "A(?i:bout|ccording|fter|n|s|t)?|B(?i:ut)|E(?i:arlier)|H(?i:e|ere|er)|I(?i:f|n|t)|L(?i:ast)"
    "|M(?i:any|ore|r\\.|s\\.)|N(?i:ow)|O(?i:nce|ne|ther|ur)|S(?i:he|ince|ome|o|uch)"
    "|T(?i:hat|heir|hen|here|hese|hey|he|his)|W(?i:hat|hen|hile|e)|Y(?i:et|ou)"
)

# Tokens that need what stands beyond a space: an initial and an abbreviation before a number their
# right context; mixed fractions (22 3/4), telephone numbers and tags a part of themselves.
_NUMBER_SIGN = rf"((?i:{_NUMBERED})\.)\s?\d"
_GAP = "[- \u00a0]"
_FRACTION = rf"(?:\d{{1,4}}{_GAP})?\d{{1,4}}(?:\\?/|\u2044)\d{{1,4}}"
_AREA = rf"\(\d\d\d?\)[ \u00a0]?|\+{{0,2}}(?:\d{{2,4}}{_GAP})?\d{{2,4}}{_GAP}"
_TELEPHONE = rf"(?:{_AREA})\d{{3,4}}{_GAP}?\d{{3,5}}"
_NAME = r"[A-Za-z][A-Za-z0-9_:.-]*"
_ATTRIBUTE = rf" +{_NAME}(?: *= *(?:\"[^\"\n]*\"|'[^'\n]*'))?"
_TAG = rf"<(?:/{_NAME} *|{_NAME}(?:{_ATTRIBUTE})* *(?:/ *)?|[!?][A-Za-z-][^>\n]{{0,255}})>"
_INITIAL = rf"([A-Za-z])\.\s+(?:{_OPENERS}|{_TAG})(?=\s)"

# Faces, powers, and the network: what the parts of an address may hold, what no page ends with.
# Parts are bounded here and in other rules that look far ahead, or time would grow as the square.
_EYE = "['<>=^~x-]"
_POWER = "[\u00b2\u00b3\u00b9\u2070\u2074-\u2079\u2080-\u2089]+"
_NET = r"[^\s\"<>|(){}]"
_SITE = r"[^\s\"(),<>{|}.]"
_PATH = r"[^\s\"<>|()]+[^\s\"<>|(){}.,!?-]"
_HOST = r"[^\s!\"$'()\-./:;<=>?@\[\\\]^_`{|},0-9A-Z]"
_FILES = (
    "bat|bmp|cgi|cpp|c|dll|docx?|exe|gif|gz|html?|h|jar|java|jpe?g|mov|pdf|php|pl|png|ppt|ps|py"
    "|sql|tar|txt|wav|x|xml|zip"
)

_RULES = (
    # Contractions split: it|'s, is|n't, can|not, gon|na, 't|is, y'|all.
    rf"({_PLAIN}+|{_WORD}){_RAISED}{_KIN}",
    rf"([A-Za-z\u00ad]*[A-MO-Za-mo-z])(?i:n{_APOSTROPHE}t)",
    _CLITIC,
    rf"(?i:{_JOINED}|('t)(?:is|was)|(y{_RAISED}){_LETTER})",
    # Apostrophes beside: 'em, 'n', '90s, '99; d', ol', dunkin'.
    rf"(?i:{_RAISED}(?:em|till?|cause|[2-9]0s|\d\d(?=\s)|n{_RAISED}|n(?=\s)))",
    rf"(?!'){_RAISED}[Nn]|(?i:(?:[dlj]|ol|dunkin|somethin){_RAISED})",
    # Apostrophes within: l'homme; O'Brien, n'tby; Ho'ohu, ma'am; cap'n.
    rf"[A-HJ-XZn]{_APOSTROPHE}{_LETTER}{{2,}}|[dloDLO]{_APOSTROPHE}{_PLAIN}{{2,}}",
    rf"{_LETTER}+[aeiouyAEIOUY]{_APOSTROPHE}[aeiouA-Z]{_LETTER}*",
    rf"(?i:cap{_RAISED}n|c'(?:mon|est)|e'er|o{_APOSTROPHE}o|s'mores|ev'ry|nat'l|nor'easter)",
    # Periods and ampersands within: an initial; t.v., J.R.R.; AT&T, A+B, C#; St.; No. 5; x.jpg.
    _INITIAL,
    r"[A-Za-z](?:\.[A-Za-z])*\.",
    "[A-Z]+(?:(?i:&amp;|[&+])[A-Z]+)+|[CFcf]#|[Cc][+][+]",
    rf"(?=[A-Za-z]+\.)(?:(?i:{_TITLES})|[Mm](?:fg|tg))\.",
    rf"(?=[A-Za-z]+\.)((?:(?i:{_ENDINGS})|{_CAPITALISED})\.)(?:-?{_PLAIN})?",
    rf"(?=\S{{0,255}}\.[,:;])((?:{_DOTTED}|{_HYPHENED})\.)[,:;]",
    _NUMBER_SIGN,
    rf"{_PLAIN}+(?:\.{_PLAIN}+)*\.(?i:{_FILES})(?=[\s.,!?])",
    # The network: pages, sites, addresses, accounts and topics.
    rf"(?i:https?)://{_NET}+[^\s\"<>|(){{}}.,!?-]",
    rf"(?i:www)\.(?:{_SITE}{{1,63}}\.){{1,9}}[A-Za-z]{{2,4}}",
    rf"(?i:www)\.(?:(?:(?!/){_SITE}){{1,63}}\.){{1,9}}[A-Za-z]{{2,4}}/{_PATH}",
    rf"(?:{_HOST}{{1,63}}\.){{1,9}}(?i:com|net|org|edu)(?:/{_PATH})?",
    rf"<?[A-Za-z0-9]{_NET}{{0,255}}@(?:[^\s\"<>|(){{}}.]+\.)*[^\s\"<>|(){{}}.]+>?",
    rf"@[A-Za-z_][A-Za-z0-9_]*|\#{_SPELT}+",
    # All other words, then numbers: 1,000, 3.5, 10:30, :30, -2.5, +7.
    _DOTTED,
    _HYPHENED,
    _POINTED,
    rf"(?=[A-Za-z0-9-]+\\?/){_SLASHED}(?:\\?/{_SLASHED}){{1,2}}",
    r"\d{1,2}[/-]\d{1,2}[/-]\d{2,4}",
    r"[-+]?(?:\d*(?:[.,:\u00ad\u066b\u066c]\d+)+|\d+)",
    _FRACTION,
    _TELEPHONE,
    # Signs: US$; <b>; &amp;; -LRB-; :-) before no letter; runs of one sign; any sign alone.
    r"[A-Z]+\$",
    _TAG,
    r"(?i:&(?:amp|lt|gt|quot|apos|nbsp|[nm]dash);)|&\#\d+;",
    "(?i:-[lr][rcs]b-)",
    r"[<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]](?![A-Za-z0-9])",
    rf"\({_EYE}[_.]?{_EYE}\)|{_EYE}_{_EYE}",
    r"\.{3,4}|--+|[?!]+|\\\*|\*+|_+|\#+|@@+|<<|>>",
    rf"[\u207a\u207b\u208a\u208b]?{_POWER}",
    rf"{_QUOTE}{{1,2}}|''|[{_SIGNS}]",
)


@cache
def rules() -> tuple[re.Pattern[str], ...]:
    """Every rule; the longest match counts, the earlier rule's where two are equally long.

    The first group that took part in a match, if the rule has groups, is the token and the rest
    only its right context, as in ``(can)not``.
    """
    return tuple(re.compile(rule) for rule in _RULES)


@cache
def straightened() -> re.Pattern[str]:
    """Contractions and quotes, whose apostrophes are spelt straight; other words keep theirs."""
    return re.compile(rf"{_CLITIC}|{_QUOTE}{{1,2}}|''|\"|&apos;|&quot;")


@cache
def beyond_a_space() -> re.Pattern[str]:
    """What only a whole line shows, at the least; without it, a line may be read chunk by chunk."""
    final = r"\.(?:(?<=\b[A-Za-z]\.)\s|(?<![a-z]{5}\.)\s+\d)"
    return re.compile(rf"{final}|[\d)][ \u00a0]\d|<[A-Za-z/!?]")


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
