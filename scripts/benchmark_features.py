"""How fast features are made, kept and read, beside the usual ways in the same run.

    python scripts/benchmark_features.py                     # every row
    python scripts/benchmark_features.py reading kills       # some of them

Rounds are interleaved, so that a noisy machine slows both sides alike; a row shows the median of
the rounds' ratios and their range. Photos are drawn from the built-in world and scaled up to
640 x 480 JPEGs, or read from the folder that `--photos` names. Needs `pip install -e ".[bench]"`.
"""

import os
import platform
import random
import shutil
import signal
import statistics
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, sleep

import h5py
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

from vlm.cli.arguments import Arguments
from vlm.data import FeatureStore
from vlm.data.folders import list_images
from vlm.data.images import ImageGeometry
from vlm.data.store.manifest import Manifest, shard_file
from vlm.data.store.shard import Regions, ShardWriter
from vlm.data.store.writer import StoreWriter
from vlm.data.world import World, draw
from vlm.extract import Extraction
from vlm.extract.looking import geometry_of
from vlm.formats.image_list import listed
from vlm.models import Captioner, FrozenBackbone, RegionEncoder, TextDecoder
from vlm.regions import RegionFeatures
from vlm.training.objectives import CrossEntropy

REGIONS, WIDTH, BATCH = 196, 768, 32
VOCABULARY, CAPTIONS, LENGTH = 10_000, 5, 12
ROUNDS = 5


def main() -> None:
    """Runs the rows that are asked for and prints a table."""
    parser = Arguments(prog="benchmark_features.py", description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], help="all of them by default")
    parser.add_argument("--photos", type=Path, help="folder of JPEGs, instead of drawn ones")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} thread(s), {platform.machine()}\n")
    with tempfile.TemporaryDirectory() as folder:
        photos = options.photos or draw_photos(Path(folder) / "photos", 64)
        for name in options.rows or ROWS:
            place = Path(folder) / name
            place.mkdir()
            for line in ROWS[name](place, photos):
                print(f"{name:<10} {line}", flush=True)
            shutil.rmtree(place)


def ratios(ours: Callable[[], object], other: Callable[[], object], rounds: int = ROUNDS) -> str:
    """How many times as long the other side takes: median and range over interleaved rounds."""
    ours(), other()
    found = [_seconds(other) / _seconds(ours) for _ in range(rounds)]
    return f"{statistics.median(found):.2f}x [{min(found):.2f}..{max(found):.2f}]"


def _seconds(act: Callable[[], object]) -> float:
    start = perf_counter()
    act()
    return perf_counter() - start


def draw_photos(folder: Path, count: int) -> Path:
    """Scenes of the built-in world as JPEGs of the size that COCO's photos usually have."""
    folder.mkdir()
    world = World(seed=0)
    for number in range(count):
        pixels, _ = draw(world.portrait(number))
        picture = Image.fromarray(pixels).resize((640, 480), Image.Resampling.LANCZOS)
        picture.save(folder / f"{number:03d}.jpg", quality=95)
    return folder


# --- reading ---------------------------------------------------------------------------------


def made_up_store(folder: Path, images: int, *, dtype: str = "float16") -> FeatureStore:
    """A store of random features on a 14 x 14 grid, as a ViT-B/16 makes."""
    side = round(REGIONS**0.5)
    manifest = Manifest(
        backbone="random",
        backbone_hash="",
        geometry="",
        precision="32-true",
        dtype=dtype,
        width=WIDTH,
        grid=(side, side),
        images=images,
        images_hash="",
        batch=BATCH,
        shard=4 * BATCH,
    )
    writer, rng = StoreWriter(folder, manifest), np.random.default_rng(0)
    with writer.lock():
        writer.begin()
        for view, shard in writer.missing():
            gathered = ShardWriter(manifest.layout)
            for _ in manifest.rows(shard):
                features = rng.standard_normal((REGIONS, WIDTH), dtype=np.float32)
                gathered.add(Regions(features), size=(480, 640), crop=(0, 0, 1, 1))
            gathered.write(shard_file(folder, view, shard))
        writer.finish(list(range(images)), [f"{number}.jpg" for number in range(images)])
    return FeatureStore(folder)


