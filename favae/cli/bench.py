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
    write: Annotated[Path | None, typer.Option(help="Also write a Markdown page, with images beside it.")] = None,
) -> None:
    """Measure the project on this machine: compared with other implementations and with the machine's limits, and by part.

    Example: favae bench focal_frequency quantizer
    """
    import torch

    from favae.bench.machine import describe, use
    from favae.bench.page import heading, line, refuse_to_replace, write_page
    from favae.bench.section import Row, Section, Settings, sections
    from favae.config.errors import closest

    known = sections()
    chosen = names or list(known)
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
    tables: list[tuple[Section, list[Row], str]] = []
    for name in chosen:
        section = known[name]
        print(f"\n{heading(section)}\n", flush=True)
        tables.append((section, [], name))
        for row in section.rows(settings):
            if not tables[-1][1]:
                print(line(section.columns), line(["---"] * len(section.columns)), sep="\n")
            tables[-1][1].append(row)
            print(line(row), flush=True)
        print(f"\n{section.note}", flush=True)
        if write is not None:  # after every section, so that a stopped run keeps what it has measured
            measured = [name for _, _, name in tables]
            write_page(write, machine, tables, [name for name in known if name not in measured])
