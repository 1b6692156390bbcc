"""Files are whole and right whatever the server does; what fails is told by address."""

import errno
import hashlib
import re
import socket
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from served import Server, serve

from vlm.data.sets import fetch as module
from vlm.data.sets.fetch import fetch, require_room
from vlm.data.sets.photos import fetch_photos
from vlm.errors import InputError

CONTENT = bytes(range(251)) * 17
SHA = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()
KNOWN = {"size": len(CONTENT), "checksum": SHA, "pause": 0.0}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as running:
        running.files["/a.zip"] = CONTENT
        yield running


def refused(urls: list[str], target: Path, **known) -> str:
    with pytest.raises(InputError) as told:
        fetch(urls, target, **known)
    assert not target.exists()
    assert "\n" not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize(
    "known", [{}, {"size": len(CONTENT)}, {"checksum": SHA}, {"checksum": MD5}, KNOWN]
)
def test_a_file_arrives(server, tmp_path, known):
    seen = []
    target = tmp_path / "new" / "a.zip"
    fetch([f"{server.url}/a.zip"], target, **known, progress=lambda *row: seen.append(row))
    assert target.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in target.parent.iterdir()] == ["a.zip"]
    assert server.asked == [("/a.zip", None)]


def test_a_file_of_untold_length_arrives(server, tmp_path):
    server.unsized.add("/a.zip")
    fetch([f"{server.url}/a.zip"], tmp_path / "a.zip", checksum=SHA)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_cut_connection_is_continued_where_it_broke(server, tmp_path):
    server.cuts["/a.zip"] = [1000, 500, 7]
    fetch([f"{server.url}/a.zip"], tmp_path / "a.zip", **KNOWN)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    ranges = [None, "bytes=1000-", "bytes=1500-", "bytes=1507-"]
    assert [wanted for _, wanted in server.asked] == ranges


def test_an_earlier_run_is_continued(server, tmp_path):
    (tmp_path / "a.zip.partial").write_bytes(CONTENT[:99])
    fetch([f"{server.url}/a.zip"], tmp_path / "a.zip", **KNOWN)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.asked == [("/a.zip", "bytes=99-")]


def test_a_whole_part_needs_no_network(server, tmp_path):
    (tmp_path / "a.zip.partial").write_bytes(CONTENT)
    fetch([f"{server.url}/a.zip"], tmp_path / "a.zip", **KNOWN)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.asked == []


def test_a_whole_part_of_unknown_size_is_recognised(server, tmp_path):
    (tmp_path / "a.zip.partial").write_bytes(CONTENT)
    fetch([f"{server.url}/a.zip"], tmp_path / "a.zip", checksum=SHA, pause=0.0)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [f"bytes={len(CONTENT)}-", None]


def test_a_part_that_nothing_can_vouch_for_is_not_continued(server, tmp_path):
    (tmp_path / "a.zip.partial").write_bytes(b"of another file")
    fetch([f"{server.url}/a.zip"], tmp_path / "a.zip")
    assert server.asked == [("/a.zip", None)]


@pytest.mark.parametrize("spoiled", [b"wrong" * 20, CONTENT + b"more", b"\0" * len(CONTENT)])
def test_a_wrong_part_is_found_out_and_fetched_anew(server, tmp_path, spoiled):
    (tmp_path / "a.zip.partial").write_bytes(spoiled)
    fetch([f"{server.url}/a.zip"], tmp_path / "a.zip", **KNOWN)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


@pytest.mark.parametrize("misbehaviour", ["rangeless", "shifted"])
def test_ranges_that_are_ignored_or_wrong(server, tmp_path, misbehaviour):
    getattr(server, misbehaviour).add("/a.zip")
    server.cuts["/a.zip"] = [1000]
    fetch([f"{server.url}/a.zip"], tmp_path / "a.zip", **KNOWN)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_redirects_keep_the_range(server, tmp_path):
    server.redirects = {"/old": "/older", "/older": "/a.zip"}
    (tmp_path / "a.zip.partial").write_bytes(CONTENT[:99])
    fetch([f"{server.url}/old"], tmp_path / "a.zip", **KNOWN)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.asked[-1] == ("/a.zip", "bytes=99-")


def test_a_redirect_to_the_local_disk_is_not_followed(server, tmp_path):
    (tmp_path / "secret").write_bytes(CONTENT)
    server.redirects = {"/old": f"file://{tmp_path}/secret"}
    assert "/old answered 302; run" in refused([f"{server.url}/old"], tmp_path / "a", **KNOWN)


def test_passing_errors_are_tried_again(server, tmp_path):
    server.statuses["/a.zip"] = [503, 429, 500]
    fetch([f"{server.url}/a.zip"], tmp_path / "a.zip", **KNOWN)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_mirrors_stand_in_and_continue(server, tmp_path):
    server.files |= {"/wrong": b"?" * len(CONTENT), "/short": b"<html>sign in</html>"}
    server.cuts["/cut"] = [700, 0, 0]
    server.files["/cut"] = CONTENT
    urls = [f"{server.url}/{name}" for name in ("gone", "short", "wrong", "cut", "a.zip")]
    fetch(urls, tmp_path / "a.zip", attempts=2, **KNOWN)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.asked[-1] == ("/a.zip", "bytes=700-")


