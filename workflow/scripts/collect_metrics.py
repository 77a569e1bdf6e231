"""Rule collect_metrics: all errors in one long table."""

from jko import tables
from jko.files import write_text

metrics = tables.read_metrics(snakemake.input)
write_text(metrics.to_csv(sep="\t", index=False), snakemake.output.metrics)
with open(snakemake.log[0], "w") as log:
    failed = metrics[metrics["value"].isna()]
    print(f"{len(metrics)} numbers, {len(failed)} of them could not be computed", file=log)
    print(failed.to_string(index=False), file=log)
