"""Source text of the three kernels of each family of blocks (theory, section 4).

Every function here returns the text of `field`, `pullback_state` and `pullback` as
`sweep` documents them, for one d. Particles are taken in groups whose parameters sit in
registers, and the innermost loop runs over samples with constant strides: that is what
LLVM vectorises.

Up to `UNROLLED_D` components the dot products are written out. Above, they are built up
in scratch rows, `TILE` components at a time, which keeps the code small. The sums over
samples in the gradient are always taken in tiles: all accumulators of a particle at
once would not fit the registers.
"""

from __future__ import annotations

from collections.abc import Callable

UNROLLED_D = 16
TILE = 8
Lines = list[str]

KERNEL = """

@njit(**OPTIONS)
def {name}({arguments}):
    n_particles = theta.shape[0]
    m = 0
    while m + {group} <= n_particles:
{grouped}
        m += {group}
    while m < n_particles:
{single}
        m += 1
"""
ARGUMENTS = {
    "field": "theta, weights, n, z, out, scratch",
    "pullback_state": "theta, weights, n, z, q, out, scratch",
    "pullback": "theta, weights, n, z, q, out, grad, scratch",
}


def perceptron(d: int, activation: str, bias: bool, scale: float) -> str:
    """f = scale v sigma(u.z + b), theta = (u, v, b) or (u, v).

    With s = sigma(a) and e = scale (q.v) sigma'(a): (d_z f)^T q = e u, and the
    gradients are e z in u, scale s q in v, e in b.
    """
    dyadic = _Unrolled if d <= UNROLLED_D else _Tiled
    return dyadic(d, activation, bias, scale).text()


def bilinear(d: int) -> str:
    """f = v (u.z), theta = (u, v): the perceptron with sigma = identity, no bias."""
    return perceptron(d, "identity", False, 1.0)


def linear(d: int) -> str:
    """f = Theta z, theta = Theta row by row: products with the mean matrix."""
    return LINEAR.replace("{d}", str(d))


def bias(d: int) -> str:
    """f = theta: a shift by the mean parameter."""
    return BIAS.replace("{d}", str(d))


class _Dyadic:
    """Kernels of f = scale v sigma(u.z + b); subclasses write the dot products."""

    group_field = 4
    group_pullback = 4

    def __init__(self, d: int, activation: str, bias: bool, scale: float) -> None:
        self.d, self.activation, self.bias, self.scale = d, activation, bias, scale

    def text(self) -> str:
        rows = f"SCRATCH = {3 * max(self.group_field, self.group_pullback)} * BLOCK\n"
        return (
            rows
            + _kernel("field", self.field, self.group_field)
            + _kernel("pullback_state", self.pullback_state, self.group_pullback)
            + _kernel("pullback", self.pullback, self.group_pullback)
        )

    def pullback(self, g: int) -> Lines:
        """`pullback_state` with e and s kept in scratch, then the sums over samples."""
        keep = [f"scratch[{2 * r} * BLOCK + i] = e{r}" for r in range(g)]
        keep += [f"scratch[{2 * r + 1} * BLOCK + i] = s{r}" for r in range(g)]
        lines = self.pullback_state(g, keep)
        tile = 3 if g > 2 else 4
        lines += _tiles(self.d, tile, lambda first, width: self.sums(g, first, width))
        if self.bias:
            lines += [f"gb{r} = 0.0" for r in range(g)]
            lines += _loop([f"gb{r} += scratch[{2 * r} * BLOCK + i]" for r in range(g)])
            lines += [f"grad[m + {r}, {2 * self.d}] += gb{r}" for r in range(g)]
        return lines

    def sums(self, g: int, first: str, width: int) -> Lines:
        """grad_u += sum_i e_i z_i and grad_v += scale sum_i s_i q_i, for one tile."""
        start, inner, end = [], [], []
        for c in range(width):
            inner.append(f"z{c} = z[({first} + {c}) * BLOCK + i]")
            inner.append(f"q{c} = q[({first} + {c}) * BLOCK + i]")
        for r in range(g):
            inner.append(f"e{r} = scratch[{2 * r} * BLOCK + i]")
            inner.append(f"s{r} = scratch[{2 * r + 1} * BLOCK + i]")
            for c in range(width):
                start += [f"gu{r}_{c} = 0.0", f"gv{r}_{c} = 0.0"]
                inner += [f"gu{r}_{c} += e{r} * z{c}", f"gv{r}_{c} += s{r} * q{c}"]
                v = f"{self.d} + {first} + {c}"
                end.append(f"grad[m + {r}, {first} + {c}] += gu{r}_{c}")
                end.append(f"grad[m + {r}, {v}] += {self.scale!r} * gv{r}_{c}")
        return start + _loop(inner) + end

    def load(self, g: int, first: str, width: int, u: bool, v: bool) -> Lines:
        """Parameters of g particles, components first ... first + width - 1."""
        lines = []
        for r in range(g):
            for c in range(width):
                if u:
                    lines.append(f"u{r}_{c} = theta[m + {r}, {first} + {c}]")
                if v:
                    index = f"{self.d} + {first} + {c}"
                    lines.append(f"v{r}_{c} = {self.scale!r} * theta[m + {r}, {index}]")
        return lines

    def load_scalars(self, g: int) -> Lines:
        lines = [f"w{r} = weights[m + {r}]" for r in range(g)]
        for r in range(g):
            value = f"theta[m + {r}, {2 * self.d}]" if self.bias else "0.0"
            lines.append(f"b{r} = {value}")
        return lines


