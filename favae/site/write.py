"""The file of the settings of a site: each with its reason, as a comment."""

from datetime import UTC, datetime

from favae.runtime import paths
from favae.runtime.files import write_text
from favae.site.choose import Choice
from favae.site.cluster import Cluster

_HEAD = """\
# Settings of this site for `snakemake --profile slurm`. Written by `favae site` on {day}, from what SLURM {version} of the cluster
# "{cluster}" said, and tried with `sbatch --test-only`. Git ignores this file: edit it as you like, or run `favae site` again.
"""
_NAMES = ("partition", "account", "qos", "constraint", "limit", "memory", "option", "type")


def text_of(cluster: Cluster, choice: Choice) -> str:
    """The content of the file."""
    lines = [_HEAD.format(day=datetime.now(UTC).date(), version=cluster.version, cluster=cluster.name)]
    for kind, queue in (("cpu", choice.site.cpu), ("gpu", choice.site.gpu)):
        lines.append(f"{kind}:")
        for name in _NAMES:
            if not hasattr(queue, name):
                continue
            value, reason = getattr(queue, name), choice.reasons.get(f"{kind}.{name}", "not needed")
            setting = f"{name}: {value if isinstance(value, int) else _quoted(value)}"
            lines.append(f"  {setting:28} # {reason}" if value is not None else f"  # {name}: {reason}")
    lines += ["", *(f"# Not known: {text}." for text in choice.unknown)]
    return "\n".join(lines) + "\n"


def _quoted(value: str | None) -> str:
    return f'"{value}"'


def _settings(text: str) -> list[str]:
    """The lines without comments."""
    return [line.partition("#")[0].rstrip() for line in text.splitlines() if not line.startswith("#")]


def write_site(cluster: Cluster, choice: Choice) -> str:
    """Write the file; returns its content. An earlier file with other settings is kept beside it, because it may have been edited."""
    text, path = text_of(cluster, choice), paths.site_file()
    if path.exists() and _settings(path.read_text(encoding="utf-8", errors="replace")) != _settings(text):
        path.replace(path.with_name(f"{path.name}.before"))
    write_text(path, text)
    return text
