"""A folder of a run or an experiment: the model, its probe, and what the folder was begun for."""

from crossl.run_folder.begun import (
    begin,
    forgotten_if_refused,
    known_by,
    read_begun,
    settings_sha256,
)
from crossl.run_folder.probe import load_probe, save_probe
from crossl.run_folder.run import Run, load_run, run_facts, save_run
from crossl.run_folder.versions import PACKAGES, git_commit, package_versions

__all__ = [
    "PACKAGES",
    "Run",
    "begin",
    "forgotten_if_refused",
    "git_commit",
    "known_by",
    "load_probe",
    "load_run",
    "package_versions",
    "read_begun",
    "run_facts",
    "save_probe",
    "save_run",
    "settings_sha256",
]
