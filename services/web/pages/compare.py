"""Two pictures side by side, one over the other, and the verdict on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from halftone.core import errors
from halftone.services.web.answers import comparing, judging, outlines, questions
from halftone.services.web.pages.desk import get_desk, get_visitor, read_author
from halftone.services.web.pages.search import find_detail
from halftone.services.web.words import sentences

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

VIEWS: Final = ("side", "overlay", "swipe", "blink", "difference")


async def show_comparison(request: Request) -> Response:
    """Answer `GET /compare?a=…&b=…`, or `?picture=…&b=…` for a dropped picture."""
    desk = get_desk(request)
    params = request.query_params
    question = questions.Question(
        picture=params.get("picture", ""),
        image=params.get("a", ""),
        region=questions.read_region(params),
    )
    if not question.has_picture:
        raise errors.InvalidArgument("Name two pictures to compare.", field="a")
    async with desk.turns.take(get_visitor(request).id):
        found = await comparing.compare(
            desk.client, desk.uploads, question, other=params.get("b", "")
        )
    place = judging.read_place(params)
    saved, undone = params.get("saved", ""), params.get("undone", "")
    a, b = question.image, found.image.name
    if place is not None:
        # In the queue it is the pair before that was judged.
        a, b = params.get("judged_a", ""), params.get("judged_b", "")
    view = params.get("view", "")
    if view not in VIEWS or not found.can_be_laid_over:
        view = "side"
    language = desk.renderer.choose_language(request)
    on_a = outlines.outline_query(found.hit, corner=found.subject.corner)
    on_b = outlines.outline_image(found.hit)
    size_a = (found.subject.width, found.subject.height)
    return await desk.renderer.render(
        request,
        "compare",
        found=found,
        view=view,
        views=VIEWS,
        sure=sentences.say_sureness(found.hit, language),
        traits=", ".join(sentences.list_traits(found.hit, language)),
        on_a=on_a,
        on_b=on_b,
        detail_a=questions.format_region(outlines.frame_detail(on_a, size=size_a)),
        detail_b=find_detail(on_b, found.image),
        points=outlines.format_points,
        region=questions.format_region(found.subject.region),
        saved=saved if saved and await judging.is_kept(desk.client, saved, a=a, b=b) else "",
        undone=bool(undone)
        and await judging.is_taken_back(desk.client, undone, a=question.image, b=found.image.name),
        place=place,
        judged=(a, b),
        author=read_author(request),
    )
