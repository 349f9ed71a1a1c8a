"""scikit-learn's linear models, networks and decompositions in pipelines, as skl2onnx writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .architecture import BATCH, Architecture

FEATURES = 6
PIPELINES: list[tuple[str, str, dict[str, Any]]] = [
    # name, the steps (estimators of the modules below, evaluated there), options of skl2onnx for the last step
    ("logistic_binary", "LogisticRegression()|2", {"zipmap": False}),
    ("logistic_zipmap", "LogisticRegression()|3", {}),
    ("logistic_columns", "LogisticRegression()|3", {"zipmap": "columns"}),
    ("logistic_raw", "LogisticRegression()|3", {"zipmap": False, "raw_scores": True}),
    ("scaler_logistic", "StandardScaler(), LogisticRegression()|3", {"zipmap": False}),
    ("scaler_logistic_zipmap", "StandardScaler(), LogisticRegression()|3", {}),
    ("normalizer_logistic", "Normalizer('l1'), LogisticRegression()|3", {"zipmap": False}),
    ("mlp", "MLPClassifier((8, 7), max_iter=60)|3", {"zipmap": False}),
    ("mlp_zipmap", "MLPClassifier((8, 7), max_iter=60)|3", {}),
    ("mlp_binary_tanh", "MLPClassifier((8,), activation='tanh', max_iter=60)|2", {"zipmap": False}),
    ("mlp_identity", "MLPClassifier((8,), activation='identity', max_iter=60)|3", {"zipmap": False}),
    ("mlp_logistic", "MLPClassifier((8,), activation='logistic', max_iter=60)|3", {"zipmap": False}),
    ("mlp_strings", "MLPClassifier((8,), max_iter=60)|strings", {"zipmap": False}),
    ("mlp_strings_zipmap", "MLPClassifier((8,), max_iter=60)|strings", {}),
    ("scaler_mlp", "StandardScaler(), MLPClassifier((8, 7), max_iter=60)|3", {"zipmap": False}),
    ("minmax_mlp", "MinMaxScaler(), MLPClassifier((8,), max_iter=60)|3", {"zipmap": False}),
    ("maxabs_mlp", "MaxAbsScaler(), MLPClassifier((8,), max_iter=60)|3", {"zipmap": False}),
    ("robust_mlp", "RobustScaler(), MLPClassifier((8,), max_iter=60)|3", {"zipmap": False}),
    ("normalizer_mlp", "Normalizer(), MLPClassifier((8,), max_iter=60)|3", {"zipmap": False}),
    ("imputer_mlp", "SimpleImputer(), MLPClassifier((8,), max_iter=60)|3", {"zipmap": False}),
    ("imputer_scaler_mlp", "SimpleImputer(), StandardScaler(), MLPClassifier((8,), max_iter=60)|3", {}),
    ("pca_mlp", "PCA(4), MLPClassifier((8,), max_iter=60)|3", {"zipmap": False}),
    ("pca_whiten_logistic", "PCA(4, whiten=True), LogisticRegression()|3", {"zipmap": False}),
    ("scaler_pca_mlp", "StandardScaler(), PCA(4), MLPClassifier((8,), max_iter=60)|3", {}),
    ("svd_mlp", "TruncatedSVD(4), MLPClassifier((8,), max_iter=60)|3", {"zipmap": False}),
    ("polynomial_mlp", "PolynomialFeatures(2), MLPClassifier((8,), max_iter=60)|3", {"zipmap": False}),
    ("binarizer_mlp", "Binarizer(threshold=0.1), MLPClassifier((8,), max_iter=60)|3", {"zipmap": False}),
    ("kbins_mlp", "KBinsDiscretizer(4, encode='ordinal'), MLPClassifier((8,), max_iter=60)|3", {"zipmap": False}),
    ("select_mlp", "SelectKBest(k=3), MLPClassifier((8,), max_iter=60)|3", {"zipmap": False}),
    ("columns_mlp", "ColumnTransformer([('a', StandardScaler(), [0, 1, 2]), ('b', MinMaxScaler(), [3, 4])]), "
     "MLPClassifier((8,), max_iter=60)|3", {"zipmap": False}),
    ("union_mlp", "FeatureUnion([('a', PCA(2)), ('b', StandardScaler())]), MLPClassifier((8,), max_iter=60)|3",
     {"zipmap": False}),
    ("mlp_regressor", "MLPRegressor(hidden_layer_sizes=(8, 7), max_iter=60)|0", {}),
    ("scaler_mlp_regressor", "StandardScaler(), MLPRegressor(hidden_layer_sizes=(8,), max_iter=60)|0", {}),
    ("mlp_regressor_two", "MLPRegressor(hidden_layer_sizes=(8,), max_iter=60)|targets", {}),
    ("linear", "LinearRegression()|0", {}),
    ("linear_two", "LinearRegression()|targets", {}),
    ("pca_ridge", "PCA(3), Ridge()|0", {}),
    ("pls", "PLSRegression(2)|targets", {}),
    ("linear_svc", "StandardScaler(), LinearSVC()|3", {}),
    ("sgd", "StandardScaler(), SGDClassifier(loss='log_loss')|3", {"zipmap": False}),
    ("perceptron", "Perceptron()|3", {"zipmap": False}),
    ("lda", "LinearDiscriminantAnalysis()|3", {"zipmap": False}),
    ("gaussian_nb", "GaussianNB()|3", {"zipmap": False}),
    ("bernoulli_nb", "BernoulliNB()|3", {"zipmap": False}),
    ("kmeans", "KMeans(3, n_init=1)|0", {}),
    ("kneighbors", "KNeighborsClassifier()|3", {"zipmap": False}),
    ("gaussian_process", "GaussianProcessRegressor()|0", {}),
    ("one_vs_rest", "OneVsRestClassifier(LogisticRegression())|3", {"zipmap": False}),
    ("one_vs_rest_mlp", "OneVsRestClassifier(MLPClassifier((5,), max_iter=40))|3", {"zipmap": False}),
    ("calibrated", "CalibratedClassifierCV(LogisticRegression(), cv=2)|3", {"zipmap": False}),
    ("voting", "VotingClassifier([('a', MLPClassifier((5,), max_iter=40)), ('b', LogisticRegression())], "
     "voting='soft', flatten_transform=False)|3", {"zipmap": False}),
    ("stacking", "StackingClassifier([('a', MLPClassifier((5,), max_iter=40)), ('b', LogisticRegression())])|3",
     {"zipmap": False}),
    ("bagging", "BaggingClassifier(MLPClassifier((5,), max_iter=40), 2)|3", {"zipmap": False}),
    ("multi_output", "MultiOutputClassifier(MLPClassifier((5,), max_iter=40))|labels", {"zipmap": False}),
    ("multi_output_regressor", "MultiOutputRegressor(Ridge())|targets", {}),
    ("forest_behind_pca", "PCA(3), RandomForestClassifier(3, max_depth=3)|3", {"zipmap": False}),
]  # fmt: skip
MODULES = (
    "linear_model neural_network preprocessing impute decomposition feature_selection compose pipeline svm naive_bayes "
    "discriminant_analysis cluster multiclass calibration ensemble multioutput cross_decomposition neighbors "
    "gaussian_process"
)


def architectures() -> Iterator[Architecture]:
    """All of them; an architecture's `make` gives the ONNX model itself, for one target opset or another."""
    for number, (name, steps, options) in enumerate(PIPELINES):
        yield Architecture("scikit-learn", name, _maker(number, steps, options))


