"""Source text of the three kernels of each family of blocks (theory, section 4).

Every function here returns the text of `field`, `pullback_state` and `pullback` as
`sweep` documents them, for one d; arrays are plain pointers. Each loop over samples is
a small matrix product: the parameters of a group of particles times a tile of
components sit in registers, the loop itself has constant strides, and LLVM vectorises
it.

Up to `UNROLLED_D` components one loop holds the products and the activation. Above, the
dot products are built up in rows of scratch, a tile of components at a time. Groups and
tiles were measured: their parameters, sums and operands fit the 32 vector registers.

All numbers are of the module's type `real` (float32 or float64; a literal would widen
float32); only the gradients, sums over all samples, are float64 always.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

UNROLLED_D = 5
DOT_TILE = 6
SPREAD_TILE = 4
SUM_TILE = 4
Lines = list[str]

KERNEL = """

@cfunc({signature}, **OPTIONS)
def {name}({arguments}):
    factor = scale[0]
    m = 0
{before}    while m + {group} <= n_particles:
{grouped}
        m += {group}
    while m < n_particles:
{single}
        m += 1
"""
# The quick sine does not hold for huge arguments: there, a slower one takes over.
SINE = """
from mfpde.kernels.sine import QUICK_LIMIT, quick_sin, quick_sin_pair


@njit(**INLINE)
def arguments_fit(theta, n_particles, n, z):
    size = 0.0
    for c in range({d}):
        for i in range(n):
            size += abs(z[c * STRIDE + i])
    for m in range(n_particles):
        bound = {bias}
        for c in range({d}):
            bound += size * abs(theta[m * {k} + c])
        if not bound <= QUICK_LIMIT:
            return False
    return True
"""
UNLESS_FIT = """\
    fit = arguments_fit(theta, n_particles, n, z)
    while m < n_particles and not fit:
{single}
        m += 1
