"""Pictures are fetched politely, from hosts that were named and nowhere else."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from halftone.archive.sources import open_source
from halftone.cli.app import main
from halftone.cli.fetching.harvest import fetch_all
from halftone.cli.fetching.web import PoliteClient, is_public, read_number
from halftone.core import errors

PICTURE = b"\xff\xd8picture"


class Library:
    """A small host of manifests and pictures on loopback.

    Attributes:
        answers: For each path the answers that it gives one after the other, the last for ever:
            status, headers and content.
        asked: The paths that were asked for.
        most: The most requests that were answered at a time.
    """

    def __init__(self):
        self.answers = {}
        self.asked = []
        self.most = 0
        running = []
        library = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                running.append(1)
                library.most = max(library.most, len(running))
                library.asked.append(self.path)
                answers = library.answers.get(self.path, [(404, {}, b"")])
                status, headers, content = answers.pop(0) if len(answers) > 1 else answers[0]
                self.send_response(status)
                for key, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(content)
                running.pop()

            def log_message(self, *_arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"localhost:{self.server.server_port}"
        self.url = f"http://{self.host}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def offer(self, path, content=b"", *, status=200, **headers):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        headers = {key.replace("_", "-"): value for key, value in headers.items()}
        self.answers.setdefault(path, []).append((status, headers, content))
        return f"{self.url}{path}"


@pytest.fixture
def library():
    made = Library()
    yield made
    made.server.shutdown()
    made.server.server_close()


def make_client(*hosts, **options):
    slept = []
    client = PoliteClient(
        hosts=frozenset(hosts),
        pause=0.001,
        is_allowed=lambda address: ipaddress.ip_address(address).is_loopback,
        sleep=slept.append,
        **options,
    )
    return client, slept


def get(client, url, *, most=1000):
    return client.get(url, most=most).content


def test_a_host_that_was_named_is_asked(library):
    url = library.offer("/a.jpg", PICTURE, Content_Type="Image/JPEG; q=1")
    client, _ = make_client(library.host)
    answer = client.get(url, most=100)
    assert (answer.content, answer.content_type) == (PICTURE, "image/jpeg")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/x",
        "http://localhost/x",
        "ftp://localhost/x",
        "file:///etc/passwd",
        "http://user:secret@HOST/x",
        "http://HOST/a b",
        "http://HOST/a\r\nX: y",
        "http://",
        "http://[::1",
        "HOST",
    ],
)
def test_no_other_address_is_asked(library, url):
    client, _ = make_client(library.host)
    with pytest.raises(errors.InvalidArgument) as raised:
        get(client, url.replace("HOST", library.host))
    assert raised.value.reason == "NOT_FETCHED"
    assert library.asked == []


def test_a_redirect_leads_to_named_hosts_only(library):
    library.offer("/good", status=302, Location="/a.jpg")
    library.offer("/a.jpg", PICTURE)
    library.offer("/bad", status=302, Location="http://169.254.169.254/latest/meta-data")
    library.offer("/loop", status=302, Location="/loop")
    client, _ = make_client(library.host)
    assert get(client, f"{library.url}/good") == PICTURE
    with pytest.raises(errors.InvalidArgument, match=r"169\.254\.169\.254, which was not named"):
        get(client, f"{library.url}/bad")
    with pytest.raises(errors.InvalidArgument, match="on and on"):
        get(client, f"{library.url}/loop")


def test_a_name_that_leads_to_a_private_address_is_not_asked(library):
    library.offer("/a.jpg", PICTURE)
    client = PoliteClient(hosts=frozenset({library.host}), pause=0)
    with pytest.raises(errors.InvalidArgument, match="a private address"):
        get(client, f"{library.url}/a.jpg")
    assert library.asked == []


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.1"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1"),
        *("::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "ff02::1"),
        *("::127.0.0.1", "::10.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b:1::7f00:1", "fec0::1"),
        *("64:ff9b:1:ffff::10.0.0.1", "100::1", "2001:db8::1", "5f00::1", "4000::1", "::8.8.8.8"),
    ],
)
def test_private_addresses_are_told_however_they_are_written(address):
    assert not is_public(address)


def test_public_addresses_are_told_too():
    assert is_public("193.0.6.139")
    assert is_public("2001:67c:2e8:22::c100:68b")
    assert is_public("::ffff:193.0.6.139")


def test_answers_are_bounded(library):
    declared = library.offer("/large", b"x" * 2000)
    hidden = library.offer("/hidden", b"x" * 2000, Content_Length="100000", Connection="close")
    client, _ = make_client(library.host)
    with pytest.raises(errors.InvalidArgument, match="2,000 bytes, and 1,000 are allowed"):
        get(client, declared)
    with pytest.raises(errors.InvalidArgument, match="100,000 bytes"):
        get(client, hidden)


def test_a_host_that_wants_to_be_left_alone_is(library):
    url = library.offer("/a.jpg", status=429, Retry_After="7")
    moment = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    library.offer("/a.jpg", status=503, Retry_After=moment)
    library.offer("/a.jpg", PICTURE)
    said = []
    client, slept = make_client(library.host, say=said.append)
    assert get(client, url) == PICTURE
    waits = [seconds for seconds in slept if seconds > 1]
    assert waits[0] == 7
    assert 90 < waits[1] < 101
    assert "answers 503; asked again in" in said[0]
    far = library.offer("/b.jpg", status=429, Retry_After="7200")
    with pytest.raises(errors.Unavailable, match="come back in 120 minutes"):
        get(client, far)
    down = library.offer("/c.jpg", status=500)
    with pytest.raises(errors.Unavailable, match="answers 500"):
        get(client, down)
    assert library.asked.count("/c.jpg") == 5


@pytest.mark.parametrize("number", ["²", "1³", "1" * 5000, "1" * 20, "-1", "1e3", "nan", "soon"])
def test_headers_that_are_no_numbers_are_passed_over(library, number):
    url = library.offer("/a.jpg", status=503, Retry_After=number)
    library.offer("/a.jpg", PICTURE, Content_Length=number, Connection="close")
    client, slept = make_client(library.host)
    assert get(client, url) == PICTURE
    assert max(slept) <= 1
    assert read_number(number) is None


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_host_that_drips_gains_no_time(start):
    stopped = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def drip(connection):
        rest = b"HTTP/1.1 200 OK\r\nA: " + b"x" * 150 + b"\r\n\r\n"
        with connection, contextlib.suppress(OSError):
            connection.recv(4096)
            connection.sendall(start)
            for byte in rest[len(start.rstrip()) :]:
                connection.sendall(bytes([byte]))
                if stopped.wait(0.02):
                    return

    def serve():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=drip, args=[server.accept()[0]], daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    host = f"localhost:{server.getsockname()[1]}"
    client, slept = make_client(host, patience=0.3)
    try:
        with pytest.raises(errors.Unavailable, match=r"cannot be reached: .*(seconds|timed out)"):
            get(client, f"http://{host}/a.jpg")
    finally:
        stopped.set()
        server.close()
    assert [seconds for seconds in slept if seconds >= 1] == [1, 2, 4, 8]


def test_what_is_not_there_is_not_asked_for_again(library):
    client, _ = make_client(library.host)
    with pytest.raises(errors.NotFound):
        get(client, f"{library.url}/nothing")
    library.offer("/closed", status=403)
    with pytest.raises(errors.PermissionDenied):
        get(client, f"{library.url}/closed")
    assert len(library.asked) == 2


def test_requests_have_a_pause_between_them(library):
    url = library.offer("/a.jpg", PICTURE)
    client, slept = make_client(library.host)
    client.pause = 30.0
    get(client, url)
    get(client, url)
    assert len(slept) == 1
    assert 20 < slept[0] <= 30


def make_collection(library, *, count=3):
    base = library.url
    manifest = {
        "@context": "http://iiif.io/api/presentation/3/context.json",
        "id": f"{base}/m1",
        "type": "Manifest",
        "label": {"en": ["Le Temps"]},
        "navDate": "1914-08-22T00:00:00Z",
        "items": [
            {
                "id": f"{base}/m1/canvas/{number}",
                "type": "Canvas",
                "items": [{"items": [{"type": "Annotation", "body": {**IMAGE, "id": address}}]}],
            }
            for number in range(count)
            for address in [library.offer(f"/{number}.jpg", PICTURE, Content_Type="image/jpeg")]
        ],
    }
    library.offer("/m1", manifest)
    collection = {
        "@context": "http://iiif.io/api/presentation/3/context.json",
        "id": f"{base}/top",
        "type": "Collection",
        "items": [
            {"id": f"{base}/m1", "type": "Manifest"},
            {"id": f"{base}/top", "type": "Collection"},
        ],
    }
    return library.offer("/top", collection)


IMAGE = {"type": "Image"}


def test_a_collection_is_fetched_and_imported(library, tmp_path):
    url = make_collection(library)
    client, _ = make_client(library.host)
    harvest = fetch_all([url], folder=tmp_path / "in", client=client, limit=10)
    assert (harvest.manifests, harvest.fetched, harvest.failed) == (2, 3, [])
    assert library.most == 1
    rows = list(open_source(tmp_path / "in", archive="press").rows)
    assert [row.error for row in rows] == [None] * 3
    assert [row.path.read_bytes() for row in rows] == [PICTURE] * 3
    assert (rows[0].image.journal, rows[0].image.date) == ("Le Temps", "1914-08-22")
    asked = len(library.asked)
    again = fetch_all([url], folder=tmp_path / "in", client=client, limit=10)
    assert (again.fetched, again.kept, len(library.asked)) == (0, 3, asked)


def test_a_harvest_that_was_cut_off_goes_on(library, tmp_path):
    url = make_collection(library)
    library.answers["/1.jpg"] = [(429, {"Retry-After": "7200"}, b"")]
    client, _ = make_client(library.host)
    with pytest.raises(errors.Unavailable):
        fetch_all([url], folder=tmp_path, client=client, limit=10)
    library.answers["/1.jpg"] = [(200, {"Content-Type": "text/html"}, b"<html>")]
    harvest = fetch_all([url], folder=tmp_path, client=client, limit=10)
    assert (harvest.kept, harvest.fetched) == (1, 1)
    assert [(address, "text/html, no picture" in why) for address, why in harvest.failed] == [
        (f"{library.url}/1.jpg", True)
    ]
    assert library.asked.count("/0.jpg") == 1
    (row,) = [row for row in open_source(tmp_path, archive="p").rows if row.error]
    assert row.error.reason == "MISSING_FILE"


def test_a_broken_picture_does_not_end_it(library, tmp_path):
    url = make_collection(library, count=4)
    library.answers["/0.jpg"] = [(500, {}, b"")]
    library.answers["/2.jpg"] = [(200, {"Content-Length": "99", "Connection": "close"}, PICTURE)]
    client, _ = make_client(library.host)
    harvest = fetch_all([url], folder=tmp_path, client=client, limit=10)
    assert harvest.fetched == 2
    addresses = [f"{library.url}/{number}.jpg" for number in (0, 2)]
    assert [address for address, _ in harvest.failed] == addresses
    library.answers["/0.jpg"] = [(200, {"Content-Type": "image/jpeg"}, PICTURE)]
    harvest = fetch_all([url], folder=tmp_path, client=client, limit=10)
    assert (harvest.kept, harvest.fetched, len(harvest.failed)) == (2, 1, 1)


def test_a_host_that_asks_for_time_again_and_again_is_left_alone(library, tmp_path):
    url = make_collection(library)
    library.answers["/1.jpg"] = [(503, {"Retry-After": "1"}, b"")]
    client, _ = make_client(library.host)
    with pytest.raises(errors.Unavailable, match="answers 503"):
        fetch_all([url], folder=tmp_path, client=client, limit=10)


def test_a_host_that_is_down_is_left_alone_and_never_blocks_what_is_behind(library, tmp_path):
    url = make_collection(library, count=12)
    for number in range(11):
        library.answers[f"/{number}.jpg"] = [(500, {}, b"")]
    client, _ = make_client(library.host)
    for last in (4, 9):
        with pytest.raises(errors.Unavailable, match="no answer 5 times in a row"):
            fetch_all([url], folder=tmp_path, client=client, limit=20)
        assert library.asked[-1] == f"/{last}.jpg"
    harvest = fetch_all([url], folder=tmp_path, client=client, limit=20)
    assert (harvest.fetched, len(harvest.failed)) == (1, 11)


def offer_collection(library, name, *parts):
    return library.offer(
        f"/{name}",
        {
            "@context": "http://iiif.io/api/presentation/3/context.json",
            "id": f"{library.url}/{name}",
            "type": "Collection",
            "items": [{"id": f"{library.url}/{part}", "type": "Collection"} for part in parts],
        },
    )


def test_collections_without_end_are_bounded(library, tmp_path):
    wide = offer_collection(library, "wide", *range(5))
    for number in range(100):
        offer_collection(library, number, number + 1)
    client, _ = make_client(library.host)
    harvest = fetch_all([wide], folder=tmp_path / "wide", client=client, limit=1, documents=4)
    assert harvest.manifests == 4
    ((_, why),) = harvest.failed
    assert "more than 4 manifests and collections" in why
    start = f"{library.url}/0"
    harvest = fetch_all([start], folder=tmp_path / "deep", client=client, limit=1)
    assert harvest.manifests == 17
    ((address, why),) = harvest.failed
    assert (address, "16 collections deep" in why) == (f"{library.url}/17", True)


def test_the_limit_ends_it(library, tmp_path):
    url = make_collection(library)
    client, _ = make_client(library.host)
    harvest = fetch_all([url], folder=tmp_path, client=client, limit=2)
    assert (harvest.fetched, harvest.left) == (2, True)
    harvest = fetch_all([url], folder=tmp_path, client=client, limit=3)
    assert (harvest.kept, harvest.fetched, harvest.left) == (2, 1, False)


def test_an_address_that_is_no_manifest_is_told(library, tmp_path):
    url = library.offer("/page", b"<html>")
    other = library.offer("/json", {"type": "Manifest"})
    client, _ = make_client(library.host)
    harvest = fetch_all([url, other, "http://example.org"], folder=tmp_path, client=client, limit=2)
    assert [address for address, _ in harvest.failed] == [url, other, "http://example.org"]


def test_the_command_refuses_private_addresses(library, tmp_path):
    url = make_collection(library)
    words = ["fetch", url, "--into", str(tmp_path / "in"), "--host", library.host]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert "a private address" in result.output
    assert library.asked == []
