"""Activations in float64 and float32: accuracy, special arguments, vectorisation."""

import math
import os
import platform
import subprocess
import sys

import llvmlite.binding as llvm
import numpy as np
import pytest
import reference

from mfpde.blocks import ACTIVATIONS
from mfpde.kernels import build, families, sine, vectormath, vectormath32

LONG = np.longdouble
NEEDS_LONG_DOUBLE = pytest.mark.skipif(
    np.finfo(LONG).eps > 2e-19, reason="no extended precision to measure rounding with"
)
MODULES = {np.float64: vectormath, np.float32: vectormath32}
BOTH = pytest.mark.parametrize("real", MODULES, ids=lambda real: real.__name__)
# Beyond, exp(-a) is 0 and exp(a) is infinite.
LARGEST = {np.float64: 740.0, np.float32: 104.0}

LOOP = """
@njit(**OPTIONS)
def all_{name}(a, value, pair_value, slope):
    for i in range(a.shape[0]):
        value[i] = {name}(a[i])
        pair_value[i], slope[i] = {name}_pair(a[i])
"""


def loops_text(module, names):
    """Loops over activations, with the options of the sweeps around them."""
    kernels = "\n".join(
        f"@cfunc({name.upper()}, **OPTIONS)\ndef {name}({arguments}):\n    pass"
        for name, arguments in families.ARGUMENTS.items()
    )
    imports = ", ".join(f"{name}, {name}_pair" for name in names)
    loops = "".join(LOOP.format(name=name) for name in names)
    return f"SCRATCH = 1\nfrom {module} import {imports}\n{loops}{kernels}"


def compiled(name, a):
    """Value, value of the pair, and slope, as the sweeps compute them."""
    module, names = MODULES[a.dtype.type].__name__, tuple(ACTIVATIONS)
    if name == "quick_sin":
        module, names = sine.__name__, (name,)
    loops = build.generated_kernels("activations", loops_text, (module, names)).module
    out = np.full((3, len(a)), np.inf, a.dtype)
    getattr(loops, f"all_{name}")(a, *out)
    return out


def arguments(real):
    """Arguments of all sizes and both signs; their number is no multiple of 8."""
    rng = np.random.default_rng(3)
    small = np.geomspace(1e4 * np.finfo(real).tiny, 1.0, 3001)
    near = rng.uniform(0.0, 45.0, 20001)
    far = rng.uniform(0.0, LARGEST[real], 5001)
    a = np.concatenate([small, near, far])
    return np.concatenate([a, -a]).astype(real)


def ulps(found, exact, size=None):
    """Largest error in units of the last place of the exact value, or of `size`."""
    # Below the normal range a unit of the last place is the smallest denormal.
    unit = np.spacing(np.abs(exact if size is None else size).astype(found.dtype))
    return float(np.max(np.abs(found.astype(LONG) - exact) / unit))


def _long_tanh_slope(a):
    return 4 / (np.exp(a) + np.exp(-a)) ** 2


SMOOTH = {
    # name: (sigma, sigma', bound on sigma in ulp).
    # Observed: 1.7, 2.4, 2.2 in float64 and 2.3, 2.2, 2.6 in float32.
    "tanh": (np.tanh, _long_tanh_slope, 3),
    "sigmoid": (
        lambda a: 1 / (1 + np.exp(-a)),
        lambda a: 1 / (2 + np.exp(-a) + np.exp(a)),
        4,
    ),
    "softplus": (
        lambda a: np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a))),
        lambda a: 1 / (1 + np.exp(-a)),
        4,
    ),
}


@NEEDS_LONG_DOUBLE
@BOTH
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_activations_to_a_few_units_of_the_last_place(name, real):
    sigma, slope, bound = SMOOTH[name]
    # exp of the extended type reaches 11,000, so that nothing overflows here.
    a = arguments(real)
    long = a.astype(LONG)
    value, pair_value, found = compiled(name, a)
    assert ulps(value, sigma(long)) <= bound
    assert ulps(pair_value, sigma(long)) <= bound
    if name == "tanh":
        # By definition 1 - tanh^2: absolute, not relative, precision.
        assert np.abs(found - slope(long)).max() <= bound * np.finfo(real).eps
    else:
        # Products and quotients of factors as good as sigma.
        assert ulps(found, slope(long)) <= (2 * bound if real is np.float64 else bound)


