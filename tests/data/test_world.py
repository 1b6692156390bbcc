"""The built-in world: deterministic, unambiguous, compositionally split, and COCO on disk."""

import json
from collections import Counter
from dataclasses import replace
from itertools import combinations as pairs
from itertools import product

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from vlm.data.world import (
    SPLITS,
    Scene,
    SceneObject,
    World,
    captions,
    draw,
)
from vlm.data.world.scene import (
    BACKGROUNDS,
    COLOURS,
    MATERIALS,
    RELATIONS,
    SHAPES,
    SIZES,
    combinations,
)
from vlm.data.world.shapes import AREA, area, outline
from vlm.errors import InputError
from vlm.formats.captions import read_captions

WORLD = World(seed=7)
SCENES = {split: [WORLD.scene(split, index) for index in range(53)] for split in SPLITS}
EVERY_SCENE = [scene for scenes in SCENES.values() for scene in scenes]


def thing(colour="red", material="plain", shape="square", *, x=30.0, y=20.0, radius=10.0, tilt=0.0):
    return SceneObject(colour, material, shape, "large", x=x, y=y, radius=radius, tilt=tilt)


def still(*objects, background="sky", relation="left", height=41, width=67):
    return Scene(objects, relation, background, height, width, unseen=False, seed=11)


# Scenes


@pytest.mark.parametrize("seed", [0, 5, 12345])
def test_held_out_combinations_leave_every_attribute_and_every_pair_to_training(seed):
    seen, unseen = combinations(seed, unseen=False), combinations(seed, unseen=True)
    assert sorted(seen + unseen) == sorted(product(COLOURS, MATERIALS, SHAPES))
    assert len(unseen) == len(seen + unseen) // 8
    for first, second in pairs((COLOURS, MATERIALS, SHAPES), 2):
        places = [
            n for n, values in enumerate((COLOURS, MATERIALS, SHAPES)) if values in (first, second)
        ]
        occurring = {tuple(combination[place] for place in places) for combination in seen}
        assert occurring == set(product(first, second))
    for place, values in enumerate((COLOURS, MATERIALS, SHAPES)):
        assert {combination[place] for combination in unseen} == set(values)


def test_only_test_scenes_hold_held_out_combinations():
    held_out = set(combinations(WORLD.seed, unseen=True))
    for split, scenes in SCENES.items():
        for scene in scenes:
            assert scene.unseen == (split == "test")
            told = [one.combination in held_out for one in scene.objects[:2]]
            assert told == [scene.unseen] * 2
            assert not any(one.combination in held_out for one in scene.objects[2:])


def test_portraits_hold_one_object_and_keep_the_split():
    held_out = set(combinations(WORLD.seed, unseen=True))
    for unseen in (False, True):
        portraits = [WORLD.portrait(index, unseen=unseen) for index in range(59)]
        assert all(len(portrait.objects) == 1 for portrait in portraits)
        assert all((p.objects[0].combination in held_out) == unseen for p in portraits)
        assert {portrait.objects[0].size for portrait in portraits} == set(SIZES)


def test_a_scene_depends_on_seed_split_and_index_alone():
    assert World(7).scene("val", 3) == SCENES["val"][3]
    others = [World(8).scene("val", 3), WORLD.scene("val", 4), WORLD.scene("test_seen", 3)]
    assert len({*others, SCENES["val"][3]}) == 4


def test_a_scene_survives_json():
    scene = SCENES["test"][0]
    assert Scene.from_record(json.loads(json.dumps(scene.record))) == scene


def test_the_subject_is_by_far_the_largest_and_the_second_by_far_the_nearest():
    for scene in EVERY_SCENE:
        subject, second, *clutter = scene.objects
        sizes = [one.radius**2 for one in scene.objects]
        assert sizes[0] > 1.5 * sizes[1]
        distances = [np.hypot(one.x - subject.x, one.y - subject.y) for one in (second, *clutter)]
        assert all(sizes[1] > 2.5 * size for size in sizes[2:])
        edges = [d - one.radius for d, one in zip(distances, (second, *clutter), strict=True)]
        assert all(edge > edges[0] + 5 for edge in edges[1:])


def test_the_relation_holds_by_far():
    for scene in EVERY_SCENE:
        subject, second = scene.objects[:2]
        right, down = subject.x - second.x, subject.y - second.y
        along = {"left": -right, "right": right, "above": -down, "below": down}[scene.relation]
        across = abs(down if scene.relation in ("left", "right") else right)
        assert along > 2.5 * across


def test_attributes_are_uniform_and_of_all_kinds():
    subjects = [WORLD.scene("train", index) for index in range(2000)]
    for values, drawn in (
        (COLOURS, [s.objects[0].colour for s in subjects]),
        (MATERIALS, [s.objects[0].material for s in subjects]),
        (SHAPES, [s.objects[0].shape for s in subjects]),
        (SIZES[:2], [s.objects[0].size for s in subjects]),
        (RELATIONS, [s.relation for s in subjects]),
        (BACKGROUNDS, [s.background for s in subjects]),
        ((2, 3, 4), [len(s.objects) for s in subjects]),
    ):
        counts = Counter(drawn)
        assert set(counts) == set(values)
        assert min(counts.values()) > 0.7 * len(subjects) / len(values)


@pytest.mark.parametrize(("split", "index"), [("dev", 0), ("val", -1), ("val", 10**6)])
def test_a_scene_that_does_not_exist_is_refused(split, index):
    with pytest.raises(InputError, match=r"no split 'dev'; choose|scene -?\d+ does not exist"):
        WORLD.scene(split, index)


