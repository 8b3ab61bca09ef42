"""Which experts the next layer will need, predicted before its gate has run.

From transitions: the experts with the largest sum, over those that the token chose in the layer
before, of the share of their tokens that chose them next. From the previous token: what that chose
in the same layer. A = accesses, R = requests, X = experts of all layers one after another, E = the
most experts of a layer, B = experts predicted for requests, D = documents, L = MoE layers.
"""

from dataclasses import dataclass

import numpy as np

from analysis.offload.requests import Requests
from data.compiled import compiled


@dataclass(frozen=True, slots=True)
class Predictions:
    """Of a request a part of expert_B, from start_R to end_R: often none."""

    expert_B: np.ndarray
    start_R: np.ndarray
    end_R: np.ndarray

    def numbers(self) -> np.ndarray:
        return self.end_R - self.start_R


@dataclass(frozen=True, slots=True)
class Fitted:
    """What other groups of texts say of the experts."""

    choices_X: np.ndarray
    usual_L: np.ndarray  # experts a token: so many are predicted
    next_XE: np.ndarray  # of the tokens that chose an expert, the share that chose each one next


def fit(requests: Requests) -> Fitted:
    experts_L = requests.experts_L
    usual_L = np.zeros(len(experts_L))
    np.add.at(usual_L, requests.layer_R, np.diff(requests.start_R1))
    usual_L /= np.maximum(np.bincount(requests.layer_R, minlength=len(experts_L)), 1)
    next_XE = np.zeros((requests.num_experts, experts_L.max()), np.float32)
    choices_X = np.bincount(requests.expert_A, minlength=requests.num_experts)
    columns = requests.expert_A, requests.start_R1, requests.layer_R, requests.token_R
    _count_next(*columns, _first(experts_L), next_XE)
    next_XE /= np.maximum(choices_X, 1)[:, None]
    return Fitted(choices_X, usual_L.round().astype(np.int64).clip(1, experts_L), next_XE)


def nothing(requests: Requests) -> Predictions:
    no_R = np.zeros(len(requests.layer_R), np.int64)
    return Predictions(np.empty(0, np.int32), no_R, no_R)


def from_transitions(requests: Requests, fitted: Fitted) -> Predictions:
    """Nothing for the first layer of a token."""
    usual_R = fitted.usual_L[requests.layer_R]
    start_R = np.cumsum(usual_R) - usual_R
    expert_B, end_R = np.empty(usual_R.sum(), np.int32), start_R.copy()
    columns = requests.expert_A, requests.start_R1, requests.layer_R, requests.token_R
    sizes = _first(requests.experts_L), requests.experts_L, fitted.usual_L
    _predict_next(*columns, *sizes, fitted.next_XE, expert_B, start_R, end_R)
    return Predictions(expert_B, start_R, end_R)


def from_previous_token(requests: Requests) -> Predictions:
    """Nothing for the first token of a document."""
    columns = requests.layer_R, requests.token_R, requests.document_R
    before_R = _find_previous(*columns, len(requests.experts_L))
    start_R, end_R = requests.start_R1[before_R], requests.start_R1[before_R + 1]
    return Predictions(requests.expert_A, start_R, np.where(before_R < 0, start_R, end_R))


def most_chosen(requests: Requests, fitted: Fitted, like: Predictions) -> Predictions:
    """What a prediction has to surpass: as many as it predicts, of the layer's most chosen."""
    layer_X = np.repeat(np.arange(len(requests.experts_L)), requests.experts_L)
    order_X = np.lexsort((-fitted.choices_X, layer_X)).astype(np.int32)  # stable
    start_R = _first(requests.experts_L)[requests.layer_R]
    return Predictions(order_X, start_R, start_R + like.numbers())


def right_predictions(
    requests: Requests, predicted: Predictions
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Experts predicted [D], those of them that were asked for, and all that were asked for by the
    requests of which something was predicted."""
    right_R = np.zeros(len(requests.layer_R), np.int64)
    columns = predicted.expert_B, predicted.start_R, predicted.end_R
    _count_right(requests.expert_A, requests.start_R1, *columns, right_R)
    asked_R = np.where(predicted.numbers() > 0, np.diff(requests.start_R1), 0)
    size = len(requests.unit_D)
    predicted_D, right_D, asked_D = (
        np.bincount(requests.document_R, of_R, size).astype(np.int64)
        for of_R in (predicted.numbers(), right_R, asked_R)
    )
    return predicted_D, right_D, asked_D


def _first(experts_L: np.ndarray) -> np.ndarray:
    """The first expert of each layer among all."""
    return np.asarray(np.cumsum(experts_L) - experts_L)


@compiled()
def _count_next(expert_A, start_R1, layer_R, token_R, first_L, next_XE):  # type: ignore[no-untyped-def]
    for r in range(1, len(layer_R)):
        if token_R[r] != token_R[r - 1] or layer_R[r] != layer_R[r - 1] + 1:
            continue
        for x in expert_A[start_R1[r - 1] : start_R1[r]]:
            for following in expert_A[start_R1[r] : start_R1[r + 1]]:
                next_XE[x, following - first_L[layer_R[r]]] += 1


@compiled()
def _predict_next(  # type: ignore[no-untyped-def]
    expert_A,
    start_R1,
    layer_R,
    token_R,
    first_L,
    experts_L,
    usual_L,
    next_XE,
    expert_B,
    begin_R,
    end_R,
):
    share_E = np.empty(next_XE.shape[1], np.float32)
    for r in range(1, len(layer_R)):
        layer = layer_R[r]
        if token_R[r] != token_R[r - 1] or layer != layer_R[r - 1] + 1:
            continue
        share_E[:] = 0
        for x in expert_A[start_R1[r - 1] : start_R1[r]]:
            share_E += next_XE[x]
        best, count = expert_B[begin_R[r] :], 0
        for e in range(experts_L[layer]):
            full = count == usual_L[layer]
            if share_E[e] == 0 or (
                full and share_E[e] <= share_E[best[count - 1] - first_L[layer]]
            ):
                continue
            count += not full
            q = count - 1
            while q > 0 and share_E[best[q - 1] - first_L[layer]] < share_E[e]:
                best[q] = best[q - 1]
                q -= 1
            best[q] = first_L[layer] + e
        end_R[r] += count


@compiled()
def _find_previous(layer_R, token_R, document_R, num_layers):  # type: ignore[no-untyped-def]
    """The request of the same layer of the token before, of one document; -1: there is none."""
    last_L, before_R = np.full(num_layers, -1, np.int64), np.full(len(layer_R), -1, np.int64)
    for r in range(len(layer_R)):
        before = last_L[layer_R[r]]
        last_L[layer_R[r]] = r
        if (
            before >= 0
            and document_R[before] == document_R[r]
            and token_R[r] == token_R[before] + 1
        ):
            before_R[r] = before
    return before_R


@compiled()
def _count_right(expert_A, start_R1, expert_B, begin_R, end_R, right_R):  # type: ignore[no-untyped-def]
    for r in range(len(right_R)):
        for x in expert_A[start_R1[r] : start_R1[r + 1]]:
            for predicted in expert_B[begin_R[r] : end_R[r]]:
                right_R[r] += predicted == x
