"""Every call that gives out pixels asks the record whether it may."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import FieldDescriptor

from halftone.archive.showing import NOT_SHOWN
from halftone.core import errors
from halftone.v1 import clusters_pb2, models_pb2, search_pb2
from tests.support.search.search_service import error_of, name, picture, record

NONE, THUMBNAIL, FULL = (
    search_pb2.Image.NONE,
    search_pb2.Image.THUMBNAIL,
    search_pb2.Image.FULL,
)
PIXELS = {
    "GetThumbnail": (search_pb2.GetThumbnailRequest, THUMBNAIL),
    "GetImageRegion": (search_pb2.GetImageRegionRequest, FULL),
}
"""The calls that answer with pixels, and what a record has to allow for each."""


def _has_bytes(message, seen=()):
    """Whether a message may carry bytes, at any depth."""
    return any(
        field.type == FieldDescriptor.TYPE_BYTES
        or (
            field.message_type is not None
            and field.message_type.full_name not in seen
            and field.message_type.full_name != "google.protobuf.Any"
            and _has_bytes(field.message_type, (*seen, message.full_name))
        )
        for field in message.fields
    )


def test_no_other_call_answers_with_bytes():
    """A new call that gives out pixels has to be added above, so that it is tested below."""
    found = {
        method.name
        for contract in (clusters_pb2, models_pb2, search_pb2)
        for service in contract.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if _has_bytes(method.output_type)
    }
    assert found == set(PIXELS)


def ask(service, method):
    request, _ = PIXELS[method]
    return getattr(service.stub, method)(request(name=name(1)))


async def set_show(service, value):
    request = search_pb2.UpdateImageRequest(image=search_pb2.Image(name=name(1), show=value))
    request.update_mask.paths.append("show")
    return await service.stub.UpdateImage(request)


@pytest.mark.parametrize("method", sorted(PIXELS))
async def test_pixels_are_given_out_as_the_record_allows(service, method):
    """Also when it is changed, and when a thumbnail is there already."""
    await service.add(record(1, rights="Stadtarchiv"))
    assert (await ask(service, method)).rights == "Stadtarchiv"
    _, needed = PIXELS[method]
    for value in (THUMBNAIL, NONE, FULL, NONE):
        assert (await set_show(service, value)).show == value
        if value >= needed:
            assert (await ask(service, method)).content
        else:
            error = await error_of(ask(service, method))
            assert isinstance(error, errors.PermissionDenied)
            assert error.reason == NOT_SHOWN
    assert (await set_show(service, 0)).show == FULL  # an unset value is full, if it is asked for


async def test_equal_bytes_under_another_name_show_nothing_of_a_hidden_record(service):
    await service.add(
        record(1, show=NONE, content=picture(1)), record(2, show=FULL, content=picture(1))
    )
    await service.stub.GetThumbnail(search_pb2.GetThumbnailRequest(name=name(2)))
    for method in PIXELS:
        assert isinstance(await error_of(ask(service, method)), errors.PermissionDenied)


async def test_a_hidden_picture_is_found_all_the_same(service):
    await service.add(record(1, show=NONE), record(2))
    hits = (await service.search(content=picture(1))).hits
    assert {hit.image.name: hit.image.show for hit in hits} == {name(1): NONE, name(2): FULL}


async def test_an_import_that_does_not_mention_it_leaves_it_hidden(service):
    states = search_pb2.ImportImagesResponse
    await service.add(record(1, show=NONE))
    get = search_pb2.GetImageRequest(name=name(1))
    for request, state in (
        (record(1), states.UNCHANGED),
        (record(1, caption="new"), states.UPDATED),
        (record(1, content=picture(5)), states.UPDATED),
    ):
        (answer,) = await service.add(request)
        assert answer.state == state
        assert (await service.stub.GetImage(get)).show == NONE
    (answer,) = await service.add(record(1, content=picture(5), show=FULL))
    assert answer.state == states.UPDATED
    assert (await service.stub.GetImage(get)).show == FULL


async def test_a_value_that_nobody_knows_is_refused(service):
    (answer,) = await service.add(record(1, show=9))
    assert answer.state == search_pb2.ImportImagesResponse.REJECTED
    await service.add(record(1))
    assert (await error_of(set_show(service, 9))).field == "image.show"


@pytest.mark.parametrize("own", [0, FULL])
@pytest.mark.parametrize("method", sorted(PIXELS))
async def test_no_more_is_shown_of_a_picture_than_of_its_page(service, method, own):
    """Also when the page is imported later, is changed, or is deleted."""
    _, needed = PIXELS[method]
    await service.add(record(1, page_image=name("page"), show=own))
    assert (await ask(service, method)).content
    await service.add(record("page", content=picture(2), rights="Stadtarchiv"))
    assert (await ask(service, method)).rights == "Stadtarchiv"
    for value in (THUMBNAIL, FULL, NONE):
        request = search_pb2.UpdateImageRequest(image={"name": name("page"), "show": value})
        request.update_mask.paths.append("show")
        await service.stub.UpdateImage(request)
        got = await service.stub.GetImage(search_pb2.GetImageRequest(name=name(1)))
        assert (got.show, got.rights) == (value, "Stadtarchiv")
        if value >= needed:
            assert (await ask(service, method)).content
        else:
            assert (await error_of(ask(service, method))).reason == NOT_SHOWN
    await service.stub.DeleteImages(search_pb2.DeleteImagesRequest(names=[name("page")]))
    assert (await error_of(ask(service, method))).reason == NOT_SHOWN
    got = await service.stub.GetImage(search_pb2.GetImageRequest(name=name(1)))
    assert (got.show, got.rights, got.page_image) == (NONE, "Stadtarchiv", name("page"))


async def test_a_picture_keeps_what_its_own_record_says_more_strictly(service):
    await service.add(
        record("page", content=picture(2), rights="Stadtarchiv"),
        record(1, page_image=name("page"), show=NONE, rights="Ullstein"),
        record(2, page_image=name(1)),
    )
    for method in PIXELS:
        assert (await error_of(ask(service, method))).reason == NOT_SHOWN
    # What stands on a picture by mistake shows no more than that.
    listed = await service.stub.ListImages(search_pb2.ListImagesRequest())
    assert {image.name: (image.show, image.rights) for image in listed.images} == {
        name("page"): (FULL, "Stadtarchiv"),
        name(1): (NONE, "Ullstein"),
        name(2): (NONE, "Ullstein"),
    }


async def test_pages_in_a_circle_show_what_the_strictest_does(service):
    await service.add(
        record(1, page_image=name(2), show=NONE), record(2, page_image=name(1), show=THUMBNAIL)
    )
    listed = await service.stub.ListImages(search_pb2.ListImagesRequest())
    assert [image.show for image in listed.images] == [NONE, NONE]
