"""Copy the UCI handwritten digits out of an installed scikit-learn.

Run ``python data/make_digits.py`` in an environment with scikit-learn. It writes
``data/digits.csv.gz``, byte for byte scikit-learn's file, and prints its SHA-256
checksum, which must be the one in ``data/README.md`` and in ``mfpde/data/images.py``.
"""

import hashlib
from importlib import resources
from pathlib import Path


def main() -> None:
    """Write the file and print its checksum."""
    source = resources.files("sklearn.datasets.data") / "digits.csv.gz"
    content = source.read_bytes()
    target = Path(__file__).parent / "digits.csv.gz"
    target.write_bytes(content)
    print(f"{hashlib.sha256(content).hexdigest()}  {target.name}")


if __name__ == "__main__":
    main()
