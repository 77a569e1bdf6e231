# Speed and memory. Each task runs alone, three times, without JAX's compilation cache.


rule benchmark:
    input:
        snapshots=benchmark_dataset,
        needs=benchmark_needs,
    output:
        phases="results/benchmarks/{task}.json",
    log:
        "results/logs/benchmark/{task}.log",
    benchmark:
        repeat("results/benchmarks/{task}.tsv", 3)
    wildcard_constraints:
        task="|".join(BENCHMARKS),
    conda:
        "../../envs/jko.yaml"
    # More than there are: Snakemake takes all cores, so that nothing else runs beside it.
    threads: 64
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        method=benchmark_settings,
        code=code(
            "benchmark",
            [
                f"jko.methods.{kind}"
                for kind in ["jkonet_star", "jkonet_star_linear", "ijkonet", "weak_form"]
            ],
        ),
    script:
        "../scripts/benchmark.py"


rule time_epochs:
    input:
        unpack(precomputed),
        snapshots="results/{dataset}/snapshots.npz",
    output:
        spans="results/benchmarks/epochs/{dataset}-{method}.tsv",
    log:
        "results/logs/time_epochs/{dataset}-{method}.log",
    conda:
        "../../envs/jko.yaml"
    # As above: nothing else runs beside it.
    threads: 64
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        method=method_settings,
        precomputed=precomputed_settings,
        fits=4,
        code=method_code("time_epochs"),
    script:
        "../scripts/time_epochs.py"


rule table_benchmarks:
    input:
        phases=expand("results/benchmarks/{task}.json", task=BENCHMARKS),
        runs=expand("results/benchmarks/{task}.tsv", task=BENCHMARKS),
    output:
        tsv=report(
            "results/tables/benchmarks.tsv",
            caption="../report/table_benchmarks.rst",
            category="Speed and memory",
        ),
        md="results/tables/benchmarks.md",
    log:
        "results/logs/table_benchmarks.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        tasks=list(BENCHMARKS),
        code=code("table_benchmarks"),
    script:
        "../scripts/table_benchmarks.py"
