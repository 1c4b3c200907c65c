# One rule per stage of favae/jobs/stages.py, which states the inputs and outputs of each stage.
for stage in STAGES.values():

    rule:
        name:
            stage.name
        input:
            cards(stage),
            artefacts=artefacts(stage),
        output:
            **outputs_of(stage),
        log:
            str(paths.log("{scale}", stage.name, cell_of(stage))),
        priority: urgency(stage)
        group:
            group_of_rule(stage)
        localrule: stage.local
        threads: threads_of(stage)
        resources:
            **resources_for(stage),
        params:
            identity=identity(stage),
            cell=cell_name(stage),
        message:
            name_of(stage)
        # The stage is the folder above the cell's; Snakemake's linter does not know {rule}.
        shell:
            "card={output.card} && stage=${{card%/*/*}} && exec favae run ${{stage##*/}} {params.cell} --scale {wildcards.scale} --threads {threads} --log {log}"
