"""The command `favae bench`."""

from pathlib import Path
from typing import Annotated

import typer


def bench(
    names: Annotated[list[str] | None, typer.Argument(help="Names of benchmarks; default: all.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Toy sizes, to check that everything runs.")] = False,
    repeats: Annotated[int, typer.Option(min=1, help="Largest number of rounds; medians are printed.")] = 15,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all cores.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    write: Annotated[
        Path | None, typer.Option(help="Also write a Markdown page, with images and the numbers (.json) beside it.")
    ] = None,
    add: Annotated[
        Path | None, typer.Option(help="Measure nothing: add the numbers that another machine wrote (its .json).")
    ] = None,
) -> None:
    """Measure the project on this machine: compared with other implementations and with the machine's limits, and by part.

    The page has the measurements of a CPU and of a GPU: those of the other device are kept.

    Example: favae bench focal_frequency quantizer
    """
    import torch

    from favae.bench.machine import describe, use
    from favae.bench.page import heading, line, refuse_to_replace, write_page
    from favae.bench.record import Measured, Record
    from favae.bench.section import Row, Settings, sections
    from favae.config.errors import closest

    known = sections()
    if add is not None:
        if write is None:
            raise ValueError("--add needs --write PAGE: the page to which the numbers are added")
        other = Record.beside(add)
        record = Record.beside(write).model_copy(update={d: m for d in ("cpu", "cuda") if (m := other.of(d))})
        record.save(write)
        write_page(write, record, known)
        print(f"{write}: with {add}")
        return
    chosen = names or [name for name, section in known.items() if torch.device(device).type in section.devices]
    if unknown := sorted(set(chosen) - set(known)):
        raise ValueError(f"unknown benchmark {unknown[0]!r}; {closest(unknown[0], known)}")
    settings = Settings(
        size="quick" if quick else "full",
        rounds=repeats,
        least_rounds=min(repeats, 3),
        threads=threads or torch.get_num_threads(),
        device=torch.device(device),
    )
    if write is not None:
        refuse_to_replace(write)
    use(settings)
    machine = describe(settings)
    for name, value in machine.items():
        print(f"{name}: {value}")
    tables: dict[str, list[Row]] = {}
    for name in chosen:
        section, rows = known[name], tables.setdefault(name, [])
        print(f"\n{heading(section)}\n", flush=True)
        for row in section.rows(settings):
            if not rows:
                print(line(section.columns), line(["---"] * len(section.columns)), sep="\n")
            rows.append(row)
            print(line(row), flush=True)
        print(f"\n{section.note}", flush=True)
        if write is not None:  # after every section, so that a stopped run keeps what it has measured
            measured = Measured.model_validate({"machine": machine, "tables": tables})
            record = Record.beside(write).updated(settings.device.type, measured, whole=not names)
            record.save(write)
            write_page(write, record, known)