"""
ARGUMENTS = {
    "field": "theta, weights, n_particles, n, z, out, scratch, scale",
    "pullback_state": "theta, weights, n_particles, n, z, q, out, scratch, scale",
    "pullback": "theta, weights, n_particles, n, z, q, out, grad, scratch, scale",
}


def perceptron(d: int, activation: str, bias: bool, dtype: str = "float64") -> str:
    """f = scale v sigma(u.z + b), theta = (u, v, b) or (u, v).

    With s = sigma(a) and e = scale (q.v) sigma'(a): (d_z f)^T q = e u, and the
    gradients are e z in u, scale s q in v, e in b. The sine of float32 numbers holds
    for all of them as it is.
    """
    dyadic = _Unrolled if d <= UNROLLED_D else _Tiled
    block = dyadic(d, activation, bias)
    if activation != "sin" or dtype == "float32":
        return block.text()
    size = {"d": d, "k": 2 * d + bias, "bias": "0.0"}
    if bias:
        size["bias"] = f"abs(theta[m * {size['k']} + {2 * d}])"
    return SINE.format(**size) + dyadic(d, "quick_sin", bias).text(block)


def bilinear(d: int) -> str:
    """f = v (u.z), theta = (u, v): the perceptron with sigma = identity, no bias."""
    return perceptron(d, "identity", False)


def linear(d: int) -> str:
    """f = Theta z, theta = Theta row by row: products with the mean matrix."""
    return LINEAR.replace("{d}", str(d))


def bias(d: int) -> str:
    """f = theta: a shift by the mean parameter."""
    return BIAS.replace("{d}", str(d))


class _Dyadic:
    """Kernels of f = scale v sigma(u.z + b).

    Rows of scratch for a group of g particles: r holds e_r, g + r holds s_r, and the
    others belong to the dot products.
    """

    group: int
    scratch_rows: int

    def __init__(self, d: int, activation: str, bias: bool) -> None:
        self.d, self.activation, self.bias = d, activation, bias

    def text(self, unless_fit: _Dyadic | None = None) -> str:
        """The kernels, which leave huge pre-activations to those of another block."""
        text = f"SCRATCH = {self.group * self.scratch_rows} * STRIDE\n"
        for name in ARGUMENTS:
            slow = getattr(unless_fit, name, None)
            text += _kernel(name, getattr(self, name), self.group, slow)
        return text

    def pullback(self, g: int) -> Lines:
        """`pullback_state`, then the sums over samples from the rows e and s."""
        lines = self.pullback_state(g)
        lines += _tiles(
            self.d, SUM_TILE, lambda first, width: self.sums(g, first, width, "z", 0)
        )
        lines += _tiles(
            self.d, SUM_TILE, lambda first, width: self.sums(g, first, width, "q", g)
        )
        if self.bias:
            lines += [f"sum{r} = ZERO" for r in range(g)]
            lines += _loop(f"sum{r} += {_scratch(r)}" for r in range(g))
            index = 2 * self.d
            lines += [f"{self.entry('grad', r, index)} += sum{r}" for r in range(g)]
        return lines

    def sums(self, g: int, first: str, width: int, lane: str, row: int) -> Lines:
        """grad_u += sum_i e_i z_i (row 0), or grad_v += scale sum_i s_i q_i (row g)."""
        offset = 0 if lane == "z" else self.d
        factor = "" if lane == "z" else "factor * "
        start, end = [], []
        inner = [f"x{c} = {_lane(lane, first, c)}" for c in range(width)]
        for r in range(g):
            inner.append(f"y{r} = {_scratch(row + r)}")
            for c in range(width):
                start.append(f"sum{r}_{c} = ZERO")
                inner.append(f"sum{r}_{c} += y{r} * x{c}")
                index = f"{offset} + {first} + {c}"
                end.append(f"{self.entry('grad', r, index)} += {factor}sum{r}_{c}")
        return start + _loop(inner) + end

    def load(self, g: int, first: str, width: int, letter: str) -> Lines:
        """Parameters u or scale v of g particles, for one tile of components."""
        offset = 0 if letter == "u" else self.d
        factor = "" if letter == "u" else "factor * "
        return [
            f"{letter}{r}_{c} = {factor}"
            + self.entry("theta", r, f"{offset} + {first} + {c}")
            for r in range(g)
            for c in range(width)
        ]

    def entry(self, array: str, particle: int, index: int | str) -> str:
        k = 2 * self.d + self.bias
        return f"{array}[(m + {particle}) * {k} + {index}]"

    def load_scalars(self, g: int) -> Lines:
        lines = [f"w{r} = weights[m + {r}]" for r in range(g)]
        for r in range(g):
            value = self.entry("theta", r, 2 * self.d) if self.bias else "ZERO"
            lines.append(f"b{r} = {value}")
        return lines


class _Unrolled(_Dyadic):
    """Small d: one loop over samples holds everything but the sums."""

    group = 6
    scratch_rows = 2

    def loads(self, g: int) -> Lines:
        return (
            self.load_scalars(g)
            + self.load(g, "0", self.d, "u")
            + self.load(g, "0", self.d, "v")
        )

    def spread(self, g: int, letter: str, value: str) -> Lines:
        return [
            f"{_lane('out', '0', c)} += "
            + " + ".join(f"{letter}{r}_{c} * {value}{r}" for r in range(g))
            for c in range(self.d)
        ]

    def field(self, g: int) -> Lines:
        inner = [f"z{c} = {_lane('z', '0', c)}" for c in range(self.d)]
        for r in range(g):
            a = f"b{r} + {_dot(f'u{r}_', 'z', self.d)}"
            inner.append(f"s{r} = w{r} * {self.activation}({a})")
        return self.loads(g) + _loop(inner + self.spread(g, "v", "s"))

    def pullback_state(self, g: int) -> Lines:
        inner = [f"z{c} = {_lane('z', '0', c)}" for c in range(self.d)]
        inner += [f"q{c} = {_lane('q', '0', c)}" for c in range(self.d)]
        for r in range(g):
            a = f"b{r} + {_dot(f'u{r}_', 'z', self.d)}"
            inner.append(f"s{r}, e{r} = {self.activation}_pair({a})")
            inner.append(f"e{r} = ({_dot(f'v{r}_', 'q', self.d)}) * e{r}")
            inner.append(f"f{r} = w{r} * e{r}")
            inner.append(f"{_scratch(r)} = e{r}")
            inner.append(f"{_scratch(g + r)} = s{r}")
        return self.loads(g) + _loop(inner + self.spread(g, "u", "f"))


class _Tiled(_Dyadic):
    """Larger d: dot products grow in scratch, a tile of components at a time.

    Scratch holds, after e and s, the two dot products and e times the weight.
    """

    group = 4
    scratch_rows = 5

    def dots(self, g: int, letter: str, lane: str, row: int) -> Lines:
        """Add u.z (or scale v.q) of the group to scratch rows row, row + 1, ..."""

        def tile(first: str, width: int) -> Lines:
            inner = [f"x{c} = {_lane(lane, first, c)}" for c in range(width)]
            for r in range(g):
                dot = _dot(f"{letter}{r}_", "x", width)
                inner.append(f"{_scratch(row + r)} += {dot}")
            return self.load(g, first, width, letter) + _loop(inner)

        return _tiles(self.d, DOT_TILE, tile)

    def spread(self, g: int, letter: str, row: int) -> Lines:
        """Add sum_r (scratch row row + r) (u_r or scale v_r) to out."""

        def tile(first: str, width: int) -> Lines:
            inner = [f"f{r} = {_scratch(row + r)}" for r in range(g)]
            for c in range(width):
                total = " + ".join(f"{letter}{r}_{c} * f{r}" for r in range(g))
                inner.append(f"{_lane('out', first, c)} += {total}")
            return self.load(g, first, width, letter) + _loop(inner)

        return _tiles(self.d, SPREAD_TILE, tile)

    def field(self, g: int) -> Lines:
        lines = self.load_scalars(g)
        lines += _loop(f"{_scratch(r)} = b{r}" for r in range(g))
        lines += self.dots(g, "u", "z", 0)
        lines += _loop(
            f"{_scratch(r)} = w{r} * {self.activation}({_scratch(r)})" for r in range(g)
        )
        return lines + self.spread(g, "v", 0)

    def pullback_state(self, g: int) -> Lines:
        lines = self.load_scalars(g)
        lines += _loop(f"{_scratch(2 * g + r)} = b{r}" for r in range(g))
        lines += _loop(f"{_scratch(3 * g + r)} = ZERO" for r in range(g))
        lines += self.dots(g, "u", "z", 2 * g) + self.dots(g, "v", "q", 3 * g)
        inner = []
        for r in range(g):
            inner.append(f"s{r}, e{r} = {self.activation}_pair({_scratch(2 * g + r)})")
            inner.append(f"e{r} = {_scratch(3 * g + r)} * e{r}")
            inner.append(f"{_scratch(r)} = e{r}")
            inner.append(f"{_scratch(g + r)} = s{r}")
            inner.append(f"{_scratch(4 * g + r)} = w{r} * e{r}")
        return lines + _loop(inner) + self.spread(g, "u", 4 * g)


LINEAR = """
SCRATCH = {d} * {d}