class _Unrolled(_Dyadic):
    """Small d: one loop over samples holds everything but the sums."""

    def __init__(self, d: int, activation: str, bias: bool, scale: float) -> None:
        super().__init__(d, activation, bias, scale)
        if d > 4:
            self.group_pullback = 2

    def field(self, g: int) -> Lines:
        inner = [f"z{c} = z[{c} * BLOCK + i]" for c in range(self.d)]
        for r in range(g):
            a = f"b{r} + {_dot(f'u{r}_', 'z', self.d)}"
            inner.append(f"s{r} = w{r} * {self.activation}({a})")
        for c in range(self.d):
            total = " + ".join(f"v{r}_{c} * s{r}" for r in range(g))
            inner.append(f"out[{c} * BLOCK + i] += {total}")
        load = self.load_scalars(g) + self.load(g, "0", self.d, u=True, v=True)
        return load + _loop(inner)

    def pullback_state(self, g: int, keep: Lines = ()) -> Lines:
        inner = [f"z{c} = z[{c} * BLOCK + i]" for c in range(self.d)]
        inner += [f"q{c} = q[{c} * BLOCK + i]" for c in range(self.d)]
        for r in range(g):
            a = f"b{r} + {_dot(f'u{r}_', 'z', self.d)}"
            inner.append(f"s{r}, e{r} = {self.activation}_pair({a})")
            inner.append(f"e{r} = ({_dot(f'v{r}_', 'q', self.d)}) * e{r}")
            inner.append(f"f{r} = w{r} * e{r}")
        for c in range(self.d):
            total = " + ".join(f"u{r}_{c} * f{r}" for r in range(g))
            inner.append(f"out[{c} * BLOCK + i] += {total}")
        load = self.load_scalars(g) + self.load(g, "0", self.d, u=True, v=True)
        return load + _loop([*inner, *keep])


class _Tiled(_Dyadic):
    """Large d: dot products grow in scratch, TILE components at a time."""

    def dots(self, g: int, row: int, u: bool) -> Lines:
        """Add u.z (or scale v.q) of the group to scratch rows row, row + 1, ..."""
        letter, lane = ("u", "z") if u else ("v", "q")

        def tile(first: str, width: int) -> Lines:
            inner = [
                f"x{c} = {lane}[({first} + {c}) * BLOCK + i]" for c in range(width)
            ]
            for r in range(g):
                dot = _dot(f"{letter}{r}_", "x", width)
                inner.append(f"scratch[{row + r} * BLOCK + i] += {dot}")
            return self.load(g, first, width, u=u, v=not u) + _loop(inner)

        return _tiles(self.d, TILE, tile)

    def spread(self, g: int, row: int, u: bool) -> Lines:
        """Add sum_r (scratch row row + r) (u_r or scale v_r) to out."""
        letter = "u" if u else "v"

        def tile(first: str, width: int) -> Lines:
            inner = [f"f{r} = scratch[{row + r} * BLOCK + i]" for r in range(g)]
            for c in range(width):
                total = " + ".join(f"{letter}{r}_{c} * f{r}" for r in range(g))
                inner.append(f"out[({first} + {c}) * BLOCK + i] += {total}")
            return self.load(g, first, width, u=u, v=not u) + _loop(inner)

        return _tiles(self.d, TILE, tile)

    def field(self, g: int) -> Lines:
        lines = self.load_scalars(g)
        lines += _loop([f"scratch[{r} * BLOCK + i] = b{r}" for r in range(g)])
        lines += self.dots(g, 0, u=True)
        lines += _loop(
            f"scratch[{r} * BLOCK + i] = "
            f"w{r} * {self.activation}(scratch[{r} * BLOCK + i])"
            for r in range(g)
        )
        return lines + self.spread(g, 0, u=False)

    def pullback_state(self, g: int, keep: Lines = ()) -> Lines:
        lines = self.load_scalars(g)
        inner = []
        for r in range(g):
            lines += _loop([f"scratch[{r} * BLOCK + i] = b{r}"])
            lines += _loop([f"scratch[{g + r} * BLOCK + i] = 0.0"])
            inner.append(
                f"s{r}, e{r} = {self.activation}_pair(scratch[{r} * BLOCK + i])"
            )
            inner.append(f"e{r} = scratch[{g + r} * BLOCK + i] * e{r}")
        lines += self.dots(g, 0, u=True) + self.dots(g, g, u=False)
        inner += keep
        inner += [f"scratch[{2 * g + r} * BLOCK + i] = w{r} * e{r}" for r in range(g)]
        return lines + _loop(inner) + self.spread(g, 2 * g, u=True)


