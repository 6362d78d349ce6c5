"""The models of what is installed: found by entry point, broken ones left out and reported."""

import importlib
import sys
from pathlib import Path

import pytest

from eventlog.aggregates.aggregate import Aggregate
from eventlog.event import StreamId
from eventlog.model import EventModel, combined, installed_models
from eventlog.projections.projection import DocumentProjection
from eventlog.schemas import EventType
from stoa.errors import Fault

MODELS = """
from eventlog.model import EventModel
from eventlog.schemas import EventType
GOOD = EventModel((EventType("shop.opened"),))
SAME = EventModel((EventType("shop.opened"),))
LATER = EventModel((EventType("shop.closed"),))
GAP = EventModel((EventType("shop.moved", version=3),))
NONE = "no model"
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution with a few models, on the path of this process."""
    (tmp_path / "some_shop_models.py").write_text(MODELS)
    facts = tmp_path / "some_shop-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: some-shop\nVersion: 1.0\n")
    points = [
        f"shop_{number}_{name.lower()} = some_shop_models:{name}"
        for number, name in enumerate(["GOOD", "SAME", "GAP", "NONE", "LATER", "MISSING"])
    ]
    (facts / "entry_points.txt").write_text("\n".join(["[stoa.event_models]", *points, ""]))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "some_shop_models", raising=False)
    importlib.invalidate_caches()


@pytest.mark.usefixtures("installed")
def test_a_broken_model_is_reported_and_the_others_are_found() -> None:
    broken: dict[str, str] = {}
    models = installed_models(lambda name, error: broken.update({name: str(error)}))
    names = combined(models).registry().names()
    assert {"shop.opened", "shop.closed"} <= set(names)
    assert "shop.moved" not in names
    mine = {name: why for name, why in broken.items() if name.startswith("shop_")}
    assert mine.keys() == {"shop_1_same", "shop_2_gap", "shop_3_none", "shop_5_missing"}
    assert "described twice" in mine["shop_1_same"]
    assert "nothing brings data up" in mine["shop_2_gap"]
    assert "no EventModel" in mine["shop_3_none"]


@pytest.mark.usefixtures("installed")
def test_without_a_listener_the_report_goes_to_the_log_of_the_process(caplog: pytest.LogCaptureFixture) -> None:
    installed_models()
    assert "'shop_2_gap' is left out" in caplog.text


def test_two_projections_cannot_share_a_name() -> None:
    one = DocumentProjection(name="shops", types=(), keys=lambda _: (), apply=lambda _key, document, _event: document)
    with pytest.raises(Fault, match="described twice"):
        combined([EventModel(projections=(one,)), EventModel(projections=(one,))])


def test_a_described_aggregate_stands_for_its_type_and_the_generic_one_for_all_others() -> None:
    shop = Aggregate(type="shop", initial=0, apply=lambda state, _event: state + 1)
    model = combined([EventModel((EventType("shop.opened"),), (shop,)), EventModel()])
    known = model.by_type()
    assert known.of(StreamId("acme", "shop-1")) is shop
    assert known.of(StreamId("acme", "order-1")).fold_name == "merge-patch@1"
    with pytest.raises(Fault, match="described twice"):
        EventModel(aggregates=(shop, shop)).by_type()
