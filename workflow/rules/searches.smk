# Choices of settings: every candidate of a search, on datasets that no reported table uses.


rule table_search:
    input:
        metrics=search_metrics,
    output:
        tsv=report(
            "results/tables/search_{search}.tsv",
            caption="../report/table_search.rst",
            category="Choice of settings",
        ),
        md="results/tables/search_{search}.md",
    log:
        "results/logs/table_search/{search}.log",
    wildcard_constraints:
        search="|".join(config["searches"]) or "(?!)",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        datasets=lookup(dpath="searches/{search}/datasets", within=config),
        candidates=search_candidates,
        code=code("table_search"),
    script:
        "../scripts/table_search.py"
