"""Published tables of features: every layout, and damage told in one sentence."""

import gzip
import json
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from published import BOXES, PARTS, SIZE, WIDTH, bottom_up_line, features, packed

from vlm.data.imports import read_features
from vlm.errors import InputError


def written(folder: Path, *lines: str, name: str = "features.tsv") -> Path:
    file = folder / name
    file.write_bytes("".join(lines).encode())
    return file


def test_bottom_up_attention(tmp_path):
    file = written(tmp_path, bottom_up_line(42, features(1)), bottom_up_line(7, features(2)))
    images = list(read_features(file))
    assert [image.image_id for image in images] == [42, 7]
    for image, seed in zip(images, (1, 2), strict=True):
        np.testing.assert_array_equal(image.features, features(seed))
        np.testing.assert_allclose(image.boxes, PARTS, atol=1e-6)
        assert image.features.dtype == image.boxes.dtype == np.float32
        assert image[4:] == SIZE
        assert image.file_name == ""


def test_the_number_of_boxes_may_change(tmp_path):
    lines = [
        bottom_up_line(1, features(1, 1), BOXES[:1]),
        bottom_up_line(2, features(2, 2), BOXES[1:]),
    ]
    images = list(read_features(written(tmp_path, *lines)))
    assert [len(image.features) for image in images] == [1, 2]
    np.testing.assert_allclose(images[1].boxes, PARTS[1:], atol=1e-6)


def test_a_header_names_columns_in_any_order(tmp_path):
    header = "image_id\timage_h\timage_w\tnum_boxes\tfeatures\tboxes\n"
    line = f"5\t{SIZE[0]}\t{SIZE[1]}\t3\t{packed(features(1))}\t{packed(BOXES)}\n"
    [image] = read_features(written(tmp_path, header, line))
    np.testing.assert_array_equal(image.features, features(1))
    np.testing.assert_allclose(image.boxes, PARTS, atol=1e-6)


def test_lxmert(tmp_path):
    few = packed(np.zeros(3, np.int64))
    name = "COCO_val2014_000000000042"
    line = [name, *map(str, SIZE), few, few, few, few, "3", packed(BOXES), packed(features(1))]
    [image] = read_features(written(tmp_path, "\t".join(line) + "\n"))
    assert image.image_id == 42
    assert image.file_name == f"{name}.jpg"
    np.testing.assert_array_equal(image.features, features(1))
    np.testing.assert_allclose(image.boxes, PARTS, atol=1e-6)


def vinvl() -> np.ndarray:
    """Features that end with their place."""
    return np.concatenate([features(1), PARTS, PARTS[:, 2:] - PARTS[:, :2]], axis=1)


def test_vinvl(tmp_path):
    [image] = read_features(written(tmp_path, f"9\t3\t{packed(vinvl())}\n"))
    np.testing.assert_array_equal(image.features, vinvl())
    np.testing.assert_array_equal(image.boxes, PARTS)
    assert image[4:] == (0, 0)


def test_oscar(tmp_path):
    content = json.dumps({"num_boxes": 3, "features": packed(vinvl())})
    file = written(tmp_path, f"9\t{content}\n")
    [image] = read_features(file, sizes={"9": SIZE})
    np.testing.assert_array_equal(image.features, vinvl())
    np.testing.assert_array_equal(image.boxes, PARTS)
    assert image[4:] == SIZE


def test_gzipped_and_in_several_files(tmp_path):
    folder = tmp_path / "features"
    folder.mkdir()
    written(folder, bottom_up_line(3, features(3)), name="b.tsv.1")
    written(folder, bottom_up_line(2, features(2)), name="b.tsv.0")
    written(folder, "no features", name="features.lineidx")
    (folder / "a.tsv.gz").write_bytes(gzip.compress(bottom_up_line(1, features(1)).encode()))
    assert [image.image_id for image in read_features(folder)] == [1, 2, 3]


def test_memory_does_not_grow_with_the_file(tmp_path):
    lines = [bottom_up_line(key, features(key, 3, 20_000)) for key in range(40)]
    file = written(tmp_path, *lines)
    tracemalloc.start()
    assert sum(1 for _ in read_features(file)) == 40
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < file.stat().st_size / 4


LINE = bottom_up_line(42, features(1))
HALF = LINE.split("\t")


