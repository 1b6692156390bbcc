"""CHAIR against the published program, and by hand."""

import json
from pathlib import Path

import pytest

from vlm.errors import InputError
from vlm.metrics.hallucination import Synonyms, chair, published_singular


def test_equals_the_published_program(shared: Path):
    # chair.json: the program of LisaAnne/Hallucination with textblob's copy of pattern.en.
    folder = shared / "goldens" / "chair"
    golden = json.loads((folder / "chair.json").read_text())
    names = {kind["id"]: kind["name"] for kind in golden["instances"]["categories"]}
    captions = {row["image_id"]: row["caption"] for row in golden["candidates"]}
    objects: dict[int, set[str]] = {key: set() for key in captions}
    for row in golden["instances"]["annotations"]:
        objects[row["image_id"]].add(names[row["category_id"]])
    references: dict[int, list[str]] = {}
    for row in golden["reference_annotations"]:
        references.setdefault(row["image_id"], []).append(row["caption"])
    synonyms = Synonyms.published(folder / "synonyms.txt")
    scores = chair(captions, references, objects, synonyms=synonyms)
    assert scores.chair_s == golden["expected"]["CHAIRs"]
    assert scores.chair_i == golden["expected"]["CHAIRi"]
    for row in golden["expected"]["sentences"]:
        image = row["image_id"]
        assert scores.mentioned[image] == row["generated_objects"], row["caption"]
        assert scores.hallucinated[image] == [kind for _, kind in row["hallucinated"]]


@pytest.mark.parametrize(
    ("caption", "classes"),
    [
        ("Two men ride buses and bicycles", ["person", "bus", "bicycle"]),
        ("a baby elephant beside a baby", ["elephant", "person"]),
        ("a hot dog near wine glasses", ["hot dog", "wine glass"]),
        ("train tracks behind home plate", []),
        ("a toilet seat", ["toilet"]),
        ("three puppies, geese and sheep", ["dog", "bird", "sheep"]),
        ("knives and scissors on benches", ["knife", "scissors", "bench"]),
        ("green grass", []),
        ("taxis behind two border collies", ["car", "dog"]),
        ("a toilet with its seat up, then a stool", ["toilet", "chair"]),
        ("Seats of toilets.", ["toilet"]),
        ("a hot, dog", ["dog"]),
        ("a man's dog. The cat's \u2018ball\u2019!", ["person", "dog", "cat", "sports ball"]),
        ("five o'clock", []),
    ],
)
def test_what_a_caption_names(caption: str, classes: list[str]):
    scores = chair({1: caption}, {}, {1: ()}, synonyms=Synonyms.own())
    assert scores.mentioned[1] == classes
    assert scores.hallucinated[1] == classes
    assert scores.chair_s == bool(classes)


def test_what_people_or_annotations_saw_is_there():
    captions = {1: "a dog and a cat on a sofa", 2: "a kite", 3: "grass"}
    scores = chair(
        captions,
        {1: ["a puppy"], 2: []},
        {1: {"couch"}, 2: {"kite"}, 3: ()},
        synonyms=Synonyms.own(),
    )
    assert scores.hallucinated == {1: ["cat"], 2: [], 3: []}
    assert scores.chair_s == pytest.approx(1 / 3)
    assert scores.chair_i == pytest.approx(1 / 4)
    assert [scores.share(image) for image in captions] == [pytest.approx(1 / 3), 0, None]


def test_our_table_names_the_80_classes_of_coco(shared: Path):
    instances = json.loads((shared / "data/coco/annotations/instances_val.json").read_text())
    names = {kind["name"] for kind in instances["categories"]}
    classes = set(Synonyms.own().class_of.values()) - {""}
    assert len(classes) == 80
    assert names <= classes


def test_every_name_of_our_table_can_be_found():
    synonyms = Synonyms.own()
    lost = [
        name
        for name, kind in synonyms.class_of.items()
        if kind and kind not in synonyms.mentions(name)
    ]
    assert lost == []


def test_the_published_singular_has_its_faults():
    words = {
        "taxis": "taxi",
        "skis": "ski",
        "tennis": "tenni",
        "bus": "bu",
        "glass": "glas",
        "ties": "ty",
        "buses": "bus",
        "dogs": "dog",
    }
    assert {word: published_singular(word) for word in words} == words


def test_a_shared_table_has_seats_of_toilets_too(tmp_path: Path):
    (tmp_path / "table.txt").write_text("chair, seat\ntoilet, potty\nlaptop, computer\n")
    synonyms = Synonyms.published(tmp_path / "table.txt")
    assert synonyms.mentions("a toilet with a wooden seat") == ["toilet"]
    assert synonyms.mentions("a seat") == ["chair"]
    assert synonyms.mentions("a laptop, computer") == ["laptop", "laptop"]


def test_classes_that_the_table_lacks_are_named():
    with pytest.raises(InputError, match=r"lacks the classes 'lamp', 'lynx' of the instances; add"):
        chair({1: "a"}, {}, {1: ["lynx", "dog", "lamp"]}, synonyms=Synonyms.own())


def test_an_image_without_annotations_is_named():
    with pytest.raises(InputError, match=r"^image 2 has a caption but no entry in the instances"):
        chair({1: "a", 2: "b"}, {}, {1: ()}, synonyms=Synonyms.own())
    many = dict.fromkeys(range(8), "a")
    with pytest.raises(InputError, match=r"^images 1, 2, 3, 4, 5 and 2 more have a caption but no"):
        chair(many, {}, {0: ()}, synonyms=Synonyms.own())
    with pytest.raises(InputError, match="no captions to look for objects in"):
        chair({}, {}, {}, synonyms=Synonyms.own())


def test_a_table_that_is_none_is_told(tmp_path: Path):
    (tmp_path / "table.txt").write_text("just words\n")
    with pytest.raises(
        InputError, match=r"table\.txt holds 1 lines; expected two or more of 'class,"
    ):
        Synonyms.published(tmp_path / "table.txt")
