"""Rule table_search: the errors of every candidate of a search."""

from jko import readable, tables

TITLES = {
    "w1": "One-step EMD",
    "w1_excess": "One-step EMD less that of the oracle",
    "bw2_uvp": "One-step B-UVP (%)",
    "l2_uvp": "L2-UVP (%)",
}

metrics = tables.read_metrics(snakemake.input.metrics)
table = tables.search(metrics, snakemake.params.datasets, snakemake.params.candidates)
text = readable.sections(table, TITLES, ["method", "candidate", "scheme"], ["dataset"])
readable.write(table, text, snakemake.output.tsv, snakemake.output.md)
with open(snakemake.log[0], "w") as log:
    print(text, file=log)
