"""Lesson 17: which scaling, with batch normalisation or not, and how do they compare with scikit-learn's models?

Each candidate is tuned alike: four rates on seeds 100 to 107, by the mean validation loss of the last five of 20
epochs (of scikit-learn's network, which is not watched on its way, of the last). With its best rate it is trained on
seeds 200 to 223 and measured on the validation set (the choice). At the end each is trained on training and validation
digits together, and the test set is opened once, for all of them. What is stored of the test set is which of its digits
each trained network read wrong. The strongest rivals known for this task, a support vector machine and the nearest
neighbours, are tuned by validation accuracy, also by four settings; they draw nothing at random.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from experiments._digits import LABELS, PIXELS, by_pixel, fit, measured, one_mean, raw
from experiments._surroundings import one_thread

__all__ = ["CANDIDATES", "rows", "run", "tested", "validated"]

CANDIDATES = {
    "raw pixels": (raw, False),
    "scaled by pixel": (by_pixel, False),
    "one mean": (one_mean, False),
    "one mean, batch norm": (one_mean, True),
}
RATES = [3e-4, 1e-3, 3e-3, 1e-2]
TUNING, REPORTED = list(range(100, 108)), list(range(200, 224))
EPOCHS, LAST = 20, 5
SKLEARN = "scikit-learn's network"


def rows() -> tuple[ndarray, ndarray, ndarray]:
    """The lesson's rows: train, validation, test."""
    rest, test = train_test_split(np.arange(1797), test_size=360, stratify=LABELS, random_state=0)
    train, val = train_test_split(rest, test_size=288, stratify=LABELS[rest], random_state=0)
    return train, val, test


def validated(name: str, rate: float, seed: int) -> tuple[float, float]:
    """Validation loss and accuracy of one run, the last five epochs averaged."""
    scale, norm = CANDIDATES[name]
    train, val, _ = rows()
    x, x_val = scale(PIXELS[train], PIXELS[val])
    seen: list[tuple[float, float]] = []

    def look(model: Any) -> None:
        loss, wrong = measured(model, x_val, LABELS[val])
        seen.append((loss, 1 - len(wrong) / len(val)))

    fit(seed, norm, x, LABELS[train], EPOCHS, rate, look)
    loss, accuracy = np.mean(seen[-LAST:], axis=0)
    return float(loss), float(accuracy)


def tested(name: str, rate: float, seed: int) -> tuple[float, list[int]]:
    """Test loss, and the places in the test set of the digits read wrong."""
    scale, norm = CANDIDATES[name]
    train, val, test = rows()
    rest = np.concatenate([train, val])
    x, x_test = scale(PIXELS[rest], PIXELS[test])
    return measured(fit(seed, norm, x, LABELS[rest], EPOCHS, rate), x_test, LABELS[test])


def _network(seed: int, rate: float, teach: ndarray, ask: ndarray) -> tuple[float, list[int]]:
    """Loss and wrong digits of scikit-learn's network of the same size, batch and number of epochs."""
    x, x_ask = one_mean(PIXELS[teach], PIXELS[ask])
    made = {"learning_rate_init": rate, "batch_size": 64, "max_iter": EPOCHS, "random_state": seed}
    network = MLPClassifier((128, 64), **made).fit(x, LABELS[teach])
    p = network.predict_proba(x_ask)
    return float(log_loss(LABELS[ask], p, labels=range(10))), _places(p.argmax(1), LABELS[ask])


def _places(answers: ndarray, truth: ndarray) -> list[int]:
    return np.flatnonzero(answers != truth).tolist()


def _rivals() -> dict[str, Any]:
    """Those that draw nothing: their best setting by validation accuracy, and what they read wrong."""
    train, val, test = rows()
    rest, found = np.concatenate([train, val]), {}
    for name, settings in (
        ("support vectors", [SVC(C=c) for c in (1, 3, 10, 30)]),
        ("nearest neighbours", [KNeighborsClassifier(k) for k in (1, 3, 5, 7)]),
    ):
        x, x_val = one_mean(PIXELS[train], PIXELS[val])
        scores = [model.fit(x, LABELS[train]).score(x_val, LABELS[val]) for model in settings]
        best = settings[int(np.argmax(scores))]
        x, x_test = one_mean(PIXELS[rest], PIXELS[test])
        wrong = _places(best.fit(x, LABELS[rest]).predict(x_test), LABELS[test])
        found[name] = {"chosen": str(best), "validation": max(scores), "wrong": wrong}
    return found


def run() -> dict[str, Any]:
    """For each candidate: its rate, and per seed validation loss and accuracy, test loss, wrong test digits."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    found: dict[str, Any] = {}
    train, val, test = rows()
    rest = np.concatenate([train, val])
    with one_thread(torch.float64), threadpool_limits(1):
        for name in CANDIDATES:
            tuning = [np.mean([validated(name, r, s)[0] for s in TUNING]) for r in RATES]
            rate = RATES[int(np.argmin(tuning))]
            chosen = [validated(name, rate, seed) for seed in REPORTED]
            judged = [tested(name, rate, seed) for seed in REPORTED]
            found[name] = _row(tuning, rate, chosen, judged)
        tuning = [np.mean([_network(s, r, train, val)[0] for s in TUNING]) for r in RATES]
        rate = RATES[int(np.argmin(tuning))]
        last = [_network(seed, rate, train, val) for seed in REPORTED]
        chosen = [(loss, 1 - len(wrong) / len(val)) for loss, wrong in last]
        judged = [_network(seed, rate, rest, test) for seed in REPORTED]
        found[SKLEARN] = _row(tuning, rate, chosen, judged)
        seeds = {"tuning": TUNING, "reported": REPORTED}
        return {"rates": RATES, "seeds": seeds, "networks": found, "rivals": _rivals()}


def _row(tuning: list[Any], rate: float, chosen: list[Any], judged: list[Any]) -> dict[str, Any]:
    losses, accuracies = zip(*chosen, strict=True)
    test_losses, wrong = zip(*judged, strict=True)
    return {
        "tuning": tuning,
        "rate": rate,
        "val_loss": [round(loss, 5) for loss in losses],
        "val_accuracy": [round(accuracy, 5) for accuracy in accuracies],
        "test_loss": [round(loss, 5) for loss in test_losses],
        "wrong": wrong,
    }