def _maker(number: int, text: str, options: dict[str, Any]) -> Any:
    def make() -> tuple[Any, dict[str, Any]]:
        import importlib
        import warnings

        import numpy as np
        from skl2onnx import to_onnx
        from sklearn.pipeline import make_pipeline

        names: dict[str, Any] = {}
        for module in MODULES.split():
            names.update(vars(importlib.import_module(f"sklearn.{module}")))
        steps, _, target = text.rpartition("|")
        draw = np.random.default_rng(number)
        x = draw.standard_normal((120, FEATURES)).astype(np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimators = eval(f"[{steps}]", names)
            model = make_pipeline(*estimators) if len(estimators) > 1 else estimators[0]
            model.fit(x, _target(target, x, draw))
        opset = (12, 15, 17, 19, 21)[number % 5]
        given = {id(model): options} if options else None
        return to_onnx(model, x[:1], target_opset={"": opset, "ai.onnx.ml": 3}, options=given), {"X": x[:BATCH]}

    return make


def _target(target: str, x: Any, draw: Any) -> Any:
    import numpy as np

    score = x @ draw.standard_normal((FEATURES, 3)) + 0.1 * draw.standard_normal((len(x), 3))
    if target == "0":
        return score[:, 0]
    if target == "targets":
        return score[:, :2]
    if target == "labels":
        return (score[:, :2] > 0).astype(np.int64)
    classes = score[:, : 2 if target == "2" else 3].argmax(1)
    return np.array(["cat", "dog", "emu"])[classes] if target == "strings" else classes