def reading(folder: Path, _: Path) -> Iterator[str]:
    """Random batches of 32 from warm stores of 196 regions of width 768."""
    images, rng = 512, random.Random(0)
    store = made_up_store(folder / "store", images)
    plain = np.stack([store[row].features[0].numpy() for row in range(images)])
    with h5py.File(folder / "store.h5", "w") as file:
        file.create_dataset("features", data=plain, chunks=(1, REGIONS, WIDTH))
    for row in range(64):
        np.savez_compressed(folder / f"{row}.npz", features=plain[row])
    batches = [rng.sample(range(images), BATCH) for _ in range(40)]
    plain.tofile(folder / "plain.bin")
    mapped = np.asarray(np.memmap(folder / "plain.bin", np.float16, "r")).reshape(plain.shape)
    target = np.empty((BATCH, REGIONS, WIDTH), np.float16)

    def copy_of_file(rows: list[int]) -> None:
        for place, row in zip(np.empty_like(target), rows, strict=True):
            np.copyto(place, mapped[row])

    def copy_of_memory(rows: list[int]) -> None:
        for place, row in zip(target, rows, strict=True):
            np.copyto(place, plain[row])

    def archives(rows: list[int]) -> None:
        np.stack([np.load(folder / f"{row % 64}.npz")["features"] for row in rows])

    with h5py.File(folder / "store.h5") as file:
        data = file["features"]
        others = {
            "a plain copy of the same bytes, mapped from one file": (copy_of_file, batches),
            "a copy of them from memory into memory that is there": (copy_of_memory, batches),
            "HDF5, a chunk an image": (lambda rows: np.stack([data[row] for row in rows]), batches),
            "compressed .npz, a file an image": (archives, batches[:2]),
        }
        for name, (read, some) in others.items():
            ours = partial(_each, store.batch, some)
            yield f"{name}: {ratios(ours, partial(_each, read, some))}"
    seconds = _seconds(partial(_each, store.batch, batches))
    yield f"ours: {len(batches) * target.nbytes / seconds / 1e9:.1f} GB/s of 16-bit floats"


def _each(read: Callable[[list[int]], object], batches: list[list[int]]) -> None:
    for rows in batches:
        read(rows)


def size(folder: Path, _: Path) -> Iterator[str]:
    """Bytes on disk against the 16-bit numbers alone."""
    raw = 256 * REGIONS * WIDTH * 2
    stores = {name: made_up_store(folder / name, 256, dtype=name) for name in ("float16", "int8")}
    for name, store in stores.items():
        files = (path for path in Path(store.path).rglob("*") if path.is_file())
        yield f"{name}: {sum(path.stat().st_size for path in files) / raw:.4f} of raw 16-bit floats"
    whole, coded = (store.batch(range(256)).features.float() for store in stores.values())
    yield f"int8: relative error {(coded - whole).norm() / whole.norm():.4f} (normal numbers)"


def opening(folder: Path, _: Path) -> Iterator[str]:
    """A store of a million images, its files sparse."""
    store = made_up_store(folder / "store", 4)
    images, index = 1_000_000, Path(store.path) / "index"
    text = (Path(store.path) / "manifest.json").read_text()
    text = text.replace('"images": 4,', f'"images": {images},')
    (Path(store.path) / "manifest.json").write_text(text)
    for file in index.glob("*.npy"):
        old = np.load(file)
        rows = images + len(old) - 4
        np.lib.format.open_memmap(file, "w+", old.dtype, (rows, *old.shape[1:]))
    before = _memory()
    seconds = _seconds(lambda: FeatureStore(store.path))
    yield f"1,000,000 images: {seconds * 1000:.1f} ms, {_memory() - before:.1f} MB more memory"