LINEAR = """

SCRATCH = {d} * {d}


@njit(**OPTIONS)
def mean_matrix(theta, weights, out):
    out[:] = 0.0
    for m in range(theta.shape[0]):
        for c in range({d} * {d}):
            out[c] += weights[m] * theta[m, c]


@njit(**OPTIONS)
def field(theta, weights, n, z, out, scratch):
    mean_matrix(theta, weights, scratch)
    for c in range({d}):
        for e in range({d}):
            add_scaled_row(n, scratch[c * {d} + e], z, e, out, c)


@njit(**OPTIONS)
def pullback_state(theta, weights, n, z, q, out, scratch):
    mean_matrix(theta, weights, scratch)
    for c in range({d}):
        for e in range({d}):
            add_scaled_row(n, scratch[c * {d} + e], q, c, out, e)


@njit(**OPTIONS)
def pullback(theta, weights, n, z, q, out, grad, scratch):
    pullback_state(theta, weights, n, z, q, out, scratch)
    for c in range({d}):
        for e in range({d}):
            total = 0.0
            for i in range(n):
                total += q[c * BLOCK + i] * z[e * BLOCK + i]
            for m in range(theta.shape[0]):
                grad[m, c * {d} + e] += total


@njit(**OPTIONS)
def add_scaled_row(n, scale, source, row, target, target_row):
    for i in range(n):
        target[target_row * BLOCK + i] += scale * source[row * BLOCK + i]
"""

BIAS = """

@njit(**OPTIONS)
def field(theta, weights, n, z, out, scratch):
    for c in range({d}):
        total = 0.0
        for m in range(theta.shape[0]):
            total += weights[m] * theta[m, c]
        for i in range(n):
            out[c * BLOCK + i] += total


@njit(**OPTIONS)
def pullback_state(theta, weights, n, z, q, out, scratch):
    pass


@njit(**OPTIONS)
def pullback(theta, weights, n, z, q, out, grad, scratch):
    for c in range({d}):
        total = 0.0
        for i in range(n):
            total += q[c * BLOCK + i]
        for m in range(theta.shape[0]):
            grad[m, c] += total
"""

CUSTOM = """

@njit(**OPTIONS)
def load_lane(source, i, out):
    for c in range({d}):
        out[c] = source[c * BLOCK + i]


@njit(**OPTIONS)
def field(theta, weights, n, z, out, scratch):
    z_i, value = np.empty({d}), np.empty({d})
    for i in range(n):
        load_lane(z, i, z_i)
        for m in range(theta.shape[0]):
            custom_f(z_i, theta[m], value)
            for c in range({d}):
                out[c * BLOCK + i] += weights[m] * value[c]


@njit(**OPTIONS)
def pullback_state(theta, weights, n, z, q, out, scratch):
    z_i, q_i, value = np.empty({d}), np.empty({d}), np.empty({d})
    for i in range(n):
        load_lane(z, i, z_i)
        load_lane(q, i, q_i)
        for m in range(theta.shape[0]):
            custom_vjp_z(z_i, theta[m], q_i, value)
            for c in range({d}):
                out[c * BLOCK + i] += weights[m] * value[c]


@njit(**OPTIONS)
def pullback(theta, weights, n, z, q, out, grad, scratch):
    pullback_state(theta, weights, n, z, q, out, scratch)
    z_i, q_i, value = np.empty({d}), np.empty({d}), np.empty({k})
    for i in range(n):
        load_lane(z, i, z_i)
        load_lane(q, i, q_i)
        for m in range(theta.shape[0]):
            custom_vjp_theta(z_i, theta[m], q_i, value)
            for c in range({k}):
                grad[m, c] += value[c]
"""


def custom(d: int, k: int) -> str:
    """Any f, given as custom_f, custom_vjp_z and custom_vjp_theta in the module."""
    return CUSTOM.replace("{d}", str(d)).replace("{k}", str(k))


def _kernel(name: str, body: Callable[[int], Lines], group: int) -> str:
    return KERNEL.format(
        name=name,
        arguments=ARGUMENTS[name],
        group=group,
        grouped=_indent(body(group)),
        single=_indent(body(1)),
    )


def _tiles(d: int, width: int, body: Callable[[str, int], Lines]) -> Lines:
    """Body for every full tile of `width` components, then for the rest."""
    n_full = d // width
    lines = []
    if n_full == 1:
        lines += body("0", width)
    elif n_full > 1:
        lines.append(f"for first in range(0, {n_full * width}, {width}):")
        lines += ["    " + line for line in body("first", width)]
    if d % width:
        lines += body(str(n_full * width), d % width)
    return lines


def _dot(left: str, right: str, d: int) -> str:
    return " + ".join(f"{left}{c} * {right}{c}" for c in range(d))


def _loop(lines) -> Lines:
    return ["for i in range(n):", *("    " + line for line in lines)]


def _indent(lines: Lines) -> str:
    return "\n".join("        " + line for line in lines)