@njit(**INLINE)
def mean_matrix(theta, weights, n_particles, out):
    for c in range({d} * {d}):
        out[c] = ZERO
    for m in range(n_particles):
        for c in range({d} * {d}):
            out[c] += weights[m] * theta[m * {d} * {d} + c]


@njit(**INLINE)
def add_row(n, scale, source, row, target, target_row):
    for i in range(n):
        target[target_row * STRIDE + i] += scale * source[row * STRIDE + i]


@cfunc(FIELD, **OPTIONS)
def field(theta, weights, n_particles, n, z, out, scratch, scale):
    mean_matrix(theta, weights, n_particles, scratch)
    for c in range({d}):
        for e in range({d}):
            add_row(n, scratch[c * {d} + e], z, e, out, c)


@cfunc(PULLBACK_STATE, **OPTIONS)
def pullback_state(theta, weights, n_particles, n, z, q, out, scratch, scale):
    mean_matrix(theta, weights, n_particles, scratch)
    for c in range({d}):
        for e in range({d}):
            add_row(n, scratch[c * {d} + e], q, c, out, e)


@cfunc(PULLBACK, **OPTIONS)
def pullback(theta, weights, n_particles, n, z, q, out, grad, scratch, scale):
    mean_matrix(theta, weights, n_particles, scratch)
    for c in range({d}):
        for e in range({d}):
            add_row(n, scratch[c * {d} + e], q, c, out, e)
    for c in range({d}):
        for e in range({d}):
            total = ZERO
            for i in range(n):
                total += q[c * STRIDE + i] * z[e * STRIDE + i]
            scratch[c * {d} + e] = total
    for m in range(n_particles):
        for c in range({d} * {d}):
            grad[m * {d} * {d} + c] += scratch[c]