ROOT_2_PI = np.sqrt(2 * LONG("3.14159265358979323846264338327950288"))


@NEEDS_LONG_DOUBLE
@BOTH
def test_gelu_to_a_few_units_of_the_last_place(real):
    # Phi from the series of erf around 0, whose terms have one sign: no SciPy function
    # has extended precision. 200 terms reach a = 8.
    a = np.concatenate([np.linspace(0.0, 8.0, 4003), np.geomspace(1e-9, 1.0, 2001)])
    a = a.astype(real)
    x = a.astype(LONG) ** 2 / 2
    term, total = np.ones_like(x), np.ones_like(x)
    for n in range(1, 200):
        term = term * 2 * x / (2 * n + 1)
        total += term
    density = np.exp(-x) / ROOT_2_PI
    half = a * density * total
    check_gelu(a, LONG(0.5) + half, density)
    near = a < 1
    check_gelu(-a[near], LONG(0.5) - half[near], density[near])


@NEEDS_LONG_DOUBLE
@BOTH
def test_gelu_tail_to_a_few_units_of_the_last_place(real):
    # The continued fraction of Laplace for P(X > w), to the smallest denormal.
    w = np.linspace(2.0, 39.0, 8001).astype(real)
    long = w.astype(LONG)
    fraction = long
    for n in range(400, 0, -1):
        fraction = long + n / fraction
    density = np.exp(-long * long / 2) / ROOT_2_PI
    check_gelu(-w, density / fraction, density)


def check_gelu(a, cumulative, density):
    # Observed over two million arguments: 3.9 and, for the slope, 5.0; 4.0 in float32.
    bound = 4
    slope_bound = 6 if a.dtype == np.float64 else 4
    value, pair_value, slope = compiled("gelu", a)
    assert ulps(value, a * cumulative) <= bound
    assert ulps(pair_value, a * cumulative) <= bound
    # Phi and a phi cancel for negative a; the unit is that of the larger one.
    size = np.maximum(cumulative, np.abs(a) * density)
    assert ulps(slope, cumulative + a * density, size) <= slope_bound


# ---- sine and cosine


def turning_arguments(real, largest):
    """Arguments of all sizes, and the numbers around multiples of pi / 2."""
    rng = np.random.default_rng(5)
    exponents = rng.uniform(np.log10(np.finfo(real).tiny), np.log10(largest), 20001)
    multiples = np.arange(1, 5001) * (np.pi / 2)
    multiples = np.concatenate([multiples, rng.integers(1, 2**24, 5001) * (np.pi / 2)])
    a = np.concatenate([10.0**exponents, rng.uniform(0.0, 100.0, 20001), multiples])
    a = a[a <= largest].astype(real)
    a = np.concatenate([a, np.nextafter(a, real(0))])
    return np.concatenate([a, -a])


@NEEDS_LONG_DOUBLE
@pytest.mark.parametrize(
    ("name", "real", "largest"),
    [
        ("sin", np.float64, 1.7e308),
        ("sin", np.float32, 3.4e38),
        ("quick_sin", np.float64, sine.QUICK_LIMIT),
    ],
)
def test_sine_and_cosine_to_a_few_units_of_the_last_place(name, real, largest):
    a = turning_arguments(real, largest)
    value, pair_value, slope = compiled(name, a)
    long = a.astype(LONG)
    # Observed: 2.2, quick 1.9, float32 1.5.
    assert ulps(value, np.sin(long)) <= 3
    assert ulps(pair_value, np.sin(long)) <= 3
    assert ulps(slope, np.cos(long)) <= 3


# The double nearest to a multiple of pi / 2 (J.-M. Muller, Elementary Functions, 2nd
# edition, section 9.3): 2**-62 of the distance between multiples.
WORST = 6381956970095103 * 2.0**797
WORST_COSINE = -4.68716592425462761112e-19


def test_cosine_where_cancellation_is_worst():
    value, _, slope = compiled("sin", np.array([WORST, -WORST]))
    np.testing.assert_array_equal(value, [1.0, -1.0])
    np.testing.assert_allclose(slope, WORST_COSINE, rtol=4e-16)


