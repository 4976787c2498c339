"""What the datasets of a file mean: long names, units, and the equations solved."""

from __future__ import annotations

EQUATIONS = (
    "(1) dz/dt = int f(z, theta) rho(dtheta, t), z(0) = x; "
    "(3) E(rho) = mean of loss(g(z(1)), y); "
    "(4) dp/dt = -int (df/dz)^T p drho, p(1) = gradient of the loss; "
    "(6) d rho/ds = div_theta(rho grad_theta dE/drho); "
    "(7) d theta/ds = -grad_theta dE/drho at every particle"
)
REFERENCES = (
    "Lu, Ma, Lu, Lu, Ying (2020), arXiv:2003.05508; Ding, Chen, Li, Wright (2021), "
    "arXiv:2105.14417 and arXiv:2110.02926"
)
_UNITS = {"wall_time": "s", "last_record_unix": "s"}
_NO_QUANTITIES = (
    *("status", "pid", "inode"),
    *("train_rmse", "test_rmse", "fill", "y_mean", "y_std"),
)
_LONG_NAMES = {
    "s": "training time s, in which the particles move, Eq. (6)",
    "t": "depth t of the node, from 0 to 1, Eq. (1)",
    "step": "steps in training time accepted so far",
    "loss": "loss E(rho), Eq. (3)",
    "objective": "loss plus regulariser, which the flow makes smaller",
    "dissipation": "minus the rate of the objective along the flow, Eq. (14)",
    "energy_residual": "change of the objective plus integrated dissipation, Eq. (14)",
    "second_moment": "second moment of rho, mean of |theta|^2 over particles and depth",
    "gradient_norm": "norm of the gradient of the objective, root of the dissipation",
    "max_abs_z": "largest absolute entry of the state z over samples and depth",
    "max_abs_p": "largest absolute entry of the adjoint p over samples and depth",
    "depth_roughness": "mean distance in theta of particles at neighbouring nodes",
    "hamiltonian_spread": "variation over depth of the Hamiltonian, 0 in the limit",
    "invariant_spread": "variation over depth of the invariants of a linear block",
    "step_size": "size of the last step in training time s",
    "n_evaluations": "evaluations of loss and gradient so far",
    "wall_time": "time spent computing so far, earlier sessions included",
    "batch_loss": "mean loss of the mini-batches since the last record",
    "learning_rate": "learning rate of the next iteration",
    "train_accuracy": "share of the training samples whose class is right",
    "test_accuracy": "share of the test samples whose class is right",
    "train_rmse": "root mean square error of the training samples, of raw targets",
    "test_rmse": "root mean square error of the test samples, of raw targets",
    "test_loss": "mean loss of the test samples",
    "validation_accuracy": "share of the validation samples whose class is right",
    "validation_loss": "mean loss of the validation samples",
    "x": "inputs of the samples, z(0) or what is embedded in it",
    "y": "targets of the samples, encoded for the loss",
    "x_test": "inputs of the test samples",
    "y_test": "targets of the test samples",
    "x_validation": "inputs of the validation samples",
    "y_validation": "targets of the validation samples",
    "labels": "classes of the samples, positions in class_name",
    "labels_test": "classes of the test samples, positions in class_name",
    "class_name": "names of the classes in the source of the data",
    "column_name": "names of all columns of the files that the data came from",
    "feature_name": "names of the raw columns of the inputs",
    "x_name": "names of the components of x",
    "target_name": "names of the columns of the target",
    "source_file": "names of the files that the data came from",
    "source_sha256": "SHA-256 checksums of the files that the data came from",
    "fill": "value of each raw column where it is missing",
    "y_mean": "mean of each raw target, subtracted from it",
    "y_std": "standard deviation of each raw target, by which it was divided",
    "sample_weight": "weight of the sample in the loss, sum 1",
    "metric": "mobility of each parameter in the flow of Eq. (7)",
    "embedding": "matrix A that maps inputs to states, z(0) = A x, while trained",
    "embedding_start": "matrix A that maps inputs to states, z(0) = A x, at s = 0",
    "readout": "matrix C that maps states to outputs, C z(1), while trained",
    "readout_start": "matrix C that maps states to outputs, C z(1), at s = 0",
    "mean": "mean of each raw column, subtracted from it",
    "std": "standard deviation of each raw column, by which it was divided",
    "components": "principal axes, one a row, onto which columns were projected",
    "component_std": "standard deviation along each principal axis",
    "explained_variance_ratio": "share of the variance along each principal axis",
    "scale": "factor by which all inputs were multiplied at last",
    "n_padding": "components of value 0 appended to the inputs",
    "train_index": "row of the source that the training sample came from",
    "test_index": "row of the source that the test sample came from",
    "t_weight": "weight of the node in integrals over depth, sum 1",
    "weight": "mass of the particle in rho at every node, sum 1",
    "theta": "parameters of the particles, the atoms of rho",
    "param_name": "name of the parameter: the vector it belongs to and its index",
    "estimate": "estimated absolute error, largest over s and entries",
    "quantity_name": "quantity whose error was estimated",
    "part_name": "discretisation that the part of the error comes from",
    "notes": "how the errors were estimated",
    "z": "state z(t) of the samples, Eq. (1)",
    "p": "adjoint p(t) of the samples, Eq. (4)",
    "toml": "the configuration with all defaults filled in, as TOML",
    "description": "how problem, grid and flow are rebuilt, as JSON",
    "status": "how the run stands",
    "message": "why the run ended",
    "host": "machine that writes or wrote the file",
    "boot_id": "start of that machine, by which it is told from others of its name",
    "pid_namespace": "set of processes that the number of the process belongs to",
    "inode": "number of the file that the process writes; a copy has another",
    "pid": "process that writes or wrote the file",
    "last_record_unix": "when the writer last gave a sign of life, since 1970, UTC",
}
_OWN = {
    "scalars": "{} as an observer of the user's own computed it",
    "observations": "{} as an observer of the user's own computed it",
    "data": "{} as the user added it to the data",
}


def meaning(group: str, name: str) -> dict[str, str]:
    """Return the attributes long_name and units of a dataset.

    Units are left out where they are the user's, or would be those of no quantity.

    Parameters
    ----------
    group, name : str
        Names of the group, without slash, and of the dataset in it.
    """
    words = name.replace("_", " ")
    if name not in _LONG_NAMES:
        return {"long_name": _OWN.get(group, "{}").format(words)}
    units = {} if name in _NO_QUANTITIES else {"units": _UNITS.get(name, "1")}
    return {"long_name": _LONG_NAMES[name], **units}


def index_meaning(dimension: str) -> dict[str, str]:
    """Return the attributes of the scale 0, 1, 2, ... of a dimension."""
    words = dimension.replace("_", " ")
    return {"long_name": f"index of the {words}, from 0", "units": "1"}
