"""What the table of public data sets tells of each: its sources, its splits, its numbers."""

from collections.abc import Mapping
from typing import NamedTuple


class Source(NamedTuple):
    """An archive, a plain file, or photos that are fetched one by one.

    Attributes:
        name: of the file; it is looked for in folders, and behind the address of a mirror.
        urls: official address, then mirrors; none where the owners ask for a form.
        size: in bytes, None where none is published.
        checksum: ``sha256:...`` or ``md5:...``, None where none is published.
        holds: paths that training needs, from the ``into`` folder on, each with the number of
            JPEG photos of a folder, 0 for a file; the rest of an archive is left packed.
        into: folder of the data set that it is unpacked in.
        listed: captions file whose photos these are; ``urls`` are then folders.
        form: where the photos are asked for, where there is no address.
    """

    name: str
    urls: tuple[str, ...]
    size: int | None
    checksum: str | None
    holds: Mapping[str, int]
    into: str = "annotations"
    listed: str = ""
    form: str = ""

    @property
    def is_photos(self) -> bool:
        """Whether it brings photos, not texts."""
        return self.into == "images"


class CaptionFiles(NamedTuple):
    """Captions that are given split by split already.

    Attributes:
        file: of captions or of images alone.
        folder: of its photos.
        split: that it becomes.
        images: that it lists.
        captions: that it holds.
    """

    file: str
    folder: str
    split: str
    images: int
    captions: int


class QuestionFiles(NamedTuple):
    """Questions of a split in VQA's own format.

    Attributes:
        questions: file.
        annotations: file of their answers, none where they are secret.
        number: of questions.
    """

    questions: str
    annotations: str | None
    number: int


class DataSet(NamedTuple):
    """What ``vlm prepare`` makes of a name.

    Attributes:
        title: its name among people.
        sources: all that is fetched.
        splits: file of Karpathy's splits with all captions, none where they are official.
        counts: images of each of these splits.
        texts: files with the captions of photos that id lists name.
        folder: of photos that the splits name without one.
        captions: files that are a split each.
        questions: files that are a split each.
        next_command: after which the data are used.
    """

    title: str
    sources: tuple[Source, ...]
    next_command: str
    splits: str | None = None
    counts: Mapping[str, int] = {}
    texts: tuple[str, ...] = ()
    folder: str = ""
    captions: tuple[CaptionFiles, ...] = ()
    questions: tuple[QuestionFiles, ...] = ()
