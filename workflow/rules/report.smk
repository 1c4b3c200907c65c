# Seconds each: they run beside Snakemake, also on a cluster.
localrules:
    make_tables,
    make_figures,


rule make_tables:
    input:
        cards("make_tables"),
    output:
        card="data/{scale}/make_tables/all/card.json",
        run="data/{scale}/runs/make_tables/all.json",
        tables=report(
            directory("reports/{scale}/tables"),
            patterns=["{table}.md"],
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
    log:
        "data/{scale}/logs/make_tables/all.log",
    resources:
        mem_mb=resource("make_tables", "mem_mb"),
        runtime=resource("make_tables", "runtime"),
    params:
        identity=identity("make_tables"),
    shell:
        "exec favae run make_tables all --scale {wildcards.scale} --log {log}"


rule make_figures:
    input:
        cards("make_figures"),
    output:
        card="data/{scale}/make_figures/all/card.json",
        run="data/{scale}/runs/make_figures/all.json",
        figures=report(
            directory("reports/{scale}/figures"),
            patterns=["{figure}.png"],
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        "data/{scale}/logs/make_figures/all.log",
    resources:
        mem_mb=resource("make_figures", "mem_mb"),
        runtime=resource("make_figures", "runtime"),
    params:
        identity=identity("make_figures"),
    shell:
        "exec favae run make_figures all --scale {wildcards.scale} --log {log}"
