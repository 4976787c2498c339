"""One module per command of `mfpde`, each with `main(arguments) -> int`."""

SUCCESS, FAILED, WRONG_CALL = 0, 1, 2
"""Exit statuses: success, failed or interrupted computation, wrong call."""