def with_column(number: int, text: object) -> str:
    return "\t".join([*HALF[:number], str(text), *HALF[number + 1 :]])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LINE + LINE[:-9], "line 2.*not whole base64; the file may have been cut off"),
        (LINE + "\t".join(HALF[:4]), "line 2: expected 6 columns as in the first line, got 4"),
        (with_column(5, HALF[5][:101]), "line 1, image 42: the features are not whole base64"),
        (with_column(5, packed(features(1))[:-8]), "expected features of 3 regions as 32-bit fl"),
        (with_column(5, ""), "expected features of 3 regions as 32-bit floats, got 0 bytes"),
        (with_column(4, packed(BOXES[:2])), "expected boxes .* got 32 bytes|expected boxes"),
        (with_column(4, packed(BOXES[:, :2])), r"expected boxes \(3, 4\) .*, got \(3, 2\); they"),
        (with_column(3, "three"), "expected a whole number of 1 or more as num_boxes, got three"),
        (with_column(3, 0), "expected a whole number of 1 or more as num_boxes, got 0; fetch"),
        (with_column(1, -37), "expected a whole number of 1 or more as image_w, got -37; fetch"),
        (with_column(0, ""), "line 1 names no image; fetch the file again"),
        (with_column(5, packed(features(1) * np.nan)), "features that are not finite; write them"),
        (with_column(4, packed(BOXES + np.inf)), "boxes that are not finite; fetch them again"),
        (
            with_column(4, packed(BOXES * 2)),
            r"boxes beyond its 37 by 23 pixels \(width by height\)",
        ),
        (with_column(4, packed(BOXES[:, [2, 1, 0, 3]])), "boxes that end before they begin; give"),
        (LINE + LINE, "image 42 comes a second time in .*, as id 42; keep one"),
        (LINE + bottom_up_line("042", features(2)), "image 042 comes a second time"),
        (
            LINE + LINE[:-18],
            f"of width 6, those before it have {WIDTH}; import one kind .* cut off",
        ),
        (LINE + bottom_up_line(1, features(1, 3, 9)), f"of width 9, those before it have {WIDTH}"),
        ("a\tb\tc\td\n", "expected the columns image_id, image_w, .*; got 4, the first being a; g"),
        ("image_id\ta\tb\tc\td\te\n", "expected the columns .*; got 6, the first being image_id"),
        ("", "holds no image; fetch or write it again"),
        ("\n \n", "holds no image; fetch or write it again"),
        (f"9\t3\t{packed(features(1))}\n", "expected features that end with x0 y0 x1 y1 width he"),
        (f"9\t3\t{packed(features(1, 3, 5))}\n", "expected features that end with x0 y0 x1 y1"),
        ('9\t{"objects": []}\n', "expected JSON of num_boxes and features, got .*objects.*; give"),
        ("9\t[\n", "expected JSON of num_boxes and features, got"),
    ],
)
def test_damage_is_told_in_one_sentence(tmp_path, text, reason):
    with pytest.raises(InputError, match=reason) as told:
        list(read_features(written(tmp_path, text)))
    assert "\n" not in str(told.value)
    assert "features.tsv" in str(told.value)


def test_what_comes_before_the_damage_is_read(tmp_path):
    images = read_features(written(tmp_path, LINE, LINE[:-9]))
    assert next(images).image_id == 42
    with pytest.raises(InputError):
        next(images)


@pytest.mark.parametrize("cut", [9, 100, -1])
def test_a_gzip_that_is_cut_off(tmp_path, cut):
    file = tmp_path / "features.tsv.gz"
    file.write_bytes(gzip.compress(LINE.encode())[:cut])
    with pytest.raises(
        InputError, match=r"features\.tsv\.gz cannot be read \(.*\); fetch it again"
    ):
        list(read_features(file))


def test_a_gzip_that_is_none(tmp_path):
    file = tmp_path / "features.tsv.gz"
    file.write_text(LINE)
    with pytest.raises(InputError, match=r"cannot be read \(it was cut off or is no gzip\); fetch"):
        list(read_features(file))


def test_lines_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("vlm.data.imports.tsv.LONGEST_LINE", 1000)
    file = written(tmp_path, "x" * 5000)
    reason = re.escape(f"{file} has a line of 1000 bytes or more, as no table of features has")
    with pytest.raises(InputError, match=reason):
        list(read_features(file))
