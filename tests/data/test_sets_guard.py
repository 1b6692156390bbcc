"""No photo is trained on and scored, whatever year, folder or spelling it goes by."""

from pathlib import Path

import pytest

from vlm.data.sets.guard import coco_number, refuse_shared, shared_ids
from vlm.errors import InputError
from vlm.formats.captions import CaptionSample, read_captions


def sample(image_id: int | str, path: str) -> CaptionSample:
    return CaptionSample(image_id, Path(path), ())


ONE = [
    # COCO 2014 and 2017, train and val, ids or names alone
    (sample(9, "train2014/COCO_train2014_000000000009.jpg"), sample(9, "000000000009.jpg")),
    (sample(42, "COCO_val2014_000000000042.jpg"), sample(42, "train2017/000000000042.jpg")),
    (sample(1, "a/COCO_test2015_000000000001.jpg"), sample(1, "b/COCO_test2014_000000000001.jpg")),
    (sample("a", "COCO_val2014_000000000042.jpg"), sample("b", "000000000042.png")),
    (sample("COCO_val2014_000000000042.jpg", "x"), sample("val2017/000000000042.jpg", "y")),
    # Flickr: a name, wherever it lies
    (sample("12_ab.jpg", "here/12_ab.jpg"), sample("12_ab.jpg", "there/12_ab.jpg")),
    (sample(977, "here/12_ab.jpg"), sample(977, "there/12_ab.jpg")),
    # one file under two ids
    (sample(1, "images/a.jpg"), sample("other", "images/a.jpg")),
]
TWO = [
    (sample(9, "COCO_train2014_000000000009.jpg"), sample(90, "000000000090.jpg")),
    # every set counts from one: nocaps' image 9 is not COCO's, nor is a drawn scene's
    (sample(9, "COCO_train2014_000000000009.jpg"), sample(9, "0013ea2087020901.jpg")),
    (sample(1, "images/train_000001.jpg"), sample(1, "images/val_000001.jpg")),
    (sample("train/1.jpg", "images/train/1.jpg"), sample("val/1.jpg", "images/val/1.jpg")),
]


@pytest.mark.parametrize(("first", "second"), ONE)
def test_one_photo_is_found(first, second):
    others = [sample(number, f"{number:06}.jpg") for number in range(100, 110)]
    assert shared_ids([*others, first], [second]) == [second.image_id]
    assert shared_ids([second], [first, *others]) == [first.image_id]
    with pytest.raises(InputError) as told:
        refuse_shared([first], [*others, second], split="val")
    assert str(told.value) == (
        f"expected no image in both train and val, got 1: {second.image_id}; remove them from the "
        "training file, or scores tell what was learnt by heart"
    )


@pytest.mark.parametrize(("first", "second"), TWO)
def test_two_photos_are_two(first, second):
    assert shared_ids([first], [second]) == []
    refuse_shared([first], [second])


def test_the_first_ids_are_named_in_the_order_of_the_evaluation():
    train = [sample(n, f"COCO_val2014_{n:012}.jpg") for n in range(1, 30)]
    val = [sample(n, f"{n:012}.jpg") for n in (7, 3, 31, 5, 11, 2, 13)]
    with pytest.raises(InputError, match="train and evaluation, got 6: 7, 3, 5, 11, 2 and 1 more;"):
        refuse_shared(train, val)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("COCO_train2014_000000000009.jpg", 9),
        ("COCO_val2014_000000581929.npz", 581929),
        ("000000000009", 9),
        ("0013ea2087020901.jpg", None),
        ("00000000009.jpg", None),
        ("COCO_train2014_9.jpg", None),
        ("xCOCO_train2014_000000000009.jpg", None),
    ],
)
def test_the_number_in_a_name(name, number):
    assert coco_number(name) == number


def test_real_splits(shared):
    data = shared / "data"
    for name in ("coco", "flickr8k"):
        train, val = (
            read_captions(data / name / f"annotations/captions_{split}.json", data / name)
            for split in ("train", "val")
        )
        refuse_shared(train, val)
        assert len(shared_ids(train, [*val, *train[:3]])) == 3
