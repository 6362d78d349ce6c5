"""Series that others have counted, beside the requests."""

import math

from kit.metrics import Metrics
from stoa.telemetry import Sample


def test_samples_are_shown_as_they_are_when_somebody_looks() -> None:
    metrics = Metrics()
    values = [1.0]
    metrics.add(
        lambda: [
            Sample("stoa_things", "gauge", "Things.", {"server": "a"}, values[0]),
            Sample("stoa_things", "gauge", "Things.", {"server": "b"}, 7.0),
            Sample("stoa_done_total", "counter", "Done.", {"server": "a"}, 3.0),
        ]
    )
    values[0] = 2.0

    shown = metrics.exposition().decode()

    assert "# HELP stoa_things Things.\n# TYPE stoa_things gauge\n" in shown
    assert 'stoa_things{server="a"} 2.0\nstoa_things{server="b"} 7.0\n' in shown
    assert 'stoa_done_total{server="a"} 3.0\n' in shown


def test_a_histogram_is_its_buckets_its_sum_and_its_count() -> None:
    metrics = Metrics()
    sample = Sample("stoa_seconds", "histogram", "Seconds.", {"server": "a"}, 1.25, ((0.5, 1), (math.inf, 2)))
    metrics.add(lambda: [sample])

    shown = metrics.exposition().decode()

    assert 'stoa_seconds_bucket{le="0.5",server="a"} 1.0\n' in shown
    assert 'stoa_seconds_bucket{le="+Inf",server="a"} 2.0\n' in shown
    assert 'stoa_seconds_count{server="a"} 2.0\nstoa_seconds_sum{server="a"} 1.25\n' in shown
