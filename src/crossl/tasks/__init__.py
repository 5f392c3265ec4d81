"""What is to be predicted for a window, one file a kind; importing this registers crossl's own."""

from crossl.tasks.classes import UNNAMED_CLASSES, Classes, ClassesConfig, classes_task
from crossl.tasks.labels import Labels, LabelsConfig
from crossl.tasks.numbers import Numbers, NumbersConfig
from crossl.tasks.sequence import SequenceConfig, SequenceOfClasses
from crossl.tasks.task import (
    Array,
    Coding,
    Linear,
    Metric,
    Statistics,
    Task,
    TaskConfig,
    stored_task,
    task_of,
)

__all__ = [
    "UNNAMED_CLASSES",
    "Array",
    "Classes",
    "ClassesConfig",
    "Coding",
    "Labels",
    "LabelsConfig",
    "Linear",
    "Metric",
    "Numbers",
    "NumbersConfig",
    "SequenceConfig",
    "SequenceOfClasses",
    "Statistics",
    "Task",
    "TaskConfig",
    "classes_task",
    "stored_task",
    "task_of",
]
