"""Zip files that people send, and those that were made to do harm."""

from __future__ import annotations

import io
import re
import stat
import struct
import threading
import zipfile

import pytest

from halftone.core import errors
from halftone.services.web.answers import import_files, unpacking
from halftone.services.web.answers.unpacking import Bounds, unpack
from tests.support.client import page
from tests.support.client.fake_clusters import scene
from tests.support.pages.profiles import BNF

BOUNDS = Bounds(members=1000, bytes=64 << 20, member_bytes=32 << 20)


def pack(members, *, method=zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip file: members by name, or by what is to stand in the list."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def make_info(name: str, *, mode: int = 0, system: int = 3) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = system
    info.external_attr = mode << 16
    return info


@pytest.fixture
def opened(tmp_path):
    """Unpack bytes; afterwards nothing lies beside the folder."""
    path = tmp_path / "sent.zip"
    folder = tmp_path / "inside"

    def open_zip(content: bytes, **options):
        path.write_bytes(content)
        return unpack(path, **{"folder": folder, "bounds": BOUNDS} | options)

    open_zip.folder = folder
    yield open_zip
    assert {each.name for each in tmp_path.iterdir()} <= {"sent.zip", "inside"}


def list_files(folder):
    return sorted(
        each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()
    )


def reasons(unpacked):
    return {name: error.reason for name, error in unpacked.rejected}


def test_files_come_out_as_they_went_in(opened):
    steps = []
    unpacked = opened(
        pack([("1914/a.jpg", b"a" * 9), ("1914/", b""), ("b.txt", b"b")]),
        on_member=lambda *step: steps.append(step),
    )
    assert (opened.folder / "1914/a.jpg").read_bytes() == b"a" * 9
    assert (unpacked.files, unpacked.bytes, unpacked.rejected) == (2, 10, [])
    assert steps[-1] == (2, 2)


def test_what_macos_adds_is_left_out(opened):
    names = ("__MACOSX/._a.jpg", "x/__MACOSX/b.jpg", ".DS_Store", "x/._a.jpg", "x/a.jpg")
    unpacked = opened(pack([(name, b"x") for name in names]))
    assert list_files(opened.folder) == ["x/a.jpg"]
    assert not unpacked.rejected


@pytest.mark.parametrize(
    "name",
    [
        "../x.jpg",
        "a/../../x.jpg",
        "/etc/x.jpg",
        "..\\x.jpg",
        "\\x.jpg",
        "C:/x.jpg",
        "c:\\x.jpg",
        "a//x.jpg",
        "./x.jpg",
        "a\nb.jpg",
        "x" * 401,
        "é" * 200,
    ],
)
def test_names_that_lead_out_are_rejected(opened, name):
    unpacked = opened(pack([(name, b"x"), ("good.jpg", b"x")]))
    assert list(reasons(unpacked).values()) == ["ZIP_NAME"]
    assert list_files(opened.folder) == ["good.jpg"]


def test_a_name_that_ends_before_its_end_is_rejected(opened):
    content = pack([("good.jpgXX..", b"x")]).replace(b"good.jpgXX..", b"good.jpg\0/..")
    assert list(reasons(opened(content)).values()) == ["ZIP_NAME"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_rejected(opened, kind):
    unpacked = opened(pack([(make_info("a.jpg", mode=kind | 0o777), b"/etc/passwd")]))
    assert reasons(unpacked) == {"a.jpg": "ZIP_LINK"}
    assert not opened.folder.exists()


def test_a_member_with_a_password_is_rejected(opened):
    content = bytearray(pack([("a.jpg", b"x"), ("b.jpg", b"x")]))
    listed = content.index(b"PK\x01\x02")
    content[listed + 8] |= 1
    assert reasons(opened(bytes(content))) == {"a.jpg": "ZIP_ENCRYPTED"}
    assert list_files(opened.folder) == ["b.jpg"]


def test_zip_files_inside_are_not_opened(opened):
    inner = pack([("x.jpg", b"x")])
    unpacked = opened(pack([("a.zip", inner), ("b.ZIP", b"x"), ("c.jpg", inner), ("d.jpg", b"x")]))
    assert reasons(unpacked) == dict.fromkeys(["a.zip", "b.ZIP", "c.jpg"], "ZIP_NESTED")
    assert list_files(opened.folder) == ["d.jpg"]


def test_a_name_that_occurs_twice_is_taken_once(opened):
    with pytest.warns(UserWarning, match="Duplicate"):
        content = pack([("a.jpg", b"1"), ("a.jpg", b"2"), ("a.jpg/b.jpg", b"3")])
    unpacked = opened(content)
    assert [error.reason for _, error in unpacked.rejected] == ["ZIP_DUPLICATE"] * 2
    assert (opened.folder / "a.jpg").read_bytes() == b"1"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_whose_memory_is_the_senders_choice_are_rejected(opened, method):
    assert reasons(opened(pack([("a.jpg", b"x")], method=method))) == {"a.jpg": "ZIP_METHOD"}


def test_a_member_larger_than_a_picture_is_rejected(opened):
    bounds = Bounds(members=9, bytes=1 << 20, member_bytes=10)
    unpacked = opened(pack([("a.jpg", bytes(11)), ("b.jpg", bytes(10))]), bounds=bounds)
    assert reasons(unpacked) == {"a.jpg": "TOO_MANY_BYTES"}
    assert list_files(opened.folder) == ["b.jpg"]


def test_a_member_that_grows_too_much_is_rejected(opened):
    unpacked = opened(pack([("bomb.tif", bytes(20 << 20)), ("good.jpg", b"x")]))
    assert reasons(unpacked) == {"bomb.tif": "ZIP_RATIO"}
    assert list_files(opened.folder) == ["good.jpg"]


def overlap(count: int, *, size: int) -> bytes:
    """Return a zip file all of whose members are the same packed bytes."""
    single = pack([("0000.jpg", bytes(size))])
    listed = single.index(b"PK\x01\x02")
    entry = single[listed : single.index(b"PK\x05\x06")]
    entries = b"".join(
        entry.replace(b"0000.jpg", f"{number:04}.jpg".encode()) for number in range(count)
    )
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(entries), listed, 0)
    return single[:listed] + entries + end


def test_members_that_share_their_bytes_are_refused_together(opened):
    with pytest.raises(errors.InvalidArgument) as caught:
        opened(overlap(60, size=1 << 20))
    assert caught.value.reason == "ZIP_RATIO"
    assert not opened.folder.exists()


def test_more_than_there_is_room_for_is_refused(opened):
    noise = scene() * 4
    with pytest.raises(errors.InvalidArgument) as caught:
        opened(
            pack([("a.jpg", noise), ("b.jpg", noise)]),
            bounds=Bounds(members=9, bytes=len(noise) * 2 - 1, member_bytes=1 << 30),
        )
    assert caught.value.reason == "ZIP_TOO_LARGE"
    assert not opened.folder.exists()


def test_a_hundred_thousand_empty_members_are_refused(opened):
    content = pack([], method=zipfile.ZIP_STORED)
    entries = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0)
        + b"%05d" % number
        for number in range(100_000)
    )
    # The number of members in the end's record is as wrong as the format allows.
    content = entries + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(entries), 0, 0)
    with pytest.raises(errors.InvalidArgument) as caught:
        opened(content, bounds=Bounds(members=20_000, bytes=1 << 30, member_bytes=1 << 20))
    assert caught.value.reason == "ZIP_TOO_MANY_MEMBERS"