def test_every_address_is_told_with_what_was_wrong_there(server, tmp_path):
    server.files |= {"/wrong": b"?" * len(CONTENT), "/short": b"<html>sign in</html>"}
    server.statuses["/busy"] = [503, 503]
    server.cuts["/a.zip"] = [3, 4]
    names = ("gone", "short", "wrong", "busy", "a.zip")
    urls = [f"{server.url}/{name}" for name in names]
    told = refused(urls, tmp_path / "a.zip", attempts=2, **KNOWN)
    wrong = hashlib.sha256(b"?" * len(CONTENT)).hexdigest()
    assert told == (
        f"a.zip could not be fetched: {urls[0]} answered 404, {urls[1]} offers 20 bytes where "
        f"4,267 are expected, {urls[2]} gave the sha256 {wrong} where {SHA[7:]} is expected, "
        f"{urls[3]} answered 503, 2 times in a row, at 0 bytes, {urls[4]} broke off the "
        "connection, 2 times in a row, at 7 bytes; run the same line again to go on, or give a "
        "mirror or a folder that has it as --from PLACE"
    )
    assert (tmp_path / "a.zip.partial").read_bytes() == CONTENT[:7]


def test_what_no_checksum_tells_a_check_does(server, tmp_path):
    told = refused([f"{server.url}/a.zip"], tmp_path / "a", check=lambda file: "no whole JSON")
    assert "/a.zip gave no whole JSON; run" in told
    assert list(tmp_path.iterdir()) == []


def test_nobody_there(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/a"
    told = refused([url], tmp_path / "a", attempts=2, pause=0.0)
    assert f"{url} refuses the connection, 2 times in a row, at 0 bytes; run" in told
    told = refused(["http://a.invalid/a"], tmp_path / "a", attempts=1)
    assert "http://a.invalid/a is a name that nobody knows here, 1 times" in told


def test_silence_is_not_waited_for_forever(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a"
        told = refused([url], tmp_path / "a", attempts=1)
    assert f"{url} did not answer in time" in told


def test_room_is_looked_for_before_the_first_byte(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "free_bytes", lambda folder: 4_000)
    told = refused([f"{server.url}/a.zip"], tmp_path / "a.zip", **KNOWN)
    assert told.endswith("GB free; make room or give another --output")
    with pytest.raises(InputError, match=r"needs 20\.0 GB and its disk has 0\.0 GB free"):
        require_room(tmp_path / "not" / "there", 20_000_000_000)


def test_a_disk_that_fills_up_keeps_what_is_there(server, tmp_path, monkeypatch):
    real = Path.open

    def full(path: Path, mode: str = "r", *rest, **named):
        stream = real(path, mode, *rest, **named)
        if path.suffix == ".partial" and mode in ("ab", "wb"):

            class Full:
                def __enter__(self):
                    return self

                def __exit__(self, *_):
                    stream.close()

                def write(self, block):
                    stream.write(block[:99])
                    raise OSError(errno.ENOSPC, "No space left on device")

            return Full()
        return stream

    monkeypatch.setattr(Path, "open", full)
    told = refused([f"{server.url}/a.zip"], tmp_path / "a.zip", **KNOWN)
    assert told == (
        f"{tmp_path / 'a.zip.partial'} cannot be written (No space left on device) at 99 bytes; "
        "make room or give another --output, what is there is kept"
    )
    monkeypatch.undo()
    fetch([f"{server.url}/a.zip"], tmp_path / "a.zip", **KNOWN)
    assert server.asked[-1] == ("/a.zip", "bytes=99-")


# --- photos one by one -----------------------------------------------------------------------


def jpeg(colour: int) -> bytes:
    stream = BytesIO()
    Image.new("L", (31, 17), colour).save(stream, "JPEG")
    return stream.getvalue()


def test_photos_come_once_and_from_the_second_folder_too(server, tmp_path):
    names = [f"{number}.jpg" for number in range(11)]
    for number, name in enumerate(names):
        server.files[f"/{'ab'[number % 2]}/{name}"] = jpeg(number)
    (tmp_path / "3.jpg").write_bytes(b"mine")
    seen = []
    urls = [f"{server.url}/a", f"{server.url}/b"]
    fetch_photos(names, tmp_path, urls, pause=0.0, progress=seen.append)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert (tmp_path / "3.jpg").read_bytes() == b"mine"
    assert (tmp_path / "7.jpg").read_bytes() == jpeg(7)
    assert seen == list(range(2, 12))
    server.asked.clear()
    fetch_photos(names, tmp_path, urls, pause=0.0)
    assert server.asked == []


def test_photos_that_are_none_are_told_after_the_others_came(server, tmp_path):
    server.files |= {"/1.jpg": jpeg(1), "/2.jpg": jpeg(2)[:-20], "/3.jpg": b"<html>"}
    names = ["3.jpg", "2.jpg", "1.jpg"]
    with pytest.raises(InputError) as told:
        fetch_photos(names, tmp_path, [server.url], pause=0.0, workers=1)
    assert re.fullmatch(
        r"3\.jpg could not be fetched: \S+ gave no whole photo, nor could 1 more photos; run .*",
        str(told.value),
    )
    assert [path.name for path in tmp_path.iterdir()] == ["1.jpg"]


def test_many_failures_end_it(server, tmp_path):
    names = [f"{number}.jpg" for number in range(500)]
    with pytest.raises(InputError, match="answered 404, nor could"):
        fetch_photos(names, tmp_path, [server.url], pause=0.0)
    assert len(server.asked) < 40


def test_a_name_that_leads_elsewhere_is_refused(server, tmp_path):
    with pytest.raises(InputError, match=r"photo '\.\./a\.jpg' is no file name; give the official"):
        fetch_photos(["a.jpg", "../a.jpg"], tmp_path, [server.url])
    assert server.asked == []
