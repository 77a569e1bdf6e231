"""Rule table_potentials: the errors on every simulated landscape, paired and unpaired."""

from jko import readable, tables

TITLES = {
    "w1": "One-step EMD (dimensionless)",
    "w1_excess": "One-step EMD less that of the oracle (dimensionless)",
    "bw2_uvp": "One-step B-UVP (%)",
    "l2_uvp": "L2-UVP (%)",
}

metrics = tables.read_metrics(snakemake.input.metrics)
params = snakemake.params
table = tables.landscapes(metrics, params.datasets, params.methods, params.references)
text = readable.sections(table, TITLES, ["landscape"], ["method", "scheme"], by="pairing")
readable.write(table, text, snakemake.output.tsv, snakemake.output.md)
with open(snakemake.log[0], "w") as log:
    print(text, file=log)
