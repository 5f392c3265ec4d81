"""The table that the command line prints."""

from collections.abc import Callable
from pathlib import Path

from crossl.report import build_report, summary_table


def test_summary_has_a_row_a_method_and_a_row_for_each_number_of_missing_sensors(
    folder: Path,
) -> None:
    table = summary_table(folder)
    assert table[0] == ["method", "1%", "5%", "10%", "100%"]
    assert [row[0] for row in table[1:]] == [
        "crossl",
        "supervised twin",
        "untrained network",
        "fine-tuned",
        "paper recipe",
        "crossl, 1 sensor missing",
        "supervised twin, 1 sensor missing",
        "crossl, 2 sensors missing",
        "supervised twin, 2 sensors missing",
        "crossl, 3 sensors missing",
        "supervised twin, 3 sensors missing",
    ]
    assert table[1][1] == "0.838 [0.808, 0.865]"
    assert table[6] == ["crossl, 1 sensor missing", "", "", "0.903 of 0.918 (n=23)", ""]
    assert {len(row) for row in table} == {5}


def test_fraction_without_a_row_is_left_blank(
    folder: Path, edit_results: Callable[..., None]
) -> None:
    def drop(rows: list[dict]) -> list[dict]:
        return [r for r in rows if (r["method"], r["label_fraction"]) != ("supervised", 0.05)]

    edit_results(drop)
    assert summary_table(folder)[2][2] == "\u2013"


def lacking(rows: list[dict]) -> list[dict]:
    """Let 5 of 23 people lack the watch: who is compared is fewer, and scores higher."""
    watch = {"watch_acc", "watch_gyro"}
    out = []
    for row in rows:
        gone = {"phone_acc", "phone_gyro", *watch} - set(row["present"])
        if row["metric"] != "macro_f1" or not gone:
            out.append(row)
            continue
        whole = {**row, "n": 18, "metric": "macro_f1_with_all", "value": 0.96}
        kept = {**row, "n": 18, "metric": "macro_f1_kept", "value": row["value"] / 0.96}
        out += [{**row, "n": 18}, whole, kept]
    return out


def test_every_score_with_a_sensor_missing_stands_beside_that_of_the_same_people(
    folder: Path, edit_results: Callable[..., None]
) -> None:
    edit_results(lacking)
    assert summary_table(folder)[6][3] == "0.903 of 0.960 (n=18)"
    html = build_report(folder).read_text(encoding="utf-8")
    assert "worst: watch off, 0.864 of 0.960" in html
    assert "<strong>90%</strong>" in html
    assert "10% of labels, 18 people, nothing retrained" in html
    assert "of 0.960, worst 0.899, 18 people" in html
    assert "crossl, the same people with all they have" in html


def test_where_results_do_not_tell_who_is_compared_no_share_is_shown(
    folder: Path, edit_results: Callable[..., None]
) -> None:
    edit_results(lambda rows: [r for r in lacking(rows) if r["metric"] == "macro_f1"
                               or r["metric"] == "shapley"])  # fmt: skip
    assert summary_table(folder)[6][3] == "0.903 (n=18)"
    html = build_report(folder).read_text(encoding="utf-8")
    assert "of the score is kept" not in html
