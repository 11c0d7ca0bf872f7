"""The front page, dropping a picture, and a search's results."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams, UploadFile
from starlette.responses import JSONResponse, RedirectResponse

from halftone.core import errors
from halftone.core.bugs import conceal_bug
from halftone.services.web.answers import holdings, outlines, questions, searching
from halftone.services.web.pages import charts
from halftone.services.web.pages.desk import get_desk, get_visitor, read_form, wants_json
from halftone.services.web.words import sentences

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from halftone.client import Hit, ImageRecord
    from halftone.services.web.answers.questions import Question
    from halftone.services.web.answers.searching import Answer, Subject
    from halftone.services.web.pages.desk import Desk
    from halftone.services.web.words.languages import Language


@dataclass(frozen=True, kw_only=True)
class Card:
    """A hit as the page shows it.

    Attributes:
        sure: How sure it is that it is the same picture, in words.
        traits: What it is: cropped, mirrored …
        on_hit: The polygons to draw on the hit.
        on_query: The polygons to draw on the searched picture.
        compare: The address at which the two are compared.
        detail: The shared part of the hit, as it stands in an address; "" if it is all or nothing.
    """

    hit: Hit
    sure: str
    traits: str
    probability: str
    on_hit: outlines.Outlines
    on_query: outlines.Outlines
    compare: str
    detail: str


async def show_home(request: Request) -> Response:
    """Answer `GET /`: where a picture is dropped. An empty archive says what to do next."""
    desk = get_desk(request)
    held = None
    problem = None
    try:
        held = await holdings.count_holdings(desk.client, questions.Choice())
    except errors.HalftoneError as error:
        problem = conceal_bug(error, page="home")
    return await desk.renderer.render(
        request,
        "home",
        held=held,
        problem=problem,
    )


async def take_picture(request: Request) -> Response:
    """Answer `POST /pictures`: keep a dropped picture and lead to the search by it."""
    desk = get_desk(request)
    async with read_form(request, most_files=1) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile) or not file.size:
            raise errors.InvalidArgument("Choose a picture first.", field="file")
        upload = await desk.uploads.run(desk.uploads.keep, await file.read())
        fields = [(key, value) for key, value in form.multi_items() if isinstance(value, str)]
    choice = questions.read_choice(QueryParams(fields))
    question = questions.Question(picture=upload.token, choice=choice)
    address = f"/search?{question.make_query()}"
    if wants_json(request):
        return JSONResponse({"address": address, "width": upload.width, "height": upload.height})
    return RedirectResponse(address, 303)


async def show_search(request: Request) -> Response:
    """Answer `GET /search`: the picture at once, the hits as soon as they are there."""
    desk = get_desk(request)
    params = request.query_params
    question = questions.read_question(params)
    if not question.has_picture:
        return RedirectResponse("/", 303)
    if any(params.get(name) for name in ("x", "y", "w", "h")):
        return RedirectResponse(f"/search?{question.make_query()}", 303)
    desk.turns.check(get_visitor(request).id)
    subject, choices = await asyncio.gather(
        searching.find_subject(desk.client, desk.uploads, question),
        holdings.count_choices(desk.client, question.choice),
    )
    language = desk.renderer.choose_language(request)
    task = asyncio.ensure_future(
        _search_in_turn(desk, visitor=get_visitor(request).id, subject=subject, question=question)
    )
    done, _ = await asyncio.wait({task}, timeout=desk.wait_seconds)
    if done:
        task.result()
    return desk.renderer.stream(
        request,
        "search",
        question=question,
        subject=subject,
        region=questions.format_region(subject.region),
        facets=list_facets(choices.facets),
        years=charts.draw_years(choices.years, question),
        label_keys=choices.label_keys,
        address=lambda **changes: f"/search?{question.make_query(**changes)}",
        find_results=_make_finder(
            desk, task=task, question=question, subject=subject, language=language
        ),
    )


async def _search_in_turn(
    desk: Desk, *, visitor: str, subject: Subject, question: Question
) -> Answer:
    async with desk.turns.take(visitor):
        return await searching.search(desk.client, subject, question)


def _make_finder(
    desk: Desk,
    *,
    task: asyncio.Future[Answer],
    question: Question,
    subject: Subject,
    language: Language,
) -> Callable[[], Awaitable[dict[str, Any]]]:
    """Return the function with which the template waits for the results; it never raises."""

    async def find_results() -> dict[str, Any]:
        try:
            answer = await task
            held = None
            if answer.is_empty:
                held = await holdings.count_holdings(desk.client, question.choice)
        except errors.HalftoneError as error:
            return {"problem": conceal_bug(error, page="search")}
        except Exception as bug:  # noqa: BLE001 - the page has been begun
            return {"problem": conceal_bug(bug, page="search")}
        finally:
            task.cancel()

        def make_cards(hits: tuple[Hit, ...]) -> list[Card]:
            return [
                make_card(hit, subject=subject, question=question, language=language)
                for hit in hits
            ]

        return {
            "problem": None,
            "answer": answer,
            "held": held,
            "likely": make_cards(answer.likely),
            "sharing": make_cards(answer.sharing),
            "unlikely": make_cards(answer.unlikely),
        }

    return find_results


def make_card(hit: Hit, *, subject: Subject, question: Question, language: Language) -> Card:
    """Return a hit with what the page says of it and draws on it."""
    first = [("a", question.image)] if question.image else [("picture", question.picture)]
    region = questions.format_region(subject.region)
    part = [("region", region)] if region else []
    image = hit.image
    on_hit = outlines.outline_image(hit)
    return Card(
        hit=hit,
        sure=sentences.say_sureness(hit, language),
        traits=", ".join(sentences.list_traits(hit, language)),
        probability=sentences.format_probability(hit.probability, language),
        on_hit=on_hit,
        on_query=outlines.outline_query(hit, corner=subject.corner),
        compare="/compare?" + urlencode([*first, ("b", image.name), *part], safe="/,"),
        detail=find_detail(on_hit, image),
    )


def find_detail(on_image: outlines.Outlines, image: ImageRecord) -> str:
    """Return the shared part of an image as it stands in an address; "" if it is all or nothing."""
    size = (image.width, image.height)
    return questions.format_region(outlines.frame_detail(on_image, size=size))


@dataclass(frozen=True, kw_only=True)
class FacetView:
    """A facet as the page shows it: the first values, and the others folded away.

    Attributes:
        is_complete: Whether these are all; a rarer value has to be typed otherwise.
    """

    kind: str
    first: list[tuple[str, int, bool]]
    others: list[tuple[str, int, bool]]
    is_complete: bool


_FIRST: Final = 6


def list_facets(facets: tuple[holdings.Facet, ...]) -> list[FacetView]:
    """Return the facets that offer a choice; chosen values come first."""
    views = []
    for facet in facets:
        values = [(value, count, value in facet.chosen) for value, count in facet.values]
        found = {value for value, _ in facet.values}
        values += [(value, 0, True) for value in facet.chosen if value not in found]
        values.sort(key=lambda item: not item[2])
        if len(values) > 1 or facet.chosen:
            first = max(_FIRST, len(facet.chosen))
            views.append(
                FacetView(
                    kind=facet.kind,
                    first=values[:first],
                    others=values[first:],
                    is_complete=facet.is_complete,
                )
            )
    return views