def test_a_list_of_members_that_is_said_to_be_huge_is_not_read(opened):
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 1 << 20, 0, 0)
    with pytest.raises(errors.InvalidArgument) as caught:
        opened(b"PK\x01\x02" + bytes((1 << 20) - 4) + end)
    assert caught.value.reason == "ZIP_TOO_MANY_MEMBERS"


@pytest.mark.parametrize("declared", [0, 5, 15, 1 << 20])
def test_a_size_that_is_not_true_rejects_the_member(opened, declared):
    content = bytearray(pack([("a.jpg", b"0123456789"), ("b.jpg", b"x")]))
    listed = content.index(b"PK\x01\x02")
    content[listed + 24 : listed + 28] = struct.pack("<L", declared)
    unpacked = opened(bytes(content))
    assert reasons(unpacked) == {"a.jpg": "ZIP_MEMBER_DAMAGED"}
    assert list_files(opened.folder) == ["b.jpg"]
    assert (unpacked.files, unpacked.bytes) == (1, 1)


@pytest.mark.parametrize(("place", "value"), [(42, 0xFFFFFFF0), (42, 5), (20, 0), (16, 7)])
def test_wrong_places_and_checksums_reject_the_member(opened, place, value):
    content = bytearray(pack([("a.jpg", b"0123456789" * 9)]))
    listed = content.index(b"PK\x01\x02")
    content[listed + place : listed + place + 4] = struct.pack("<L", value)
    assert reasons(opened(bytes(content))) == {"a.jpg": "ZIP_MEMBER_DAMAGED"}
    assert not list_files(opened.folder)


