"""The references, each imported when it is used; `__init__.py` reads this list."""

from . import density as density
from . import exact as exact
