"""Einsum subscripts, read as NumPy reads them.

`parse` turns a subscript string and the operands' shapes into one tuple of labels per
operand, one for the output, and the size of each label. Spaces, implicit outputs, ellipses,
repeated labels and axes of length 1 that stretch are understood. Subscripts that NumPy rejects
raise `ValueError` or `TypeError` here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import index
from string import ascii_letters, ascii_lowercase, ascii_uppercase
from typing import Any

Shape = tuple[int, ...]
Term = tuple[str, ...]

LETTERS = ascii_uppercase + ascii_lowercase
"""The labels that subscripts may use, in the order in which integer labels count them."""


@dataclass(frozen=True)
class Contraction:
    """Subscripts with every axis named.

    Attributes:
        inputs: The labels of each operand's axes.
        output: The labels of the result's axes.
        sizes: The length of each label, in the order of first appearance.
    """

    inputs: tuple[Term, ...]
    output: Term
    sizes: dict[str, int]

    @property
    def output_shape(self) -> Shape:
        """The shape of the result."""
        return tuple(self.sizes[label] for label in self.output)

    def __str__(self) -> str:
        return f"{','.join(map(''.join, self.inputs))}->{''.join(self.output)}"


def from_arguments(arguments: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
    """Split the positional arguments of einsum into a subscript string and the operands.

    They are either `(subscripts, *operands)` or `(operand, labels, operand, labels, ...,
    [labels])`.
    """
    if not arguments:
        raise ValueError("einsum needs subscripts and at least one operand")
    first = arguments[0]
    if isinstance(first, bytes):
        first = first.decode("ascii")
    if isinstance(first, str):
        return first, tuple(arguments[1:])
    pairs = len(arguments) // 2
    if not pairs:
        raise ValueError("einsum needs the labels of its operand")
    terms = [_letters(arguments[2 * i + 1]) for i in range(pairs)]
    text = ",".join(terms)
    if len(arguments) % 2:
        text += f"->{_letters(arguments[-1])}"
    return text, tuple(arguments[2 * i] for i in range(pairs))


def _letters(labels: Any) -> str:
    """Return the term for a sequence of integer labels and Ellipsis."""
    text = []
    for label in labels:
        if label is Ellipsis:
            text.append("...")
            continue
        if isinstance(label, bool):
            raise TypeError("einsum labels are integers or Ellipsis, not bool")
        number = index(label)
        if not 0 <= number < len(LETTERS):
            raise ValueError(f"einsum label {number} is not between 0 and {len(LETTERS) - 1}")
        text.append(LETTERS[number])
    return "".join(text)


def parse(subscripts: str, shapes: Sequence[Shape]) -> Contraction:
    """Name every axis of operands of `shapes`.

    >>> str(parse("ij,jk", [(2, 3), (3, 4)]))
    'ij,jk->ik'
    """
    if ". ." in subscripts or "- >" in subscripts:
        raise ValueError(f"einsum subscripts {subscripts!r} have a space inside '...' or '->'")
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise ValueError(
            f"einsum subscripts {subscripts!r} name {len(terms)} operands, not {len(shapes)}"
        )
    halves = [_halves(term, subscripts) for term in terms]
    stretch = [
        _ellipsis_axes(half, len(shape), number)
        for number, (half, shape) in enumerate(zip(halves, shapes, strict=True))
    ]
    longest = max(stretch)
    dots = tuple(_unused(longest, text))
    inputs = tuple(
        _join(half, dots[longest - count :]) for half, count in zip(halves, stretch, strict=True)
    )
    output = _output(right, dots, subscripts) if arrow else _implicit_output(halves, dots)
    sizes = _sizes(inputs, shapes)
    for label in output:
        if label not in sizes:
            raise ValueError(
                f"einsum output label {label!r} is not in the inputs of {subscripts!r}"
            )
    return Contraction(inputs, output, sizes)


def _halves(term: str, subscripts: str) -> tuple[str, str | None]:
    """Return the labels before and after the ellipsis; None for the latter if there is none."""
    before, dots, after = term.partition("...")
    for letter in before + after:
        if letter not in ascii_letters:
            raise ValueError(f"einsum subscripts {subscripts!r} hold {letter!r}, not a letter")
    return before, after if dots else None


def _ellipsis_axes(half: tuple[str, str | None], ndim: int, number: int) -> int:
    """Return the number of axes that the ellipsis of an operand stands for."""
    before, after = half
    count = ndim - len(before) - len(after or "")
    if count < 0 or (after is None and count):
        raise ValueError(
            f"einsum operand {number} has {ndim} axes, but its subscripts "
            f"name {len(before) + len(after or '')}"
        )
    return count


def _join(half: tuple[str, str | None], dots: Term) -> Term:
    before, after = half
    return (*before, *dots, *(after or ""))


def _unused(count: int, text: str) -> Iterator[str]:
    """Yield `count` labels that `text` does not use: letters first, then other characters."""
    used = set(text)
    pool = (letter for letter in LETTERS if letter not in used)
    beyond = 0xC0  # beyond ASCII: labels are compared here, and NumPy never receives them
    for _ in range(count):
        letter = next(pool, None)
        if letter is None:
            letter, beyond = chr(beyond), beyond + 1
        yield letter


def _output(right: str, dots: Term, subscripts: str) -> Term:
    before, after = _halves(right, subscripts)
    if after is None and dots:
        raise ValueError(
            f"einsum output of {subscripts!r} needs an ellipsis: an operand's stands for axes"
        )
    output = (*before, *(dots if after is not None else ()), *(after or ""))
    if len(set(output)) != len(output):
        raise ValueError(f"einsum output of {subscripts!r} has a label twice")
    return output


def _implicit_output(halves: Sequence[tuple[str, str | None]], dots: Term) -> Term:
    """Return the ellipsis, then the labels that appear once, in alphabetical order."""
    counts = Counter("".join(before + (after or "") for before, after in halves))
    return (*dots, *sorted(label for label, count in counts.items() if count == 1))


def _sizes(inputs: Sequence[Term], shapes: Sequence[Shape]) -> dict[str, int]:
    """Return the length of each label; an axis of length 1 stretches to that of another operand."""
    sizes: dict[str, int] = {}
    for term, shape in zip(inputs, shapes, strict=True):
        own: dict[str, int] = {}
        for label, length in zip(term, shape, strict=True):
            if own.setdefault(label, length) != length:
                raise ValueError(
                    f"einsum label {label!r} has lengths {own[label]} and {length} in one operand"
                )
            present = sizes.setdefault(label, length)
            if present == 1:
                sizes[label] = length
            elif length not in (1, present):
                raise ValueError(f"einsum label {label!r} has lengths {present} and {length}")
    return sizes
