"""Covariates as numbers, against a pipeline of scikit-learn's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from monai_cpic.cohorts.table.covariates import Covariates


def test_as_scikit_learn_encodes_them() -> None:
    random = np.random.default_rng(0)
    numbers = pd.DataFrame(random.normal(50, 9, (40, 2)).round(2), columns=["age", "bmi"])
    numbers.loc[[3, 30], "age"] = np.nan
    lines = numbers.astype(object).where(numbers.notna(), "").astype(str)
    lines.insert(0, "id", [f"P{row}" for row in range(40)])
    lines["sex"] = random.choice(["f", "m", "x"], 40)
    training, new = lines[:25], lines[25:]
    covariates = Covariates.fit(lines, training, ["age", "bmi", "sex"])
    scale = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    oracle = make_column_transformer((scale, ["age", "bmi"]), (OneHotEncoder(sparse_output=False), ["sex"])).fit(
        numbers[:25].join(training["sex"])
    )
    encoded = covariates.encode(new)
    flag = covariates.meanings.index("age is missing")
    assert encoded[:, flag].tolist() == [float(row == 30) for row in range(25, 40)]
    np.testing.assert_allclose(np.delete(encoded, flag, 1), oracle.transform(numbers[25:].join(new["sex"])))
    assert Covariates.from_settings(covariates.settings) == covariates


def test_columns_without_information() -> None:
    lines = pd.DataFrame({"id": ["A", "B"], "same": ["1", "1"], "none": ["", ""]})
    covariates = Covariates.fit(lines, lines, ["same", "none"])
    assert covariates.encode(lines).tolist() == [[0.0], [0.0]]


def test_too_many_texts() -> None:
    lines = pd.DataFrame({"id": list("ABCDEF"), "ward": list("uvwxuv")})
    with pytest.raises(ValueError, match="'ward' has 4 different texts, such as 'u', for 6 patients"):
        Covariates.fit(lines, lines, ["ward"])
