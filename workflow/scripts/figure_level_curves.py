"""Rule figure_level_curves: the true and the learned potential of every landscape."""

import jax
import numpy as np

from jko import potentials, snapshots
from jko.plotting import landscapes, style

drawn = []
for snapshots_path, predictions_path in zip(
    snakemake.input.snapshots, snakemake.input.predictions, strict=True
):
    data = snapshots.load(snapshots_path)
    if data.dimension != 2:
        raise ValueError(f"{snapshots_path}: {data.dimension} dimensions; level curves need 2")
    predictions = dict(np.load(predictions_path, allow_pickle=False))
    status = str(predictions["status"][0])
    last = len(data.time) - 1
    x, y = np.meshgrid(predictions["grid_x"], predictions["grid_y"])
    truth = jax.vmap(potentials.get(data.truth.potential))(np.stack([x.ravel(), y.ravel()], axis=1))
    drawn.append(
        landscapes.Landscape(
            name=data.truth.potential,
            grid_x=predictions["grid_x"],
            grid_y=predictions["grid_y"],
            true=np.asarray(truth).reshape(x.shape),
            learned=predictions["potential"][0].mean(axis=0),
            observed=data.cloud(0, "test", last),
            predicted=predictions[f"rollout_{last}"] if status == "ok" else None,
            note="" if status == "ok" else status,
        )
    )
figure = landscapes.level_curves(drawn, snakemake.params.method)
style.save(figure, snakemake.output.pdf, snakemake.output.png)
with open(snakemake.log[0], "w") as log:
    for landscape in drawn:
        print(f"{landscape.name}: {landscape.note or 'ok'}", file=log)
