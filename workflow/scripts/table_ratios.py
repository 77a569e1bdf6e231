"""Rule table_ijkonet_table2: errors on unpaired data over those on paired data."""

from jko import readable, tables
from jko.tables import ratios

metrics = tables.read_metrics(snakemake.input.metrics)
params = snakemake.params
table = ratios.unpaired_over_paired(
    metrics, params.datasets, params.metrics, params.methods, params.references
)
titles = {
    name: f"{title.split(' (')[0]}, unpaired over paired" for name, title in readable.TITLES.items()
}
shown = table.drop(columns=list(ratios.PAIRINGS))
text = readable.sections(shown, titles, ["method", "scheme"], ["landscape"])
readable.write(table, text, snakemake.output.tsv, snakemake.output.md)
with open(snakemake.log[0], "w") as log:
    print(text, file=log)
