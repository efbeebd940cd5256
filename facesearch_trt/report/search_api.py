"""The REST API's search by photo."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse

from . import answers, bodies
from .context import ServiceHere, clip_or_404, searches_of
from .finder import Choice
from .forms import MAX_PHOTOS, Form
from .service import Service

__all__ = ["router", "search"]

_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["photo"],
                    "properties": {
                        "photo": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": MAX_PHOTOS,
                            "items": {"type": "string", "format": "binary"},
                            "description": "photos of one person: JPEG, PNG, BMP or WebP",
                        },
                        "face": {
                            "type": "integer",
                            "minimum": 1,
                            "maximum": 999_999_999,
                            "description": "which face, from 1, where a photo shows several",
                        },
                        "clip_id": {"type": "array", "items": {"type": "string"}, "description": "only in these clips"},
                        "top": {"type": "integer", "minimum": 1, "maximum": 200, "default": 20},
                        "min_similarity": {"type": "number", "minimum": -1, "maximum": 1},
                    },
                }
            }
        },
    }
}

router = APIRouter(prefix="/api", responses=bodies.REFUSED)
"""A search changes nothing, so a program need not ask for a CSRF token first; pages of other sites are refused by the
gate."""


@router.post(
    "/search",
    tags=["search"],
    openapi_extra=_UPLOAD,
    responses={
        300: {"model": answers.ChoiceOut, "description": "a photo shows several faces: say which one with `face`"},
        408: {"model": bodies.Problem, "description": "the photos are too long in coming"},
        415: {"model": bodies.Problem, "description": "it is no form"},
        **bodies.NOT_THERE,
    },
)
async def search(service: ServiceHere, request: Request) -> answers.AnswerOut:
    """Find a person by photo. Photos are kept in memory for the search and not stored."""
    return await searches_of(request).answer(request, None, lambda form: _answer(service, form))


def _answer(service: Service, form: Form) -> answers.AnswerOut:
    top, least = form.whole("top"), form.text("min_similarity").strip()
    try:
        similarity = float(least) if least else None
    except ValueError:
        raise HTTPException(422, "min_similarity takes a number from -1 to 1") from None
    if similarity is not None and not -1 <= similarity <= 1:
        raise HTTPException(422, "min_similarity takes a number from -1 to 1")
    if top is not None and not 1 <= top <= 200:
        raise HTTPException(422, "top takes a whole number from 1 to 200")
    for clip_id in form.texts("clip_id"):
        clip_or_404(service, clip_id)
    answer = service.search(
        form.files("photo"),
        face=form.whole("face"),
        clip_ids=form.texts("clip_id"),
        top=20 if top is None else top,
        least=similarity,
    )
    if isinstance(answer, Choice):
        return JSONResponse(answers.ChoiceOut.of(answer).model_dump(), 300)  # type: ignore[return-value]
    return answers.AnswerOut.of(answer, service.snapshot())
