"""The shape of the code: small files, small functions, public names that do not change by accident."""

import ast
from pathlib import Path

import pytest

import heldout

SOURCES = sorted((Path(__file__).parents[1] / "src" / "heldout").rglob("*.py"))
PUBLIC = {
    "Config", "Forecast", "InputError", "LSTM", "LSTMClassifier", "LSTMForecaster", "LSTMRegressor", "Recipe", "RemediesResult", "Result", "Run", "SeriesData", "SeriesModel",
    "CapacityResult", "TextConfig", "TextLSTMClassifier", "TextModel", "TextRecipe", "TextResult", "TuneResult", "compare", "cross_validate", "fit", "fit_series", "fit_text", "load", "predict",
    "AuditResult", "Diagnosis", "Verdict", "audit", "audit_files", "diagnose", "judge",
    "rank_remedies", "read_series", "read_texts", "read_vectors", "reduce_capacity", "split_series", "split_texts", "tune", "write_report",
}  # fmt: skip


def test_public_names_are_these_and_all_load():
    assert set(heldout.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(heldout, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'lstm_utils'"):
        _ = heldout.lstm_utils


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[-2:]))
def test_a_file_is_one_idea(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[-2:]))
def test_a_function_fits_on_a_screen(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert length <= 50, f"{node.name} has {length} lines"
