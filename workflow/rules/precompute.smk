# What several methods share: couplings of neighbouring snapshots, and densities.


rule couple:
    input:
        snapshots="results/{dataset}/snapshots.npz",
    output:
        coupling="results/{dataset}/coupling-{coupling}.npz",
    log:
        "results/logs/couple/{dataset}-{coupling}.log",
    benchmark:
        "results/{dataset}/coupling-{coupling}.benchmark.tsv"
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=600,
    params:
        coupling=lookup(dpath="couplings/{coupling}", within=config),
        code=code("couple"),
    script:
        "../scripts/couple.py"


rule estimate_density:
    input:
        snapshots="results/{dataset}/snapshots.npz",
    output:
        density="results/{dataset}/density-{density}.npz",
    log:
        "results/logs/estimate_density/{dataset}-{density}.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        density=lookup(dpath="densities/{density}", within=config),
        code=code("estimate_density"),
    script:
        "../scripts/estimate_density.py"
