"""Label budgets: which labels may be used beside a fraction of the training subjects'."""

from typing import Final, Literal

Budget = Literal["strict", "validation"]

STRICT: Final = "strict"
"""None: what validation subjects would choose is fixed."""
VALIDATION: Final = "validation"
"""All of the validation subjects', whatever the fraction: they choose."""
BUDGETS: tuple[Budget, ...] = (STRICT, VALIDATION)
