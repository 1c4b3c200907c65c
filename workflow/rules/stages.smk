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
        localrule: stage.local
        threads: threads_of(stage)
        resources:
            **resources_for(stage),
        params:
            identity=identity(stage),
            cell=cell_name(stage),
        message:
            name_of(stage)
        shell:
            "exec favae run {rule} {params.cell} --scale {wildcards.scale} --threads {threads} --log {log}"
