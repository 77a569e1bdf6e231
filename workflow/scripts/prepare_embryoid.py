"""Split the embryoid body cells into train and test parts."""

from jko.embryoid import load
from jko.snapshots import SPLIT, save, split

settings = snakemake.params.dataset
with open(snakemake.log[0], "w") as log:
    cells = load(snakemake.input[0], settings["n_dims"], settings["standardise"])
    print(f"{snakemake.input[0]}: {len(cells.x)} cells in {cells.x.shape[1]} dimensions", file=log)
    how = {name: settings[name] for name in SPLIT}
    save(split(cells.x, cells.time, settings["seeds"], **how), snakemake.output.snapshots)
