"""Model versions in words, and the change from one to another."""

from __future__ import annotations

import re

import pytest

from halftone.client import ModelVersion
from halftone.core import errors, keys
from halftone.core.keys import Scope
from halftone.registry.starter import find_starter
from halftone.services.web.answers.reports import read_report
from halftone.services.web.words import sentences
from halftone.services.web.words.languages import read_languages
from halftone.v1 import models_pb2 as pb
from tests.support.client import page
from tests.support.client.fake_models import METRICS, SPEC, FakeModels
from tests.support.client.fake_trainer import FakeTrainer


@pytest.fixture
def fake():
    with FakeModels() as server:
        server.names = server.story()
        server.add_version("new/2", spec=SPEC, metrics=METRICS)
        server.add_version("old/1", active=True, image_count=7)
        yield server


@pytest.fixture
def browser(fake, tmp_path):
    with page.opened(fake, tmp_path / "web") as browser:
        yield browser


def test_a_version_says_what_it_was_trained_on_and_how_good_it_is(browser):
    text = browser.get("/model?name=new/2").text
    assert "It does not answer searches." in text
    assert "By the network alone, as the pictures stand, 87% of 155 pictures had" in text
    assert "it would be 79% to 94%" in text
    assert "The version it was trained from had 62% in first place." in text
    assert "Of the pairs to which a search gives 0.9 or more, 99% are the same picture." in text
    assert "&lt;b&gt;press&lt;/b&gt;" in text
    assert "Public domain." in text
    assert "ImageNet &lt;weights&gt; (licence: BSD-3-Clause)" in text
    assert 'href="/model?name=old/1"' in text
    german = browser.get("/model?name=new/2&lang=de").text
    assert "hatten 87\N{NO-BREAK SPACE}% von 155 Bildern einen anderen Abdruck" in german


def test_a_version_of_which_nothing_can_be_read_says_so(browser):
    text = browser.get("/model?name=old/1").text
    assert "It answers searches." in text
    assert "It was published without being measured." in text
    assert "Its spec.json cannot be read" in text
    assert "Let it answer" not in text
    assert browser.get("/model?name=none/1").status_code == 404


HOSTILE = [None, True, "x" * 9999, -1, 2, float("nan"), float("inf"), [], [[]], {}, {"name": 3}]


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_whatever_a_version_holds_is_read(value):
    """Each value of each place is of the wrong kind once."""

    def spoil(whole):
        if isinstance(whole, dict):
            for key, inner in whole.items():
                yield {**whole, key: value}
                yield from ({**whole, key: spoilt} for spoilt in spoil(inner))
        elif isinstance(whole, list):
            yield [value]
            yield from ([spoilt] for inner in whole for spoilt in spoil(inner))

    for spec in spoil(SPEC):
        read_report(ModelVersion(name="a/1", spec=spec, metrics=METRICS))
    for metrics in spoil(METRICS):
        report = read_report(ModelVersion(name="a/1", spec=SPEC, metrics=metrics))
        assert all(0 <= each.first_place <= 1 for each in report.measured)


def test_the_packaged_version_says_what_there_is_to_say():
    version = find_starter()
    report = read_report(
        ModelVersion(name=version.id, spec=version.spec(), metrics=version.metrics())
    )
    assert [each.name for each in report.data] == ["press-pool"]
    assert report.data[0].rights
    assert [each.on for each in report.measured] == ["press-archive"]
    assert report.measured[0].first_place_range is not None
    assert report.probabilities is not None
    assert not report.weights


def test_another_version_is_made_to_answer_and_that_is_stopped(fake, browser):
    answer = browser.post_form("/work/promotion", page="/model?name=new/2", name="new/2")
    assert answer.headers["location"].startswith("/work")
    text = browser.get("/work").text
    assert "embedding the archive anew" in text
    assert "10 of 40, about 5 minutes left" in text
    assert "data-refresh" in text
    assert "A change of the version is under way." in browser.get("/model?name=new/2").text
    browser.post_form("/work/cancel", page="/work", name="promotion")
    assert fake.promotion.state == pb.Promotion.CANCELLED
    assert not fake.promotion.force
    again = browser.post_form("/work/promotion", page="/model?name=new/2", name="old/1")
    assert again.status_code == 409
    assert "This version answers already." in again.text


def test_a_version_that_was_refused_can_be_made_to_answer_all_the_same(fake, browser):
    assert 'name="force"' not in browser.get("/model?name=new/2").text
    browser.post_form("/work/promotion", page="/model?name=new/2", name="new/2")
    fake.promotion.state = pb.Promotion.REFUSED
    fake.promotion.comparison.refusal = "it finds <less>"
    fake.promotion.comparison.sampled_queries = 20
    fake.promotion.comparison.top10_agreement = 0.8
    fake.promotion.comparison.from_figures.recall_at_1 = 0.9
    fake.promotion.comparison.to_figures.recall_at_1 = 0.7
    error = errors.FailedPrecondition("new/2 is worse.", reason="VERSION_WORSE")
    fake.promotion.error.CopyFrom(errors.to_status(error))
    work = browser.get("/work?lang=de").text
    assert "Die Version findet weniger als die, die antwortet." in work
    text = browser.get("/work?lang=en").text
    assert "Both versions have 80% of the first ten results in common." in text
    assert "the first result is right for 90% before and 70% after" in text
    text = browser.get("/model?name=new/2").text
    assert "it finds &lt;less&gt;" in text
    browser.post_form("/work/promotion", page="/model?name=new/2", name="new/2", force="1")
    assert fake.promotion.force


def test_only_who_may_do_all_changes_the_version(fake, tmp_path):
    file = tmp_path / "keys.json"
    _, secret = keys.create(file, label="Eva", scopes=[Scope.READ, Scope.IMPORT, Scope.TRAIN])
    with page.opened(fake, tmp_path / "web", keys_file=file) as browser:
        headers = {"authorization": f"Bearer {secret}"}
        shown = browser.get("/model?name=new/2", headers=headers)
        assert shown.status_code == 200
        assert "/work/promotion" not in shown.text
        token = page.find_token(browser.get("/sign-in").text)
        data = {"token": token, "name": "new/2"}
        assert browser.post("/work/promotion", data=data, headers=headers).status_code == 403
        assert fake.promotion is None


def test_a_promotion_needs_a_form_of_this_page(fake, browser):
    browser.get("/model?name=new/2")
    assert browser.post("/work/promotion", data={"name": "new/2"}).status_code == 403
    assert fake.promotion is None


def test_the_work_says_in_words_what_the_services_do(fake, tmp_path):
    with (
        FakeTrainer() as trainer,
        page.opened(fake, tmp_path, trainer=trainer.address) as browser,
    ):
        text = browser.get("/work").text
        assert re.search(r"answers from \d+ pictures", text)
        assert "answers with fake/1, on cpu" in text
        assert "answers, and has nothing to do" in text
        assert 'href="/model?name=new/2"' in text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, ""),
        (-1, ""),
        (20, "less than a minute left"),
        (61, "about one minute left"),
        (600, "about 10 minutes left"),
        (7300, "about 2 hours left"),
    ],
)
def test_how_long_it_takes_is_said_roughly(seconds, said):
    english = read_languages().choose(asked="en", accepted="")
    assert sentences.say_time_left(seconds, english) == said
