"""Where the file of an image is, by its id: as its set names it, by a template, or as COCO's."""

from collections.abc import Sequence
from pathlib import Path
from string import Formatter

from vlm.errors import InputError
from vlm.formats.ids import Id, shown

FLAT = tuple(
    f"{start}{{image_id:012d}}.jpg"
    for start in ("", "COCO_train2014_", "COCO_val2014_", "COCO_test2015_")
)
BY_SPLIT = (
    *(
        f"{split}/COCO_{split}_{{image_id:012d}}.jpg"
        for split in ("train2014", "val2014", "test2015")
    ),
    *(f"{split}/{{image_id:012d}}.jpg" for split in ("train2017", "val2017")),
)
DIGITS = 18  # of an id that is a number, at most
BY_ID = ("{image_id}", "{image_id}.jpg", "{image_id}.png", "{image_id}.jpeg")


class ImageNames:
    """Names the image files in a folder.

    The names that an image may have are tried in turn: the one that its set gives, the
    template's, those of COCO in one folder and in a folder for each split, the id itself with
    or without an ending. What fitted the last image is tried before the others of these, so
    that a folder where all are named alike costs one look an image.

    Args:
        folder: of the images; where there is none, nothing is looked for.
        template: of a name with the field ``image_id``, ``image{image_id}.jpg`` say.

    Raises:
        InputError: if the template is none, lacks ``image_id`` or has another field.
    """

    def __init__(self, folder: Path, template: str | None = None) -> None:
        if template is not None:
            _check(template)
        self._folder = folder
        self._template = template
        self._is_there = folder.is_dir()
        # A folder that is not there would be asked for every image.
        below = [form for form in BY_SPLIT if (folder / form).parent.is_dir()]
        chosen = () if template is None else (template,)
        self._forms = (*chosen, *FLAT, *below, *BY_ID)
        self._likely = list(self._forms)  # the same, that which fitted last in front

    def path(self, image_id: Id, given: str | None = None) -> Path:
        """The first of the names that is a file; if none is, the first of them.

        Args:
            image_id: a text of digits counts as a number where the template has one.
            given: the name that the set itself has for it.

        Raises:
            InputError: if the template cannot name this image.
        """
        values = _readings(image_id)
        if self._is_there and (given is None or not self._holds(given)):
            for place, form in enumerate(self._likely):
                name = self._named(form, values)
                if name is not None and self._holds(name):
                    if place:
                        self._likely.insert(0, self._likely.pop(place))
                    return self._folder / name
        if given is not None:
            return self._folder / given
        names = (self._named(form, values) for form in self._forms)
        return self._folder / next(name for name in names if name is not None)

    def _holds(self, name: str) -> bool:
        """Whether there is such a file; a name that is too long is none."""
        try:
            return (self._folder / name).is_file()
        except OSError:
            return False

    def _named(self, form: str, values: Sequence[Id]) -> str | None:
        """What a form makes of an id in any of its readings; None where it cannot."""
        for value in values:
            try:
                return form.format(image_id=value)
            except (ValueError, OverflowError):  # a text for a number, the other way, too large
                continue
        if form == self._template:
            raise InputError(
                f"image_name {form!r} cannot name image {shown(values[:1])}; "
                "give one that fits all ids, {image_id}.jpg say"
            )
        return None


def _readings(image_id: Id) -> tuple[Id, ...]:
    """An id as it is, and as the other type if it is a number."""
    if isinstance(image_id, int):
        return image_id, str(image_id)
    is_number = image_id.isascii() and image_id.isdigit() and len(image_id) <= DIGITS
    return (image_id, int(image_id)) if is_number else (image_id,)


def _check(template: str) -> None:
    """Holds that a template has the field ``image_id`` and no other."""
    expected = f"expected a name with {{image_id}} as image_name, got {template!r}"
    try:
        parts = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise InputError(f"{expected} ({error}); write image{{image_id}}.jpg, say") from error
    fields = {field for _, field, _, _ in parts}
    nested = any("{" in (spec or "") for _, _, spec, _ in parts)
    if fields != {"image_id"} or nested:
        raise InputError(f"{expected}; write image{{image_id}}.jpg, say, with no other field")