def test_damage_anywhere_is_told_and_never_a_fault(opened):
    """Each byte of a zip file is wrong once."""
    content = pack([("a.jpg", b"0123456789"), ("b/c.jpg", b"x" * 50)])
    told = set()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        try:
            unpacked = opened(bytes(damaged), folder=opened.folder / str(place))
        except errors.InvalidArgument as error:
            told.add(error.reason)
        else:
            assert unpacked.files + len(unpacked.rejected) <= 2
    assert "ZIP_DAMAGED" in told
    assert told <= {"ZIP_DAMAGED", "ZIP_TOO_MANY_MEMBERS", "ZIP_TOO_LARGE"}


@pytest.mark.parametrize("left", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_zip_file_that_is_cut_off_is_refused(opened, left):
    content = pack([("a.jpg", b"0123456789"), ("b/c.jpg", b"x" * 50)])
    with pytest.raises(errors.InvalidArgument):
        opened(content[: int(len(content) * left)])


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04", b"\xff\xd8\xff" * 100])
def test_what_is_no_zip_file_is_refused(opened, content):
    with pytest.raises(errors.InvalidArgument) as caught:
        opened(content)
    assert caught.value.reason == "ZIP_DAMAGED"


def test_an_empty_zip_file_is_refused(opened):
    with pytest.raises(errors.InvalidArgument) as caught:
        opened(pack([("folder/", b""), ("__MACOSX/x", b"")]))
    assert caught.value.reason == "ZIP_EMPTY"


def test_names_of_macs_and_old_pcs_are_read(opened):
    mac = pack([("Größe.jpg", b"1")])
    # Without the flag that says that it is UTF-8, in both places.
    plain = mac.replace(b"\x00\x08\x00\x00", b"\x00\x00\x00\x00")
    opened(plain)
    pc = pack([("Gr\x01\x02e.jpg", b"2")]).replace(b"Gr\x01\x02e.jpg", b"Gr\x94\xe1e.jpg")
    opened(pc, folder=opened.folder / "pc")
    assert list_files(opened.folder) == ["Größe.jpg", "pc/Größe.jpg"]


def test_unpacking_stops_when_it_is_told_to(opened):
    stop = threading.Event()
    stop.set()
    with pytest.raises(unpacking.Stopped):
        opened(pack([("a.jpg", b"x")]), stop=stop)
    assert not list_files(opened.folder)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["1914/1.jpg", "1915/1.jpg"], ["1914/1.jpg", "1915/1.jpg"]),
        (["press/1914/1.jpg", "press/1915/1.jpg"], ["1914/1.jpg", "1915/1.jpg"]),
        (["Press/press/1.jpg"], ["press/1.jpg"]),
        (["1914/1.jpg"], ["1914/1.jpg"]),
    ],
)
def test_a_zip_file_made_of_a_folder_or_inside_of_it_gives_the_same_records(tmp_path, names, found):
    (tmp_path / "press.zip").write_bytes(pack([(name, b"x") for name in names]))
    import_files.unpack_zip(
        tmp_path / "press.zip",
        bounds=BOUNDS,
        stop=threading.Event(),
        on_member=lambda _done, _total: None,
    )
    assert [path.name for path in tmp_path.iterdir()] == ["press"]
    records = import_files.read_records(tmp_path, archive="a")
    assert [record.image_id for record in records] == found


