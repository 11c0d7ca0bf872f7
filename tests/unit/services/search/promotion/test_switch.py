"""The move of alias and pointer, and what a start does with one that was cut off."""

from __future__ import annotations

import pytest

from halftone.core import errors
from halftone.registry.pointer import Pointer
from halftone.services.search.promotion import switch
from halftone.services.search.promotion.files import PromotionFiles
from halftone.services.search.promotion.transitions import State
from halftone.v1 import models_pb2

OLD, NEW = "fake/1", "fake/2"


class Places:
    """The store's alias and the registry's pointer; each call may fail before or after it works."""

    def __init__(self, *, alias=OLD, pointer=OLD):
        self.alias, self.named = alias, pointer
        self.failing = {}
        self.gone_back = False

    def _fail(self, what):
        if what in self.failing:
            raise self.failing[what]

    def active(self):
        self._fail("active")
        return self.alias

    def set_active(self, version):
        self._fail(f"before alias {version}")
        self.alias = version
        self._fail(f"after alias {version}")

    def pointer(self):
        return Pointer(self.named)

    def promote(self, version):
        self._fail("before pointer")
        self.named = version
        self._fail("after pointer")

    def roll_back(self, version):
        self.gone_back = True
        self.promote(version)


def switching(**fields):
    return models_pb2.Promotion(
        id="a", model_version=NEW, from_model_version=OLD, state=State.SWITCHING, **fields
    )


def move(places):
    switch.move(switching(), store=places, registry=places)


@pytest.mark.parametrize(("alias", "pointer"), [(OLD, OLD), (NEW, OLD), (OLD, NEW), (NEW, NEW)])
def test_a_move_completes_whatever_was_moved_before(alias, pointer):
    places = Places(alias=alias, pointer=pointer)
    move(places)
    assert (places.alias, places.named) == (NEW, NEW)
    assert switch.has_moved(switching(), store=places, registry=places)
    assert not switch.is_back(switching(), store=places)


@pytest.mark.parametrize("roll_back", [True, False])
def test_a_roll_back_moves_the_pointer_back(roll_back):
    places = Places()
    switch.move(switching(roll_back=roll_back), store=places, registry=places)
    assert (places.alias, places.named) == (NEW, NEW)
    assert places.gone_back is roll_back


@pytest.mark.parametrize("what", [f"after alias {NEW}", f"before alias {NEW}", "before pointer"])
def test_what_cannot_be_moved_goes_back(what):
    places = Places()
    places.failing[what] = errors.Unavailable("away")
    with pytest.raises(errors.Unavailable):
        move(places)
    assert (places.alias, places.named) == (OLD, OLD)
    assert switch.is_back(switching(), store=places)


def test_what_has_moved_stays_although_the_last_call_failed():
    """For example when the directory's fsync failed after the pointer was replaced."""
    places = Places()
    places.failing["after pointer"] = OSError("broken")
    move(places)
    assert (places.alias, places.named) == (NEW, NEW)


def test_an_alias_that_does_not_go_back_or_cannot_be_asked_for_is_not_back():
    places = Places()
    places.failing = {
        "before pointer": errors.StorageFull("full"),
        f"before alias {OLD}": errors.Unavailable("away"),
    }
    with pytest.raises(errors.Unavailable):
        move(places)
    assert not switch.is_back(switching(), store=places)
    places.alias = OLD
    assert switch.is_back(switching(), store=places)
    places.failing["active"] = errors.Unavailable("away")
    assert not switch.is_back(switching(), store=places)


def test_a_promotion_of_what_answers_already_moves_no_alias():
    same = models_pb2.Promotion(model_version=NEW, from_model_version=NEW)
    places = Places(alias=NEW)
    places.failing["before pointer"] = errors.DataLoss("damaged")
    with pytest.raises(errors.DataLoss):
        switch.move(same, store=places, registry=places)
    assert switch.is_back(same, store=places)


@pytest.mark.parametrize(
    ("error", "cancelled", "state"),
    [
        (None, False, State.SWITCHING),
        (errors.Unavailable("away"), False, State.SWITCHING),
        (OSError("broken"), False, State.SWITCHING),
        (errors.DataLoss("damaged"), False, State.FAILED),
        (errors.DataLoss("damaged"), True, State.CANCELLED),
    ],
)
def test_what_a_start_does_with_a_switch_that_was_cut_off(tmp_path, error, cancelled, state):
    files, places = PromotionFiles(tmp_path), Places()
    files.write(switching())
    if error is not None:
        places.failing["before pointer"] = error
    if cancelled:
        files.ask_to_cancel("a")
    switch.recover(files, store=places, registry=places)
    promotion = files.read()
    assert promotion.state == state
    assert promotion.HasField("error") is (state == State.FAILED)
    assert (places.alias == NEW) is (error is None)
    files.try_lock().close()


def test_a_start_does_not_fail_a_switch_whose_alias_is_not_back(tmp_path):
    files, places = PromotionFiles(tmp_path), Places()
    files.write(switching())
    places.failing = {
        "before pointer": errors.DataLoss("damaged"),
        f"before alias {OLD}": errors.StorageFull("full"),
    }
    switch.recover(files, store=places, registry=places)
    assert files.read().state == State.SWITCHING


def test_a_start_on_a_full_disk_is_a_start(tmp_path, monkeypatch):
    """That the switch was undone is written by a later one."""
    files, places = PromotionFiles(tmp_path), Places()
    files.write(switching())
    places.failing["before pointer"] = errors.DataLoss("damaged")

    def full(_promotion):
        raise errors.StorageFull("full")

    monkeypatch.setattr(files, "write", full)
    switch.recover(files, store=places, registry=places)
    assert places.alias == OLD


def test_a_start_leaves_what_another_process_completes(tmp_path):
    files, places = PromotionFiles(tmp_path), Places()
    files.write(switching())
    with files.try_lock():
        switch.recover(files, store=places, registry=places)
    assert places.alias == OLD
