"""Requests: whatever is posted to `/predict`, as recordings."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from crossl.errors import DataError
from crossl.service.answers import ARROW
from crossl.service.arrow import read_arrow_body
from crossl.service.bodies import Sent, asked_by, read_json_body
from crossl.service.engine import Engine
from crossl.service.limits import Limits
from crossl.service.options import MANNER, predict_options
from crossl.service.uploads import checked_name, read_uploaded

FORM = "multipart/form-data"


async def sent_by(request: Request, engine: Engine, limits: Limits) -> list[Sent]:
    """Read what was posted.

    Raises:
        CrosslError: it cannot be used.
        HTTPException: too large, too slow, or of another kind.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    told = predict_options(request.query_params)
    if kind == FORM:
        return await _uploaded(request, engine, limits, told)
    if kind not in ("application/json", ARROW):
        raise HTTPException(
            415, f"Content-Type: is '{kind:.80}'; allowed are application/json, {ARROW} and {FORM}"
        )
    body = await request.body()
    modalities = engine.run.modalities
    if kind == ARROW:
        return [await engine.read(lambda: read_arrow_body(body, modalities, limits, told))]
    if told:
        raise DataError(
            f"option '{next(iter(told))}': belongs in the body of JSON, not in the address"
        )
    return [await engine.read(lambda: read_json_body(body, modalities, limits))]


async def _uploaded(
    request: Request, engine: Engine, limits: Limits, told: dict[str, Any]
) -> list[Sent]:
    for name in told:
        if name not in ("resample", *MANNER):
            raise DataError(f"option '{name}': is not for files; they say it themselves")
    resample = told.get("resample", ())
    async with (
        request.form(max_files=limits.files, max_fields=0) as form,
        engine.uploads,
    ):
        with TemporaryDirectory(prefix="crossl-upload-") as folder:
            await engine.read(lambda: _keep(form, Path(folder)))
            found = await read_uploaded(
                Path(folder), engine.run.contract, limits, resample=resample
            )
    return [Sent(one, tuple(resample), asked_by(told)) for one in found]


def _keep(form: FormData, folder: Path) -> None:
    """Write what was sent into a folder of its own."""
    taken: set[PurePosixPath] = set()
    for _, upload in form.multi_items():
        if not isinstance(upload, UploadFile):
            raise DataError("files: a part has no file name; send each file as a file")
        name = checked_name(upload.filename)
        if name in taken:
            raise DataError(f"files: two have the name '{name}'; each needs its own")
        taken.add(name)
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                shutil.copyfileobj(upload.file, file)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise DataError(f"files: '{name}' is a file and a folder at once, or twice") from None
    if not taken:
        raise DataError("files: none was sent; at least one is needed")
