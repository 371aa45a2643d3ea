"""The certificate: passes a graph that answers as its model does, and finds each way in which one does not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from kaizen.bundle import probes
from kaizen.bundle.certify import BATCHES, Certificate, Trained, across_batches, certify
from kaizen.core.errors import BundleError
from kaizen.graph.build import Builder
from kaizen.graph.frame import empty
from kaizen.graph.join import chain
from kaizen.graph.run import Session

from .conftest import COLUMNS, FEATURES, calibrator_graph, feature_graph, rows, trained_on


@pytest.mark.parametrize("algorithm", ["lightgbm", "hist_boosting", "linear"])
def test_every_framework_is_certified_without_a_mismatch(algorithm: str) -> None:
    graph, trained = trained_on(rows(500), algorithm)
    certificate = certify(graph, COLUMNS, rows(300, seed=1), trained)
    assert certificate.passed, certificate.says
    assert certificate.mismatches == 0
    assert certificate.max_abs_difference < 1e-14
    assert certificate.rows == 300
    assert certificate.threshold_probes > certificate.thresholds
    assert "0 mismatches" in certificate.says


def test_the_certificate_of_the_same_things_is_the_same(lightgbm_model: tuple[bytes, Trained]) -> None:
    graph, trained = lightgbm_model
    assert certify(graph, COLUMNS, rows(50), trained) == certify(graph, COLUMNS, rows(50), trained)
    assert certify(graph, COLUMNS, rows(50), trained).data != certify(graph, COLUMNS, rows(51), trained).data


def test_a_threshold_rounded_to_single_precision_is_found() -> None:
    """What released converters do: right on every real row, wrong on a value between the two thresholds."""
    _, trained = trained_on(rows(500))
    model = onnx.load_model_from_string(trained.model.graph())
    for attribute in model.graph.node[0].attribute:
        if attribute.name == "nodes_splits":
            rounded = numpy_helper.to_array(attribute.t).astype(np.float32).astype(np.float64)
            attribute.t.CopyFrom(numpy_helper.from_array(rounded, attribute.t.name))
    certificate = _certified_with(model.SerializeToString(), trained)
    assert certificate.max_abs_difference < 1e-9  # no real row and no odd raw value shows it
    assert certificate.mismatches > 0
    assert not certificate.passed
    assert "differ by more than 1e-09" in certificate.says


def test_a_missing_number_that_goes_the_other_way_is_found() -> None:
    _, trained = trained_on(rows(500))
    model = onnx.load_model_from_string(trained.model.graph())
    for attribute in model.graph.node[0].attribute:
        if attribute.name == "nodes_missing_value_tracks_true":
            attribute.ints[:] = [1 - way for way in attribute.ints]
    assert not _certified_with(model.SerializeToString(), trained).passed


def test_another_calibration_is_found() -> None:
    graph, trained = trained_on(rows(500))
    certificate = certify(graph, COLUMNS, rows(50), replace(trained, calibrate=lambda raw: raw))
    assert certificate.mismatches > 0


def test_an_answer_that_is_no_finite_number_fails() -> None:
    graph = Builder("broken")
    numbers = graph.input("numbers", np.float64, 2)
    amount = graph.node("Gather", numbers, graph.constant(np.array([0])), axis=1)
    graph.output("value", amount, np.float64, 1)
    frame = rows(200)
    certificate = certify(graph.to_bytes(), COLUMNS[:2], {name: frame[name] for name in ("amount", "member")}, None)
    assert certificate.not_finite == np.isnan(frame["amount"]).sum() > 0
    assert not certificate.passed


def test_a_graph_whose_bits_depend_on_the_batch_fails() -> None:
    """The runtime's Sigmoid answers whole vectors of rows and the rest of a batch with other code."""
    graph = Builder("sigmoid")
    raw = graph.input("raw", np.float64, 1)
    graph.output("probability", graph.node("Sigmoid", raw), np.float64, 1)
    _, trained = trained_on(rows(500))
    whole = chain(feature_graph(), trained.model.graph(), graph.to_bytes())
    assert not across_batches(Session(whole), COLUMNS, rows(2000))[0]
    assert not certify(whole, COLUMNS, rows(2000), trained).passed


def test_without_a_model_the_certificate_says_that_there_was_nothing_to_compare(
    lightgbm_model: tuple[bytes, Trained],
) -> None:
    certificate = certify(lightgbm_model[0], COLUMNS, rows(50), None)
    assert certificate.passed
    assert certificate.says.startswith("no trained model to compare with")
    assert certificate.batch_sizes == BATCHES


def test_a_certificate_needs_rows(lightgbm_model: tuple[bytes, Trained]) -> None:
    with pytest.raises(BundleError, match="needs rows"):
        certify(lightgbm_model[0], COLUMNS, empty(COLUMNS), None)


@settings(max_examples=50)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_probes_stand_on_both_sides_of_a_threshold_in_both_precisions(threshold: float) -> None:
    values = probes.around([threshold])
    assert threshold in values
    for side in (-math.inf, math.inf):
        beside = math.nextafter(threshold, side)
        assert beside in values or not math.isfinite(beside)
    single = float(np.float32(threshold)) if abs(threshold) < 3e38 else None
    assert single is None or single in values
    assert np.isfinite(values).all()
    assert (np.diff(values) > 0).all()


def test_probes_try_every_code_of_a_category_and_one_never_seen() -> None:
    features = np.array([[0.5, 1.0, 3.0, 2.0], [1.5, 0.0, 4.0, -1.0]])
    *_, colours = probes.in_feature_space(features, FEATURES, {}, missing=True)
    assert set(colours[:, 3]) == {-1.0, 0.0, 1.0, 2.0}


def _certified_with(model_graph: bytes, trained: Trained) -> Certificate:
    class Wrong:
        rounds = trained.model.rounds
        predict = staticmethod(trained.model.predict)
        thresholds = staticmethod(trained.model.thresholds)
        importance = staticmethod(trained.model.importance)

        def graph(self) -> bytes:
            return model_graph

    whole = chain(feature_graph(), model_graph, calibrator_graph())
    return certify(whole, COLUMNS, rows(300, seed=1), replace(trained, model=Wrong()))
