"""Split the cells of a user's .h5ad file into train and test parts."""

from jko.io_h5ad import load
from jko.snapshots import SPLIT, save, split

settings = snakemake.params.dataset
with open(snakemake.log[0], "w") as log:
    cells = load(
        snakemake.input.cells,
        settings["time_key"],
        settings["rep_key"],
        settings["n_dims"],
        settings["standardise"],
    )
    print(
        f"{snakemake.input.cells}: {len(cells.x)} cells in {cells.x.shape[1]} dimensions", file=log
    )
    how = {name: settings[name] for name in SPLIT}
    save(split(cells.x, cells.time, settings["seeds"], **how), snakemake.output.snapshots)
