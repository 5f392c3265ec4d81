"""Label budgets: which labels may be used beside a fraction of the training subjects'."""

STRICT = "strict"
"""None: what validation subjects would choose is fixed."""
VALIDATION = "validation"
"""All of the validation subjects', whatever the fraction: they choose."""
BUDGETS = (STRICT, VALIDATION)
