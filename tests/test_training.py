"""The optimisation loop against one written by hand, seeds against single runs, and failures."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jko import training
from jko.training import GradientState, gradient_update, pad_rows, run

EPOCHS, BATCH, ROWS = 3, 4, 12
rng = np.random.default_rng(0)
X = rng.normal(size=(3, ROWS, 2)).astype(np.float32)
Y = (X @ np.array([1.0, -2.0]) + 0.5).astype(np.float32)
KEYS = jax.vmap(jax.random.key)(jnp.arange(3, dtype=jnp.uint32))
OPTIMIZER = optax.adam(0.05)


def loss(params, batch, shared, key):
    x, y = batch
    # The key enters, so that a loop that hands out other keys ends elsewhere.
    noise = 0.01 * jax.random.normal(key)
    return jnp.mean((x @ params["w"] + params["b"] + noise - y) ** 2)


UPDATE = gradient_update(loss, OPTIMIZER)


def start(seeds: int) -> GradientState:
    """Fresh arrays for every run, which takes them over."""
    params = {"w": jnp.zeros((seeds, 2)), "b": jnp.zeros(seeds)}
    return GradientState(params, jax.vmap(OPTIMIZER.init)(params))


def train(rows: slice = slice(None), epochs: int = EPOCHS, limit: float = 1e6, data=None):
    data = (jnp.asarray(X[rows]), jnp.asarray(Y[rows])) if data is None else data
    seeds, lines = len(data[0]), []
    trained = run(
        UPDATE,
        start(seeds),
        data,
        KEYS[rows],
        epochs=epochs,
        batch=BATCH,
        loss_limit=limit,
        report=lines.append,
    )
    return trained, lines


def test_the_loop_is_the_one_written_by_hand():
    trained, _ = train(slice(1, 2))
    params = {"w": jnp.zeros(2), "b": jnp.zeros(())}
    memory = OPTIMIZER.init(params)
    losses = np.zeros((EPOCHS, ROWS // BATCH))
    for epoch in range(EPOCHS):
        key = jax.random.fold_in(KEYS[1], epoch)
        order = np.asarray(training.shuffled(key, ROWS)).reshape(-1, BATCH)
        assert sorted(order.ravel()) == list(range(ROWS))
        for index, part in enumerate(order):
            batch = (jnp.asarray(X[1, part]), jnp.asarray(Y[1, part]))
            value, gradient = jax.value_and_grad(loss)(
                params, batch, (), jax.random.fold_in(key, index)
            )
            with jax.numpy_dtype_promotion("standard"):
                change, memory = OPTIMIZER.update(gradient, memory, params)
            params = optax.apply_updates(params, change)
            losses[epoch, index] = value
    for name in params:
        np.testing.assert_allclose(trained.state.params[name][0], params[name], rtol=1e-5)
    np.testing.assert_allclose(trained.means["loss"][0], losses.mean(axis=1), rtol=1e-5)
    assert trained.failed_step.tolist() == [-1] and trained.status() == ["ok"]


def test_seeds_side_by_side_are_single_runs():
    together, _ = train()
    for s in range(3):
        alone, _ = train(slice(s, s + 1))
        np.testing.assert_allclose(together.means["loss"][s], alone.means["loss"][0], rtol=1e-5)
        for both, one in zip(
            jax.tree.leaves(together.state), jax.tree.leaves(alone.state), strict=True
        ):
            np.testing.assert_allclose(both[s], one[0], rtol=1e-4, atol=1e-7)


def test_a_line_is_reported_for_every_twentieth_and_the_last_epoch():
    trained, lines = train(epochs=45)
    assert len(lines) == 20 and lines[0].startswith("epoch 2/45 loss ")
    assert lines[-1].startswith("epoch 45/45 loss ")
    assert f" {trained.means['loss'][2, -1]:.5g} (3 of 3 seeds finite) " in lines[-1]
    assert "about 0 s left" in lines[-1]
    assert trained.means["loss"].shape == (3, 45) and (trained.means["loss"] > 0).all()
    single, lines = train(epochs=1)
    assert len(lines) == 1 and single.means["loss"].shape == (3, 1)
    np.testing.assert_array_equal(single.means["loss"][:, 0], trained.means["loss"][:, 0])


def test_a_loss_that_is_no_number_marks_its_seed_and_step_and_no_other():
    bad = X.copy()
    bad[1, 7, 0] = np.nan
    healthy, _ = train()
    hurt, lines = train(data=(jnp.asarray(bad), jnp.asarray(Y)))
    order = np.asarray(training.shuffled(jax.random.fold_in(KEYS[1], 0), ROWS))
    step = int(np.flatnonzero(order == 7)[0]) // BATCH
    assert hurt.failed_step.tolist() == [-1, step, -1]
    assert hurt.status() == ["ok", f"diverged at step {step}", "ok"]
    assert "(2 of 3 seeds finite)" in lines[-1] and " nan " in lines[-1]
    for s in (0, 2):
        np.testing.assert_array_equal(healthy.means["loss"][s], hurt.means["loss"][s])
        for one, other in zip(
            jax.tree.leaves(healthy.state), jax.tree.leaves(hurt.state), strict=True
        ):
            np.testing.assert_array_equal(one[s], other[s])


def test_a_loss_above_the_limit_marks_its_first_step():
    far = Y.copy()
    far[2] *= 1e3
    trained, _ = train(data=(jnp.asarray(X), jnp.asarray(far)), limit=1e3)
    assert trained.failed_step.tolist() == [-1, -1, 0]
    assert np.isfinite(trained.means["loss"]).all()


def test_a_loss_that_runs_away_below_is_a_failure_too():
    """An ascent that diverges has a loss that falls without end."""

    def fall(state, batch, shared, key):
        return 10 * state, {"loss": -state}

    options = {"epochs": 1, "batch": BATCH, "report": lambda line: None}
    trained = run(fall, jnp.ones(1), jnp.zeros((1, ROWS)), KEYS[:1], loss_limit=50.0, **options)
    assert trained.failed_step.tolist() == [2]


def test_the_step_of_a_failure_counts_from_the_first_epoch():
    """The loss is the number of steps done: 3 per epoch, the first above 7 in the third epoch."""

    def count(done, batch, shared, key):
        return done + 1, {"loss": done + 1, "twice": shared * done}

    data = jnp.zeros((1, ROWS))
    options = {"epochs": 5, "batch": BATCH, "report": lambda line: None}
    options |= {"shared": 2 * jnp.ones(1), "keep": (2, 5)}
    trained = run(count, jnp.zeros(1), data, KEYS[:1], loss_limit=7.0, **options)
    assert trained.failed_step.tolist() == [7]
    np.testing.assert_array_equal(trained.means["loss"][0], [2, 5, 8, 11, 14])
    np.testing.assert_array_equal(trained.means["twice"][0], [2, 8, 14, 20, 26])
    assert trained.state.tolist() == [15]
    assert {epoch: state.tolist() for epoch, state in trained.kept.items()} == {2: [6], 5: [15]}


def test_history_has_one_row_per_seed_and_epoch():
    means = {"loss": np.array([[3.0, 2.0], [5.0, 4.0]]), "gap": np.array([[0.3, 0.2], [0.5, 0.4]])}
    trained = training.Trained(None, means, np.array([-1, -1]), {})
    assert trained.history(np.array([7, 9])).to_dict("list") == {
        "seed": [7, 7, 9, 9],
        "epoch": [1, 2, 1, 2],
        "loss": [3.0, 2.0, 5.0, 4.0],
        "gap": [0.3, 0.2, 0.5, 0.4],
    }


def test_a_training_ends_after_the_first_kept_epoch_where_it_may():
    def shortened(until):
        data, asked = (jnp.asarray(X), jnp.asarray(Y)), []

        def ask(means):
            asked.append(means["loss"].shape)
            return until(means)

        options = {"epochs": 8, "batch": BATCH, "loss_limit": 1e6, "report": [].append}
        return run(UPDATE, start(3), data, KEYS, keep=[2, 4, 6], until=ask, **options), asked

    whole, _ = shortened(lambda means: False)
    short, asked = shortened(lambda means: means["loss"].shape[1] >= 3)
    assert asked == [(3, 2), (3, 4)] and list(short.kept) == [2, 4]
    np.testing.assert_array_equal(short.means["loss"], whole.means["loss"][:, :4])
    jax.tree.map(np.testing.assert_array_equal, short.kept[4], whole.kept[4])
    assert len(short.history(np.arange(3))) == 12


def test_rows_that_do_not_fill_the_batches_are_refused():
    with pytest.raises(ValueError, match="12 rows do not fill batches of 5; pad them first"):
        run(UPDATE, start(3), (X, Y), KEYS, epochs=1, batch=5, loss_limit=1.0)


def test_padding_stacks_and_fills_with_zeros():
    first, second = np.ones((5, 2), np.float32), 2 * np.ones((3, 2), np.float32)
    stacked = pad_rows([first, second], 4)
    assert stacked.shape == (2, 8, 2) and stacked.dtype == np.float32
    np.testing.assert_array_equal(stacked[0, :5], first)
    np.testing.assert_array_equal(stacked[1, :3], second)
    assert not stacked[0, 5:].any() and not stacked[1, 3:].any()
    assert pad_rows([np.ones(8), np.ones(8)], 4).shape == (2, 8)


def test_checkpoints_go_from_the_first_to_the_last_epoch_in_equal_ratios():
    assert training.checkpoints(100, 3) == [1, 10, 100]
    assert training.checkpoints(2, 5) == [1, 2]
    assert training.checkpoints(100, 0) == []


@pytest.mark.parametrize("rows", [1, 2, 6, 250])
def test_a_shuffle_holds_every_row_once_and_every_place_is_as_likely(rows):
    keys = jax.random.split(jax.random.key(0), 2000)
    orders = np.asarray(jax.vmap(lambda key: training.shuffled(key, rows))(keys))  # (2000, rows)
    assert (np.sort(orders, axis=1) == np.arange(rows)).all()
    # The mean place of a row over 2000 shuffles, within five standard errors.
    places = np.argsort(orders, axis=1).mean(axis=0)
    spread = np.sqrt((rows**2 - 1) / 12 / len(keys))
    np.testing.assert_allclose(places, (rows - 1) / 2, atol=5 * spread + 1e-12)
