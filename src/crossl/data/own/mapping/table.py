"""The block `table:` of `recordings.yaml`: how tables of text are written."""

from __future__ import annotations

import codecs
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from crossl.data.entry import Entry, Text
from crossl.data.formats.layout import TableFormat

NAMED_SIGNS = {"tab": "\t", "\\t": "\t", "blank": " ", "blanks": " ", "space": " "}


def _sign(value: Any) -> Any:
    return NAMED_SIGNS.get(value.lower(), value) if isinstance(value, str) else value


def _several(value: Any) -> Any:
    """Let one value stand for a list of one."""
    return [value] if isinstance(value, (str, int, float)) else value


class TableEntry(Entry):
    """How tables of text are written; what is not said is found from their lines.

    Attributes:
        skip_lines: lines above the names (above the samples, where there are no names).
        encoding: of the text, such as `cp1252` or `utf-16`.
        delimiter: between cells: one character, or `tab`, or `blanks`.
        decimal: mark of decimals.
        thousands: sign between groups of three digits, such as `.` in `1.012,5`.
        date_format: of dates that are not ISO 8601, by the letters of `strptime`, such as
            `%d.%m.%Y %H:%M:%S`; without a day, times of day that may pass midnight.
        missing: cells that hold no value, such as `-9999`, beside the usual ones.
        header: the first line holds the names.
        units_row: the line below the names holds units.
        comment: what lines begin with that do not count, instead of `#` and `%`.
    """

    skip_lines: int | None = Field(default=None, ge=0)
    encoding: str | None = None
    delimiter: Annotated[str, BeforeValidator(_sign)] | None = None
    decimal: Literal[".", ","] | None = None
    thousands: Annotated[str, BeforeValidator(_sign)] | None = Field(
        default=None, min_length=1, max_length=1
    )
    date_format: str | None = None
    missing: Annotated[tuple[Text, ...], BeforeValidator(_several)] = ()
    header: bool | None = None
    units_row: bool | None = None
    comment: str | None = Field(default=None, min_length=1)

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, name: str | None) -> str | None:
        try:
            known = name is None or codecs.lookup(name)._is_text_encoding
        except LookupError:
            known = False
        if not known:
            raise ValueError("is not a text encoding; utf-8, utf-16, cp1252 and latin1 are some")
        return name

    @field_validator("delimiter")
    @classmethod
    def _one_sign(cls, sign: str | None) -> str | None:
        if sign is not None and (len(sign) != 1 or not sign.isascii() or sign.isalnum()
                                 or sign in '"\n\r.'):  # fmt: skip
            raise ValueError("is not a delimiter; one sign such as ';' is, or tab, or blanks")
        return sign

    @field_validator("date_format")
    @classmethod
    def _format(cls, text: str | None) -> str | None:
        if text is not None and "%" not in text:
            raise ValueError("has no letter of strptime; an example is '%d.%m.%Y %H:%M:%S'")
        return text

    @model_validator(mode="after")
    def _makes_sense(self) -> TableEntry:
        if self.thousands is not None and self.thousands == self.decimal:
            raise ValueError(f"decimal and thousands are both '{self.decimal}'; they must differ")
        if self.units_row and self.header is False:
            raise ValueError("`units_row` comes below names, and `header` is false")
        return self

    def over(self, default: TableEntry | None) -> TableEntry:
        """Return these keys, and for what they do not say those of a default."""
        if default is None:
            return self
        said = {key: getattr(self, key) for key in self.model_fields_set}
        return default.model_copy(update=said)

    def told(self) -> TableFormat:
        """Return what opening a table needs to know."""
        return TableFormat(**self.model_dump(exclude={"date_format"}))
