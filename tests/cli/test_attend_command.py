"""``vlm attend``: its files, its reductions, given captions, and what it refuses."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm.cli import main
from vlm.formats.word_maps import read_word_maps
from vlm.training import CaptioningModule


@pytest.fixture
def photo(tiny_world: Path) -> Path:
    return sorted((tiny_world / "images").iterdir())[0]


@pytest.fixture
def attend(tiny_checkpoint: Path, tmp_path: Path, capsys):
    """Runs it; what was printed, and whether it went well."""

    def run(*arguments: object) -> tuple[int, str]:
        options = ["--output", str(tmp_path / "maps")]
        status = main(["attend", str(tiny_checkpoint), *map(str, arguments), *options])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


def blocks(page: Path, name: str) -> list[dict]:
    """JSON in a page, by the beginning of its name."""
    pattern = rf'<script id="{name}[-0-9]*" type="application/json">(.*?)</script>'
    return [json.loads(found) for found in re.findall(pattern, page.read_text("utf-8"), re.DOTALL)]


def test_numbers_and_picture_share_a_name_that_is_not_taken(attend, photo, tmp_path):
    assert attend(photo)[0] == 0
    other = tmp_path / "other" / photo.name
    other.parent.mkdir()
    other.write_bytes(photo.read_bytes())
    status, said = attend(photo, other, "--npz", "--reduction", "rollout")
    assert status == 0
    names = {path.name for path in (tmp_path / "maps").iterdir()}
    stem = photo.stem
    assert names == {f"{stem}{n}" for n in (".png", "-2.png", "-2.npz", "-3.png", "-3.npz")}
    assert f"{stem}-3.npz" in said
    assert "rollout: deletion 0." in said
    assert said.count("by chance") == 2


def test_the_file_is_what_python_returns(attend, photo, tmp_path, tiny_checkpoint):
    assert attend(photo, "--npz", "--reduction", "relevance")[0] == 0
    maps = read_word_maps(tmp_path / "maps" / f"{photo.stem}.npz")
    expected = CaptioningModule.load(tiny_checkpoint).attend(photo, reduction="relevance")
    assert maps.words == expected.words
    assert maps.image == expected.image == str(photo)
    assert maps.reduction == "relevance"
    for name in ("weights", "map", "probabilities", "boxes"):
        np.testing.assert_allclose(getattr(maps, name), getattr(expected, name), atol=1e-5)
    np.testing.assert_allclose(maps.map.sum(axis=1), 1, atol=1e-5)


def test_a_given_caption_is_read_in_place_of_one_that_is_written(attend, photo, tmp_path):
    status, said = attend(photo, "--npz", "--caption", "A large, red star.")
    assert status == 0
    assert f"{photo}: a large red star\n" in said
    maps = read_word_maps(tmp_path / "maps" / f"{photo.stem}.npz")
    assert maps.words == ("a", "large", "red", "star")
    assert (maps.probabilities > 0).all()


def test_a_photo_on_its_side_is_drawn_the_right_way_up(attend, photo, tmp_path):
    with Image.open(photo) as image:
        image.convert("RGB").save(tmp_path / "upright.png")
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was turned: a quarter turn clockwise makes it upright
        image.convert("RGB").transpose(Image.Transpose.ROTATE_90).save(
            tmp_path / "turned.png", exif=exif
        )
    assert attend(tmp_path / "upright.png", tmp_path / "turned.png", "--npz")[0] == 0
    one, other = (tmp_path / "maps" / f"{name}.png" for name in ("upright", "turned"))
    with Image.open(one) as upright, Image.open(other) as turned:
        assert upright.size == turned.size
        away = np.asarray(upright, dtype=int) - np.asarray(turned, dtype=int)
        assert upright.height < upright.width / 2, "wide as the scene is"
    assert abs(away).mean() < 0.1, "but for the rounding of a resize that went the other way"
    boxes = [read_word_maps(file.with_suffix(".npz")).boxes for file in (one, other)]
    np.testing.assert_array_equal(*boxes)


def test_a_tall_photo_has_tall_panels(attend, photo, tmp_path):
    with Image.open(photo) as image:
        image.resize((100, 200)).save(tmp_path / "tall.png")
    assert attend(tmp_path / "tall.png", "--caption", "a star")[0] == 0
    with Image.open(tmp_path / "maps" / "tall.png") as drawn:
        assert drawn.size == (3 * 372 + 12, 720 + 52 + 24)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--reduction", "layer-9"], "there is no reduction 'layer-9'; there are last, mean, "),
        (["--reduction", "layer-1-head-9"], "layer-1-head-1 to layer-2-head-4"),
        (["--caption", "a zyzzyva on a red quux zyzzyva"], "cannot write 'zyzzyva', 'quux' of"),
        (["--caption", " ... "], "expected a caption of 1 to"),
        (["--caption", "red " * 99], "tokens, got 99 in 'red red"),
        (["--caption", "a star", "--question", "what?"], "were both given; give one"),
        (["--question", "what color is the star?"], "answers no questions"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_sentence(attend, photo, tmp_path, options, told):
    status, said = attend(photo, *options)
    assert status == 2
    assert said.startswith("vlm: error: ")
    assert said.count("\n") == 1
    assert told in said
    assert not list((tmp_path / "maps").glob("*"))


def test_a_page_of_one_photo_has_its_beams_and_all_reductions_that_are_fast(
    attend, photo, tmp_path
):
    status, said = attend(photo, "--html", "--beams", 2, "--reduction", "gradient")
    assert status == 0
    page = tmp_path / "maps" / f"{photo.stem}.html"
    assert f"page: {page}" in said
    assert page.stat().st_size < 400_000
    (entry,) = blocks(page, "entry")
    (listed,) = blocks(page, "page")[0]["entries"]
    assert len(listed["texts"]) == 2
    best, other = entry["readings"]
    assert {"rollout", "gradient", "relevance", "attnlrp"} <= set(best["maps"])
    assert set(other["maps"]) == {"gradient"}
    assert {"gradient", "last", "mean", "layer-1", "by chance"} <= set(best["deletion"])


def test_a_page_that_is_there_is_not_written_over(attend, photo, tmp_path):
    (tmp_path / "maps").mkdir()
    for name in (f"{photo.stem}.html", "index.html", "index-2.html"):
        (tmp_path / "maps" / name).write_text("mine")
    for photos, name in (([photo], f"{photo.stem}-2.html"), ([photo, photo], "index-3.html")):
        status, said = attend(*photos, "--html", "--caption", "a star")
        assert status == 0
        assert f"page: {tmp_path / 'maps' / name}\n" in said
    assert (tmp_path / "maps" / "index.html").read_text() == "mine"


def odd_photos(folder: Path, photo: Path) -> list[Path]:
    """Photos of every kind that people have, some with names that need care."""
    with Image.open(photo) as image:
        scene = image.convert("RGB")
    folder.mkdir()
    pictures = {
        "grey.png": scene.convert("L"),
        "print.jpg": scene.convert("CMYK"),
        "clear.png": Image.merge("RGBA", [*scene.split(), scene.convert("L")]),
        "palette.png": scene.convert("P"),
        "bits.png": scene.convert("1"),
        "deep.png": Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100),
        "dot.png": Image.new("RGB", (1, 1), "red"),
        "line.png": Image.new("RGB", (900, 1), "red"),
        'dog \N{DOG FACE} "it\'s" <b>.jpg': scene,
    }
    for name, picture in pictures.items():
        picture.save(folder / name)
    scene.save(folder / "moving.gif", save_all=True, append_images=[scene.rotate(90)])
    return [*(folder / name for name in pictures), folder / "moving.gif"]


def test_photos_of_every_kind_have_pictures_numbers_and_a_page(attend, photo, tmp_path):
    photos = odd_photos(tmp_path / "odd", photo)
    status, said = attend(*photos, "--html", "--npz", "--caption", "a \N{DOG FACE} “red” star")
    assert status == 0
    assert said.count("a red star") == len(photos)
    for each in photos:
        drawn = tmp_path / "maps" / f"{each.stem}.png"
        with Image.open(drawn) as picture:
            assert picture.mode == "RGB"
        assert read_word_maps(drawn.with_suffix(".npz")).words == ("a", "red", "star")
    (listed,) = blocks(tmp_path / "maps" / "index.html", "page")
    assert [entry["title"] for entry in listed["entries"]] == [each.name for each in photos]


def test_a_photo_far_larger_than_a_screen_is_shrunk(attend, photo, tmp_path):
    with Image.open(photo) as image:
        image.resize((8000, 6400)).save(tmp_path / "large.jpg")
    assert attend(tmp_path / "large.jpg", "--html", "--caption", "a star")[0] == 0
    page = tmp_path / "maps" / "large.html"
    assert page.stat().st_size < 400_000
    (entry,) = blocks(page, "entry")
    assert (entry["size"], entry["shown"]) == ([8000, 6400], [512, 410])


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("gone.jpg", None, "gone.jpg does not exist; check the path"),
        ("empty.jpg", b"", "empty.jpg is empty; restore, convert or remove it"),
        ("text.jpg", b"a dog", "text.jpg is not an image that can be read; restore, convert"),
        ("cut.png", 0.5, "cut.png cannot be read"),
    ],
)
def test_a_photo_that_cannot_be_used_is_refused_before_all_work(
    attend, photo, tmp_path, name, content, told
):
    broken = tmp_path / name
    if isinstance(content, float):
        with Image.open(photo) as image:
            image.save(broken)
        content = broken.read_bytes()[: int(content * broken.stat().st_size)]
    if content is not None:
        broken.write_bytes(content)
    status, said = attend(photo, broken, "--html")
    assert (status, said.count("\n")) == (2, 1)
    assert said.startswith("vlm: error: 1 of 2 images of the command line cannot be used: image ")
    assert told in said
    assert not (tmp_path / "maps").exists()


def test_an_output_that_cannot_be_written_is_refused_in_one_sentence(attend, photo, tmp_path):
    (tmp_path / "maps").write_text("a file")
    status, said = attend(photo)
    assert (status, said) == (
        2,
        f"vlm: error: {tmp_path / 'maps'}: File exists; give another path\n",
    )


def test_a_page_of_several_photos_is_an_index(attend, tiny_world, tmp_path):
    photos = sorted((tiny_world / "images").iterdir())[:3]
    status, said = attend(*photos, "--html")
    assert status == 0
    page = tmp_path / "maps" / "index.html"
    assert str(page) in said
    titles = [entry["title"] for entry in blocks(page, "page")[0]["entries"]]
    assert titles == [photo.name for photo in photos]
    assert all(len(entry["readings"]) == 1 for entry in blocks(page, "entry"))
