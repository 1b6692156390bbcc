"""Extraction: what a store shall hold, what that costs, and the work itself."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lightning.fabric import Fabric
from tqdm import tqdm

from vlm.data.augmentation import RandomView
from vlm.data.images import refuse
from vlm.data.store import FeatureStore
from vlm.data.store.manifest import Manifest, shard_file
from vlm.data.store.shard import Regions, ShardWriter
from vlm.data.store.writer import Part, StoreWriter
from vlm.errors import InputError
from vlm.extract.loading import Batch, ViewLoader
from vlm.extract.looking import geometry_of, look
from vlm.extract.together import gathered, in_all, in_turn
from vlm.formats.detections import Box
from vlm.formats.ids import Id
from vlm.formats.image_list import ListedImage
from vlm.models.backbone import FrozenBackbone
from vlm.models.imported import ImportedRegions
from vlm.models.timm_source import LOCAL_DIR

SHARD = 4  # batches in each shard, which is all that a kill can cost
ORIGIN = "the list (restore those that are gone, --skip-corrupt leaves out those that are damaged)"


class Extraction:
    """Images, the backbone that looks at them, and the store that keeps what it saw.

    Args:
        images: that the store shall hold.
        backbone: that looks.
        output: folder of the store.
        dtype: of the stored numbers: ``float16``, or ``int8`` with a scale a region.
        views: of each image; view 0 is the clean one.
        seed: of the other views, which :class:`vlm.data.augmentation.RandomView` makes.
        boxes: by id, in pixels of the original images; with them regions are the cells of the
            grid and then the boxes.
        boxes_origin: of the boxes, for the manifest.
        batch_size: images that are looked at together; four batches make a shard.
        fabric: Lightning's, which gives device, precision and processes.

    Raises:
        InputError: if an option is out of range, or ``output`` holds something else.
    """

    def __init__(
        self,
        images: Sequence[ListedImage],
        backbone: FrozenBackbone | ImportedRegions,
        output: Path,
        *,
        dtype: str = "float16",
        views: int = 1,
        seed: int = 0,
        boxes: Mapping[Id, Sequence[Box]] | None = None,
        boxes_origin: str = "",
        batch_size: int = 32,
        fabric: Fabric | None = None,
    ) -> None:
        if isinstance(backbone, ImportedRegions):
            backbone.refuse_photos()
        if min(views, batch_size) < 1 or dtype not in ("float16", "int8"):
            raise InputError(
                "expected at least 1 view, batches of at least 1 image, and float16 or int8, got "
                f"views={views}, batch_size={batch_size}, dtype={dtype}"
            )
        augmentation = RandomView()
        self.images = images
        self.backbone = backbone.folded()
        self.fabric = fabric or Fabric(devices=1)
        self.loader = ViewLoader(images, geometry_of(backbone), augmentation, seed, boxes)
        self.manifest = Manifest(
            backbone=_portable(backbone.name),
            backbone_hash=backbone.hash,
            geometry=backbone.geometry,
            layer=backbone.layer,
            pool=backbone.pool,
            precision=str(self.fabric.strategy.precision.precision),
            dtype=dtype,
            width=backbone.width,
            grid=backbone.grid if boxes is None else None,
            boxes=boxes_origin,
            images=len(images),
            images_hash=_hash(images),
            views=views,
            augmentation=repr(augmentation) if views > 1 else "",
            seed=seed if views > 1 else 0,
            batch=batch_size,
            shard=batch_size * SHARD,
        )
        self.writer = StoreWriter(output, self.manifest)
        self._left = 0

    def run(self, *, workers: int = 0, skip_corrupt: bool = False) -> FeatureStore:
        """Does what is left to do; every process of the fabric calls this.

        Args:
            workers: processes that decode images, in each process.
            skip_corrupt: whether images that cannot be used are left out and listed in the
                manifest.

        Raises:
            InputError: naming every image that cannot be used, if they are not skipped; or if
                the store cannot be written, or is being written by somebody else. All shards
                that were finished stay.
        """
        fabric, writer = self.fabric, self.writer
        if in_turn(fabric, writer.is_complete):
            return FeatureStore(writer.folder, views=self.manifest.views)
        with ExitStack() as stack:
            in_turn(fabric, lambda: self._begin(stack))
            missing = self._agreed()
            complaints, failure = [], None
            try:
                with self._telling():
                    complaints = self._work(missing, workers, skip_corrupt=skip_corrupt)
            except Exception as error:  # told in every process, or the others would wait for ever
                failure = error
            self._refuse_together(complaints, failure)
            in_turn(fabric, self._finish)
        return FeatureStore(writer.folder, views=self.manifest.views)

    def _begin(self, stack: ExitStack) -> None:
        with self._telling():
            stack.enter_context(self.writer.lock())
            self.writer.begin()

    def _finish(self) -> None:
        with self._telling():
            self.writer.finish(
                [image.image_id for image in self.images], [image.name for image in self.images]
            )

    def _agreed(self) -> list[Part]:
        """The missing parts of this process: all views of every n-th shard.

        Raises:
            InputError: if another process would make another store, of other weights say.
        """
        fabric = self.fabric
        first: Manifest = fabric.broadcast(self.manifest)
        in_all(fabric, lambda: self._require_equal(first))
        missing = in_turn(fabric, self.writer.missing)
        shards = sorted({part.shard for part in missing})
        mine = set(shards[fabric.global_rank :: fabric.world_size])
        self._left = sum(len(self.manifest.rows(part.shard)) for part in missing)
        return [part for part in missing if part.shard in mine]

    def _require_equal(self, first: Manifest) -> None:
        if difference := first.difference(self.manifest):
            rank = self.fabric.global_rank
            raise InputError(
                f"the first process has {difference} of process {rank}; give all the same"
            )

    def _refuse_together(self, complaints: list[str], failure: Exception | None) -> None:
        """What went wrong in any process goes wrong in all, in the same words.

        Raises:
            InputError: if anything did; in the process of an error that nobody foresaw, that.
        """
        told = "" if failure is None else str(failure)
        if failure is not None and not isinstance(failure, InputError):
            told = f"process {self.fabric.global_rank} failed: {failure!r}"
        parts = gathered(self.fabric, (complaints, told))
        if failure is not None and not isinstance(failure, InputError):
            raise failure
        if sentences := [sentence for _, sentence in parts if sentence]:
            raise InputError(sentences[0])
        every = [complaint for part, _ in parts for complaint in part]
        refuse(every, images=len(self.images), origin=ORIGIN)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Within it, a store that cannot be written is told in one sentence."""
        try:
            yield
        except OSError as error:
            raise InputError(
                f"store {self.writer.folder} cannot be written ({error.strerror or error}); make "
                "room or mend that, and run the same command again: what is finished stays"
            ) from error

    def _work(self, parts: Sequence[Part], workers: int, *, skip_corrupt: bool) -> list[str]:
        """Looks at this process's parts and writes each when it is whole.

        Returns:
            a sentence for each image that cannot be used; their parts are not written.
        """
        complaints: list[str] = []
        gathered, whole = ShardWriter(self.manifest.layout), True
        writing = Future()
        writing.set_result(None)
        with ThreadPoolExecutor(max_workers=1) as pool:
            for batch in self._batches(parts, workers):
                told = self._add(gathered, batch) if whole or skip_corrupt else _unusable(batch)
                if told and not skip_corrupt:
                    complaints += told
                    whole = False
                if batch.last:
                    writing.result()  # one shard is written while the next one is looked at
                    if whole:
                        file = shard_file(self.writer.folder, *batch.part)
                        writing = pool.submit(gathered.write, file)
                    gathered, whole = ShardWriter(self.manifest.layout), True
            writing.result()
        return complaints

    def _batches(self, parts: Sequence[Part], workers: int) -> Iterator[Batch]:
        """Loaded batches, with a progress bar over all processes in the first one."""
        name = self.backbone.name.rpartition("/")[2]
        first, others = self.fabric.is_global_zero, self.fabric.world_size
        bar = tqdm(total=self._left, desc=f"features of {name}", unit=" images", disable=not first)
        with bar:
            for batch in self.loader.batches(parts, self.manifest, workers=workers):
                yield batch
                bar.update(min(len(batch.views) * others, self._left - bar.n))

    def _add(self, gathered: ShardWriter, batch: Batch) -> list[str]:
        """Looks at a batch and adds what it shows; a sentence for each image left out."""
        told, seen = [], iter(self.look(batch) if len(batch.pixels) else [])
        for view in batch.views:
            sentence = view if isinstance(view, str) else ""
            if not isinstance(view, str):
                try:
                    gathered.add(next(seen), size=view.size, crop=view.crop)
                except InputError as error:
                    sentence = str(error)
            if sentence:
                gathered.skip(sentence)
                told.append(sentence)
        return told

    def look(self, batch: Batch) -> list[Regions]:
        """What the backbone sees in the views of a batch that can be used."""
        self.backbone.to(self.fabric.device)
        with self.fabric.autocast():
            return look(self.backbone, batch, with_boxes=self.manifest.grid is None)


def _unusable(batch: Batch) -> list[str]:
    """Why images of a batch cannot be used."""
    return [view for view in batch.views if isinstance(view, str)]


def _portable(backbone: str) -> str:
    """The name of a backbone without the place of its folder, which differs by machine."""
    return LOCAL_DIR + Path(backbone).name if backbone.startswith(LOCAL_DIR) else backbone


def _hash(images: Sequence[ListedImage]) -> str:
    """Of a list of images: ids, names and file sizes, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for image in images:
        try:
            size = image.path.stat().st_size
        except OSError:
            size = -1  # told when its turn comes
        digest.update(f"{image.image_id!r} {image.name} {size}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()[:16]
