"""Rule figure_embryoid: predicted cells, the potential over time, and the errors per interval."""

import jax
import numpy as np
import pandas as pd

from jko import densities, snapshots
from jko.plotting import embryoid, style


def potential_where_cells_are(predictions, mixtures, cells, k):
    """(g, g) V at snapshot k, NaN where the density is below its lowest per cent at the cells."""
    mean, covariance = mixtures.mean[..., :2], mixtures.covariance[..., :2, :2]
    plane = mixtures._replace(mean=mean, covariance=covariance).mixture(0, k)
    log_density = jax.vmap(lambda x: densities.log_density(plane, x))
    x, y = np.meshgrid(predictions["grid_x"], predictions["grid_y"])
    on_grid = log_density(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(x.shape)
    lowest = np.quantile(log_density(cells[:, :2]), 0.01)
    return np.where(on_grid >= lowest, predictions["potential"][0, k], np.nan)


data = snapshots.load(snakemake.input.snapshots)
mixtures = densities.load(snakemake.input.density)
predictions = dict(np.load(snakemake.input.predictions, allow_pickle=False))
params = snakemake.params
status = str(predictions["status"][0])
clouds = data.clouds(0, "test")
intervals = []
for k, (before, observed) in enumerate(zip(clouds[:-1], clouds[1:], strict=True)):
    # An explicit step uses the potential at its start, an implicit one at its end; of a flow the end is shown.
    at = k if params.scheme == "explicit" else k + 1
    intervals.append(
        embryoid.Interval(
            start=params.days[k],
            end=params.days[k + 1],
            before=before,
            observed=observed,
            predicted=predictions[f"predicted_{k + 1}"] if status == "ok" else None,
            grid_x=predictions["grid_x"],
            grid_y=predictions["grid_y"],
            potential=potential_where_cells_are(predictions, mixtures, clouds[at], at),
            potential_at=params.days[at],
            note="" if status == "ok" else status,
        )
    )
errors = pd.read_csv(snakemake.input.errors, sep="\t")
figure = embryoid.draw(intervals, errors, params.methods, params.method)
style.save(figure, snakemake.output.pdf, snakemake.output.png)
with open(snakemake.log[0], "w") as log:
    print(f"{len(intervals)} intervals of {params.method}, first seed: {status}", file=log)
