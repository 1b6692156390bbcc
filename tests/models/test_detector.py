"""Boxes of torchvision detectors with random weights; no network."""

import urllib.error
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from vlm.errors import InputError
from vlm.models import detector as module
from vlm.models.detector import Detector, best_boxes

TWO_STAGE, ONE_STAGE = "fasterrcnn_mobilenet_v3_large_320_fpn", "ssdlite320_mobilenet_v3_large"


def picture(height: int, width: int) -> Tensor:
    return torch.randint(
        256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(width)
    )


@pytest.fixture(scope="module")
def detector() -> Detector:
    """Random weights are sure of nothing: no threshold, or nothing would be seen."""
    torch.manual_seed(7)
    return Detector(TWO_STAGE, None, boxes=5, score_threshold=0.0)


@pytest.fixture(scope="module")
def state(detector: Detector) -> dict[str, Tensor]:
    return detector._model.state_dict()


def test_boxes_are_few_and_within_the_image(detector: Detector):
    found = detector([picture(37, 53), picture(61, 29)])
    for boxes, scores in found:
        assert len(scores) == len(boxes)
        assert (scores.diff() <= 0).all()
        assert 0 < len(boxes) <= 5
        assert boxes.shape[1] == 4
        assert ((boxes >= 0) & (boxes <= 1)).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert not boxes.requires_grad


def test_boxes_are_the_same_each_time_and_in_either_type(detector: Detector):
    image = picture(37, 53)
    first = detector([image])[0].boxes
    assert torch.equal(first, detector([image])[0].boxes)
    assert torch.equal(first, detector([image.float() / 255])[0].boxes)


def test_a_batch_is_its_images_one_by_one(detector: Detector):
    images = [picture(37, 53), picture(37, 53)]
    together = detector(images)
    torch.testing.assert_close(together[0].boxes, detector(images[:1])[0].boxes)
    torch.testing.assert_close(together[1].boxes, together[0].boxes)


def test_the_most_confident_come_first_and_one_a_place():
    boxes = torch.tensor(
        [[0, 0, 10, 10], [0, 0, 10, 9.5], [20, 0, 30, 9], [40, 0, 50, 9], [60, 0, 70, 9]]
    )
    scores = torch.tensor([0.2, 0.5, 0.5, 0.9, 0.1])
    # The first is the second's place; equal scores stay in order.
    assert best_boxes(boxes, scores, 9).boxes.tolist() == boxes[[3, 1, 2, 4]].tolist()
    assert best_boxes(boxes, scores, 2).scores.tolist() == scores[[3, 1]].tolist()


def test_nothing_certain_is_no_box(state: dict[str, Tensor], tmp_path: Path):
    torch.save(state, tmp_path / "weights.pth")
    certain = Detector(TWO_STAGE, str(tmp_path / "weights.pth"), boxes=5, score_threshold=0.99)
    [found] = certain([picture(37, 53)])
    assert found.boxes.shape == (0, 4)


def test_one_stage_models_are_limited_too():
    torch.manual_seed(3)
    detector = Detector(ONE_STAGE, None, boxes=7, score_threshold=0.0)
    [found] = detector([picture(37, 53)])
    assert 0 < len(found.boxes) <= 7
    assert ((found.boxes >= 0) & (found.boxes <= 1)).all()


def test_it_is_frozen(detector: Detector):
    assert not any(part.training for part in detector.train().modules())
    assert not any(weight.requires_grad for weight in detector.parameters())


@pytest.mark.parametrize("save", [torch.save, save_file])
def test_a_file_of_weights_gives_the_same_boxes(
    detector: Detector, state: dict[str, Tensor], tmp_path: Path, save
):
    file = tmp_path / ("weights.safetensors" if save is save_file else "weights.pth")
    save(dict(state), file)
    again = Detector(TWO_STAGE, str(file), boxes=5, score_threshold=0.0)
    found, expected = again([picture(37, 53)])[0], detector([picture(37, 53)])[0]
    assert torch.equal(found.boxes, expected.boxes)


def test_an_unknown_name_suggests_the_nearest():
    reason = "torchvision knows no detector 'fasterrcnn_resnet50_fpn2'; did you mean 'fasterrcnn_"
    with pytest.raises(InputError, match=f"^{reason}"):
        Detector("fasterrcnn_resnet50_fpn2", None)
    with pytest.raises(InputError, match=r"knows no detector 'xyz'; it knows fasterrcnn_mobilenet"):
        Detector("xyz", None)


@pytest.mark.parametrize("error", [urllib.error.URLError("no route"), RuntimeError("bad hash")])
def test_weights_that_cannot_be_fetched_name_the_remedies(monkeypatch, error: Exception):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(module, "get_model", fail)
    with pytest.raises(InputError, match="could not be fetched or read; connect to the internet"):
        Detector(TWO_STAGE)


def _empty(file: Path) -> None:
    torch.save({}, file)


def _other(file: Path) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), file)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (None, "do not exist; check the path"),
        (
            lambda file: file.write_bytes(b"no weights"),
            "cannot be read; give a state dict saved by",
        ),
        (Path.touch, "cannot be read; give a state dict saved by torch.save or as safetensors"),
        (_empty, "do not fit detector .*; give its own state dict"),
        (_other, "do not fit detector .*; give its own state dict"),
        (lambda file: torch.save([1], file), "do not fit detector .*; give its own state dict"),
    ],
)
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_file_that_holds_no_weights_is_told(tmp_path, write, reason, name):
    if write is not None:
        write(tmp_path / name)
        if name.endswith("safetensors"):
            reason = "cannot be read; give a state dict"
    with pytest.raises(InputError, match=reason) as told:
        Detector(ONE_STAGE, str(tmp_path / name))
    assert "\n" not in str(told.value)
