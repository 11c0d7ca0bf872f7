"""The page once there are keys: signing in, scopes, and who signs a verdict."""

from __future__ import annotations

import re
import time

import pytest

from halftone.core import errors, keys
from halftone.core.keys import Scope
from halftone.services.web.app import ROUTES
from halftone.services.web.safety.visitors import make_local_address
from tests.support.client import page
from tests.support.client.fake_clusters import scene
from tests.support.client.fake_search import fails

OPEN = {"/sign-in", "/sign-out", "/static/{version}/{name:path}", "/healthz"}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "keys.json"


@pytest.fixture
def guarded(fake, file, tmp_path):
    """A browser without a key, on a page whose keys are Eva's and an importer's."""
    keys.create(file, label="Somebody", scopes=[Scope.IMPORT])
    with page.opened(fake, tmp_path / "web", keys_file=file) as browser:
        yield browser


def make_key(file, *scopes, label="Eva"):
    return keys.create(file, label=label, scopes=scopes)


def sign_in(browser, secret, *, following="/"):
    return browser.post_form("/sign-in", page="/sign-in", key=secret, following=following)


def wait_until_known(browser, secret):
    """Sign in as soon as the page has seen that the file of keys changed."""
    end = time.monotonic() + 60
    while (answer := sign_in(browser, secret)).status_code != 303:
        assert time.monotonic() < end, answer.text


def test_without_a_key_nothing_is_shown_and_nothing_done(fake, guarded):
    before = len(fake.requests)
    token = page.find_token(guarded.get("/sign-in").text)
    closed = [route for route in ROUTES if route.path not in OPEN]
    assert len(closed) > 20
    for route in closed:
        path = route.path.replace("{token}", "a" * 32).replace("{id}", "0")
        if "POST" in route.methods:
            answer = guarded.post(path, data={"token": token, "name": "promotion"})
        else:
            answer = guarded.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
        assert 'action="/sign-in"' in answer.text
    assert len(fake.requests) == before
    assert guarded.get("/healthz").status_code == 200


def test_a_key_opens_what_its_scopes_allow_and_leads_back(fake, guarded, file):
    _, secret = make_key(file, Scope.READ, Scope.SEARCH)
    address = f"/image?name={fake.names[0]}"
    asked = guarded.get(address)
    following = re.search(r'name="following" value="([^"]+)"', asked.text)[1]
    assert following == address
    wait_until_known(guarded, secret)
    answer = sign_in(guarded, secret, following=following)
    assert answer.headers["location"] == address
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    assert "Max-Age" not in cookie  # it goes when the browser is closed
    shown = guarded.get(address)
    assert shown.status_code == 200
    assert secret not in shown.text
    compared = guarded.get(f"/compare?a={fake.names[0]}&b={fake.names[1]}")
    assert "Are they the same picture?" not in compared.text
    assert guarded.get("/import").status_code == 403
    assert "scope import" in guarded.get("/import").text
    work = guarded.get("/work").text
    assert 'action="/work' not in work
    assert not any(type(each).__name__.startswith("ListTraining") for each in fake.requests)


def test_forms_without_their_scope_are_refused(fake, guarded, file):
    _, secret = make_key(file, Scope.READ)
    wait_until_known(guarded, secret)
    token = page.find_token(guarded.get("/sign-in").text)
    for path, name in (
        ("/verdicts", ""),
        ("/imports", ""),
        ("/work/clusters", ""),
        ("/work/cancel", "clusterJobs/1"),
        ("/work/cancel", "trainingJobs/1"),
        ("/work/cancel", "promotion"),
        ("/pictures", ""),
    ):
        assert guarded.post(path, data={"token": token, "name": name}).status_code == 403, path
    assert not fake.jobs
    assert not fake._holding()


def test_a_verdict_is_signed_by_the_key(fake, guarded, file):
    _, secret = make_key(file, Scope.READ, Scope.SEARCH, Scope.JUDGE)
    wait_until_known(guarded, secret)
    first, second = fake.names[:2]
    pair = f"/compare?a={first}&b={second}"
    shown = guarded.get(pair).text
    assert "Signed by Eva" in shown
    assert 'name="author"' not in shown
    guarded.post_form(
        "/verdicts", page=pair, a=first, b=second, decision="same", author="Somebody else"
    )
    (verdict,) = fake._holding()
    assert verdict.author == "Eva"


@pytest.mark.parametrize(
    "wrong", ["", "x", "halftone_000000000000_" + "A" * 43, "ä\x00", "k" * 9000]
)
def test_a_wrong_key_is_refused_and_not_kept(guarded, wrong):
    answer = sign_in(guarded, wrong)
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert "halftone_key" not in answer.headers.get("set-cookie", "")


def test_a_revoked_key_is_forgotten(guarded, file):
    key, secret = make_key(file, Scope.READ)
    wait_until_known(guarded, secret)
    assert guarded.get("/images").status_code == 200
    keys.revoke(file, key.id)
    end = time.monotonic() + 60
    while (answer := guarded.get("/images")).status_code != 401:
        assert time.monotonic() < end
    assert "revoked" in answer.text
    assert "halftone_key" not in guarded.cookies


