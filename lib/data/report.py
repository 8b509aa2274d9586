"""What checking a data set on disk found: `python -m lib verify DATASET DIR` prints it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Report:
    """What was checked (`lines`, in order) and whether all of it held (`ok`; warnings do not count against it)."""

    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    def add(self, line: str, *, problem: bool = False, warning: bool = False) -> None:
        self.lines.append(f"{'PROBLEM  ' if problem else 'warning  ' if warning else 'ok       '}{line}")
        if problem or warning:
            (self.problems if problem else self.warnings).append(line)

    def compare(self, what: str, found: int, expected: int, *, only_warn: bool = False) -> None:
        """A count, held against what it should be."""
        if found == expected:
            self.add(f"{what}: {found:,}")
        else:
            difference = f"{expected - found:,} missing" if found < expected else f"{found - expected:,} too many"
            self.add(f"{what}: {found:,}, expected {expected:,}: {difference}", problem=not only_warn, warning=only_warn)
