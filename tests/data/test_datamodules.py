"""CaptionData: the same images and captions, in order, from files or from a store."""

import json
import pickle
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from stores import GRID, made_up, write_store
from torch.utils.data import DataLoader

from vlm.data import CaptionData, FeatureStore, RandAugment
from vlm.data.batches import Batch
from vlm.data.images import ImageGeometry
from vlm.errors import InputError
from vlm.regions import RegionFeatures, grid_boxes
from vlm.text.tokenizer import BytePairVocabulary, WordVocabulary

GEOMETRY = ImageGeometry(11, 13)
IMAGES, BATCH = 7, 3
CAPTIONS = {
    f"{number}.png": [f"picture number {number}", "a picture"][: 1 + number % 2]
    for number in range(IMAGES)
}


@pytest.fixture
def root(tmp_path) -> Path:
    """Seven pictures of noise, of one or two captions each."""
    rng = np.random.default_rng(3)
    (tmp_path / "photos").mkdir()
    for name in CAPTIONS:
        pixels = rng.integers(0, 256, (17, 19, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / name)
    lines = [json.dumps({"image": name, "captions": texts}) for name, texts in CAPTIONS.items()]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    (tmp_path / "val.jsonl").write_text("\n".join(lines[:4]))
    return tmp_path


def data(root: Path, **options) -> CaptionData:
    options = {"annotations": {"train": "train.jsonl", "val": "val.jsonl"}} | options
    module = CaptionData(images="photos", root=str(root), batch_size=BATCH, **options)
    module.look_with(GEOMETRY)
    return module


def stored(root: Path, *, views: int = 1, **options) -> CaptionData:
    """The same with made-up features in place of the images, in another order."""
    folder = root / "store"
    if not folder.exists():
        write_store(folder, list(CAPTIONS)[::-1], views=3)
    return data(root, store=FeatureStore(folder, views=views), **options)


def drawn(loader: DataLoader, epoch: int) -> Iterator[Batch]:
    loader.sampler.set_epoch(epoch)
    return iter(loader)


def captions(batch: Batch) -> list[list[str]]:
    return [list(sample.captions) for sample in batch.samples]


def assert_same(batches: list[Batch], others: list[Batch]) -> None:
    assert [batch.image_ids for batch in batches] == [batch.image_ids for batch in others]
    assert [captions(batch) for batch in batches] == [captions(batch) for batch in others]
    for batch, other in zip(batches, others, strict=True):
        if isinstance(batch.images, RegionFeatures):
            pairs = zip(batch.images[:3], other.images[:3], strict=True)
            assert all(torch.equal(*pair) for pair in pairs)
        else:
            assert torch.equal(batch.images, other.images)


# --- batches ---------------------------------------------------------------------------------


def test_batches_hold_images_with_all_their_captions(root):
    batches = list(data(root).val_dataloader())
    assert [batch.image_ids for batch in batches] == [["0.png", "1.png", "2.png"], ["3.png"]]
    assert captions(batches[0]) == [CAPTIONS[name] for name in batches[0].image_ids]
    assert captions(batches[0])[1] == ["picture number 1", "a picture"]
    assert batches[0].images.shape == (3, 3, 11, 13)
    assert batches[0].images.dtype == torch.uint8
    assert torch.equal(batches[1].images[0], GEOMETRY.load(root / "photos/3.png"))


def test_an_epoch_of_training_has_every_image_once(root):
    loader = data(root).train_dataloader()
    first, again, second = (list(drawn(loader, epoch)) for epoch in (0, 0, 1))
    names = [name for batch in first for name in batch.image_ids]
    assert sorted(names) == sorted(CAPTIONS)
    assert [len(batch.image_ids) for batch in first] == [3, 3, 1]
    assert_same(first, again)
    assert names != [name for batch in second for name in batch.image_ids]


def test_the_seed_decides_the_order(root):
    orders = [
        [name for batch in data(root, seed=seed).train_dataloader() for name in batch.image_ids]
        for seed in (5, 5, 6)
    ]
    assert orders[0] == orders[1] != orders[2]


def test_features_come_with_the_same_ids_captions_and_order(root):
    for split in ("train", "val"):
        from_files = list(getattr(data(root), f"{split}_dataloader")())
        from_store = list(getattr(stored(root), f"{split}_dataloader")())
        assert [b.image_ids for b in from_store] == [b.image_ids for b in from_files]
        assert [captions(b) for b in from_store] == [captions(b) for b in from_files]
        names = list(CAPTIONS)[::-1]
        for batch in from_store:
            assert isinstance(batch.images, RegionFeatures)
            rows = [names.index(name) for name in batch.image_ids]
            expected = np.stack([made_up(row, 0).features for row in rows])
            assert torch.equal(batch.images.features, torch.from_numpy(expected).half())
            assert torch.equal(batch.images.boxes[0], grid_boxes(*GRID))
            assert batch.images.mask.all()


def test_views_are_of_training_alone_and_new_each_epoch(root):
    module, names = stored(root, views=3), list(CAPTIONS)[::-1]

    def views(batches: Iterable[Batch]) -> dict[str, int]:
        """Which view of each image was served."""
        found = {}
        for batch in batches:
            for name, features in zip(batch.image_ids, batch.images.features, strict=True):
                row = names.index(name)
                found[name] = next(
                    view
                    for view in range(3)
                    if np.array_equal(features, made_up(row, view).features.astype(np.float16))
                )
        return found

    train = module.train_dataloader()
    epochs = [views(drawn(train, epoch)) for epoch in range(6)]
    assert {view for epoch in epochs for view in epoch.values()} == {0, 1, 2}
    assert epochs[0] != epochs[1]
    assert views(drawn(stored(root, views=3, workers=2).train_dataloader(), 4)) == epochs[4]
    assert set(views(module.val_dataloader()).values()) == {0}
    assert set(views(drawn(stored(root).train_dataloader(), 1)).values()) == {0}


@pytest.mark.parametrize(("method", "make"), [("fork", data), ("fork", stored), ("spawn", stored)])
def test_workers_change_nothing(root, method, make):
    loader = make(root, workers=2).train_dataloader()
    loader.multiprocessing_context = method
    for epoch in (0, 1) if method == "fork" else (1,):
        alone = make(root).train_dataloader()
        assert_same(list(drawn(loader, epoch)), list(drawn(alone, epoch)))


def test_a_dataset_of_files_can_go_to_a_spawned_worker(root):
    loader = data(root, augmentation=RandAugment()).train_dataloader()
    dataset, collate = pickle.loads(pickle.dumps((loader.dataset, loader.collate_fn)))
    draws = list(loader.sampler)
    batch = loader.collate_fn([loader.dataset[draw] for draw in draws])
    assert_same([collate([dataset[draw] for draw in draws])], [batch])


# --- augmentation ----------------------------------------------------------------------------


def test_augmentation_is_of_training_alone_and_new_each_epoch(root):
    plain, module = data(root), data(root, augmentation=RandAugment(magnitude=20))
    assert_same(list(plain.val_dataloader()), list(module.val_dataloader()))
    train = module.train_dataloader()
    clean = {name: GEOMETRY.load(root / "photos" / name) for name in CAPTIONS}
    seen = [
        {
            name: image
            for batch in drawn(train, epoch)
            for name, image in zip(batch.image_ids, batch.images, strict=True)
        }
        for epoch in (0, 1)
    ]
    assert sum(not torch.equal(seen[0][name], clean[name]) for name in clean) >= 4
    assert sum(not torch.equal(seen[0][name], seen[1][name]) for name in clean) >= 4


def test_augmentation_depends_on_no_worker_and_no_global_seed(root):
    module = data(root, augmentation=RandAugment())
    workers = data(root, augmentation=RandAugment(), workers=2)
    torch.manual_seed(1)
    alone = list(drawn(module.train_dataloader(), 4))
    torch.manual_seed(2)
    assert_same(list(drawn(workers.train_dataloader(), 4)), alone)
    before = torch.get_rng_state()
    train = module.train_dataloader()
    train.dataset[next(iter(train.sampler))]
    assert torch.equal(torch.get_rng_state(), before)


def test_augmentation_and_a_store_are_refused_together(root):
    with pytest.raises(
        InputError, match=r"remove data\.store or data.augmentation, or extr"
    ) as told:
        stored(root, augmentation=RandAugment())
    assert str(told.value).startswith("stored features cannot be augmented; ")


def test_images_that_the_store_lacks_are_told_before_anything_begins(root):
    write_store(root / "store", list(CAPTIONS)[:3])
    module = stored(root)
    with pytest.raises(InputError, match=r"store .*store has no image '3\.png'; extract one that"):
        module.check_images("train")


def test_a_store_needs_no_image_files(root):
    module = stored(root)
    for name in CAPTIONS:
        (root / "photos" / name).unlink()
    module.check_images("train")
    assert len(list(module.val_dataloader())) == 2


# --- splits ----------------------------------------------------------------------------------


def test_one_file_serves_whichever_split_is_asked_for(root):
    module = data(root, annotations="val.jsonl")
    for split in ("train", "val", "test", "predict"):
        assert len(module.samples(split)) == 4
    assert len(list(module.test_dataloader())) == 2


def test_coco_and_lines_give_the_same_samples(root):
    images = [{"id": name, "file_name": name} for name in CAPTIONS]
    rows = [{"image_id": n, "caption": text} for n, texts in CAPTIONS.items() for text in texts]
    (root / "coco.json").write_text(json.dumps({"images": images, "annotations": rows}))
    assert data(root, annotations="coco.json").samples("test") == data(root).samples("train")


@pytest.mark.parametrize("annotations", [None, {"train": "train.jsonl"}])
def test_predict_takes_a_whole_folder(root, annotations):
    module = data(root, annotations=annotations)
    batches = list(module.predict_dataloader())
    assert [name for batch in batches for name in batch.image_ids] == sorted(CAPTIONS)
    assert {len(texts) for batch in batches for texts in captions(batch)} == {0}
    assert module.fingerprints("predict") == {"predict": {"images": IMAGES}}


@pytest.mark.parametrize("caption", ["", " \n"])
def test_nobody_learns_an_empty_caption(root, caption):
    rows = [{"image": "0.png", "captions": ["a"]}, {"image": "1.png", "captions": ["a", caption]}]
    (root / "empty.jsonl").write_text("\n".join(map(json.dumps, rows)))
    message = r"empty\.jsonl: a caption of image 1\.png is empty; write one or remove it$"
    with pytest.raises(InputError, match=message):
        data(root, annotations="empty.jsonl").samples("train")


def test_predict_needs_no_captions_and_others_do(root):
    (root / "bare.jsonl").write_text('{"image": "0.png"}\n{"image": "1.png", "captions": ["a"]}')
    module = data(root, annotations="bare.jsonl")
    assert len(module.samples("predict")) == 2
    message = "bare.jsonl has no caption for 1 images (0.png); write one each, or use predict"
    for split in ("train", "val", "test"):
        with pytest.raises(InputError, match=f"{re.escape(message)}$"):
            module.samples(split)


def test_a_missing_split_is_told(root):
    module = data(root)
    message = "there are no annotations for test; name a file as data.annotations.test"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        module.samples("test")
    with pytest.raises(InputError, match="there are no annotations for train; name a file as"):
        CaptionData().samples("train")


def test_a_missing_file_is_told(root):
    module = data(root, annotations={"train": "trian.jsonl"})
    with pytest.raises(InputError, match=r"trian\.jsonl does not exist; did you mean train\.jsonl"):
        module.samples("train")
    with pytest.raises(InputError, match=r"trian\.jsonl does not exist"):
        module.fingerprints("fit")


def test_a_missing_image_folder_is_told_once(root):
    module = CaptionData("train.jsonl", "fotos", root=str(root))
    with pytest.raises(InputError, match=r"^image folder .*fotos does not exist; correct data\.im"):
        module.check_images("train")


def test_bad_images_of_a_split_are_named(root):
    data(root).check_images("train")
    (root / "photos/1.png").unlink()
    (root / "photos/5.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"^2 of 7 images of the train split .*1\.png.*5\.png"):
        data(root).check_images("train")


def test_fingerprints_name_file_hash_and_size(root):
    prints = data(root).fingerprints("fit")
    assert prints["train"]["images"] == IMAGES
    assert prints["val"]["images"] == 4
    train, val = (prints[split][f"annotations: {root / f'{split}.jsonl'}"] for split in prints)
    assert train != val


def test_paths_are_relative_to_the_root_from_any_folder(root, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(root)
    module = CaptionData("train.jsonl", "photos", root=".")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert module.samples("train")[0].path == root / "photos/0.png"


# --- the tokenizer ---------------------------------------------------------------------------


def test_the_tokenizer_is_made_from_the_training_captions(root):
    tokenizer = data(root, vocabulary=WordVocabulary(min_count=7)).tokenizer()
    (ids,) = tokenizer.encode(["a picture number 3"], max_length=9)
    # "picture" occurs ten times, "number" seven, "a" and the digits less often.
    assert ids == [tokenizer.start, tokenizer.unknown, 4, 5, tokenizer.unknown, tokenizer.end]
    assert len(data(root, vocabulary=BytePairVocabulary(size=265)).tokenizer()) == 265


# --- real data -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["flickr8k", "coco"])
def test_real_batches(shared, name):
    annotations = {split: f"annotations/captions_{split}.json" for split in ("train", "val")}
    module = CaptionData(annotations, "images", root=str(shared / "data" / name), batch_size=10)
    module.look_with(GEOMETRY)
    batch = next(iter(module.val_dataloader()))
    assert batch.image_ids == [sample.image_id for sample in module.samples("val")[:10]]
    assert batch.images.shape == (10, 3, 11, 13)
    assert all(len(texts) >= 1 for texts in captions(batch))
    module.check_images("val")
