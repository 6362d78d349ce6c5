"""What a benchmark hands out: one document of a known shape, and a table."""

import json

from benchmarks.report import Report, Row

ROWS = (
    Row("floor", "server CPU", "µs/call", 50.0),
    Row("ws", "server CPU", "µs/call", 200.0, rival="floor", ratio=4.0, target=5),
    Row("http", "server CPU", "µs/call", 400.0, rival="floor", ratio=8.0, target=7),
    Row("start", "peak memory", "MB", 120.0, target=130),
    Row("gateway", "times cheaper", "x", 19.0, target=20, low=18.5, high=31.25, more_is_better=True),
)


def test_a_target_is_met_by_the_ratio_where_there_is_one_and_by_the_value_otherwise() -> None:
    assert [row.ok for row in ROWS] == [None, True, False, True, False]


def test_the_document_holds_where_with_what_and_how_it_was_measured() -> None:
    document = Report("bench_x", ROWS, seed=7, packages=("mcp",)).document()
    assert list(document) == ["bench", "command", "machine", "versions", "seed", "switched_off", "rows"]
    assert document["seed"] == 7
    assert document["switched_off"] == []
    assert json.loads(json.dumps(document["rows"]))[:2] == [
        {"case": "floor", "metric": "server CPU", "unit": "µs/call", "value": 50.0},
        {
            "case": "ws",
            "metric": "server CPU",
            "unit": "µs/call",
            "value": 200.0,
            "rival": "floor",
            "ratio": 4.0,
            "target": 5,
            "ok": True,
        },
    ]


def test_the_table_has_a_line_for_each_case_and_says_what_was_missed() -> None:
    table = Report("bench_x", ROWS, seed=7).table()
    lines = {line.split("  ")[0]: line for line in table.splitlines()}
    assert lines["ws"].endswith("200 (4.0x floor) ok, target 5")
    assert lines["http"].endswith("400 (8.0x floor) MISSED, target 7")
    assert lines["start"].endswith("120 ok, target 130")
    assert lines["gateway"].endswith("19 [18.5 to 31.2] MISSED, target 20")
