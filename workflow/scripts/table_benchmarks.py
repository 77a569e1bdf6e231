"""Rule table_benchmarks: seconds and memory of all tasks."""

from jko import readable
from jko.tables import runs

table = runs.benchmarks(snakemake.params.tasks, snakemake.input.phases, snakemake.input.runs)
text = readable.markdown(table)
readable.write(table, text, snakemake.output.tsv, snakemake.output.md)
with open(snakemake.log[0], "w") as log:
    print(text, file=log)
