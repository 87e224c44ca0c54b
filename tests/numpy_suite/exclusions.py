"""The cases of NumPy's tests that cannot pass on counted arrays, and why not.

The list is ``exclusions.txt``: one case a line, ``module::Class::test[parameters]``, a tabulator,
and the reason. A line without ``[parameters]`` stands for every case of that test function. There
is no way to leave out a class or a module.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Exclusions:
    """Reasons by case."""

    reasons: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Exclusions:
        """The list in ``path``.

        Raises:
            ValueError: A line has no reason, names no test function, or comes twice.
        """
        reasons: dict[str, str] = {}
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            case, separator, reason = line.partition("\t")
            where = f"{path.name}:{number}"
            if not separator or not reason.strip():
                raise ValueError(f"{where}: {case!r} has no reason")
            function = case.partition("[")[0].rpartition("::")[2]
            if "::" not in case or not function.startswith("test"):
                raise ValueError(f"{where}: {case!r} names no test function")
            if case in reasons:
                raise ValueError(f"{where}: {case!r} is listed twice")
            reasons[case] = reason.strip()
        return cls(reasons)

    def reason(self, module: str, case: str) -> str | None:
        """Why ``case`` of ``module`` is excluded; ``None`` when it is not."""
        full = f"{module}::{case}"
        return self.reasons.get(full) or self.reasons.get(full.partition("[")[0])

    def unused(self, module: str, cases: Iterable[str]) -> list[str]:
        """The entries of ``module`` that none of ``cases`` is meant by."""
        used = set()
        for case in cases:
            full = f"{module}::{case}"
            used |= {full, full.partition("[")[0]}
        return [
            entry for entry in self.reasons if entry.startswith(f"{module}::") and entry not in used
        ]