"""

BIAS = """
SCRATCH = {d}


@cfunc(FIELD, **OPTIONS)
def field(theta, weights, n_particles, n, z, out, scratch, scale):
    for c in range({d}):
        total = ZERO
        for m in range(n_particles):
            total += weights[m] * theta[m * {d} + c]
        for i in range(n):
            out[c * STRIDE + i] += total


@cfunc(PULLBACK_STATE, **OPTIONS)
def pullback_state(theta, weights, n_particles, n, z, q, out, scratch, scale):
    pass


@cfunc(PULLBACK, **OPTIONS)
def pullback(theta, weights, n_particles, n, z, q, out, grad, scratch, scale):
    for c in range({d}):
        total = ZERO
        for i in range(n):
            total += q[c * STRIDE + i]
        for m in range(n_particles):
            grad[m * {d} + c] += total
"""

CUSTOM = """
SCRATCH = 1


@njit(**INLINE)
def load_lane(source, i, out):
    for c in range({d}):
        out[c] = source[c * STRIDE + i]


@cfunc(FIELD, **OPTIONS)
def field(theta, weights, n_particles, n, z, out, scratch, scale):
    particles = carray(theta, (n_particles, {k}))
    z_i, value = np.empty({d}, real), np.empty({d}, real)
    for i in range(n):
        load_lane(z, i, z_i)
        for m in range(n_particles):
            custom_f(z_i, particles[m], value)
            for c in range({d}):
                out[c * STRIDE + i] += weights[m] * value[c]


@cfunc(PULLBACK_STATE, **OPTIONS)
def pullback_state(theta, weights, n_particles, n, z, q, out, scratch, scale):
    particles = carray(theta, (n_particles, {k}))
    z_i, q_i, value = np.empty({d}, real), np.empty({d}, real), np.empty({d}, real)
    for i in range(n):
        load_lane(z, i, z_i)
        load_lane(q, i, q_i)
        for m in range(n_particles):
            custom_vjp_z(z_i, particles[m], q_i, value)
            for c in range({d}):
                out[c * STRIDE + i] += weights[m] * value[c]


@cfunc(PULLBACK, **OPTIONS)
def pullback(theta, weights, n_particles, n, z, q, out, grad, scratch, scale):
    particles = carray(theta, (n_particles, {k}))
    z_i, q_i = np.empty({d}, real), np.empty({d}, real)
    state, gradient = np.empty({d}, real), np.empty({k}, real)
    for i in range(n):
        load_lane(z, i, z_i)
        load_lane(q, i, q_i)
        for m in range(n_particles):
            custom_vjp_z(z_i, particles[m], q_i, state)
            custom_vjp_theta(z_i, particles[m], q_i, gradient)
            for c in range({d}):
                out[c * STRIDE + i] += weights[m] * state[c]
            for c in range({k}):
                grad[m * {k} + c] += gradient[c]
"""


# The functions of a custom block, for all rows of arrays.
LOOPS = """
from mfpde.kernels.compiled import njit


@njit()
def loop_f(z, theta, out):
    for i in range(len(out)):
        custom_f(z[i], theta[i], out[i])


@njit()
def loop_vjp_z(z, theta, p, out):
    for i in range(len(out)):
        custom_vjp_z(z[i], theta[i], p[i], out[i])


@njit()
def loop_vjp_theta(z, theta, p, out):
    for i in range(len(out)):
        custom_vjp_theta(z[i], theta[i], p[i], out[i])
"""

OUTER = """

@cfunc(types.void(SIZE, REAL, REAL), **OPTIONS)
def activate(size, a, out):
    for i in range(size):
        out[i] = {activation}(a[i])


@cfunc(types.void(SIZE, REAL, REAL), **OPTIONS)
def pull(size, a, p):
    for i in range(size):
        p[i] *= {activation}_pair(a[i])[1]