def _memory() -> float:
    """Resident, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


# --- training --------------------------------------------------------------------------------


class Training:
    """Steps of a captioner of width 512, its decoder of three layers.

    Args:
        layers: of self-attention over the regions; 0 only projects them.
    """

    def __init__(self, layers: int) -> None:
        torch.manual_seed(0)
        self.captioner = Captioner(
            RegionEncoder(WIDTH, width=512, layers=layers),
            TextDecoder(VOCABULARY, width=512, layers=3),
        )
        self.optimizer = torch.optim.AdamW(self.captioner.parameters(), fused=True)

    def step(self, regions: RegionFeatures) -> None:
        """Forward, backward and update for five random captions an image."""
        shape = (len(regions.features), CAPTIONS, LENGTH)
        tokens = torch.randint(4, VOCABULARY, shape)
        memory = self.captioner.encode(regions)
        loss = CrossEntropy().of_tokens(self.captioner, memory, tokens, ignored=(1, 3))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def waiting(folder: Path, _: Path) -> Iterator[str]:
    """The share of a training step that is spent on reading features."""
    store, training, rng = (
        made_up_store(folder / "store", 256),
        Training(layers=3),
        random.Random(0),
    )
    shares = []
    for number in range(12):
        rows, start = rng.sample(range(256), 8), perf_counter()
        regions = store.batch(rows)
        read = perf_counter()
        training.step(regions)
        if number > 1:
            shares.append((read - start) / (perf_counter() - start))
    yield f"{statistics.median(shares):.2%} of a step of 8 images, 5 captions each"


def epoch(folder: Path, photos: Path) -> Iterator[str]:
    """50 steps on a store against 50 with ViT-B/16 (random weights) in the loop."""
    backbone = FrozenBackbone("vit_base_patch16_224", pretrained=False)
    images = listed(list_images(photos), photos)
    store = Extraction(images, backbone, folder / "store").run()
    rng, geometry = random.Random(0), geometry_of(backbone)
    batches = [rng.sample(range(len(images)), 8) for _ in range(50)]

    def looked_at(rows: list[int]) -> RegionFeatures:
        pixels = torch.stack([geometry.load(images[row].path) for row in rows])
        return backbone(pixels.float() / 255)

    for layers in (0, 3):
        training = Training(layers)
        training.step(store.batch(batches[0]))
        seconds = {"store": 0.0, "loop": 0.0}
        for rows in batches:  # step by step in turn
            for name, read in (("store", store.batch), ("loop", looked_at)):
                start = perf_counter()
                training.step(read(rows))
                seconds[name] += perf_counter() - start
        gain = seconds["loop"] / seconds["store"]
        yield f"{gain:.2f}x, {layers} layers over the regions: ViT-B/16 in the loop against a store"


# --- extraction ------------------------------------------------------------------------------


def usual_pipeline() -> Callable[[Image.Image], Tensor]:
    """What most repositories of this field do to a photo."""
    return transforms.Compose(
        [
            transforms.Resize(256, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )


def jpeg(_: Path, photos: Path) -> Iterator[str]:
    """A JPEG to what a backbone takes."""
    files, geometry, usual = list_images(photos), ImageGeometry(224, 224), usual_pipeline()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])

    def ours() -> None:
        for file in files:
            ((geometry.load(file) / 255) - mean.view(3, 1, 1)).div_(std.view(3, 1, 1))

    def theirs() -> None:
        for file in files:
            usual(Image.open(file).convert("RGB"))

    yield f"torchvision v1 on PIL (Resize, CenterCrop, ToTensor, Normalize): {ratios(ours, theirs)}"
    errors = []
    for file in files:
        plain = Image.open(file).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
        expected = torch.from_numpy(np.array(plain)).permute(2, 0, 1).float()
        errors.append((geometry.load(file).float() - expected).abs().mean().item())
    yield f"mean difference from PIL's own resize to that size: {max(errors):.4f} of 255 at most"


def extraction(folder: Path, photos: Path) -> Iterator[str]:
    """ResNet-50 (random weights): our extraction against a plain loop under no_grad."""
    files = list_images(photos)[:32]
    backbone = FrozenBackbone("resnet50", pretrained=False)
    naive = FrozenBackbone("resnet50", pretrained=False)._model.to(
        memory_format=torch.contiguous_format
    )
    usual, images = usual_pipeline(), listed(files, photos)

    def ours() -> None:
        shutil.rmtree(folder / "store", ignore_errors=True)
        Extraction(images, backbone, folder / "store").run()

    @torch.no_grad()
    def loop() -> None:
        pixels = torch.stack([usual(Image.open(file).convert("RGB")) for file in files])
        np.save(folder / "features.npy", naive.forward_features(pixels).half().numpy())

    yield f"a no_grad loop over 32 photos: {ratios(ours, loop)}"


def kills(folder: Path, photos: Path) -> Iterator[str]:
    """SIGKILL at 30 random moments of an extraction, each then started again."""
    images = listed(list_images(photos), photos)
    start = perf_counter()
    whole = _bytes(_extract(images, folder / "whole"))
    seconds, rng, equal = perf_counter() - start, random.Random(0), 0
    for number in range(30):
        output = folder / f"killed-{number}"
        process = get_context("fork").Process(target=_extract, args=(images, output))
        process.start()
        sleep(rng.uniform(0, seconds))
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        equal += _bytes(_extract(images, output)) == whole
    yield f"{equal} of 30 bit-identical after they were killed and started again"


def _extract(images: list, output: Path) -> Path:
    torch.manual_seed(0)
    backbone = FrozenBackbone("test_resnet", pretrained=False)
    Extraction(images, backbone, output, views=2, batch_size=2).run()
    return output


def _bytes(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


ROWS = {
    "reading": reading,
    "size": size,
    "opening": opening,
    "waiting": waiting,
    "epoch": epoch,
    "jpeg": jpeg,
    "extraction": extraction,
    "kills": kills,
}


if __name__ == "__main__":
    main()
