"""A small perceptron and Adam, as pure functions of one state tree: `{"step", "params", "moments"}`."""

from __future__ import annotations

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

WIDTHS = (64, 128, 64, 10)
RATE, DECAY_1, DECAY_2, EPSILON = 1e-3, 0.9, 0.999, 1e-8

State = dict[str, Any]


def initial_state() -> State:
    """Return the state before the first step. The seed is fixed: every run of the same length ends alike."""
    params = {}
    keys = jax.random.split(jax.random.key(20), len(WIDTHS) - 1)
    for layer, (key, wide, narrow) in enumerate(zip(keys, WIDTHS, WIDTHS[1:], strict=False)):
        weights = jax.random.normal(key, (wide, narrow)) * jnp.sqrt(2 / wide)
        params[f"layer{layer}"] = {"weights": weights, "bias": jnp.zeros(narrow)}
    zeros = jax.tree.map(jnp.zeros_like, params)
    return {"step": jnp.zeros((), jnp.int32), "params": params, "moments": {"first": zeros, "second": zeros}}


def logits(params: State, images: Any) -> Any:
    """Return ten scores an image."""
    last = len(params) - 1
    values = images
    for layer in range(len(params)):
        values = values @ params[f"layer{layer}"]["weights"] + params[f"layer{layer}"]["bias"]
        if layer < last:
            values = jax.nn.relu(values)
    return values


def loss(params: State, images: Any, labels: Any) -> Any:
    """Return the mean cross entropy."""
    chances = jax.nn.log_softmax(logits(params, images))
    return -jnp.take_along_axis(chances, labels[:, None], axis=1).mean()


def advance(state: State, images: Any, labels: Any) -> tuple[State, Any]:
    """Return the state after one step of Adam, and the loss before it."""
    value, gradients = jax.value_and_grad(loss)(state["params"], images, labels)
    step = state["step"] + 1
    first = jax.tree.map(lambda m, g: DECAY_1 * m + (1 - DECAY_1) * g, state["moments"]["first"], gradients)
    second = jax.tree.map(lambda m, g: DECAY_2 * m + (1 - DECAY_2) * g * g, state["moments"]["second"], gradients)
    scale = RATE * jnp.sqrt(1 - DECAY_2**step) / (1 - DECAY_1**step)
    params = jax.tree.map(lambda p, m, v: p - scale * m / (jnp.sqrt(v) + EPSILON), state["params"], first, second)
    return {"step": step, "params": params, "moments": {"first": first, "second": second}}, value


def accuracy(params: State, images: Any, labels: Any) -> float:
    """Return the share of images whose digit is recognised, computed by this process alone."""
    local = jax.tree.map(lambda leaf: np.asarray(leaf.addressable_data(0)), params)
    return float((np.asarray(jax.jit(logits)(local, images)).argmax(axis=1) == labels).mean())


def digest(state: State) -> str:
    """Return the SHA-256 of every number in the state: equal digests mean equal runs."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        total.update(jax.tree_util.keystr(path).encode())
        total.update(np.asarray(leaf.addressable_data(0)).tobytes())
    return total.hexdigest()
