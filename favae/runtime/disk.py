"""Space for a user's files: what the file system has, and what the user's quota leaves."""

import errno
import re
import shutil
import subprocess
from pathlib import Path

_FULL = re.compile(r"No space left on device|Disk quota exceeded|\d+ requested and \d+ written")


def free_space(folder: Path) -> int:
    """Bytes that this user can still write in `folder`, as far as the file system and `quota` tell."""
    free, left = shutil.disk_usage(folder).free, _quota_left(folder)
    return free if left is None else min(free, left)


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one below it, comes from a disk without space; NumPy and safetensors say so in words only."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if _FULL.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _quota_left(folder: Path) -> int | None:
    """Bytes that the quota of the user leaves on the file system of `folder`; None without one that is visible."""
    source = _lines("df", "--output=source", str(folder))[-1:]
    for line in _lines("quota", "--no-wrap", "--raw-grace"):
        name, *numbers = line.split()
        if [name] != source or len(numbers) < 3 or not numbers[1].isdigit():
            continue
        used, soft, hard = (1024 * int(number.rstrip("*")) for number in numbers[:3])
        if limit := soft or hard:  # above the soft one, writing ends after some days
            return max(limit - used, 0)
    return None


def _lines(*command: str) -> list[str]:
    """Lines of a command's output; none if it does not exist, fails or hangs (a file server that is away)."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line for line in done.stdout.splitlines() if line.strip()]