TABLE = b"image_id,file,journal,date\n1,scans/1.jpg,The Sphere,1914-08\n2,scans/2.jpg,X,1914\n"


def send(browser, *sent, archive="zipped"):
    files = [("files", (name, content, "application/zip")) for name, content in sent]
    answer = browser.post_form("/imports", files=files, archive=archive)
    assert answer.status_code == 303, answer.text
    return browser.wait_for(answer.headers["location"], "Import more")


def count(text: str, label: str) -> int:
    return int(re.search(rf"<dt>{label}</dt><dd>(\d+)</dd>", text)[1])


def test_zip_files_are_imported_by_their_manifests_and_without(fake, browser, tmp_path):
    press = pack([("manifest.csv", TABLE), ("scans/1.jpg", scene()), ("scans/2.jpg", b"broken")])
    loose = pack([("x/1.jpg", scene()), ("../2.jpg", scene()), ("y/2.jpg", scene())])
    text = send(browser, ("press.zip", press), ("loose.ZIP", loose), ("3.jpg", scene()))
    assert fake.records["archives/zipped/images/1"].journal == "The Sphere"
    names = {name.partition("/images/")[2] for name in fake.records if "/zipped/" in name}
    assert names == {"1", "loose/x/1.jpg", "loose/y/2.jpg", "3.jpg"}
    assert (count(text, "new"), count(text, "rejected")) == (4, 2)
    assert "loose.ZIP: ../2.jpg" in text
    browser.wait_until(lambda: not list((tmp_path / "web" / "imports").rglob("*.jpg")))


def test_an_import_of_a_bomb_alone_says_that_nothing_was_imported(fake, browser):
    text = send(browser, ("bomb.zip", overlap(60, size=1 << 20)))
    assert "<h1>Nothing was imported</h1>" in text
    assert "bomb.zip" in text
    assert count(text, "rejected") == 1


def test_what_comes_out_of_zip_files_counts_as_files_and_bytes(fake, tmp_path):
    many = pack([(f"{number}.jpg", b"x") for number in range(5)])
    large = pack([("large.jpg", bytes(9000)), ("bad.txt", b"x")])
    with page.opened(fake, tmp_path, max_import_files=5, max_import_bytes=6000) as browser:
        text = send(browser, ("many.zip", many), ("more.jpg", b"x"))
        assert "many.zip" in text
        assert "more files than an import takes" in text
        assert "there is room for" in send(browser, ("large.zip", large))
        # What was refused does not take the room of what comes next.
        assert count(send(browser, ("many.zip", many)), "new") == 5


def test_page_scans_of_strangers_are_not_decoded_here(tmp_path):
    """Their pictures would be cut out in this process; they come in as plain files instead."""
    BNF.write(tmp_path / "press")
    records = list(import_files.read_records(tmp_path, archive="press"))
    assert {record.image_id for record in records} == {
        "alto/X0000001.xml",
        "images/T0000001.jpg",
        "issue_mets.xml",
    }
    assert not any(callable(record.content) for record in records)


def test_nor_are_those_in_a_bag(tmp_path):
    bag = tmp_path / "bag"
    BNF.write(bag / "data")
    (bag / "bagit.txt").write_text("BagIt-Version: 1.0\n")
    (bag / "manifest-md5.txt").write_text("")
    with pytest.raises(errors.InvalidArgument, match="holds none"):
        list(import_files.read_records(bag.parent, archive="press"))