def test_digits_of_two_over_pi():
    # pi = 16 arctan(1/5) - 4 arctan(1/239), in units of 2**-1340.
    one = 1 << 1340

    def arctan_of_inverse(k):
        terms = range(1340)
        return sum((-1) ** n * (one // ((2 * n + 1) * k ** (2 * n + 1))) for n in terms)

    pi = 16 * arctan_of_inverse(5) - 4 * arctan_of_inverse(239)
    assert (2 << (1340 + 1280)) // pi == sine.DIGITS


def test_parts_of_half_pi():
    # 29 bits: n < 2**24 times a part is exact.
    for part in sine.PI_HALF_PARTS[:3]:
        assert (math.frexp(part)[0] * 2**29).is_integer()
    total = sum(sine.Fraction(part) for part in sine.PI_HALF_PARTS)
    digits = sine.Fraction(sine.DIGITS, 2**1280)
    assert abs(float(total * digits - 1)) < 2.0**-138


# ---- polynomials, special arguments, types


@BOTH
@pytest.mark.parametrize(
    "name", ["relu", "leaky_relu", "regularised_relu", "squared_relu", "identity"]
)
def test_piecewise_polynomials_are_exact(name, real):
    edges = np.array([0.5, -0.5, 0.25, 1.0, -1.0], dtype=real)
    a = np.concatenate([arguments(real), edges])
    value, pair_value, slope = compiled(name, a)
    exact, exact_slope = (
        function(a.astype(np.float64)) for function in reference.ACTIVATIONS[name]
    )
    # A product or two: one rounding each. Squares may leave the range of float32.
    close = {"rtol": 2 * np.finfo(real).eps, "atol": np.finfo(real).smallest_subnormal}
    np.testing.assert_allclose(value, exact, **close)
    np.testing.assert_array_equal(pair_value, value)
    np.testing.assert_allclose(slope, exact_slope, **close)


def special(real):
    """+-0, the smallest denormals, the largest numbers, +-infinity; and the results."""
    tiny, huge = np.finfo(real).smallest_subnormal, np.finfo(real).max
    inf, nan, ln_2 = np.inf, np.nan, np.log(2.0)
    sine, cosine = np.sin(LONG(huge)), np.cos(LONG(huge))
    a = np.array([0.0, -0.0, tiny, -tiny, huge, -huge, inf, -inf], dtype=real)
    return a, {
        "tanh": ([0, -0.0, tiny, -tiny, 1, -1, 1, -1], [1] * 4 + [0] * 4),
        "sigmoid": ([0.5] * 4 + [1, 0, 1, 0], [0.25] * 4 + [0] * 4),
        "softplus": ([ln_2] * 4 + [huge, 0, inf, 0], [0.5] * 4 + [1, 0, 1, 0]),
        "gelu": ([0] * 4 + [huge, 0, inf, 0], [0.5] * 4 + [1, 0, 1, 0]),
        "relu": ([0, 0, tiny, 0, huge, 0, inf, 0], [0, 0, 1, 0, 1, 0, 1, 0]),
        "leaky_relu": (
            [0, 0, tiny, 0, huge, -0.01 * float(huge), inf, -inf],
            [0.01, 0.01, 1, 0.01, 1, 0.01, 1, 0.01],
        ),
        "regularised_relu": (
            [0.125] * 4 + [huge, 0, inf, 0],
            [0.5] * 4 + [1, 0, 1, 0],
        ),
        "squared_relu": (
            [0, 0, 0, 0, inf, 0, inf, 0],
            [0, 0, 2 * float(tiny), 0, inf, 0, inf, 0],
        ),
        "sin": (
            [0, -0.0, tiny, -tiny, sine, -sine, nan, nan],
            [1, 1, 1, 1, cosine, cosine, nan, nan],
        ),
        "identity": (a, np.ones(8)),
    }


@BOTH
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_special_arguments(name, real):
    a, results = special(real)
    expected, expected_slope = (np.array(each, dtype=real) for each in results[name])
    # One rounding; a unit of the denormals.
    info = np.finfo(real)
    close = {"rtol": 2 * info.eps, "atol": info.smallest_subnormal}
    # Many times over: in the vector registers and in the remainder of the loop.
    value, pair_value, slope = compiled(name, np.concatenate([np.tile(a, 8), a[:7]]))
    for found in (value[:8], pair_value[:8]):
        np.testing.assert_allclose(found, expected, **close)
    np.testing.assert_allclose(slope[:8], expected_slope, **close)
    if name in ("tanh", "sin", "identity"):
        # Odd functions keep the sign of a zero and every denormal.
        assert value[:4].tobytes() == a[:4].tobytes()
        assert pair_value[:4].tobytes() == a[:4].tobytes()
    np.testing.assert_array_equal(value[64:], value[:7])
    np.testing.assert_array_equal(slope[64:], slope[:7])


@BOTH
@pytest.mark.parametrize("name", [*ACTIVATIONS, "quick_sin"])
def test_nan_stays_nan(name, real):
    value, pair_value, _ = compiled(name, np.full(39, np.nan, dtype=real))
    assert np.isnan(value).all()
    assert np.isnan(pair_value).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_twin_of_every_activation(name, rng):
    """The twin in `reference` itself: kernels are compared with it elsewhere."""
    a = rng.normal(scale=3.0, size=1001)
    value, _, slope = compiled(name, a)
    for found, twin in zip((value, slope), reference.ACTIVATIONS[name], strict=True):
        # tanh' and gelu' cancel: absolute precision.
        np.testing.assert_allclose(found, twin(a), rtol=2e-14, atol=2e-15)


@BOTH
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_results_have_the_type_of_the_argument(name, real):
    module = MODULES[real]
    kind = "float64" if real is np.float64 else "float32"
    for function in (getattr(module, name), getattr(module, f"{name}_pair")):
        function(real(1.0))
        found = {
            str(overload.signature.return_type)
            for overload in function.overloads.values()
            if str(overload.signature.args[0]) == kind
        }
        assert found <= {kind, f"UniTuple({kind} x 2)"}
        assert found


# ---- vectorisation

# Counts of packed multiply-adds and of conversions to float64 in a loop over a pair.
COUNT = """
import re, sys
import numpy as np
from numba import njit, types
from mfpde.kernels import sine, vectormath, vectormath32

def count(module, name, real, suffix, registers):
    pair = getattr(module, name + "_pair")
    def run(a, out, slope):
        for i in range(a.shape[0]):
            out[i], slope[i] = pair(a[i])
    options = {"fastmath": {"contract", "arcp", "nsz", "reassoc"}}
    array = types.Array(real, 1, "C")
    run = njit((array,) * 3, error_model="numpy", **options)(run)
    text = run.inspect_asm(run.signatures[0])
    packed = rf"\\bvfn?m(?:add|sub)\\d+{suffix}\\b.*%{registers}mm"
    print(name, suffix, len(re.findall(packed, text)), text.count("vcvtps2pd"))

for name in ("tanh", "sigmoid", "softplus", "gelu", "sin"):
    count(vectormath, name, types.float64, "pd", sys.argv[1])
    count(vectormath32, name, types.float32, "ps", sys.argv[1])
count(sine, "quick_sin", types.float64, "pd", sys.argv[1])
"""
# Degrees of the polynomials, less the two that may be written as products.
DEGREES = {
    ("tanh", "pd"): 12,
    ("sigmoid", "pd"): 12,
    ("softplus", "pd"): 12 + 9,
    ("gelu", "pd"): 12 + 22,
    ("sin", "pd"): 6 + 6,
    ("quick_sin", "pd"): 6 + 6,
    ("tanh", "ps"): 5,
    ("sigmoid", "ps"): 5,
    ("softplus", "ps"): 5 + 3,
    ("gelu", "ps"): 5 + 10,
    ("sin", "ps"): 3 + 3,
}


def _has(*features):
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    found = llvm.get_host_cpu_features()
    return all(found.get(feature) for feature in features)


@pytest.mark.parametrize(
    ("cpu", "registers"),
    [
        pytest.param(
            "haswell",
            "y",
            marks=pytest.mark.skipif(not _has("avx2", "fma"), reason="no AVX2"),
        ),
        pytest.param(
            "skylake-avx512",
            "[yz]",
            marks=pytest.mark.skipif(not _has("avx512dq"), reason="no AVX-512"),
        ),
    ],
)
def test_activations_are_vectorised(cpu, registers):
    # numba chooses its target when it starts.
    done = subprocess.run(
        [sys.executable, "-c", COUNT, registers],
        env=os.environ | {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    found = [line.split() for line in done.stdout.splitlines()]
    assert {(name, suffix) for name, suffix, *_ in found} == set(DEGREES)
    for name, suffix, packed, widened in found:
        assert int(packed) >= DEGREES[name, suffix], (name, suffix)
        # Only the sine of float32 reduces its argument in float64.
        assert (int(widened) > 0) == ((name, suffix) == ("sin", "ps")), (name, suffix)