def test_signing_out_forgets_the_key(guarded, file):
    _, secret = make_key(file, Scope.READ)
    wait_until_known(guarded, secret)
    assert guarded.post_form("/sign-out", page="/images").status_code == 303
    assert guarded.get("/images").status_code == 401


def test_a_program_sends_its_key_in_a_header(fake, guarded, file):
    _, secret = make_key(file, Scope.READ)
    wait_until_known(guarded, secret)
    guarded.cookies.clear()
    answer = guarded.get("/images", headers={"authorization": f"Bearer {secret}"})
    assert answer.status_code == 200
    refused = guarded.get("/images", headers={"accept": "application/json"})
    assert refused.json()["status"] == 401


def test_a_link_from_another_site_is_asked_for_once_more(guarded):
    from_elsewhere = guarded.get("/images", headers={"sec-fetch-site": "cross-site"})
    assert '<meta http-equiv="refresh" content="0">' in from_elsewhere.text
    assert "refresh" not in guarded.get("/images", headers={"sec-fetch-site": "same-origin"}).text


def test_behind_https_the_cookie_is_for_https_only(guarded, file):
    _, secret = make_key(file, Scope.READ)
    wait_until_known(guarded, secret)
    token = page.find_token(guarded.get("/sign-in").text)
    answer = guarded.post(
        "/sign-in",
        data={"token": token, "key": secret},
        headers={"origin": page.ADDRESS.replace("http:", "https:")},
    )
    assert "Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "address",
    [
        "",
        "x",
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "/\t/evil",
        "javascript:1",
    ],
)
def test_signing_in_leads_to_this_page_only(address):
    assert make_local_address(address) == "/"


def test_a_page_that_the_services_do_not_know_says_so(fake, browser):
    fake.faults["ListImages"].append(fails(errors.Unauthenticated("no", reason="NO_KEY")))
    answer = browser.get("/images")
    assert answer.status_code == 503
    assert "HALFTONE_SERVICE_KEY" in answer.text


def test_while_there_is_no_key_nobody_is_asked(fake, file, tmp_path):
    with page.opened(fake, tmp_path / "web", keys_file=file) as browser:
        assert browser.get("/images").status_code == 200
        files = {"file": ("found.jpg", scene(), "image/jpeg")}
        assert browser.post_form("/pictures", page="/", files=files).status_code == 303
        assert "Sign out" not in browser.get("/images").text


PROXY = {
    "proxy": "oauth2-proxy",
    "proxy_addresses": "127.0.0.0/8",
    "proxy_user_header": "X-Forwarded-Email",
}
EVA = {"x-forwarded-email": "eva@archive.example"}


def test_a_trusted_proxy_says_who_somebody_is_and_signs_verdicts(fake, tmp_path):
    with page.opened(fake, tmp_path / "web", peer="127.0.0.1", **PROXY) as browser:
        assert browser.get("/images").status_code == 401
        browser.headers.update(EVA)
        assert browser.get("/images").status_code == 200
        # Importing is not among the scopes that the settings give.
        assert browser.get("/import").status_code == 403
        first, second = fake.names[:2]
        pair = f"/compare?a={first}&b={second}"
        browser.post_form("/verdicts", page=pair, a=first, b=second, decision="same", author="Me")
        (verdict,) = fake._holding()
        assert verdict.author == "eva@archive.example"


@pytest.mark.parametrize(
    "headers",
    [
        [("x-forwarded-email", "eva@archive.example"), ("x-forwarded-email", "root")],
        [("x-forwarded-email", "")],
        [("x-forwarded-email", "e" * 300)],
        [("x-forwarded-email", "eva\x7f")],
    ],
)
def test_a_proxy_that_names_nobody_or_several_lets_nobody_in(fake, tmp_path, headers):
    with page.opened(fake, tmp_path / "web", peer="127.0.0.1", **PROXY) as browser:
        assert browser.get("/images", headers=headers).status_code == 401


def test_the_header_of_a_proxy_counts_from_its_address_only(fake, tmp_path):
    with page.opened(fake, tmp_path / "web", peer="192.0.2.1", **PROXY) as browser:
        assert browser.get("/images", headers=EVA).status_code == 401


def test_the_scopes_of_those_behind_a_proxy_are_set(fake, tmp_path):
    with page.opened(
        fake, tmp_path / "web", peer="127.0.0.1", **PROXY, proxy_scopes="read, import"
    ) as browser:
        browser.headers.update(EVA)
        assert browser.get("/import").status_code == 200
        assert browser.get("/judge").status_code == 200
        answer = browser.get(f"/compare?a={fake.names[0]}&b={fake.names[1]}")
        assert answer.status_code == 403


def test_services_are_told_for_whom_the_page_asks(fake, guarded, file):
    key, secret = make_key(file, Scope.READ)
    wait_until_known(guarded, secret)
    assert guarded.get("/images").status_code == 200
    assert ("x-halftone-caller", f"key:{key.id};Eva") in fake.metadata[-1]