"""


# Added to the mean square of a state that is normalised: a dead state stays zero.
NORMALISATION_FLOOR = 1e-12
OUTER_NORMALISED = """

@njit(**INLINE)
def unit_of(a, i, d):
    # The largest entry of relu(a), so that no square overflows; 1 for small ones.
    unit = real(1.0)
    for c in range(d):
        unit = max(unit, a[c * STRIDE + i])
    return unit


@cfunc(types.void(SIZE, REAL, REAL), **OPTIONS)
def activate(size, a, out):
    d = size // STRIDE
    for i in range(STRIDE):
        unit = unit_of(a, i, d)
        square = real(0.0)
        for c in range(d):
            r = relu(a[c * STRIDE + i]) / unit
            square += r * r
        scale = np.sqrt(real(d) / (square + real({floor} * d) / unit / unit))
        for c in range(d):
            out[c * STRIDE + i] = scale * (relu(a[c * STRIDE + i]) / unit)


@cfunc(types.void(SIZE, REAL, REAL), **OPTIONS)
def pull(size, a, p):
    d = size // STRIDE
    for i in range(STRIDE):
        unit = unit_of(a, i, d)
        square, product = real(0.0), real(0.0)
        for c in range(d):
            r = relu(a[c * STRIDE + i]) / unit
            square += r * r
            product += r * p[c * STRIDE + i]
        square += real({floor} * d) / unit / unit
        scale, share = np.sqrt(real(d) / square) / unit, product / square
        for c in range(d):
            r, slope = relu_pair(a[c * STRIDE + i])
            p[c * STRIDE + i] = scale * slope * (p[c * STRIDE + i] - share * (r / unit))
"""


def outer(activation: str) -> str:
    """psi(a), and psi'(a)^T p in the place of p, for all lanes of a block."""
    return OUTER.replace("{activation}", activation)


def outer_normalised() -> str:
    """psi(a) = r / sqrt(mean(r^2) + floor), r = relu(a), and its pullback, by lanes."""
    return OUTER_NORMALISED.replace("{floor}", repr(NORMALISATION_FLOOR))


def custom(d: int, k: int) -> str:
    """Any f, given as custom_f, custom_vjp_z and custom_vjp_theta in the module."""
    return CUSTOM.replace("{d}", str(d)).replace("{k}", str(k))


def _kernel(
    name: str,
    body: Callable[[int], Lines],
    group: int,
    unless_fit: Callable[[int], Lines] | None,
) -> str:
    before = ""
    if unless_fit is not None:
        before = UNLESS_FIT.format(single=_indent(unless_fit(1)))
    return KERNEL.format(
        name=name,
        signature=name.upper(),
        arguments=ARGUMENTS[name],
        before=before,
        group=group,
        grouped=_indent(body(group)),
        single=_indent(body(1)),
    )


def _tiles(d: int, width: int, body: Callable[[str, int], Lines]) -> Lines:
    """Body for tiles of at most `width` components, as even as they can be."""
    n_tiles = -(-d // width)
    narrow, n_wide = divmod(d, n_tiles)
    return _repeated(0, n_wide, narrow + 1, body) + _repeated(
        n_wide * (narrow + 1), n_tiles - n_wide, narrow, body
    )


def _repeated(
    start: int, n_tiles: int, width: int, body: Callable[[str, int], Lines]
) -> Lines:
    """Body for n_tiles tiles of one width, from component `start` on."""
    if n_tiles == 0:
        return []
    if n_tiles == 1:
        return body(str(start), width)
    lines = [f"for first in range({start}, {start + n_tiles * width}, {width}):"]
    return lines + ["    " + line for line in body("first", width)]


def _dot(left: str, right: str, d: int) -> str:
    return " + ".join(f"{left}{c} * {right}{c}" for c in range(d))


def _lane(array: str, first: str, component: int) -> str:
    return f"{array}[({first} + {component}) * STRIDE + i]"


def _scratch(row: int) -> str:
    return f"scratch[{row} * STRIDE + i]"


def _loop(lines: Iterable[str]) -> Lines:
    return ["for i in range(n):", *("    " + line for line in lines)]


def _indent(lines: Lines) -> str:
    return "\n".join("        " + line for line in lines)
