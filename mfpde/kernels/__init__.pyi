from . import assembly as assembly
from . import bits as bits
from . import bracket as bracket
from . import build as build
from . import compiled as compiled
from . import componentwise as componentwise
from . import descent as descent
from . import families as families
from . import fingerprint as fingerprint
from . import folders as folders
from . import memory as memory
from . import piecewise as piecewise
from . import queue as queue
from . import samples as samples
from . import sine as sine
from . import stages as stages
from . import sweep as sweep
from . import threads as threads
from . import vectormath as vectormath
from . import vectormath32 as vectormath32
from . import vectors as vectors
from . import workers as workers

DTYPES: tuple[str, ...]
ACTIVATIONS: tuple[str, ...]
NORMALISED: str
OUTER_ACTIVATIONS: tuple[str, ...]
