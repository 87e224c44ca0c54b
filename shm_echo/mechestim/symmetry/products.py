"""The permutations of its axes that leave a sum of products unchanged.

An einsum step computes `T[o] = sum over s of X1[..] * X2[..] * ...`. Renaming the labels leaves `T`
as it is if it maps every factor onto a factor of the same tensor; a tensor with declared symmetry
may have its grouped axes exchanged. `symmetry_of_product` finds the permutations of the output
labels that such renamings make, and counts the elements of `T` that they leave distinct.

The group `G` is found from its point stabilisers, one generator per image of a label, so that a
group of any order costs a quadratic number of searches. Labels that can be exchanged on their own
form *classes*; their elements are counted as a product of multisets. The other permutations, of
whole classes (the blocks of an outer product of a tensor with itself), are counted by Burnside's
lemma. A search that takes too long, and a group of classes that is too large to list, are skipped:
the count is then too high, never too low.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import factorial, prod
from operator import mul

from shm_echo.mechestim.symmetry.info import Groups, multisets

Renaming = dict[str, str]
Permutation = tuple[int, ...]

_SEARCH_LIMIT = 20_000
"""Assignments tried before a search is given up: planning must stay short beside computing."""

_GROUP_LIMIT = 5_040
"""The most permutations of classes that are listed: those of seven classes, 7!."""


@dataclass(frozen=True)
class Factor:
    """One operand of a product.

    Attributes:
        tensor: The number of the tensor; equal for operands that are the same one.
        labels: The label of each axis.
        groups: The groups of axes that may be exchanged.
    """

    tensor: int
    labels: tuple[str, ...]
    groups: Groups = ()


@dataclass(frozen=True)
class ProductSymmetry:
    """The symmetry of the result of a step.

    Attributes:
        classes: Sets of labels that can be exchanged one by one; of two or more labels each.
        blocks: Blocks of labels that can only be exchanged as a whole; empty if `G` has other
            permutations besides.
        order: The number of permutations.
        unique_elements: The number of elements that can differ.
    """

    classes: tuple[tuple[str, ...], ...]
    blocks: tuple[tuple[str, ...], ...]
    order: int
    unique_elements: int

    def __str__(self) -> str:
        parts = [f"S{len(c)}{{{','.join(c)}}}" for c in self.classes]
        if self.blocks:
            parts.append(f"S{len(self.blocks)}{{{','.join(map(''.join, self.blocks))}}}")
        elif self.order > prod(factorial(len(c)) for c in self.classes):
            parts.append(f"order {self.order}")
        return " ".join(parts)


def symmetry_of_product(
    factors: Sequence[Factor], output: Sequence[str], sizes: Mapping[str, int]
) -> ProductSymmetry | None:
    """Return the symmetry of the product of `factors` summed to `output`; `None` without one.

    >>> x = Factor(0, ("i",))
    >>> y = Factor(0, ("j",))
    >>> symmetry_of_product([x, y], ["i", "j"], {"i": 3, "j": 3}).unique_elements
    6
    """
    distinct = len({factor.tensor for factor in factors}) == len(factors)
    if len(output) < 2 or (distinct and not any(factor.groups for factor in factors)):
        return None
    search = _RenamingSearch(factors, output, sizes)
    classes = _exchangeable_classes(search, output)
    lengths = [sizes[members[0]] for members in classes]
    unique = prod(multisets(n, len(members)) for n, members in zip(lengths, classes, strict=True))
    order = prod(factorial(len(members)) for members in classes)
    outer = _class_permutations(search, output, classes)
    blocks: tuple[tuple[str, ...], ...] = ()
    if len(outer) > 1:
        weights = [multisets(n, len(c)) for n, c in zip(lengths, classes, strict=True)]
        unique = sum(_fixed_assignments(permutation, weights) for permutation in outer) // len(
            outer
        )
        order *= len(outer)
        blocks = _blocks(outer, classes)
    if order == 1:
        return None
    shared = tuple(tuple(members) for members in classes if len(members) > 1)
    return ProductSymmetry(shared, blocks, order, unique)


class _RenamingSearch:
    """Finds renamings of the labels that map the product onto itself."""

    def __init__(
        self, factors: Sequence[Factor], output: Sequence[str], sizes: Mapping[str, int]
    ) -> None:
        self.output = frozenset(output)
        self.sizes = sizes
        # Factors with most output labels first: their images are known, so dead ends show early.
        self.factors = sorted(factors, key=lambda f: -len(self.output.intersection(f.labels)))
        self.steps = 0

    def extend(self, fixed: Renaming) -> Renaming | None:
        """Return a renaming that maps the product onto itself and begins with `fixed`."""
        self.steps = 0
        if not all(self._compatible(label, image) for label, image in fixed.items()):
            return None
        return next(self._map_factors(0, fixed, frozenset()), None)

    def _compatible(self, label: str, image: str) -> bool:
        kept = (label in self.output) == (image in self.output)
        return kept and self.sizes[label] == self.sizes[image]

    def _map_factors(self, at: int, known: Renaming, matched: frozenset[int]) -> Iterator[Renaming]:
        if at == len(self.factors):
            yield known
            return
        factor = self.factors[at]
        for number, target in enumerate(self.factors):
            if number in matched or target.tensor != factor.tensor:
                continue
            for extended in self._match(factor, target, known):
                yield from self._map_factors(at + 1, extended, matched | {number})

    def _match(self, factor: Factor, target: Factor, known: Renaming) -> Iterator[Renaming]:
        """Yield the ways to rename the labels of `factor` to those of `target`."""
        grouped = {axis for group in factor.groups for axis in group}
        current: Renaming | None = known
        for axis, label in enumerate(factor.labels):
            if axis not in grouped and current is not None:
                current = self._assign(current, label, target.labels[axis])
        if current is not None:
            yield from self._match_groups(factor, target, 0, current)

    def _match_groups(
        self, factor: Factor, target: Factor, at: int, known: Renaming
    ) -> Iterator[Renaming]:
        if at == len(factor.groups):
            yield known
            return
        group = factor.groups[at]
        labels = sorted((factor.labels[axis] for axis in group), key=lambda x: x not in known)
        images = [target.labels[axis] for axis in group]
        for extended in self._match_unordered(labels, images, known):
            yield from self._match_groups(factor, target, at + 1, extended)

    def _match_unordered(
        self, labels: list[str], images: list[str], known: Renaming
    ) -> Iterator[Renaming]:
        if not labels:
            yield known
            return
        label, rest = labels[0], labels[1:]
        for image in dict.fromkeys(images):
            extended = self._assign(known, label, image)
            if extended is not None:
                left = images.copy()
                left.remove(image)
                yield from self._match_unordered(rest, left, extended)

    def _assign(self, known: Renaming, label: str, image: str) -> Renaming | None:
        """Return `known` with one more label, or `None` if the two contradict."""
        self.steps += 1
        if self.steps > _SEARCH_LIMIT:
            return None
        present = known.get(label)
        if present is not None:
            return known if present == image else None
        if image in known.values() or not self._compatible(label, image):
            return None
        return {**known, label: image}


def _exchangeable_classes(search: _RenamingSearch, output: Sequence[str]) -> list[list[str]]:
    """Return the output labels in classes: any two of a class can be exchanged on their own."""
    classes: list[list[str]] = []
    for label in output:
        for members in classes:
            first = members[0]
            swap = {other: other for other in output} | {label: first, first: label}
            if search.extend(swap) is not None:
                members.append(label)
                break
        else:
            classes.append([label])
    return classes


def _class_permutations(
    search: _RenamingSearch, output: Sequence[str], classes: list[list[str]]
) -> list[Permutation]:
    """Return the permutations of whole classes; the identity alone if they are too many to list."""
    home = {label: number for number, members in enumerate(classes) for label in members}
    identity = tuple(range(len(classes)))
    generators: set[Permutation] = set()
    for at, label in enumerate(output):
        prefix = {other: other for other in output[:at]}
        for image in output[at + 1 :]:
            if home[image] == home[label]:
                continue
            renaming = search.extend({**prefix, label: image})
            if renaming is not None:
                generators.add(tuple(home[renaming[members[0]]] for members in classes))
    generators.discard(identity)
    found = {identity}
    frontier = [identity]
    while frontier:
        current = frontier.pop()
        for generator in generators:
            product = tuple(generator[i] for i in current)
            if product not in found:
                if len(found) == _GROUP_LIMIT:
                    return [identity]
                found.add(product)
                frontier.append(product)
    return sorted(found)


def _fixed_assignments(permutation: Permutation, weights: Sequence[int]) -> int:
    """Return the number of assignments that a permutation leaves: one choice per cycle."""
    return reduce(mul, (weights[cycle[0]] for cycle in _cycles(permutation)), 1)


def _cycles(permutation: Permutation) -> Iterator[list[int]]:
    seen: set[int] = set()
    for start in range(len(permutation)):
        cycle = []
        while start not in seen:
            seen.add(start)
            cycle.append(start)
            start = permutation[start]
        if cycle:
            yield cycle


def _blocks(outer: Sequence[Permutation], classes: list[list[str]]) -> tuple[tuple[str, ...], ...]:
    """Return the blocks that `outer` permutes in every possible way; empty for any other group."""
    moved = [i for i in range(len(classes)) if any(p[i] != i for p in outer)]
    orbits = []
    for start in moved:
        orbit = sorted({p[start] for p in outer})
        if orbit not in orbits:
            orbits.append(orbit)
    count = len(orbits[0])
    if any(len(orbit) != count for orbit in orbits) or len(outer) != factorial(count):
        return ()
    blocks: list[tuple[str, ...]] = []
    for anchor in orbits[0]:
        stabiliser = [p for p in outer if p[anchor] == anchor]
        block = [anchor]
        for orbit in orbits[1:]:
            still = [i for i in orbit if all(p[i] == i for p in stabiliser)]
            if not still:
                return ()
            block.append(still[0] if count != 2 else still[len(blocks)])
        blocks.append(tuple(label for i in block for label in classes[i]))
    return tuple(blocks)
