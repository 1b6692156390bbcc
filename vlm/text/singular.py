"""English nouns in the singular, by rules and the irregular ones that captions use."""

from functools import lru_cache

IRREGULAR = {
    "men": "man",
    "women": "woman",
    "people": "person",
    "children": "child",
    "mice": "mouse",
    "geese": "goose",
    "oxen": "ox",
    "feet": "foot",
    "teeth": "tooth",
    "knives": "knife",
    "wives": "wife",
    "lives": "life",
    "leaves": "leaf",
    "loaves": "loaf",
    "shelves": "shelf",
    "halves": "half",
    "calves": "calf",
    "wolves": "wolf",
    "hooves": "hoof",
    "scarves": "scarf",
    "elves": "elf",
    "thieves": "thief",
    "buses": "bus",
    "gases": "gas",
    "quizzes": "quiz",
    "movies": "movie",
    "cookies": "cookie",
    "veggies": "veggie",
    "hoodies": "hoodie",
    "selfies": "selfie",
    "doggies": "doggie",
    "collies": "collie",
    "corgis": "corgi",
    "taxis": "taxi",
    "zombies": "zombie",
    "pies": "pie",
    "ties": "tie",
    "shoes": "shoe",
    "canoes": "canoe",
    "toes": "toe",
    "axes": "axe",
}
COMPOUNDS = ("men", "women", "children", "people", "knives", "wives")
UNCHANGED = (
    *("scissors", "shears", "series", "species", "gas", "lens", "canvas"),
    *("as", "has", "his", "was", "yes"),
)


@lru_cache(2**14)
def singular(word: str) -> str:
    """A noun's singular; words that are no plural stay as they are.

    Args:
        word: lower-case.
    """
    if word in IRREGULAR:
        return IRREGULAR[word]
    ending = next((end for end in COMPOUNDS if word.endswith(end) and word != end), None)
    if ending:
        return word.removesuffix(ending) + IRREGULAR[ending]
    if len(word) < 3 or not word.endswith("s") or word in UNCHANGED:
        return word
    if word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes", "zzes", "oes")):
        return word[:-2]
    return word[:-1]
