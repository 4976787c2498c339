"""The claims of the papers: table 5.8 of the theory, and how each is decided."""

from __future__ import annotations

from mfpde.studies.claims import Claim

_ROWS = (
    (
        "Training is a gradient-flow PDE in the limit of large networks.",
        "Ding et al. 2021, 2021b",
        "For draws of whole paths the error of the outputs falls like 1/L and "
        "M^(-1/2), and the spread over draws depends on M alone (independent layers: "
        "claim 18); so does the coupled distance of the particles, for independent "
        "layers like 1/L and (L M)^(-1/2).",
    ),
    (
        "Depth and width need only be algebraic in accuracy and confidence.",
        "Ding et al. 2021, 2021b",
        "Quantiles over draws of the error of the loss fall like M^(-1/2) and 1/L, "
        "and grow far more slowly than eta^(-1/2) with the confidence 1 - eta.",
    ),
    (
        "The constants grow with the training time.",
        "Ding et al. 2021, 2021b",
        "The error grows early and decays once the flow contracts: the exponential "
        "bound is not attained. For the scalar linear block the coefficient of 1/L "
        "follows its exact equation.",
    ),
    (
        "The flow reaches zero loss.",
        "Ding et al. 2021, 2021b",
        "Monotone E(s), below 1e-8 where nothing obstructs it, with the late rate 2 "
        "lambda_min of Eq. (27): tanh, signed squared ReLU, capped regularised ReLU.",
    ),
    (
        "The hypotheses matter.",
        "Ding et al. 2021b",
        "Dirac and non-separating laws stall; order reversal in d = 1 stays above "
        "delta^2 / 8, a negative target at y^2 / 2, a positive block at (x - y)^2 / "
        "2, while M2 grows.",
    ),
    (
        "A decaying regulariser leaves the limit as it is.",
        "Ding et al. 2021",
        "E_s is monotone, E need not be; the same E for every decaying lambda; a "
        "constant lambda leaves E of order lambda^2.",
    ),
    (
        "The loss decreases along the flow, at the rate of its dissipation.",
        "Ding et al. 2021b",
        "The residual of the ledger (28) has slope 1 in ds for Euler and 2 for Heun, "
        "and no run has the wrong sign.",
    ),
    (
        "Every local minimiser is global.",
        "Lu et al. 2020",
        "From every start with E > 0 there is a direction in which E falls, and after "
        "a small perturbation in a universal direction E resumes falling.",
    ),
    (
        "A deep ResNet behaves like an ensemble of two-layer networks.",
        "Lu et al. 2020",
        "With blocks scaled by eps the gap is of order eps^2, with the constant of T8 "
        "and never above (21); shuffling costs the commutator, nothing if blocks "
        "commute.",
    ),
    (
        "Training may reorder the blocks.",
        "Lu et al. 2020",
        "Commuting blocks: the same curves with and without moving t. Otherwise no "
        "rate is predicted; swaps per step fall to zero.",
    ),
    (
        "Smoothness in depth is preserved by training.",
        "Marion et al. 2023",
        "The maximum of |theta[l+1] - theta[l]| falls like 1/L through training for "
        "tied and Lipschitz starts, does not for independent layers, and ReLU breaks "
        "it.",
    ),
    (
        "Weights and outputs have a limit of large depth.",
        "Marion et al. 2023",
        "The distance of the interpolated weights to the limit is O(1/L) at each s.",
    ),
    (
        "Trained long, the loss falls to zero at a rate independent of depth.",
        "Marion et al. 2023",
        "The PL ratio D / E stays bounded below along the flow once M >~ N, linear "
        "decay of ln E independent of L; 1 / (N^(3/2) d) is only a lower bound.",
    ),
    (
        "tau = L^(-1/2) is stable, L^(-1/2 + c) is not.",
        "Zhang et al. 2019",
        "E |h_L|^2 inside (31): flat for c = 0, ln E ~ L^(2c) for c > 0, the identity "
        "for c < 0; the same for the adjoint.",
    ),
    (
        "The critical scale belongs to independent layers.",
        "Zhang et al. 2019, Marion et al. 2023",
        "Identity, SDE, ODE and explosion over the exponent of tau and the smoothness "
        "of the start; tied layers explode at L^(-1/2).",
    ),
    (
        "The rate of descent does not depend on depth.",
        "Zhang et al. 2019, Marion et al. 2023",
        "Steps to a loss against L: flat for (L^(-1/2), rate O(1)) and (1/L, rate ~ "
        "L), ~ L for (1/L, rate O(1)), growing or failing without skip connections.",
    ),
    (
        "Deep networks train without normalisation.",
        "Zhang et al. 2019",
        "tau = 1: E |h_L|^2 >= 2^L and overflow; tau = L^(-1/2): trains at every L.",
    ),
    (
        "The order 1/L + 1/sqrt(L M) of independent layers is tight.",
        "Chizat 2025",
        "Both terms are seen, the spread collapses on L M, and one particle a layer "
        "converges.",
    ),
    (
        "Between lazy and mean-field training there is a best scale.",
        "Chizat 2025",
        "Against the linearised flow the error is U-shaped in alpha with its minimum "
        "near (L M)^(1/4).",
    ),
    (
        "Linear blocks have an exact theory.",
        "Zhang and Peyre 2026",
        "Measured rates are at least the certified rate (33); invariants hold to the "
        "tolerance of the solver.",
    ),
)
CLAIMS = tuple(Claim(number, *texts) for number, texts in enumerate(_ROWS, 1))
"""The 20 claims in their order."""
