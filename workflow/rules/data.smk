# Every kind of dataset ends in results/{dataset}/snapshots.npz; its id says which rule makes it.


# Compute nodes of a cluster often have no way out.
localrules:
    fetch_embryoid,
    fetch_counts,


rule simulate:
    output:
        snapshots="results/{dataset}/snapshots.npz",
    log:
        "results/logs/simulate/{dataset}.log",
    wildcard_constraints:
        dataset=ids_of_kind("synthetic"),
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        dataset=dataset_settings,
        code=code("simulate"),
    script:
        "../scripts/simulate.py"


# No digest of the code here: an edited module must not download again what is there and checked.
rule fetch_embryoid:
    output:
        file="resources/embryoid/{file}",
    log:
        "results/logs/fetch_embryoid/{file}.log",
    wildcard_constraints:
        file=r"data\.npy|sample_labels\.npy|eb_velocity_v5\.npz",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    script:
        "../scripts/fetch_embryoid.py"


rule prepare_embryoid:
    input:
        cells=embryoid_input,
    output:
        snapshots="results/{dataset}/snapshots.npz",
    log:
        "results/logs/prepare_embryoid/{dataset}.log",
    wildcard_constraints:
        dataset=ids_of_kind("embryoid"),
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        dataset=dataset_settings,
        code=code("prepare_embryoid"),
    script:
        "../scripts/prepare_embryoid.py"


rule prepare_h5ad:
    input:
        cells=lookup(dpath="datasets/{dataset}/path", within=config),
    output:
        snapshots="results/{dataset}/snapshots.npz",
    log:
        "results/logs/prepare_h5ad/{dataset}.log",
    wildcard_constraints:
        dataset=ids_of_kind("h5ad"),
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        dataset=dataset_settings,
        code=code("prepare_h5ad"),
    script:
        "../scripts/prepare_h5ad.py"


rule fetch_counts:
    output:
        archive="resources/{dataset}/counts.zip",
    log:
        "results/logs/fetch_counts/{dataset}.log",
    wildcard_constraints:
        dataset=ids_of_kind("counts"),
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=240,
    params:
        url=lookup(dpath="datasets/{dataset}/url", within=config),
        sha256=lookup(dpath="datasets/{dataset}/sha256", within=config, default=None),
    script:
        "../scripts/fetch_counts.py"


rule prepare_counts:
    input:
        counts=branch(
            lookup(dpath="datasets/{dataset}/path", within=config, default=None),
            then=lookup(dpath="datasets/{dataset}/path", within=config, default=None),
            otherwise="resources/{dataset}/counts.zip",
        ),
    output:
        snapshots="results/{dataset}/snapshots.npz",
    log:
        "results/logs/prepare_counts/{dataset}.log",
    wildcard_constraints:
        dataset=ids_of_kind("counts"),
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=16000,
        runtime=120,
    params:
        dataset=dataset_settings,
        code=code("prepare_counts"),
    script:
        "../scripts/prepare_counts.py"
