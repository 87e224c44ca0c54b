"""Polynomials given by their coefficients, highest power first, and the Vandermonde matrix."""

from __future__ import annotations

from shm_echo.mechestim.registry.build import custom
from shm_echo.mechestim.registry.op import Op
from shm_echo.mechestim.registry.rules.flops import polynomials as cost
from shm_echo.mechestim.registry.rules.memory import bounds, creation, polynomials

_COMPANION = (
    "the eigenvalues of the companion matrix: G. H. Golub and C. F. Van Loan, Matrix Computations, "
    "4th ed., Johns Hopkins University Press, 2013, section 7.5"
)
_HORNER = "Horner's rule: D. E. Knuth, The Art of Computer Programming, vol. 2, section 4.6.4"

OPS: tuple[Op, ...] = (
    custom("poly", "n^2", cost.poly, "Coefficients of the polynomial with given roots.",
           polynomials.from_roots, polynomials.eigenvalues),
    custom("polyadd", "max(n1,n2)", cost.polyadd, "Sum of two polynomials.",
           polynomials.coefficient_sum, polynomials.coefficient_sum),
    custom("polyder", "n", cost.derivative, "Derivative of a polynomial.",
           polynomials.derivative, bounds.copies(2)),
    custom("polydiv", "n1*n2", cost.polydiv, "Quotient and remainder of two polynomials.",
           polynomials.quotient, polynomials.quotient),
    custom("polyfit", "2*m*(deg+1)^2", cost.polyfit,
           "Polynomial fitted to points by least squares.", polynomials.fitted,
           polynomials.fit_scratch),
    custom("polyint", "n", cost.integral,
           "Antiderivative of a polynomial.", polynomials.integral, bounds.copies(3)),
    custom("polymul", "n1*n2", cost.polymul, "Product of two polynomials.",
           polynomials.coefficient_product, polynomials.coefficient_product),
    custom("polysub", "max(n1,n2)", cost.polyadd, "Difference of two polynomials.",
           polynomials.coefficient_sum, polynomials.coefficient_sum),
    custom("polyval", "2*m*deg", cost.polyval, "Value of a polynomial at points.",
           polynomials.evaluated, polynomials.evaluated, source=_HORNER),
    custom("roots", "10*n^3", cost.roots, "Roots of a polynomial.",
           polynomials.roots, polynomials.companion, source=_COMPANION),
    custom("vander", "len(x)*(N-1)", cost.vander, "Matrix of the powers of each element.",
           creation.vander, bounds.copies(1)),
)  # fmt: skip