# Pictures


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_have_one_area_and_fit_where_the_layout_expects_them(shape):
    solid, *holes = outline(shape)
    assert area(solid) - sum(map(area, holes)) == pytest.approx(AREA)
    assert np.hypot(*solid.T).max() <= 1.25
    (mask,) = draw(still(thing(shape=shape, x=33.0, y=21.0, tilt=9.0)))[1]
    assert mask.sum() == pytest.approx(2 * 10.0**2, rel=0.06)


def test_masks_show_where_objects_are():
    pixels, (mask,) = draw(still(thing(x=41.5, y=17.5, radius=12 * 0.5**0.5)))
    assert pixels.shape == (41, 67, 3)
    assert pixels.dtype == np.uint8
    expected = np.zeros((41, 67), dtype=bool)
    expected[12:24, 36:48] = True  # y 11.5 to 23.5, x 35.5 to 47.5: half pixels do not count
    assert np.abs(mask ^ expected).sum() <= 2 * 12
    rows, columns = np.nonzero(mask)
    assert rows.mean() + 0.5 == pytest.approx(17.5, abs=0.51)
    assert columns.mean() + 0.5 == pytest.approx(41.5, abs=0.51)


def test_objects_do_not_overlap_and_lie_within_the_picture():
    for scene in SCENES["train"] + SCENES["test"]:
        masks = draw(scene)[1]
        assert masks.shape == (len(scene.objects), scene.height, scene.width)
        assert masks.sum(axis=0).max() == 1
        for mask, one in zip(masks, scene.objects, strict=True):
            # Pillow fills a polygon's border too: an eighth of a pixel more on every side.
            assert mask.sum() == pytest.approx(2 * one.radius**2, rel=0.15)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_plain_object_shows_its_colour_and_a_patterned_one_a_second(colour):
    def spread(material):
        pixels = draw(still(thing(colour, material, x=33.0, radius=18.0)))[0]
        return pixels[12:28, 25:41].astype(float).std(axis=0).max()  # within the rim

    assert all(spread(material) > 5 * spread("plain") for material in MATERIALS[1:])


def test_colours_of_plain_objects_are_far_apart():
    def mean(colour):
        pixels, (mask,) = draw(still(thing(colour, radius=16.0)))
        return pixels[mask].mean(axis=0)

    means = {colour: mean(colour) for colour in COLOURS}
    assert min(np.abs(means[a] - means[b]).max() for a, b in pairs(COLOURS, 2)) > 40


def test_edges_are_anti_aliased():
    circle = still(thing("white", shape="circle", x=33.0, y=20.0, radius=14.0), background="night")
    brightness = draw(circle)[0][20, :33].astype(float).mean(axis=1)
    inside, outside = brightness[-5], brightness[5]
    assert np.any((brightness > outside + 30) & (brightness < inside - 30))


def test_an_object_beyond_the_border_is_cut_off_there():
    _, (mask,) = draw(still(thing(x=0.0, y=40.0)))
    assert 0 < mask.sum() < 200
    assert not mask[:, 12:].any()


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_backgrounds_differ_by_kind_and_by_seed(background):
    empty = still(background=background)
    pixels = draw(empty)[0].astype(float)
    assert np.abs(draw(replace(empty, seed=12))[0] - pixels).max() > 0
    others = [draw(still(background=other))[0] for other in BACKGROUNDS if other != background]
    assert all(
        np.abs(other.mean(axis=(0, 1)) - pixels.mean(axis=(0, 1))).max() > 5 for other in others
    )


# Files


# pycocotools 2.0.11 decodes masks through an __array__ of NumPy 1.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_world_is_written_as_coco(tmp_path):
    steps = []
    WORLD.write(
        tmp_path, {"train": 5, "test": 3}, progress=lambda done, total: steps.append((done, total))
    )
    assert steps == [(done, 8) for done in range(1, 9)]
    ids = []
    for split, count in (("train", 5), ("test", 3)):
        samples = read_captions(tmp_path / f"captions_{split}.json", tmp_path / "images")
        assert [sample.captions for sample in samples] == [
            tuple(captions(s)) for s in SCENES[split][:count]
        ]
        coco = COCO(tmp_path / f"instances_{split}.json")
        assert coco.getImgIds() == [sample.image_id for sample in samples]
        for sample, scene in zip(samples, SCENES[split], strict=False):
            pixels, masks = draw(scene)
            assert_like(sample.path, pixels)
            entry = coco.loadImgs(sample.image_id)[0]
            assert (entry["height"], entry["width"]) == (128, 160)
            assert Scene.from_record(entry["scene"]) == scene
            assert entry["unseen"] == (split == "test")
            assert_annotated(coco, coco.imgToAnns[sample.image_id], scene, masks)
        ids += coco.getImgIds()
    assert len(set(ids)) == 8


def assert_like(path, pixels):
    with Image.open(path) as image:
        assert np.abs(np.asarray(image).astype(float) - pixels).mean() < 3  # what JPEG loses


def assert_annotated(coco, annotations, scene, masks):
    for annotation, one, mask in zip(annotations, scene.objects, masks, strict=True):
        assert (coco.annToMask(annotation) == mask).all()
        assert coco.loadCats(annotation["category_id"])[0]["name"] == one.shape
        rows, columns = np.nonzero(mask)
        left, top, width, height = annotation["bbox"]
        assert (left, top) == (columns.min(), rows.min())
        assert (left + width - 1, top + height - 1) == (columns.max(), rows.max())
        assert annotation["area"] == mask.sum()


def test_the_same_world_is_written_with_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        World(seed=3).write(tmp_path / name, {"val": 3})
    one, two = (
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*.*")}
        for name in ("one", "two")
    )
    assert one == two
    assert len(one) == 3 + 4


def test_an_unknown_split_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="no split 'dev'; choose one of train, val"):
        WORLD.write(tmp_path / "world", {"train": 2, "dev": 1})
    assert not (tmp_path / "world").exists()
