"""What the page refuses, and how it shows hostile text."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

import pytest

from halftone.core import errors, keys
from halftone.core.keys import Scope
from halftone.core.settings import AccessSettings, WebSettings
from halftone.services.web.__main__ import make_access
from halftone.services.web.pages.records import find_link
from halftone.services.web.safety.gate import Rules
from halftone.v1 import search_pb2
from tests.support.client import page

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what is to be refused
PAGES = ("/", "/images", "/clusters", "/judge", "/import", "/work", "/nowhere")


@pytest.mark.parametrize("path", [*PAGES, "/healthz"])
def test_every_answer_has_the_headers(browser, path):
    headers = browser.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"]


@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_a_script_or_a_style_in_it_nor_anything_from_elsewhere(browser, path):
    text = browser.get(path).text
    assert "<script>" not in text
    assert " style=" not in text
    assert " onclick" not in text
    # Its own address stands on it, for paper.
    assert text.count(page.ADDRESS) == 1
    assert "//" not in text.replace("http://www.w3.org", "").replace(page.ADDRESS, "")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:7100", 200),
        ("localhost:7100", 200),
        ("[::1]:7100", 200),
        ("pictures.example.org", 200),
        ("PICTURES.example.org.", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("192.168.1.4", 421),
        ("", 421),
        ("[", 421),
    ],
)
def test_only_known_hosts_are_answered(fake, tmp_path, host, status):
    with page.opened(fake, tmp_path, hosts="pictures.example.org") as browser:
        assert browser.get("/healthz", headers={"host": host}).status_code == status


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:7101"])
def test_forms_of_other_sites_are_refused_although_they_have_the_token(fake, browser, origin):
    token = page.find_token(browser.get("/work").text)
    answer = browser.post("/work/clusters", data={"token": token}, headers={"origin": origin})
    assert answer.status_code == 403
    assert not fake.jobs


def test_forms_without_the_token_of_this_browser_are_refused(fake, browser, tmp_path):
    with page.opened(fake, tmp_path / "web") as other:
        foreign = page.find_token(other.get("/work").text)
    browser.get("/work")
    for token in ("", "0" * 64, foreign, "ä"):
        answer = browser.post("/work/clusters", data={"token": token})
        assert answer.status_code == 403
        assert "form is too old" in answer.text
    assert not fake.jobs
    assert browser.post_form("/work/clusters", page="/work").status_code == 303
    assert fake.jobs


def test_a_form_stays_valid_over_a_restart(fake, tmp_path):
    with page.opened(fake, tmp_path / "web") as browser:
        token = page.find_token(browser.get("/work").text)
        cookies = dict(browser.cookies)
    with page.opened(fake, tmp_path / "web") as again:
        again.cookies.update(cookies)
        assert again.post("/work/clusters", data={"token": token}).status_code == 303


HOSTILE = "</p><script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}\x1b[2J\u202e"


def test_hostile_records_are_text(fake, browser):
    name = fake.add_printing(
        'x/"><script>alert(3)',
        journal=HOSTILE,
        caption=HOSTILE,
        page=HOSTILE,
        date="1914",
        language='"><script>',
        rights=HOSTILE,
        source_uri="javascript:alert(4)",
    )
    fake.records[name].labels[HOSTILE].values.append(HOSTILE)
    fake.link(fake.names[0], name)
    for path, field in (
        ("/image", "name"),
        ("/search", "image"),
        ("/cluster", "name"),
    ):
        answer = browser.get(path, params={field: name})
        assert answer.status_code == 200
        for bad in ("<script>alert", "<img src=x", 'href="javascript:'):
            assert bad not in answer.text
        assert "{{ 7*7 }}" in answer.text
    compared = browser.get("/compare", params={"a": fake.names[0], "b": name})
    assert compared.status_code == 200
    assert "<script>alert" not in compared.text
    assert "<script>alert" not in browser.get("/images").text


def test_every_caption_has_a_language_that_browsers_know(fake, browser):
    first, second = fake.names[:2]
    for record in fake.records.values():
        record.language = "ger"
    for path in (
        f"/image?name={first}",
        f"/search?image={first}",
        f"/cluster?name={first}",
        f"/compare?a={first}&b={second}",
    ):
        text = browser.get(path).text
        assert '<p class="caption' in text
        assert 'lang="de" dir="auto"' in text, path
        assert 'lang="ger"' not in text, path


def test_no_page_asks_for_a_picture_that_its_record_does_not_show(fake, browser):
    hidden, other = fake.names[:2]
    fake.records[hidden].show = search_pb2.Image.NONE
    for path in (
        f"/search?image={hidden}",
        f"/search?image={other}",
        f"/image?name={hidden}",
        "/images",
        "/clusters",
        "/judge",
        f"/cluster?name={other}",
        f"/compare?a={hidden}&b={other}&view=overlay",
        f"/compare?a={other}&b={hidden}&view=swipe",
    ):
        text = browser.get(path).text
        assert "hidden.svg" in text, path
        for pixels in ("thumbnail", "region"):
            asked = re.findall(rf'/{pixels}\?name=([^"&]+)', text)
            assert hidden not in map(unquote, asked), path
        # What nobody sees cannot be laid over anything.
        assert "data-matrix" not in text
    assert browser.get(f"/thumbnail?name={hidden}").status_code == 403
    assert browser.get(f"/region?name={hidden}").status_code == 403


def test_a_thumbnail_is_all_that_is_shown_of_a_record_that_says_so(fake, browser):
    name = fake.names[0]
    fake.records[name].show = search_pb2.Image.THUMBNAIL
    assert browser.get(f"/thumbnail?name={name}").status_code == 200
    assert browser.get(f"/region?name={name}").status_code == 403
    for address in (f"a={name}&b={fake.names[1]}", f"a={fake.names[1]}&b={name}"):
        text = browser.get(f"/compare?{address}").text
        assert f"/region?name={quote(name, safe='')}" not in text
        assert "data-matrix" in text


@pytest.mark.parametrize("name", ["", "x", "archives/a/images/../../x", "\x00", "a" * 1000, "%00"])
@pytest.mark.parametrize("path", ["/image", "/thumbnail", "/cluster", "/search", "/compare"])
def test_strange_names_are_answered(browser, path, name):
    answer = browser.get(path, params={"name": name, "image": name, "a": name, "b": name})
    assert answer.status_code in {303, 400, 404}


@pytest.mark.parametrize(
    "path",
    ["/static/x/../../app.py", "/static/x/%2e%2e/app.py", "/static/x/page.py", "/static/x/js"],
)
def test_static_files_are_only_static_files(browser, path):
    assert browser.get(path).status_code == 404


def test_links_lead_to_web_addresses_only():
    assert find_link("https://archive.example/1") == "https://archive.example/1"
    for bad in ("javascript:alert(1)", "data:text/html,x", "//evil", "https:", "http://[", "", "x"):
        assert not find_link(bad)


def test_the_longest_path_decides_how_large_a_body_may_be():
    rules = Rules(
        hosts=frozenset(), most_at_once=1, body_bytes={"": 1, "/pictures": 2, "/imports": 3}
    )
    assert [rules.find_body_limit(path) for path in ("/", "/pictures", "/imports/1/files")] == [
        1,
        2,
        3,
    ]


def test_a_form_that_grows_too_large_is_refused(browser):
    answer = browser.post("/verdicts", content=bytes(2 << 20))
    assert answer.status_code == 413


async def test_an_address_that_strangers_reach_needs_keys_a_private_network_or_a_proxy(tmp_path):
    open_to_all = AccessSettings(keys_file=tmp_path / "keys.json")
    with pytest.raises(errors.FailedPrecondition) as raised:
        await make_access(WebSettings(host=EVERYWHERE), open_to_all).check_start()
    assert raised.value.reason == "OPEN_ADDRESS"
    private = AccessSettings(private_network=True)
    await make_access(WebSettings(host=EVERYWHERE), private).check_start()
    proxied = WebSettings(
        host=EVERYWHERE,
        proxy="oauth2-proxy",
        proxy_addresses="10.0.0.5",
        proxy_user_header="X-Forwarded-Email",
    )
    await make_access(proxied, open_to_all).check_start()
    await make_access(WebSettings(host="::1"), open_to_all).check_start()
    keys.create(tmp_path / "keys.json", label="Eva", scopes=[Scope.READ])
    with pytest.raises(errors.FailedPrecondition, match="HALFTONE_TLS_CERTIFICATE"):
        await make_access(WebSettings(host=EVERYWHERE), open_to_all).check_start()
    await make_access(WebSettings(host=EVERYWHERE), open_to_all, has_tls=True).check_start()


@pytest.mark.parametrize(
    "known", [{}, {"proxy_addresses": "10.0.0.5"}, {"proxy_user_header": "X-Forwarded-Email"}]
)
def test_a_proxy_is_known_by_its_address_and_its_header(known):
    with pytest.raises(ValueError, match="HALFTONE_WEB_PROXY_ADDRESSES"):
        WebSettings(proxy="oauth2-proxy", **known)


def test_nobody_acts_with_the_services_secret_unasked():
    with pytest.raises(errors.FailedPrecondition, match="HALFTONE_KEYS_FILE"):
        make_access(WebSettings(), AccessSettings(service_key="k" * 40))
