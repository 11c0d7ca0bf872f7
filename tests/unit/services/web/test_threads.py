"""No file is touched on the event loop, where a slow disk would keep everybody waiting."""

from __future__ import annotations

import asyncio
import io
import sys
import zipfile

import pytest

from tests.support.client import page
from tests.support.client.fake_clusters import scene

TOUCHES = frozenset(
    f"os.{name}" for name in ("listdir", "mkdir", "remove", "rename", "rmdir", "scandir", "utime")
) | {"open", "shutil.rmtree"}
_watched: list[tuple[str, list[str]]] = []


def _audit(event: str, values: tuple[object, ...]) -> None:
    if not _watched or event not in TOUCHES:
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return  # a thread
    for folder, touched in _watched:
        if folder in str(values[0]):
            touched.append(f"{event} {values[0]}")


@pytest.fixture(scope="module")
def audited():
    # There is no way to take it back; without a watched folder it does nothing.
    sys.addaudithook(_audit)


@pytest.fixture
def touched(audited, tmp_path):
    """What is done on an event loop with the files below the test's folder."""
    watched = (str(tmp_path), [])
    _watched.append(watched)
    yield watched[1]
    _watched.remove(watched)


def make_zip() -> bytes:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("1914/1.jpg", scene())
    return zipped.getvalue()


def test_a_touch_of_the_loop_is_seen(touched, tmp_path):
    async def touch() -> None:
        (tmp_path / "a").mkdir()
        await asyncio.to_thread((tmp_path / "b").mkdir)

    asyncio.run(touch())
    assert touched == [f"os.mkdir {tmp_path / 'a'}"]


def test_pictures_and_imports_are_written_and_removed_in_threads(fake, touched, tmp_path):
    directory = tmp_path / "web"
    files = [
        ("files", ("good.jpg", scene(), "image/jpeg")),
        ("files", ("press.zip", make_zip(), "application/zip")),
    ]
    with page.opened(fake, directory) as browser:
        dropped = {"file": ("found.jpg", scene(), "image/jpeg")}
        address = browser.post_form("/pictures", page="/", files=dropped).headers["location"]
        browser.get(address)
        token = address.partition("=")[2]
        browser.get(f"/pictures/{token}.jpg")
        browser.get(f"/pictures/{token}.jpg?region=10,10,50,50")
        imported = browser.post_form("/imports", files=files, archive="new").headers["location"]
        browser.wait_for(imported, "<h1>Imported</h1>")
        token = page.find_token(browser.get("/import").text)
        headers = {"accept": "application/json", "x-form-token": token}
        begun = browser.post("/imports", data={"archive": "a"}, headers=headers).json()["address"]
        browser.post(f"{begun}/files", files=files[:1], headers=headers)
        browser.post(f"{begun}/cancel", headers=headers)
    with page.opened(fake, directory) as again:
        again.get(imported)
    assert not touched


def test_what_a_full_disk_does_not_take_is_not_counted(fake, tmp_path):
    with page.opened(fake, tmp_path, min_free_bytes=1 << 62) as browser:
        token = page.find_token(browser.get("/import").text)
        headers = {"accept": "application/json", "x-form-token": token}
        begun = browser.post("/imports", data={"archive": "a"}, headers=headers).json()["address"]
        files = [("files", ("1.jpg", scene(), "image/jpeg"))]
        refused = browser.post(f"{begun}/files", files=files, headers=headers)
        assert refused.status_code >= 400
        assert "full" in refused.json()["detail"]
        started = browser.post(f"{begun}/start", headers=headers)
        assert started.status_code == 400
        assert not list(tmp_path.rglob("*.jpg"))
